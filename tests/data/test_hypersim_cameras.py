"""Hypersim's cameras: lenses that are tilted or shifted, and files that are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layouts.hypersim import SIZE, write, write_array, write_lenses
from walk import shoot
from written import frames

from muskie.data.sources.hypersim import Hypersim
from muskie.errors import DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
ROOM, FIRST = "ai_001_001", "frame.0000.tonemap.jpg"

PLAIN = np.array([[0.5773502886169104, 0, 0], [0, 0.4330127164626828, 0], [0, 0, -1]])
"""M_cam_from_uv of rooms with a plain lens, as published."""

LENSES = {
    "tilted and shifted": (  # ai_042_003, as published: M_cam_from_uv, and of M_proj what becomes x, y and w
        [[0.58138679, 0, 0], [0, 0.445999808, -0.011893328], [-0.133718964, 0.035679984, -1.024445511]],
        [[1.720025322, 0, 0], [-0.005992544, 2.244237793, -0.02605454], [-0.224720413, 0.078163619, -0.977045255]],
    ),
    "shifted": (  # ai_044_002
        [[0.578222729, 0, -0.034693363], [0, 0.433667047, 0.057822274], [0, 0, -1.001511112]],
        [[1.729437378, 0, -0.059909469], [0, 2.305916503, 0.133132158], [0, 0, -0.998491168]],
    ),
}


@pytest.mark.parametrize("lens", LENSES)
def test_a_tilted_or_shifted_lens_is_a_turned_camera(tmp_path: Path, lens: str) -> None:
    matrix, projection = (np.array(part) for part in LENSES[lens])
    write(tmp_path, SHOTS)
    write_lenses(tmp_path, {ROOM: matrix})
    (height, width), rng = SIZE, np.random.default_rng(0)
    distances = rng.uniform(1, 5, SIZE)
    write_array(tmp_path / ROOM / "images" / "scene_cam_00_geometry_hdf5" / "frame.0000.depth_meters.hdf5", distances)
    frame = frames(Hypersim(tmp_path))[0]
    assert frame.camera is not None and frame.depth is not None
    pose, intrinsics = SHOTS[0].cam2world, frame.camera.intrinsics
    # Each pixel by the data set's own account: so far along a ray of OpenGL's axes, in the pose of the file.
    rows, columns = np.mgrid[:height, :width] + 0.5
    uv = np.stack([2 * columns / width - 1, 1 - 2 * rows / height, np.ones(SIZE)], axis=-1)
    rays = uv @ matrix.T
    local = rays / np.linalg.norm(rays, axis=-1, keepdims=True) * distances[..., None]
    points = (local * [1, -1, -1]) @ pose[:3, :3].T + pose[:3, 3]
    # And by ours.
    pixels = np.stack([columns, rows, np.ones(SIZE)], axis=-1)
    ours = pixels @ np.linalg.inv(intrinsics).T * frame.depth[..., None]
    ours = ours @ frame.camera.cam2world[:3, :3].T + frame.camera.cam2world[:3, 3]
    np.testing.assert_allclose(ours, points, atol=1e-5)
    # And by the projection that is published beside the matrix.
    x, y, w = np.moveaxis(local @ projection.T, -1, 0)
    np.testing.assert_allclose((x / w + 1) / 2 * width, columns, atol=1e-3)
    np.testing.assert_allclose((1 - y / w) / 2 * height, rows, atol=1e-3)
    np.testing.assert_allclose(intrinsics[[1, 2, 2], [0, 0, 1]], 0, atol=1e-12)
    assert min(intrinsics[0, 0], intrinsics[1, 1]) > 0 and np.linalg.det(frame.camera.cam2world[:3, :3]) > 0


def _break(room: Path, fault: str) -> None:
    detail, geometry = room / "_detail", room / "images" / "scene_cam_00_geometry_hdf5"
    orientations, positions = (detail / "cam_00" / f"camera_keyframe_{what}.hdf5" for what in ("orientations", "positions"))
    turns = np.stack([shot.cam2world[:3, :3] * [1, -1, -1] for shot in SHOTS])
    match fault:
        case "NaN":
            write_array(orientations, turns * np.nan)
        case "scaled":
            write_array(orientations, turns * 2)
        case "mirrored":
            write_array(orientations, turns * [1, 1, -1])
        case "no positions":
            positions.unlink()
        case "a trajectory cut short":
            write_array(positions, np.ones((1, 3)))
        case "a file cut off":
            orientations.write_bytes(orientations.read_bytes()[:200])
        case "no unit":
            (detail / "metadata_scene.csv").write_text("parameter_name,parameter_value\n")
        case "a unit of nothing":
            (detail / "metadata_scene.csv").write_text("parameter_name,parameter_value\nmeters_per_asset_unit,0.0\n")
        case "another room":
            write_lenses(room.parent, {"ai_001_002": PLAIN})
        case "no lens":
            write_lenses(room.parent, {ROOM: np.diag([0.5, 0, -1.0])})
        case "a lens of NaN":
            write_lenses(room.parent, {ROOM: PLAIN * np.nan})
        case "an empty lens":
            file = room.parent / "metadata_camera_parameters.csv"
            file.write_text(file.read_text().replace(",-1.0", ","))
        case "another picture":
            write_lenses(room.parent, {ROOM: PLAIN}, (SIZE[1], SIZE[0]))
        case "a depth map cut off":
            (geometry / "frame.0000.depth_meters.hdf5").write_bytes(b"HDF")
        case "a depth map of colours":
            write_array(geometry / "frame.0000.depth_meters.hdf5", np.ones((*SIZE, 3)))


BROKEN = {
    **dict.fromkeys(("NaN", "scaled", "mirrored"), r"_detail/cam_00: the pose of frame 0 is not usable"),
    "no positions": r"camera_keyframe_positions\.hdf5: no such file",
    "a trajectory cut short": r"orientations\.hdf5: of shape \(2, 3, 3\), beside positions of shape \(1, 3\)",
    "a file cut off": r"camera_keyframe_orientations\.hdf5: cannot be decoded",
    **dict.fromkeys(("no unit", "a unit of nothing"), r"metadata_scene\.csv: no line meters_per_asset_unit,<number"),
    **dict.fromkeys(
        ("another room", "no lens", "a lens of NaN", "an empty lens"),
        r"parameters\.csv: no camera of ai_001_001, or one that",
    ),
    "another picture": r"tonemap\.jpg: 64x48 pixels; its camera is for a picture of 48x64",
    "a depth map cut off": r"frame\.0000\.depth_meters\.hdf5: cannot be decoded",
    "a depth map of colours": r"frame\.0000\.depth_meters\.hdf5: values of shape \[48, 64, 3\]; expected depth",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_named_when_it_is_read(tmp_path: Path, fault: str) -> None:
    source = Hypersim(**write(tmp_path, SHOTS))
    _break(tmp_path / ROOM, fault)
    with pytest.raises(OSError, match=BROKEN[fault]):
        frames(source)
    if "depth" not in fault:
        with pytest.raises(OSError, match=BROKEN[fault]):
            source.camera(source.scene(0), FIRST)


def test_frames_beyond_the_end_of_their_trajectory_are_an_error(tmp_path: Path) -> None:
    source = Hypersim(**write(tmp_path, SHOTS))
    for what, values in (("orientations", np.eye(3)[None]), ("positions", np.zeros((1, 3)))):
        write_array(tmp_path / ROOM / "_detail" / "cam_00" / f"camera_keyframe_{what}.hdf5", values)
    assert source.camera(source.scene(0), FIRST) is not None
    with pytest.raises(OSError, match=r"_detail/cam_00: the pose of frame 1 is missing: there are 1"):
        source.camera(source.scene(0), "frame.0001.tonemap.jpg")


def test_tables_of_another_kind_are_refused(tmp_path: Path) -> None:
    source = Hypersim(**write(tmp_path, SHOTS))
    (tmp_path / "metadata_camera_parameters.csv").write_text("scene_name,fov\nai_001_001,60\n")
    with pytest.raises(DataError, match=r"parameters\.csv: no column 'M_cam_from_uv_00'; expected the file of that name"):
        source.camera(source.scene(0), FIRST)
    (tmp_path / "metadata_images_split_scene_v1.csv").write_text("scene_name\nai_001_001\n")
    with pytest.raises(DataError, match=r"split_scene_v1\.csv: no column 'split_partition_name'; expected the file"):
        Hypersim(tmp_path, split="val")
