"""WildRGB-D: the layout on disk, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from layouts.wildrgbd import DEPTH, SIZE, near, write, write_scene
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.wildrgbd import WildRGBD
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
SCENE = Path("apple/scenes/scene_000")


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(WildRGBD(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_intrinsics_follow_the_size_of_the_picture(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    for number, shot in enumerate(SHOTS):
        smaller = Image.fromarray(shot.rgb).resize((SIZE[1] // 2, SIZE[0] // 2))
        smaller.save(tmp_path / SCENE / "rgb" / f"{number:05d}.png")
    frame = frames(WildRGBD(tmp_path))[0]
    assert frame.camera is not None and frame.depth is not None and frame.depth.shape == (SIZE[0] // 2, SIZE[1] // 2)
    np.testing.assert_allclose(frame.camera.intrinsics[:2], SHOTS[0].intrinsics[:2] / 2)


def test_masks_show_the_object(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    source = WildRGBD(tmp_path)
    for name, shot in zip(source.scene(0).frames, SHOTS, strict=True):
        mask = source.mask(source.scene(0), name)
        assert mask is not None and mask.dtype == bool
        np.testing.assert_array_equal(mask, near(shot))
    (tmp_path / SCENE / "masks" / "00000.png").unlink()
    assert source.mask(source.scene(0), "00000.png") is None
    (tmp_path / SCENE / "masks" / "00001.png").write_bytes(b"\x89PNG")
    with pytest.raises(OSError, match=r"masks/00001\.png"):
        source.mask(source.scene(0), "00001.png")


def test_depth_is_millimetres(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    millimetres = np.full(SIZE, 1500, dtype=np.uint16)
    millimetres[0, :3] = [0, 1, 65535]
    Image.fromarray(millimetres).save(tmp_path / SCENE / "depth" / "00000.png")
    (tmp_path / SCENE / "depth" / "00001.png").unlink()
    one, other = frames(WildRGBD(tmp_path))
    assert one.depth is not None and (one.depth[1:] == 1.5).all() and other.depth is None and other.camera is not None
    np.testing.assert_allclose(one.depth[0, :3], [0, 0.001, 65.535])


def test_poses_are_found_by_the_number_of_their_frame(tmp_path: Path) -> None:
    write(tmp_path, [*SHOTS, shoot(8, *SIZE)])
    file = tmp_path / SCENE / "cam_poses.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join((lines[2], lines[0])))
    cameras = [frame.camera for frame in frames(WildRGBD(tmp_path))]
    assert [camera is None for camera in cameras] == [False, True, False]
    for camera, number in ((cameras[0], 0), (cameras[2], 8)):
        assert camera is not None
        np.testing.assert_allclose(camera.cam2world, shoot(number, *SIZE).cam2world, atol=1e-9)


@pytest.mark.parametrize("missing", ["cam_poses.txt", "metadata"])
def test_without_their_files_there_are_no_cameras(tmp_path: Path, missing: str) -> None:
    write(tmp_path, SHOTS)
    (tmp_path / SCENE / missing).unlink()
    read = frames(WildRGBD(tmp_path))
    assert [frame.camera for frame in read] == [None, None] and all(frame.depth is not None for frame in read)


def test_scenes_and_frames_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("car/scenes/scene_010", "car/scenes/scene_9", "apple/scenes/scene_000"):
        write_scene(tmp_path / name, SHOTS[:1] * 11)
    for number in (10, 9):
        for part in ("rgb", "depth", "masks"):
            folder = tmp_path / "car" / "scenes" / "scene_9" / part
            (folder / f"{number:05d}.png").rename(folder / f"{number}.png")
    (tmp_path / "car" / "scenes" / "scene_011" / "depth").mkdir(parents=True)
    (tmp_path / "zips").mkdir()
    source = WildRGBD(tmp_path)
    assert names(source) == ["apple/scene_000", "car/scene_9", "car/scene_010"]
    assert list(source.scene(1).frames)[-3:] == ["00008.png", "9.png", "10.png"] and source.window == 32
    assert names(WildRGBD(tmp_path, categories=["car"])) == ["car/scene_9", "car/scene_010"]
    with pytest.raises(DataError, match=r"no 'cars' among the 2 categories found there; did you mean 'car'"):
        WildRGBD(tmp_path, categories=["cars"])
    with pytest.raises(DataError, match=r"no scene of data\.min_images=12 images or more; the largest has 11"):
        WildRGBD(tmp_path, min_images=12)


def test_official_lists_divide_the_videos(tmp_path: Path) -> None:
    for name in ("apple/scenes/scene_000", "apple/scenes/scene_001", "car/scenes/scene_000", "hat/scenes/scene_000"):
        write_scene(tmp_path / name, SHOTS)
    listed = {"train": ["scene_001", "scene_007"], "val": ["scenes/scene_000"]}
    for category, stated in (("apple", listed), ("car", {"train": ["scene_000"], "val": []})):
        (tmp_path / category / "camera_eval_list.json").write_text(json.dumps(stated))

    def found(split: str | None) -> list[str]:
        return names(WildRGBD(tmp_path, set_list="camera_eval_list", split=split))

    assert found("train") == ["apple/scene_001", "car/scene_000"] and found("val") == ["apple/scene_000"]
    assert found(None) == ["apple/scene_000", "apple/scene_001", "car/scene_000"]
    assert len(WildRGBD(tmp_path)) == 4
    with pytest.raises(DataError, match=r"no category there has the list data\.set_list='nvs_list'"):
        WildRGBD(tmp_path, set_list="nvs_list")
    with pytest.raises(DataError, match=r"no video of data\.set_list='camera_eval_list', data\.split='val', is there"):
        WildRGBD(tmp_path, categories=["car"], set_list="camera_eval_list", split="val")
    source, file = WildRGBD(tmp_path, set_list="camera_eval_list"), tmp_path / "apple" / "camera_eval_list.json"
    assert file in source.watched(source.scene(0)) and file not in WildRGBD(tmp_path).watched(source.scene(0))
    file.write_text('{"train": []}')
    with pytest.raises(DataError, match=r"camera_eval_list\.json: no 'val'; expected"):
        found("val")


def test_splits_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.split='val' is a part of a list; name that, e\.g\. data\.set_list="):
        WildRGBD(tmp_path, split="val")
    with pytest.raises(ConfigError, match=r"data\.split='test': expected one of 'train', 'val', or null"):
        WildRGBD(tmp_path, set_list="nvs_list", split="test")
    with pytest.raises(ConfigError, match=r"data\.set_list='nvs': expected one of 'camera_eval_list', 'nvs_list', or null"):
        WildRGBD(tmp_path, set_list="nvs")


BROKEN = {
    "NaN": ("cam_poses.txt", "0 nan 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", r"the pose of frame 0 is not usable"),
    "scaled": ("cam_poses.txt", "0 2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1", r"the pose of frame 0 is not usable"),
    "mirrored": ("cam_poses.txt", "0 -1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", r"the pose of frame 0 is not usable"),
    "last row": ("cam_poses.txt", "0 1 0 0 0 0 1 0 0 0 0 1 0 0 0 1 1", r"the pose of frame 0 is not usable"),
    "cut off": ("cam_poses.txt", "0 1 0 0 0 0 1 0 0 0 0 1", r"12 numbers a line; expected a frame's number and 16"),
    "a word": ("cam_poses.txt", "0 1 0 0 far", r"expected a frame's number and 16 numbers a line"),
    "no JSON": ("metadata", '{"K": [50, 0', r"expected JSON with w, h and K"),
    "no width": ("metadata", '{"K": [50, 0, 0, 0, 50, 0, 24, 32, 1], "h": 64}', r"no 'w'; expected JSON"),
    "eight numbers": ("metadata", '{"K": [50, 0, 0, 0, 50, 0, 24, 32], "w": 48, "h": 64}', r"expected JSON with w, h and K"),
    "row by row": ("metadata", '{"K": [50, 0, 24, 0, 50, 32, 0, 0, 1], "w": 48, "h": 64}', r"column by column"),
    "no focal length": ("metadata", '{"K": [50, 0, 0, 0, 0, 0, 24, 32, 1], "w": 48, "h": 64}', r"no matrix of intrinsics"),
    "another picture": ("metadata", '{"K": [50, 0, 0, 0, 50, 0, 24, 32, 1], "w": 64, "h": 48}', r"another aspect ratio"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_camera_is_named_when_it_is_read(tmp_path: Path, fault: str) -> None:
    write(tmp_path, SHOTS)
    file, text, message = BROKEN[fault]
    (tmp_path / SCENE / file).write_text(text)
    source = WildRGBD(tmp_path)
    for call in (source.camera, lambda scene, frame: source.read(scene, frame, geometry=True)):
        with pytest.raises(OSError, match=rf"(?s){re.escape(str(tmp_path / SCENE))}/.*{message}"):
            call(source.scene(0), "00000.png")


@pytest.mark.parametrize("part", ["rgb", "depth"])
def test_pictures_that_are_cut_off_are_named(tmp_path: Path, part: str) -> None:
    write(tmp_path, SHOTS)
    file = tmp_path / SCENE / part / "00000.png"
    file.write_bytes(file.read_bytes()[:200])
    source = WildRGBD(tmp_path)
    with pytest.raises(OSError, match=rf"{part}/00000\.png"):
        source.read(source.scene(0), "00000.png", geometry=True)


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no <category>/scenes/scene_000/rgb/00000\.png found there; for folders of plain"):
        WildRGBD(tmp_path)
    (tmp_path / "apple.zip").touch()
    with pytest.raises(DataError, match=r"found there; unpack the archives"):
        WildRGBD(tmp_path)
    write(tmp_path, SHOTS)
    for folder, what in (("apple", "category"), ("apple/scenes", "folder of scenes"), (str(SCENE), "scene")):
        above = re.escape(f"'{tmp_path}'")
        with pytest.raises(DataError, match=rf"this is a {what}: give the folder of the categories, {above}"):
            WildRGBD(tmp_path / folder)
