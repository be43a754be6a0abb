"""Captures with `transforms.json`: poses, lenses, splits, masks, and the geometry of rendered frames written as such."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import nerfstudio
from layouts.nerfstudio import SIZE, mask, opengl, write_scene
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.nerfstudio import Nerfstudio
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 2, 4)]
HEIGHT, WIDTH = SIZE
FIRST = "images/frame_1.png"


def change(scene: Path, frame: dict[str, Any] | None = None, **shared: Any) -> None:
    """Sets keys of the file, and of its first frame."""
    file = scene / "transforms.json"
    content = json.loads(file.read_text()) | shared
    content["frames"][0] |= frame or {}
    file.write_text(json.dumps(content))


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    source = Nerfstudio(**nerfstudio.write(tmp_path, SHOTS))
    check(source, SHOTS, depth=nerfstudio.DEPTH)
    assert names(source) == ["walk"] and source.problems == []
    assert list(source.scene(0).frames) == [f"images/frame_{number}.png" for number in (1, 2, 3)]
    for name, shot in zip(source.scene(0).frames, SHOTS, strict=True):
        np.testing.assert_array_equal(source.mask(source.scene(0), name), mask(shot))
    frame = source.read(source.scene(0), FIRST, at_least=24, geometry=True)
    assert frame.size == (WIDTH, HEIGHT) and frame.depth is not None and frame.depth.shape == SIZE


def test_what_was_applied_to_the_world_is_undone(tmp_path: Path) -> None:
    """A rotation and a shift, then a scale of positions alone."""
    write_scene(tmp_path, SHOTS)
    applied = np.eye(4)
    applied[:3, :3], applied[:3, 3] = SHOTS[2].cam2world[:3, :3], [1, -2, 3]
    content = json.loads((tmp_path / "transforms.json").read_text())
    for frame, shot in zip(content["frames"], SHOTS, strict=True):
        moved = applied @ opengl(shot.cam2world)
        moved[:3, 3] *= 0.25
        frame["transform_matrix"] = moved[:3].tolist()
    content |= {"applied_transform": applied.tolist(), "applied_scale": 0.25}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    check(Nerfstudio(tmp_path), SHOTS, depth=nerfstudio.DEPTH)


def test_intrinsics_of_a_frame_go_before_those_of_all(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS)
    change(tmp_path, {"fl_x": 70, "fl_y": 80, "cx": 60, "cy": 44, "w": 2 * WIDTH, "h": 2 * HEIGHT})
    cameras = [frame.camera for frame in frames(Nerfstudio(tmp_path))]
    assert cameras[0] is not None and cameras[1] is not None
    np.testing.assert_allclose(cameras[0].intrinsics, [[35, 0, 30], [0, 40, 22], [0, 0, 1]])
    np.testing.assert_allclose(cameras[1].intrinsics, SHOTS[1].intrinsics)


@pytest.mark.parametrize("vertical", [None, 0.7])
def test_blender_scenes_have_an_angle_of_view_and_pictures_without_suffix(tmp_path: Path, vertical: float | None) -> None:
    plain = [shoot(number, *SIZE, plain=True) for number in (0, 2, 4, 6)]
    parts = {"train": [0, 1], "val": [2], "test": [3]}
    for part, numbers in parts.items():
        (tmp_path / "lego" / part).mkdir(parents=True)
        for index, number in enumerate(numbers):
            rgba = Image.fromarray(plain[number].rgb).convert("RGBA")
            rgba.save(tmp_path / "lego" / part / f"r_{index}.png")
            rgba.save(tmp_path / "lego" / part / f"r_{index}_depth_0001.png")
        written = {"camera_angle_x": 2 * math.atan(0.5 / 0.9)} | ({"camera_angle_y": vertical} if vertical else {})
        written["frames"] = [
            {"file_path": f"./{part}/r_{index}", "rotation": 0.01, "transform_matrix": opengl(plain[n].cam2world).tolist()}
            for index, n in enumerate(numbers)
        ]
        (tmp_path / "lego" / f"transforms_{part}.json").write_text(json.dumps(written))
    source = Nerfstudio(tmp_path)
    assert names(source) == ["lego"]
    assert list(source.scene(0).frames) == ["test/r_0.png", "train/r_0.png", "train/r_1.png", "val/r_0.png"]
    for frame, number in zip(frames(source), (3, 0, 1, 2), strict=True):
        assert frame.camera is not None and frame.depth is None
        expected = plain[number].intrinsics.copy()
        if vertical:
            expected[1, 1] = HEIGHT / 2 / math.tan(vertical / 2)
        np.testing.assert_allclose(frame.camera.intrinsics, expected)
        np.testing.assert_allclose(frame.camera.cam2world, plain[number].cam2world, atol=1e-9)
    assert list(Nerfstudio(tmp_path, split="train").scene(0).frames) == ["train/r_0.png", "train/r_1.png"]
    assert list(Nerfstudio(tmp_path / "lego", split="test").scene(0).frames) == ["test/r_0.png"]


def test_splits_by_file_names(tmp_path: Path) -> None:
    for name in ("room10", "room2"):
        write_scene(tmp_path / name, SHOTS)
    change(tmp_path / "room2", train_filenames=["./images/frame_3.png", FIRST], test_filenames=["images/frame_2.png"])
    assert names(Nerfstudio(tmp_path)) == ["room2", "room10"]
    train = Nerfstudio(tmp_path, split="train")
    assert names(train) == ["room2"] and list(train.scene(0).frames) == [FIRST, "images/frame_3.png"]
    assert train.problems == ["room10: it has no split 'train'; it has none"]
    with pytest.raises(DataError, match=r"first: room2: it has no split 'val'; it has 'train', 'test'"):
        Nerfstudio(tmp_path, split="val")
    with pytest.raises(ConfigError, match=r"data\.split='valid': expected one of 'all', 'train', 'val', 'test'"):
        Nerfstudio(tmp_path, split="valid")


@pytest.mark.parametrize(
    "lens", [{"k1": 0.1}, {"p2": -0.01}, {"k4": 0.1}, {"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": True}]
)
def test_a_lens_that_distorts_is_no_camera_but_its_picture_is_listed(tmp_path: Path, lens: dict[str, Any]) -> None:
    write_scene(tmp_path, SHOTS)
    change(tmp_path, lens)
    source = Nerfstudio(tmp_path)
    read = frames(source)
    assert [(frame.camera is None, frame.depth is None) for frame in read] == [(True, True), (False, False), (False, False)]
    assert len(source.problems) == 1 and ".: 1 pictures through a lens that distorts have no camera" in source.problems[0]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS)
    (tmp_path / "depths" / "frame_2.png").unlink()
    (tmp_path / "masks" / "frame_2.png").unlink()
    content = json.loads((tmp_path / "transforms.json").read_text())
    del content["frames"][2]["transform_matrix"], content["frames"][2]["mask_path"], content["frames"][2]["depth_file_path"]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    source = Nerfstudio(tmp_path)
    read = frames(source)
    assert [(frame.camera is None, frame.depth is None) for frame in read] == [(False, False), (False, True), (True, True)]
    assert [source.mask(source.scene(0), name) is None for name in source.scene(0).frames] == [False, True, True]


def test_units_and_kinds_of_depth(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS)
    values = np.full(SIZE, 250, dtype=np.uint16)
    values[0, 0] = 0
    Image.fromarray(values).save(tmp_path / "depths" / "frame_1.png")
    np.save(tmp_path / "depths" / "one.npy", np.full((24, 32, 1), 7.0))
    change(tmp_path, depth_unit_scale_factor=0.01)
    depth = frames(Nerfstudio(tmp_path))[0].depth
    assert depth is not None and depth[0, 0] == 0 and depth[1, 1] == pytest.approx(2.5)
    change(tmp_path, {"depth_file_path": "depths/one.npy"})
    depth = frames(Nerfstudio(tmp_path, depth_unit=0.5))[0].depth
    assert depth is not None and depth.shape == SIZE and (depth == 3.5).all()
    (tmp_path / "depths" / "one.npy").write_bytes(b"no array")
    with pytest.raises(OSError, match=r"one\.npy: cannot be read .*expected an array of depth"):
        frames(Nerfstudio(tmp_path))
    with pytest.raises(ConfigError, match=r"data\.depth_unit=0: expected a factor above 0, or null"):
        Nerfstudio(tmp_path, depth_unit=0)


def test_pictures_that_lie_are_turned_with_mask_and_depth(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what was left is at the top
    Image.open(tmp_path / FIRST).save(tmp_path / FIRST, exif=exif)
    source = Nerfstudio(tmp_path)
    frame = frames(source)[0]
    assert frame.image.size == (HEIGHT, WIDTH) and frame.depth is not None and frame.camera is not None
    np.testing.assert_allclose(frame.depth, np.rot90(SHOTS[0].depth, -1), atol=0.001)
    np.testing.assert_array_equal(source.mask(source.scene(0), FIRST), np.rot90(mask(SHOTS[0]), -1))
    assert frame.camera.intrinsics[0, 0] == SHOTS[0].intrinsics[1, 1]


WRONG = {
    "nan": ({"transform_matrix": np.diag([1, np.nan, 1, 1]).tolist()}, "is no finite rigid 4x4 matrix"),
    "scaled": ({"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "is no finite rigid 4x4 matrix"),
    "mirrored": ({"transform_matrix": np.diag([-1.0, 1, 1, 1]).tolist()}, "is no finite rigid 4x4 matrix"),
    "three columns": ({"transform_matrix": np.eye(3).tolist()}, "expected matrices of 4x4 or 3x4 numbers"),
    "a word": ({"cx": "middle"}, "its camera in transforms.json cannot be read"),
    "no focal length": ({"fl_x": 0}, "expected focal lengths above 0"),
    "other shape": ({"w": 48}, "64x48 pixels; its camera is for a picture of 48x48, another aspect ratio"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_camera_that_is_none_is_named_when_it_is_read(tmp_path: Path, fault: str) -> None:
    write_scene(tmp_path, SHOTS)
    keys, message = WRONG[fault]
    change(tmp_path, keys)
    source = Nerfstudio(tmp_path)
    with pytest.raises(OSError, match=rf"images/frame_1\.png: .*{message}"):
        source.read(source.scene(0), FIRST, geometry=True)
    assert source.read(source.scene(0), "images/frame_2.png", geometry=True).camera is not None


def test_a_broken_scene_is_left_out_and_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write_scene(tmp_path / name, SHOTS)
    whole = (tmp_path / "a" / "transforms.json").read_text()
    (tmp_path / "a" / "transforms.json").write_text(whole[:-9])
    (tmp_path / "b" / "transforms.json").write_text('{"frames": [{"path": "x"}]}')
    (tmp_path / "c" / "images" / "frame_2.png").unlink()
    (tmp_path / "d" / "images").rename(tmp_path / "d" / "pictures")
    source = Nerfstudio(tmp_path)
    assert names(source) == ["c"] and list(source.scene(0).frames) == [FIRST, "images/frame_3.png"]
    told = "\n".join(sorted(source.problems))
    assert re.search(r"a: .*a/transforms\.json: JSONDecodeError.*; expected JSON with 'frames'", told)
    assert re.search(r"b: .*b/transforms\.json: KeyError: 'file_path'; expected JSON with 'frames'", told)
    assert "c: 1 of the 3 pictures that it names are not there, and left out; the first: images/frame_2.png" in told
    assert re.search(r"d: none of its 3 pictures is there, e\.g\. .*d/images/frame_1\.png", told)
    with pytest.raises(DataError, match=r"no scene that can be read found there; the first: \.: .*transforms\.json"):
        Nerfstudio(tmp_path / "a")


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a folder with a transforms\.json and its pictures"):
        Nerfstudio(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no transforms\.json found there, .*use data=folder"):
        Nerfstudio(tmp_path)
    write_scene(tmp_path / "deep" / "er", SHOTS)
    with pytest.raises(DataError, match=r"give one of the folders in it: its scenes lie deeper"):
        Nerfstudio(tmp_path)
    with pytest.raises(DataError, match=rf"folder above: give '{re.escape(str(tmp_path / 'deep' / 'er'))}'"):
        Nerfstudio(tmp_path / "deep" / "er" / "images")
    (tmp_path / "house" / "sparse").mkdir(parents=True)
    with pytest.raises(DataError, match=r"this is a reconstruction of COLMAP: use data=colmap"):
        Nerfstudio(tmp_path / "house")
