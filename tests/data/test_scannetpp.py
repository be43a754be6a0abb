"""ScanNet++: both layouts on disk, and the geometry of rendered frames that were written in them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.scannetpp import DEPTH, SIZE, stem, write, write_download
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.scannetpp import TRANSFORMS, ScanNetPP
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
SCENE = "0a5c013435"


@pytest.mark.parametrize("suffix", ["", ".JPG"])
def test_geometry_is_that_of_the_rendered_room(tmp_path: Path, suffix: str) -> None:
    source = ScanNetPP(**write(tmp_path, SHOTS, suffix=suffix))
    camera = source.camera(source.scene(0), source.scene(0).frames[0])
    assert camera is not None
    camera.intrinsics[:] = np.nan  # of no consequence for who asks next
    check(source, SHOTS, depth=DEPTH)


@pytest.mark.parametrize("folder", ["resized_undistorted_images", "undistorted_images"])
def test_cameras_of_the_download(tmp_path: Path, folder: str) -> None:
    """OpenGL's axes are turned, and intrinsics are for pictures of the size that is told."""
    source = ScanNetPP(**write_download(tmp_path, SHOTS, folder=folder, tests=1))
    scene = source.scene(0)
    assert scene.name == SCENE and list(scene.frames) == [f"dslr/{folder}/{stem(number)}.JPG" for number in (0, 1)]
    for frame, name, shot in zip(frames(source), scene.frames, SHOTS, strict=True):
        assert frame.camera is not None and frame.depth is None and frame.size == SIZE[::-1]
        np.testing.assert_allclose(frame.camera.cam2world, shot.cam2world, atol=1e-9)
        np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics, atol=1e-9)
        alone = source.camera(scene, name)
        assert alone is not None
        np.testing.assert_array_equal(alone.cam2world, frame.camera.cam2world)
        alone.intrinsics[:] = np.nan  # of no consequence for who asks next
        again = source.camera(scene, name)
        assert again is not None and np.isfinite(again.intrinsics).all()


def test_lists_of_the_download_choose(tmp_path: Path) -> None:
    for name in ("a2", "a10", "b"):
        write_download(tmp_path, SHOTS[:1], name)
    assert names(ScanNetPP(tmp_path)) == ["a2", "a10", "b"]
    assert names(ScanNetPP(tmp_path / "data")) == ["a2", "a10", "b"]
    with pytest.raises(ConfigError, match=r"data\.split='nvs_sem_val': .* has no folder 'splits'"):
        ScanNetPP(tmp_path, split="nvs_sem_val")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "nvs_sem_train.txt").write_text("a10\na2\nnot_downloaded\n")
    (tmp_path / "splits" / "nvs_sem_val.txt").write_text("b\n")
    (tmp_path / "splits" / "sem_test.txt").write_text("c\n")
    assert names(ScanNetPP(tmp_path, split="nvs_sem_train")) == ["a2", "a10"]
    assert names(ScanNetPP(tmp_path, split="nvs_sem_val")) == ["b"]
    assert names(ScanNetPP(tmp_path, split="all", scenes=["b", "a2"])) == ["a2", "b"]
    with pytest.raises(ConfigError, match=r"must be given: one of 'nvs_sem_train', 'nvs_sem_val', 'sem_test', 'all'"):
        ScanNetPP(tmp_path)
    with pytest.raises(DataError, match=r"sem_test\.txt lists"):
        ScanNetPP(tmp_path, split="sem_test")
    with pytest.raises(DataError, match=r"no 'b' among the 2 scenes of data\.split='nvs_sem_train'"):
        ScanNetPP(tmp_path, split="nvs_sem_train", scenes=["b"])


def test_a_list_that_is_rewritten_is_read_again(tmp_path: Path) -> None:
    write_download(tmp_path, SHOTS[:1], "a")
    write_download(tmp_path, SHOTS[:1], "b")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "val.txt").write_text("b\n")
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.utime(path, (10**9, 10**9))
    assert names(ScanNetPP(tmp_path, split="val")) == ["b"]
    (tmp_path / "splits" / "val.txt").write_text("b\na\n")
    assert names(ScanNetPP(tmp_path, split="val")) == ["a", "b"]


def test_folders_without_pictures_are_no_scenes(tmp_path: Path) -> None:
    write(tmp_path, SHOTS, "a")
    write(tmp_path, SHOTS[:1], "b")
    (tmp_path / "scannetpp_pairs").mkdir()
    (tmp_path / "all_metadata.npz").touch()
    assert names(ScanNetPP(tmp_path)) == ["a", "b"]
    assert names(ScanNetPP(tmp_path, min_images=2)) == ["a"]


