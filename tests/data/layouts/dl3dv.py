"""DL3DV-10K, as the archives of its parts unpack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.dl3dv import DL3DV

SOURCE = DL3DV
SIZE = (48, 64)
DEPTH = None
POSES, MASKS, PLAIN = True, False, False

SCENE = "1K/" + "0a1b" * 16
SHRUNK = 8
"""By how much the pictures are smaller than those that the intrinsics are of."""


def transforms(shots: Sequence[Shot], shrunk: int = SHRUNK, **lens: float) -> dict[str, Any]:
    """What `transforms.json` says of the shots."""
    (height, width), matrix = shots[0].depth.shape, shots[0].intrinsics * shrunk
    numbers = {"fl_x": matrix[0, 0], "fl_y": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
    frames = [
        {
            "file_path": f"images/frame_{number:05d}.png",
            "transform_matrix": (shot.cam2world @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist(),
            "colmap_im_id": number,
        }
        for number, shot in enumerate(shots, 1)
    ]
    return {
        "w": width * shrunk,
        "h": height * shrunk,
        **numbers,
        "k1": 0.0,
        "k2": 0.0,
        "p1": 0.0,
        "p2": 0.0,
        **lens,
        "camera_model": "OPENCV",
        "frames": frames,
        "applied_transform": [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]],
    }


def write_scene(folder: Path, shots: Sequence[Shot], images: str = "images_8", **lens: float) -> None:
    (folder / images).mkdir(parents=True)
    for number, shot in enumerate(shots, 1):
        Image.fromarray(shot.rgb).save(folder / images / f"frame_{number:05d}.png")
    (folder / "transforms.json").write_text(json.dumps(transforms(shots, **lens)))


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / SCENE, shots)
    return {"root": root}
