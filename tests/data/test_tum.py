"""TUM RGB-D: the layout on disk, association by time, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts import tum
from layouts.tum import SIZE, START
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.tum import TumRGBD
from muskie.errors import ConfigError, DataError

NUMBERS = (0, 4)


def pose_line(time: float, number: int) -> str:
    return tum.pose_line(time, shoot(number, *SIZE).cam2world)


def write_sequence(folder: Path, numbers: tuple[int, ...] = NUMBERS, **late: float) -> None:
    """Frames of the walk, see `layouts.tum`."""
    tum.write_sequence(folder, [shoot(number, *SIZE) for number in numbers], **late)


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    shots = [shoot(number, *SIZE) for number in NUMBERS]
    source = TumRGBD(**tum.write(tmp_path, shots))
    check(source, shots, depth=tum.DEPTH)
    frame = source.read(source.scene(0), source.scene(0).frames[0], at_least=24, geometry=True)
    assert frame.size == SIZE[::-1] and frame.depth is not None and frame.depth.shape == SIZE


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rgbd_dataset_freiburg1_desk", (517.3, 516.5, 318.6, 255.3)),
        ("rgbd_dataset_freiburg2_xyz", (520.9, 521.0, 325.1, 249.7)),
        ("fr3_office", (535.4, 539.2, 320.1, 247.6)),
        ("my_room", (525.0, 525.0, 319.5, 239.5)),
    ],
)
def test_intrinsics_go_by_the_name(tmp_path: Path, name: str, expected: tuple[float, ...]) -> None:
    write_sequence(tmp_path / name, numbers=(0,))
    camera = frames(TumRGBD(tmp_path))[0].camera
    assert camera is not None  # a tenth of 640x480
    focal_x, focal_y, x, y = expected
    matrix = [[focal_x, 0, x + 0.5], [0, focal_y, y + 0.5], [0, 0, 10]]
    np.testing.assert_allclose(camera.intrinsics, np.array(matrix) / 10)


def test_what_is_too_far_in_time_is_not_the_frames(tmp_path: Path) -> None:
    write_sequence(tmp_path / "late_depth", depth_late=0.021)
    write_sequence(tmp_path / "late_poses", pose_late=0.021)
    write_sequence(tmp_path / "none")
    for file in ("depth.txt", "groundtruth.txt"):
        (tmp_path / "none" / file).unlink()
    source = TumRGBD(tmp_path)
    depth, pose, none = (frames(source, index) for index in range(3))
    assert [(frame.depth is None, frame.camera is None) for frame in depth] == [(True, False)] * 2
    assert [(frame.depth is None, frame.camera is None) for frame in pose] == [(False, True)] * 2
    assert [(frame.depth is None, frame.camera is None) for frame in none] == [(True, True)] * 2
    assert source.camera(source.scene(1), source.scene(1).frames[0]) is None


def test_the_nearest_in_time_counts_and_a_depth_map_is_of_one_picture(tmp_path: Path) -> None:
    """Pictures at 0, 10 and 30 ms; depth at 13 and 28; poses, out of order, at -3, 8, 15 and 31, one of them lost."""
    folder = tmp_path / "walk"
    write_sequence(folder, numbers=(0,))
    picture = next((folder / "rgb").iterdir()).read_bytes()
    rgb, depth = [], []
    for milliseconds in (0, 10, 30):
        (folder / "rgb" / f"{milliseconds}.png").write_bytes(picture)
        rgb.append(f"{START + milliseconds / 1000:.6f} rgb/{milliseconds}.png")
    for milliseconds in (13, 28):
        Image.fromarray(np.full(SIZE, 5000 * milliseconds // 10, dtype=np.uint16)).save(
            folder / "depth" / f"{milliseconds}.png"
        )
        depth.append(f"{START + milliseconds / 1000:.6f} depth/{milliseconds}.png")
    (folder / "rgb.txt").write_text("\n".join(rgb[::-1]))
    (folder / "depth.txt").write_text("\n".join(depth))
    poses = [pose_line(START + late / 1000, number) for late, number in ((31, 5), (-3, 1), (15, 9), (8, 3))]
    (folder / "groundtruth.txt").write_text("\n".join([*poses, f"{START + 0.01} 0 0 0 0 0 0 0", f"{START} nan 0 0 0 0 0 1"]))
    source = TumRGBD(tmp_path)
    assert list(source.scene(0).frames) == ["rgb/0.png", "rgb/10.png", "rgb/30.png"]
    read = frames(source)
    assert read[0].depth is None, "13 is nearer to 10"
    assert [frame.depth.max() for frame in read[1:] if frame.depth is not None] == pytest.approx([1.3, 2.8])
    for frame, number in zip(read, (1, 3, 5), strict=True):
        assert frame.camera is not None
        np.testing.assert_allclose(frame.camera.cam2world, shoot(number, *SIZE).cam2world, atol=1e-6)


def test_depth_is_metres_and_zero_where_unknown(tmp_path: Path) -> None:
    write_sequence(tmp_path / "walk", numbers=(0,))
    values = np.full(SIZE, 5000, dtype=np.uint16)
    values[0, :3] = 0, 10000, 65535
    Image.fromarray(values).save(next((tmp_path / "walk" / "depth").iterdir()))
    depth = frames(TumRGBD(tmp_path))[0].depth
    assert depth is not None and (depth[1:] == 1).all()
    np.testing.assert_allclose(depth[0, :3], [0, 2, 13.107])


def test_sequences_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("room10", "room2"):
        write_sequence(tmp_path / name)
    (tmp_path / "room1").mkdir()
    assert names(TumRGBD(tmp_path)) == ["room2", "room10"]
    assert names(TumRGBD(tmp_path, sequences=["room10"])) == ["room10"]


BROKEN = {
    "three words": ("rgb.txt", "1.0 a b", "expected lines 'timestamp file'"),
    "no time": ("depth.txt", "now depth/0.png", "expected lines 'timestamp file'"),
    "empty": ("rgb.txt", "# nothing\n", "names no picture"),
    "seven numbers": (
        "groundtruth.txt",
        "0 0 0 0 0 0 1",
        "7 numbers a line; expected lines 'timestamp tx ty tz qx qy qz qw'",
    ),
    "a word": ("groundtruth.txt", "0 0 0 0 0 0 0 up", "expected lines 'timestamp tx"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_lists_are_named(tmp_path: Path, fault: str) -> None:
    write_sequence(tmp_path / "walk")
    file, text, message = BROKEN[fault]
    (tmp_path / "walk" / file).write_text(text)
    with pytest.raises(DataError, match=rf"walk/{re.escape(file)}: .*{message}"):
        TumRGBD(tmp_path)


def test_a_picture_of_another_shape_has_no_camera_that_fits(tmp_path: Path) -> None:
    write_sequence(tmp_path / "walk", numbers=(0,))
    source = TumRGBD(tmp_path)
    Image.new("RGB", (64, 64)).save(source.file(source.scene(0), source.scene(0).frames[0]))
    with pytest.raises(OSError, match=r"depth/.*png: it is of 64x48 pixels and its picture of 64x64, another aspect"):
        frames(source)


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with TUM RGB-D sequences"):
        TumRGBD(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <sequence>/rgb\.txt found there; for folders of plain images use data=folder"):
        TumRGBD(tmp_path)
    (tmp_path / "rgbd_dataset_freiburg1_xyz.tgz").write_bytes(b"")
    with pytest.raises(DataError, match=r"found there; unpack the sequences' \.tgz files there"):
        TumRGBD(tmp_path)
    write_sequence(tmp_path / "desk")
    with pytest.raises(DataError, match=rf"this is a sequence: give the folder above, '{re.escape(str(tmp_path))}'"):
        TumRGBD(tmp_path / "desk")
    with pytest.raises(DataError, match=r"no 'dusk' among the 1 sequences found there; did you mean 'desk'\?"):
        TumRGBD(tmp_path, sequences=["dusk"])
    for wrong in ([525.0, 525.0], [0.0, 525.0, 319.5, 239.5]):
        with pytest.raises(ConfigError, match=r"data\.intrinsics=.*expected \[fx, fy, cx, cy\] for 640x480, or null"):
            TumRGBD(tmp_path, intrinsics=wrong)


def test_a_quaternion_of_any_length_is_the_same_rotation(tmp_path: Path) -> None:
    write_sequence(tmp_path / "walk", numbers=(0,))
    numbers = np.array(pose_line(START, 0).split(), dtype=float)
    numbers[4:] *= -1.2
    (tmp_path / "walk" / "groundtruth.txt").write_text(" ".join(f"{number:.9f}" for number in numbers))
    camera = frames(TumRGBD(tmp_path))[0].camera
    assert camera is not None
    np.testing.assert_allclose(camera.cam2world, shoot(0, *SIZE).cam2world, atol=1e-6)


def test_a_list_that_is_rewritten_is_read_anew(tmp_path: Path) -> None:
    write_sequence(tmp_path / "walk", numbers=(0, 4))
    assert [frame.camera is None for frame in frames(TumRGBD(tmp_path))] == [False, False]
    (tmp_path / "walk" / "groundtruth.txt").write_text(pose_line(START, 0))
    assert [frame.camera is None for frame in frames(TumRGBD(tmp_path))] == [False, True]
    (tmp_path / "walk" / "depth.txt").unlink()
    assert [frame.depth for frame in frames(TumRGBD(tmp_path))] == [None, None]
