"""Neural RGB-D: the layout on disk, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import nrgbd
from layouts.nrgbd import SIZE
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.nrgbd import NeuralRGBD
from muskie.errors import DataError

NUMBERS = (0, 4)


def write_scene(folder: Path, numbers: tuple[int, ...] = NUMBERS, **more: Any) -> None:
    """Frames of the walk; picture i is the i-th of `numbers`."""
    nrgbd.write_scene(folder, [shoot(number, *SIZE, plain=True) for number in numbers], **more)


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen")
    check(NeuralRGBD(tmp_path), [shoot(number, *SIZE, plain=True) for number in NUMBERS], depth=nrgbd.DEPTH)


def test_without_a_file_the_focal_length_is_that_of_the_published_rooms(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen", focal=False)
    camera = frames(NeuralRGBD(tmp_path))[0].camera
    assert camera is not None  # 64 pixels wide: a tenth
    np.testing.assert_allclose(camera.intrinsics, np.array([[55.42562584, 0, 32], [0, 55.42562584, 24], [0, 0, 1]]))


def test_reading_a_frame_twice_gives_the_same_pose(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen")
    source = NeuralRGBD(tmp_path)
    first, again = (source.read(source.scene(0), "img1.png", geometry=True).camera for _ in range(2))
    assert first is not None and again is not None
    np.testing.assert_array_equal(first.cam2world, again.cam2world)


def test_a_lost_pose_is_a_frame_without_camera(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen", numbers=(0, 2, 4))
    lines = (tmp_path / "kitchen" / "poses.txt").read_text().splitlines()
    lines[4:8] = ["nan nan nan nan"] * 4
    (tmp_path / "kitchen" / "poses.txt").write_text("\n".join(lines))
    source = NeuralRGBD(tmp_path)
    read = frames(source)
    assert [frame.camera is None for frame in read] == [False, True, False]
    assert read[1].depth is not None and source.camera(source.scene(0), "img1.png") is None
    last = read[2].camera
    assert last is not None
    np.testing.assert_allclose(last.cam2world, shoot(4, *SIZE, plain=True).cam2world, atol=1e-9)
    (tmp_path / "kitchen" / "poses.txt").unlink()
    (tmp_path / "kitchen" / "depth" / "depth0.png").unlink()
    read = frames(NeuralRGBD(tmp_path))
    assert [frame.camera for frame in read] == [None] * 3 and [frame.depth is None for frame in read] == [True, False, False]


def test_depth_is_metres_and_unknown_beyond_ten(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen")
    (tmp_path / "kitchen" / "depth_filtered").mkdir()
    for folder, values in (("depth", [0, 1, 10000, 10001, 65535]), ("depth_filtered", [3000] * 5)):
        millimetres = np.full(SIZE, 1500, dtype=np.uint16)
        millimetres[0, :5] = values
        Image.fromarray(millimetres).save(tmp_path / "kitchen" / folder / "depth0.png")
    depth = frames(NeuralRGBD(tmp_path))[0].depth
    assert depth is not None and (depth[1:] == 1.5).all()
    np.testing.assert_allclose(depth[0, :5], [0, 0.001, 10, 0, 0])
    other = frames(NeuralRGBD(tmp_path, depth="depth_filtered"))[0].depth
    assert other is not None and other[0, 0] == 3


def test_scenes_and_frames_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("room10", "room2"):
        write_scene(tmp_path / name, numbers=tuple(range(11)))
        Image.new("RGB", (4, 4)).save(tmp_path / name / "images" / "preview.png")
    (tmp_path / "meshes").mkdir()
    source = NeuralRGBD(tmp_path)
    assert names(source) == ["room2", "room10"]
    assert list(source.scene(0).frames) == [f"img{number}.png" for number in range(11)]
    assert names(NeuralRGBD(tmp_path, scenes=["room10"])) == ["room10"]
    write_scene(tmp_path / "short")
    assert names(NeuralRGBD(tmp_path, min_images=3)) == ["room2", "room10"]


BROKEN = {
    "three rows": ("poses.txt", "1 0 0 0\n" * 3, "3 rows of 4 numbers; expected four rows of four"),
    "three columns": ("poses.txt", "1 0 0\n" * 8, "8 rows of 3 numbers"),
    "a word": ("poses.txt", "1 0 0 far\n" * 8, "expected four rows of four numbers a camera"),
    "cut off": ("poses.txt", "1 0 0 0\n" * 4, "1 poses, and there is a picture img1; the file is cut off"),
    "no focal length": ("focal.txt", "0", "expected one number above 0"),
    "two focal lengths": ("focal.txt", "554 554", "expected one number above 0"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_files_are_named(tmp_path: Path, fault: str) -> None:
    write_scene(tmp_path / "kitchen")
    file, text, message = BROKEN[fault]
    (tmp_path / "kitchen" / file).write_text(text)
    with pytest.raises(DataError, match=rf"kitchen/{re.escape(file)}: .*{message}"):
        NeuralRGBD(tmp_path)


def test_a_pose_that_is_none_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen")
    (tmp_path / "kitchen" / "poses.txt").write_text("2 0 0 0\n0 2 0 0\n0 0 2 0\n0 0 0 1\n" * 2)
    with pytest.raises(OSError, match=r"poses\.txt: the pose of img0\.png has no rotation"):
        frames(NeuralRGBD(tmp_path))


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with Neural RGB-D scenes"):
        NeuralRGBD(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"no <scene>/images/img0\.png found there; for folders of plain images use data=folder"
    ):
        NeuralRGBD(tmp_path)
    write_scene(tmp_path / "kitchen")
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{re.escape(str(tmp_path))}'"):
        NeuralRGBD(tmp_path / "kitchen")
    with pytest.raises(DataError, match=r"no 'kitchn' among the 1 scenes found there; did you mean 'kitchen'\?"):
        NeuralRGBD(tmp_path, scenes=["kitchn"])
    with pytest.raises(DataError, match=r"kitchen: no folder data\.depth='depths'; there is 'depth'"):
        NeuralRGBD(tmp_path, depth="depths")


def test_a_frame_stored_twice_is_one_frame(tmp_path: Path) -> None:
    write_scene(tmp_path / "kitchen")
    images = tmp_path / "kitchen" / "images"
    Image.open(images / "img1.png").save(images / "img1.jpg")
    assert [name[:4] for name in NeuralRGBD(tmp_path).scene(0).frames] == ["img0", "img1"]
