"""HDF5 files of one array."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from muskie.data.sources.hdf5 import read_hdf5
from muskie.errors import ConfigError


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_values_come_as_they_are(tmp_path: Path, kind: type) -> None:
    values = np.arange(6).reshape(2, 3).astype(kind)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["dataset"], file["other"] = values, -values
    for name, expected in (("dataset", values), ("other", -values)):
        found = read_hdf5(tmp_path / "a.hdf5", name)
        assert found.dtype == kind
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(OSError, match=r"a\.hdf5: cannot be decoded .*; expected an array 'depth'"):
        read_hdf5(tmp_path / "a.hdf5", "depth")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.hdf5: no such file"):
        read_hdf5(tmp_path / "a.hdf5")
    (tmp_path / "a.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    with pytest.raises(OSError, match=r"a\.hdf5: cannot be decoded"):
        read_hdf5(tmp_path / "a.hdf5")


def test_a_missing_package_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"a\.hdf5: reading it needs the package h5py; install it: pip install h5py"):
        read_hdf5(tmp_path / "a.hdf5")
