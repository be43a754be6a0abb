"""Frames in tar files, many to a file: data sets of more files than a disk takes, read in long streams."""
