"""HDF5 files of one array (https://www.hdfgroup.org). The package `h5py` is asked for when one is read."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from muskie.errors import ConfigError


def read_hdf5(file: Path, name: str = "dataset") -> np.ndarray:
    """The array `name` of a file, as it is.

    Raises:
        ConfigError: h5py is not installed.
        OSError: missing, broken, or without that array; the message names the file.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise ConfigError(f"{file}: reading it needs the package h5py; install it: pip install h5py") from error
    if not file.is_file():
        raise OSError(f"{file}: no such file")
    try:
        with h5py.File(file, "r") as content:
            return np.asarray(content[name])
    except Exception as error:  # what damaged bytes raise differs from part to part
        raise OSError(f"{file}: cannot be decoded ({error}); expected an array {name!r}") from error
