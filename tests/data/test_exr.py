"""Depth in OpenEXR files: what is read, and what is said of files that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from muskie.data.sources.exr import read_exr
from muskie.errors import ConfigError

DEPTH = np.linspace(0.1, 70000, 12 * 20, dtype=np.float32).reshape(12, 20)


def write(file: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    described = {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(described, channels) as exr:
        exr.write(str(file))
    return file


@pytest.mark.parametrize("name", ["Y", "Z", "V", "distance"])
def test_the_only_channel_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    values = DEPTH.copy()
    values[0, :3] = np.inf, np.nan, -1
    read = read_exr(write(tmp_path / "a.exr", {name: values}))
    assert read.dtype == np.float32 and read.flags.c_contiguous
    np.testing.assert_array_equal(read, values)


def test_halves_and_integers_become_floats(tmp_path: Path) -> None:
    for kind in (np.float16, np.uint32):
        values = (DEPTH / 10).astype(kind)
        read = read_exr(write(tmp_path / f"{kind.__name__}.exr", {"Y": values}))
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values.astype(np.float32))


def test_of_several_channels_that_of_depth_is_read(tmp_path: Path) -> None:
    other = np.ones_like(DEPTH)
    for name, channels in {
        "layer": {"view.Z": DEPTH, "A": other},
        "beside colours": {"R": other, "G": other, "B": other, "Z": DEPTH},
        "grey as colours": {"R": DEPTH, "G": DEPTH, "B": DEPTH},
    }.items():
        np.testing.assert_array_equal(read_exr(write(tmp_path / f"{name}.exr", channels)), DEPTH, err_msg=name)
    for name, channels in {
        "colours": {"R": DEPTH, "G": DEPTH, "B": other},
        "two": {"Y": DEPTH, "Z": other},
    }.items():
        file = write(tmp_path / f"{name}.exr", channels)
        with pytest.raises(OSError, match=rf"{name}\.exr: channels {', '.join(sorted(channels))}; expected one, or"):
            read_exr(file)


def test_files_that_are_broken_or_missing_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.exr", {"Y": DEPTH})
    with pytest.raises(OSError, match=r"none\.exr: no such file"):
        read_exr(tmp_path / "none.exr")
    whole = file.read_bytes()
    for kept in (0, 4, 100, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:kept])
        with pytest.raises(OSError, match=r"a\.exr: cannot be decoded"):
            read_exr(file)
    file.write_text("no picture\n" * 100)
    with pytest.raises(OSError, match=r"a\.exr: cannot be decoded"):
        read_exr(file)


def test_a_part_of_a_picture_is_refused(tmp_path: Path) -> None:
    window = (np.array([0, 0], dtype=np.int32), np.array([39, 11], dtype=np.int32))
    file = write(tmp_path / "a.exr", {"Y": DEPTH}, displayWindow=window)
    with pytest.raises(OSError, match=r"its data window .* is not its display window"):
        read_exr(file)


def test_without_the_package_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(ConfigError, match=r"a\.exr: .*pip install OpenEXR"):
        read_exr(tmp_path / "a.exr")
