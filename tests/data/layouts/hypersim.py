"""Hypersim, as its archives unpack, with the two files of its repository beside the rooms."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.hypersim import Hypersim

SOURCE = Hypersim
SIZE = (48, 64)
DEPTH = 1e-5
POSES, MASKS, PLAIN = True, False, False

METRES = 0.0254
"""How long a unit of the room is."""


def write_array(file: Path, values: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as content:
        content["dataset"] = values


def distance(shot: Shot) -> np.ndarray:
    """Float32 [H, W], from the camera's centre to what a pixel shows."""
    height, width = shot.depth.shape
    rows, columns = np.mgrid[:height, :width] + 0.5
    x = (columns - shot.intrinsics[0, 2]) / shot.intrinsics[0, 0]
    y = (rows - shot.intrinsics[1, 2]) / shot.intrinsics[1, 1]
    return (shot.depth * np.sqrt(1 + x * x + y * y)).astype(np.float32)


def cam_from_uv(shot: Shot) -> np.ndarray:
    """Rays with z = -1, y up, of u and v, which are -1 at the left and lower border and 1 at the others."""
    height, width = shot.depth.shape
    (focal_x, _, centre_x), (_, focal_y, centre_y) = shot.intrinsics[:2]
    left, right = -centre_x / focal_x, (width - centre_x) / focal_x
    upper, lower = centre_y / focal_y, -(height - centre_y) / focal_y
    half = np.array([(right - left) / 2, (upper - lower) / 2])
    middle = np.array([(right + left) / 2, (upper + lower) / 2])
    return np.array([[half[0], 0, middle[0]], [0, half[1], middle[1]], [0, 0, -1]])


def write_lenses(root: Path, matrices: dict[str, np.ndarray], size: tuple[int, int] = SIZE) -> None:
    """`metadata_camera_parameters.csv`, of rooms; `size` is height and width."""
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    with (root / "metadata_camera_parameters.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["scene_name", "settings_output_img_height", "settings_output_img_width", "film", *names])
        for room, matrix in matrices.items():
            lines.writerow([room, *map(float, size), "AColor(0, 0)", *map(repr, matrix.ravel().tolist())])


def write_trajectory(room: Path, shots: Sequence[Shot], camera: str = "cam_00") -> None:
    for number, shot in enumerate(shots):
        for modality, brightness in (("color", 0), ("diffuse_reflectance", 1), ("tonemap", 2)):
            file = room / "images" / f"scene_{camera}_final_preview" / f"frame.{number:04d}.{modality}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((shot.rgb * (brightness / 2)).astype(np.uint8)).save(file, quality=95)
        geometry = room / "images" / f"scene_{camera}_geometry_hdf5"
        write_array(geometry / f"frame.{number:04d}.depth_meters.hdf5", distance(shot))
    poses = np.stack([shot.cam2world for shot in shots])
    detail = room / "_detail" / camera
    # x right, y up, z backwards: the second and the third axis of the camera point the other way.
    write_array(detail / "camera_keyframe_orientations.hdf5", poses[:, :3, :3] * [1, -1, -1])
    write_array(detail / "camera_keyframe_positions.hdf5", poses[:, :3, 3] / METRES)
    (room / "_detail" / "metadata_scene.csv").write_text(f"parameter_name,parameter_value\nmeters_per_asset_unit,{METRES}\n")


def write_split(root: Path, lines: Sequence[str]) -> None:
    """Each line: room, camera, number, whether it was released, why not, and its part."""
    header = "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"
    (root / "metadata_images_split_scene_v1.csv").write_text("\n".join([header, *lines]) + "\n")


def write(root: Path, shots: Sequence[Shot], room: str = "ai_001_001") -> dict[str, Any]:
    write_trajectory(root / room, shots)
    write_lenses(root, {room: cam_from_uv(shots[0])}, shots[0].depth.shape)
    return {"root": root}
