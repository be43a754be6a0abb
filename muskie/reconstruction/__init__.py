"""The result of a reconstruction: cameras, depth and points of views, and the files that they become."""

from muskie.reconstruction.result import Reconstruction

__all__ = ["Reconstruction"]
