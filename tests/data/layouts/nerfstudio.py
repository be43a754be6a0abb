"""A capture as nerfstudio's `ns-process-data` leaves it, with depth and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.nerfstudio import Nerfstudio

SOURCE = Nerfstudio
SIZE = (48, 64)
DEPTH, UNIT = 0.0005001, 1.0
POSES, MASKS, PLAIN = True, True, False

APPLIED = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""What nerfstudio does to COLMAP's world."""


def opengl(cam2world: np.ndarray) -> np.ndarray:
    """The same pose with axes x right, y up, z backwards."""
    return np.column_stack([cam2world[:, 0], -cam2world[:, 1], -cam2world[:, 2], cam2world[:, 3]])


def mask(shot: Shot) -> np.ndarray:
    """What is nearer than most."""
    return shot.depth < np.median(shot.depth)


def content(shots: Sequence[Shot], names: Sequence[str]) -> dict[str, Any]:
    """What the file says of pictures of these names."""
    height, width = shots[0].depth.shape
    matrix = shots[0].intrinsics
    return {
        "camera_model": "OPENCV",
        "w": width,
        "h": height,
        "fl_x": matrix[0, 0],
        "fl_y": matrix[1, 1],
        "cx": matrix[0, 2],
        "cy": matrix[1, 2],
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),
        "applied_transform": APPLIED[:3].tolist(),
        "frames": [
            {
                "file_path": f"./images/{name}.png",
                "depth_file_path": f"depths/{name}.png",
                "mask_path": f"masks/{name}.png",
                "transform_matrix": (APPLIED @ opengl(shot.cam2world)).tolist(),
            }
            for shot, name in zip(shots, names, strict=True)
        ],
    }


def write_scene(folder: Path, shots: Sequence[Shot]) -> None:
    names = [f"frame_{number}" for number in range(1, len(shots) + 1)]
    for part in ("images", "depths", "masks"):
        (folder / part).mkdir(parents=True)
    for shot, name in zip(shots, names, strict=True):
        Image.fromarray(shot.rgb).save(folder / "images" / f"{name}.png")
        Image.fromarray(np.round(shot.depth * 1000).astype(np.uint16)).save(folder / "depths" / f"{name}.png")
        Image.fromarray(np.where(mask(shot), 255, 0).astype(np.uint8)).save(folder / "masks" / f"{name}.png")
    (folder / "transforms.json").write_text(json.dumps(content(shots, names)))


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / "walk", shots)
    return {"root": root}
