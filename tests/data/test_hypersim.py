"""Hypersim: the layout on disk, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from layouts.hypersim import DEPTH, SIZE, write, write_array, write_lenses, write_split, write_trajectory
from walk import shoot
from written import check, frames, names

from muskie.data.sources.hypersim import Hypersim
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
ROOM = "ai_001_001"
FIRST = "frame.0000.tonemap.jpg"

PLAIN = np.array([[0.5773502886169104, 0, 0], [0, 0.4330127164626828, 0], [0, 0, -1]])
"""M_cam_from_uv of rooms with a plain lens, as published."""


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(Hypersim(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_the_plain_lens_has_a_field_of_view_of_60_degrees(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    write_lenses(tmp_path, {ROOM: PLAIN}, (768, 1024))  # rendered larger than what lies there
    source = Hypersim(tmp_path)
    camera = source.camera(source.scene(0), FIRST)
    assert camera is not None
    np.testing.assert_allclose(camera.intrinsics, [[55.42562584, 0, 32], [0, 55.42562584, 24], [0, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(camera.cam2world, SHOTS[0].cam2world, atol=1e-9)


def test_depth_along_the_ray_becomes_z_and_what_is_not_finite_unknown(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    write_lenses(tmp_path, {ROOM: PLAIN})
    distances = np.full(SIZE, 2.0, dtype=np.float16)
    distances[10, :4] = [np.nan, np.inf, -1, 0]
    geometry = tmp_path / ROOM / "images" / "scene_cam_00_geometry_hdf5"
    write_array(geometry / "frame.0000.depth_meters.hdf5", distances)
    (geometry / "frame.0001.depth_meters.hdf5").unlink()
    one, other = frames(Hypersim(tmp_path))
    assert one.depth is not None and one.depth.dtype == np.float32 and other.depth is None and other.camera is not None
    assert (one.depth[10, :4] == 0).all() and (one.depth[10, 4:] > 0).all()
    # Half a pixel beside the middle, and half a pixel from the corner.
    across, up = np.tan(np.pi / 6), 0.75 * np.tan(np.pi / 6)
    expected = 2 / np.sqrt(1 + (np.array([1 / 64, 63 / 64]) * across) ** 2 + (np.array([1 / 48, 47 / 48]) * up) ** 2)
    np.testing.assert_allclose(one.depth[[24, 0], [32, 63]], expected, rtol=1e-6)


def test_the_picture_may_come_smaller_than_its_depth(tmp_path: Path) -> None:
    shot = shoot(0, 96, 128)
    source = Hypersim(**write(tmp_path, [shot]))
    frame = source.read(source.scene(0), FIRST, at_least=48, geometry=True)
    assert frame.image.size == (64, 48) and frame.size == (128, 96)
    assert frame.depth is not None and np.abs(frame.depth - shot.depth).max() < DEPTH
    # And its depth map may be of another size than the picture.
    write_array(tmp_path / ROOM / "images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5", np.ones((48, 64)))
    other = frames(source)[0].depth
    assert other is not None and other.shape == (96, 128)


def test_cameras_are_scenes_of_a_room_and_one_modality_is_shown(tmp_path: Path) -> None:
    for room, camera in (("ai_010_002", "cam_10"), ("ai_010_002", "cam_02"), ("ai_002_001", "cam_00")):
        write_trajectory(tmp_path / room, SHOTS[:1] * 11, camera)
    (tmp_path / "ai_010_002" / "images" / "scene_cam_03_geometry_preview").mkdir()
    (tmp_path / "meshes").mkdir()
    source = Hypersim(tmp_path)
    assert names(source) == ["ai_002_001/cam_00", "ai_010_002/cam_02", "ai_010_002/cam_10"] and source.window == 16
    assert [source.scene(number).room for number in range(3)] == ["ai_002_001", "ai_010_002", "ai_010_002"]
    assert list(source.scene(0).frames) == [f"frame.{number:04d}.tonemap.jpg" for number in range(11)]
    other = Hypersim(tmp_path, modality="diffuse_reflectance")
    assert other.scene(0).frames[0] == "frame.0000.diffuse_reflectance.jpg"
    mean = [np.asarray(each.read(each.scene(0), each.scene(0).frames[0]).image).mean() for each in (source, other)]
    assert mean[0] > 1.5 * mean[1]
    with pytest.raises(DataError, match=r"\(data\.modality\); did you mean 'tonemap'\?"):
        Hypersim(tmp_path, modality="tonemapped")


def test_the_official_split_is_kept(tmp_path: Path) -> None:
    root = tmp_path / "evermotion_dataset" / "scenes"
    for room in ("ai_001_001", "ai_001_002"):
        write_trajectory(root / room, SHOTS)
    write_trajectory(root / "ai_001_001", SHOTS, "cam_01")
    assert len(Hypersim(root)) == 3
    with pytest.raises(DataError, match=r"data\.split='train' needs metadata_images_split_scene_v1\.csv, which is not"):
        Hypersim(root, split="train")
    analysis = root.parent / "analysis"  # where a clone of the repository has it
    analysis.mkdir()
    released = ["ai_001_001,cam_00,0,True,,train", "ai_001_001,cam_00,1,False,CONTENT FLAGGED FOR REMOVAL,train"]
    write_split(analysis, [*released, "ai_001_001,cam_01,1,True,,train", "ai_001_002,cam_00,0,True,,val"])
    source = Hypersim(root, split="train")
    listed = [(scene.name, list(scene.frames)) for scene in (source.scene(number) for number in range(len(source)))]
    assert listed == [("ai_001_001/cam_00", [FIRST]), ("ai_001_001/cam_01", ["frame.0001.tonemap.jpg"])]
    assert names(Hypersim(root, split="val")) == ["ai_001_002/cam_00"]
    assert analysis / "metadata_images_split_scene_v1.csv" in source.watched(source.scene(0))
    with pytest.raises(DataError, match=r"none of the 2 rooms there is in data\.split='test', by .*/analysis/metadata_"):
        Hypersim(root, split="test")
    with pytest.raises(ConfigError, match=r"data\.split='valid': expected one of 'all', 'train', 'val', 'test'"):
        Hypersim(root, split="valid")


def test_what_was_not_downloaded_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    (tmp_path / "metadata_camera_parameters.csv").unlink()
    source = Hypersim(tmp_path)
    with pytest.raises(DataError, match=r"geometry needs metadata_camera_parameters\.csv.* copy it from contrib/mike"):
        frames(source)
    for file in [*tmp_path.rglob("camera_keyframe_*.hdf5"), *tmp_path.rglob("frame.*.hdf5")]:
        file.unlink()
    assert [(frame.depth, frame.camera) for frame in frames(source)] == [(None, None)] * 2


def test_the_package_that_reads_hdf5_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Hypersim(**write(tmp_path, SHOTS))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert source.read(source.scene(0), FIRST).image.size == SIZE[::-1]
    with pytest.raises(ConfigError, match=r"frame\.0000\.depth_meters\.hdf5: .*install it: pip install h5py"):
        source.read(source.scene(0), FIRST, geometry=True)


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ai_001_001/images/.*jpg found there; for folders of plain images"):
        Hypersim(tmp_path)
    (tmp_path / "ai_001_001.zip").touch()
    with pytest.raises(DataError, match=r"found there; unpack the archives"):
        Hypersim(tmp_path)
    write(tmp_path / "scenes", SHOTS)
    (tmp_path / "ai_001_001.zip").unlink()
    with pytest.raises(DataError, match=rf"the rooms are in '{re.escape(str(tmp_path / 'scenes'))}': give that"):
        Hypersim(tmp_path)
    with pytest.raises(DataError, match=rf"this is a room: give the folder above, '{re.escape(str(tmp_path / 'scenes'))}'"):
        Hypersim(tmp_path / "scenes" / ROOM)
