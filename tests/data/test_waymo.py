"""Waymo, processed: the layout on disk, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.waymo import DEPTH, SIZE, write, write_exr
from walk import shoot
from written import check, frames, names

from muskie.data.sources.waymo import Waymo
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
SEQUENCE = "segment-1005"


def picture(root: Path, number: int = 0) -> Path:
    return root / SEQUENCE / f"{number:05d}_1.jpg"


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(Waymo(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_each_camera_is_a_scene_in_the_order_of_time(tmp_path: Path) -> None:
    for sequence in ("segment-10", "segment-9"):
        for camera in (5, 1):
            write(tmp_path, SHOTS[:1] * 11, sequence, camera)
    source = Waymo(tmp_path)
    assert names(source) == ["segment-9/1", "segment-9/5", "segment-10/1", "segment-10/5"]
    assert [source.scene(number).room for number in range(4)] == ["segment-9"] * 2 + ["segment-10"] * 2
    assert list(source.scene(1).frames) == [f"{number:05d}_5.jpg" for number in range(11)]
    assert source.window > len(source.scene(0).frames)
    assert names(Waymo(tmp_path, cameras=[5])) == ["segment-9/5", "segment-10/5"]
    assert names(Waymo(tmp_path, sequences=["segment-10"], cameras=[1])) == ["segment-10/1"]


def test_cameras_may_be_told_by_name(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    for file in list((tmp_path / SEQUENCE).iterdir()):
        file.rename(file.with_name(file.name.replace("_1.", "_FRONT_RIGHT.")))
    source = Waymo(tmp_path)
    assert names(source) == [f"{SEQUENCE}/3"] and list(source.scene(0).frames)[1] == "00001_FRONT_RIGHT.jpg"
    check(source, SHOTS, depth=DEPTH)


@pytest.mark.parametrize("stem", ["00001", "00001_6", "1_12", "front"])
def test_without_cameras_in_every_name_a_sequence_is_one_scene(tmp_path: Path, stem: str) -> None:
    write(tmp_path, SHOTS)
    for file in list((tmp_path / SEQUENCE).glob("00001_1.*")):
        file.rename(file.with_name(f"{stem}{file.suffix}"))
    source = Waymo(tmp_path)
    assert names(source) == [SEQUENCE] and source.scene(0).room is None and len(source.scene(0).frames) == 2
    assert all(frame.camera is not None and frame.depth is not None for frame in frames(source))
    with pytest.raises(DataError, match=r"found there of data\.cameras=\[1\]"):
        Waymo(tmp_path, cameras=[1])


def test_frames_without_a_camera_or_depth_lack_it_alone(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    picture(tmp_path, 0).with_suffix(".npz").unlink()
    picture(tmp_path, 1).with_suffix(".exr").unlink()
    read = frames(Waymo(tmp_path))
    assert [frame.camera is None for frame in read] == [True, False]
    assert [frame.depth is None for frame in read] == [False, True]


def test_depth_is_zero_where_nothing_was_measured(tmp_path: Path) -> None:
    write(tmp_path, SHOTS[:1])
    depth = np.full(SIZE, 5, dtype=np.float32)
    depth[0, :4] = 0, -1, np.inf, np.nan
    write_exr(picture(tmp_path).with_suffix(".exr"), depth)
    read = frames(Waymo(tmp_path))[0].depth
    assert read is not None and not read[0, :4].any() and (read[0, 4:] == 5).all() and (read[1:] == 5).all()


def test_depth_of_another_size_is_looked_up(tmp_path: Path) -> None:
    write(tmp_path, SHOTS[:1])
    depth = np.arange(1, SIZE[0] * SIZE[1] // 4 + 1, dtype=np.float32).reshape(SIZE[0] // 2, SIZE[1] // 2)
    write_exr(picture(tmp_path).with_suffix(".exr"), depth)
    np.testing.assert_array_equal(frames(Waymo(tmp_path))[0].depth, depth.repeat(2, 0).repeat(2, 1))
    write_exr(picture(tmp_path).with_suffix(".exr"), depth[:, :20])
    with pytest.raises(OSError, match=r"00000_1\.exr: 20x24 values; its picture is of 64x48, another aspect ratio"):
        frames(Waymo(tmp_path))


EYE, FLAT = np.eye(4), np.diag([1.0, 1.0, 1.0, 0.0])
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a key is missing": ({"intrinsics": np.eye(3)}, "expected arrays 'intrinsics' and 'cam2world'"),
    "pickled": (
        {"intrinsics": np.eye(3), "cam2world": np.array([EYE, None], dtype=object)},
        "Object arrays cannot",
    ),
    "text": ({"intrinsics": np.eye(3), "cam2world": np.array("far")}, "expected arrays 'intrinsics' and 'cam2world'"),
    "intrinsics of another shape": ({"intrinsics": EYE, "cam2world": EYE}, r"expected finite intrinsics \[3, 3\]"),
    "no focal length": ({"intrinsics": np.diag([1.0, 0, 1]), "cam2world": EYE}, "focal lengths above 0"),
    "no finite pose": ({"intrinsics": np.eye(3), "cam2world": EYE * np.nan}, "expected a finite 4x4 camera-to-world"),
    "no last row": ({"intrinsics": np.eye(3), "cam2world": FLAT}, "whose last row is 0 0 0 1"),
    "a pose that scales": ({"intrinsics": np.eye(3), "cam2world": np.diag([2.0, 2, 2, 1])}, "cam2world is no rotation"),
    "a pose that mirrors": ({"intrinsics": np.eye(3), "cam2world": np.diag([-1.0, 1, 1, 1])}, "cam2world is no rotation"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_cameras_are_named_when_a_frame_is_read(tmp_path: Path, fault: str) -> None:
    write(tmp_path, SHOTS[:1])
    arrays, message = BROKEN[fault]
    np.savez(picture(tmp_path).with_suffix(".npz"), **arrays)
    source = Waymo(tmp_path)
    assert source.read(source.scene(0), "00000_1.jpg").image.size == SIZE[::-1]
    for look in (lambda: frames(source), lambda: source.camera(source.scene(0), "00000_1.jpg")):
        with pytest.raises(OSError, match=rf"00000_1\.npz: .*{message}"):
            look()


@pytest.mark.parametrize("suffix", [".npz", ".exr"])
def test_files_that_are_cut_off_are_named(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, SHOTS[:1])
    file = picture(tmp_path).with_suffix(suffix)
    whole = file.read_bytes()
    for kept in (0, 10, len(whole) // 2):
        file.write_bytes(whole[:kept])
        with pytest.raises(OSError, match=re.escape(file.name)):
            frames(Waymo(tmp_path))


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a folder with Waymo sequences"):
        Waymo(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <sequence>/00000_1\.jpg found there; for folders of plain images"):
        Waymo(tmp_path)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "segment-1.tfrecord").touch()
    with pytest.raises(DataError, match="TFRecords and Parquet files are not read"):
        Waymo(tmp_path)
    write(tmp_path, SHOTS[:1])
    with pytest.raises(DataError, match=rf"this is a sequence: give the folder above, '{re.escape(str(tmp_path))}'"):
        Waymo(tmp_path / SEQUENCE)
    with pytest.raises(DataError, match=r"no 'segment-105' among the 2 sequences found there; did you mean 'segment-1005'"):
        Waymo(tmp_path, sequences=["segment-105"])
    with pytest.raises(ConfigError, match=r"data\.cameras: 0; expected numbers from 1 to 5"):
        Waymo(tmp_path, cameras=[0])


def test_pictures_are_decoded_small_where_that_is_enough(tmp_path: Path) -> None:
    source = Waymo(**write(tmp_path, [shoot(0, 96, 128)]))
    frame = source.read(source.scene(0), "00000_1.jpg", at_least=24, geometry=True)
    assert frame.image.size == (32, 24) and frame.size == (128, 96) and frame.depth is not None
    assert frame.depth.shape == (96, 128)