def test_depth_is_millimetres_looked_up_at_the_pictures_size(tmp_path: Path) -> None:
    source = ScanNetPP(**write(tmp_path, SHOTS))
    millimetres = np.full((2 * SIZE[0], 2 * SIZE[1]), 1500, dtype=np.uint16)
    millimetres[:2, :2], millimetres[:2, 2:4] = 0, 65535
    Image.fromarray(millimetres).save(tmp_path / SCENE / "depth" / f"{stem(0)}.png")
    found = frames(source)[0].depth
    assert found is not None and found.shape == SIZE and found.dtype == np.float32
    assert found[0, :3].tolist() == pytest.approx([0, 65.535, 1.5]) and (found[1:] == 1.5).all()


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    source = ScanNetPP(**write(tmp_path, SHOTS))
    Image.fromarray(SHOTS[0].rgb).save(tmp_path / SCENE / "images" / "DSC00003.jpg")
    (tmp_path / SCENE / "depth" / f"{stem(0)}.png").unlink()
    source = ScanNetPP(tmp_path)
    first, second, third = frames(source)
    assert first.camera is not None and first.depth is None and second.camera is not None and second.depth is not None
    assert third.camera is None and third.depth is None
    (tmp_path / SCENE / "scene_metadata.npz").unlink()
    assert frames(source)[1].camera is None
    write_download(tmp_path / "download", SHOTS)
    (tmp_path / "download" / "data" / SCENE / TRANSFORMS).unlink()
    assert [frame.camera for frame in frames(ScanNetPP(tmp_path / "download"))] == [None, None]


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"trajectories": np.full((2, 4, 4), np.nan)}, "the pose of DSC00001 is not finite and rigid"),
    "scaled": ({"trajectories": 2 * np.stack([np.eye(4)] * 2)}, "the pose of DSC00001 is not finite and rigid"),
    "mirrored": ({"trajectories": np.stack([np.diag([1.0, 1, -1, 1])] * 2)}, "the pose of DSC00001 is not finite and rigid"),
    "no focal length": ({"intrinsics": np.zeros((2, 3, 3))}, "the intrinsics of DSC00001 are not finite"),
    "a last row": ({"trajectories": np.stack([np.eye(4)] * 2) + np.eye(4)[3][:, None] * 0.5}, "the pose of DSC00001"),
    "one pose": ({"trajectories": np.eye(4)[None]}, r"expected names images \[N\], trajectories"),
    "pickled": ({"images": np.array(["DSC00001", {}], dtype=object)}, r"expected names .*pickle"),
    "numbers": ({"images": np.arange(2)}, "expected names"),
}


@pytest.mark.parametrize("fault", [*BROKEN, "cut off"])
def test_broken_cameras_are_named(tmp_path: Path, fault: str) -> None:
    source = ScanNetPP(**write(tmp_path, SHOTS))
    file = tmp_path / SCENE / "scene_metadata.npz"
    arrays, message = BROKEN.get(fault, ({}, "expected names"))
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files} | arrays
    np.savez(file, **arrays)
    if fault == "cut off":
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(OSError, match=rf"scene_metadata\.npz: {message}"):
        frames(source)
    assert source.read(source.scene(0), source.scene(0).frames[0]).image.size == SIZE[::-1]


TRANSFORMS_BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "distorted": ({"k1": 0.05}, "of a lens with distortion; expected the cameras of the undistorted photographs"),
    "no focal length": ({"fl_x": None}, "the intrinsics of DSC00001 are not finite"),
    "another picture": ({"w": 100, "h": 100}, "its camera is for a picture of 100x100"),
    "a pose of three rows": (
        {"frames": [{"file_path": "a", "transform_matrix": [[1, 0, 0, 0]] * 3}]},
        "expected nerfstudio's",
    ),
    "a list": ({"frames": 7}, "expected nerfstudio's"),
}


@pytest.mark.parametrize("fault", [*TRANSFORMS_BROKEN, "cut off", "nan"])
def test_broken_transforms_are_named(tmp_path: Path, fault: str) -> None:
    source = ScanNetPP(**write_download(tmp_path, SHOTS))
    file = tmp_path / "data" / SCENE / TRANSFORMS
    changed, message = TRANSFORMS_BROKEN.get(fault, ({}, "expected nerfstudio's"))
    told = json.loads(file.read_text()) | changed
    if fault == "nan":
        told["frames"][0]["transform_matrix"][0][3], message = float("nan"), "the pose of DSC00001 is not finite and rigid"
    file.write_text(json.dumps(told)[: 300 if fault == "cut off" else None])
    with pytest.raises(OSError, match=message) as caught:
        source.camera(source.scene(0), source.scene(0).frames[0])
    assert "transforms_undistorted.json: " in str(caught.value) or fault == "another picture"


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with ScanNet\+\+ scenes"):
        ScanNetPP(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <scene>/images nor .*for folders of plain images use data=folder"):
        ScanNetPP(tmp_path)
    write(tmp_path / "prepared", SHOTS[:1])
    above = re.escape(str(tmp_path))
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{above}/prepared'"):
        ScanNetPP(tmp_path / "prepared" / SCENE)
    write_download(tmp_path / "fisheye", SHOTS[:1], folder="resized_images")
    with pytest.raises(DataError, match=r"undistort the photographs first, with dslr\.undistort"):
        ScanNetPP(tmp_path / "fisheye")
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{above}/fisheye/data'"):
        ScanNetPP(tmp_path / "fisheye" / "data" / SCENE)
    with pytest.raises(DataError, match=r"no '0a5c01343' among the 1 scenes found there; did you mean '0a5c013435'\?"):
        ScanNetPP(tmp_path / "prepared", scenes=["0a5c01343"])
