"""NAVI: photographs of an object, shrunken copies, disparity that knows the object alone, and its masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot
from written import quaternion

from muskie.data.sources.navi import Navi

SOURCE = Navi
SIZE = (48, 64)
UNIT = 0.1
"""The room is written as an object of this size: NAVI's depth is finest within a metre."""
BACKGROUND = 0.4
"""Metres from which on a pixel is not of the object, and has no depth."""
DEPTH = 0.5 / 655.35 * BACKGROUND**2 * 1.01
"""Half a step of the disparity where it is farthest."""
POSES, MASKS, PLAIN = True, True, True


def annotation(shot: Shot, number: int, times: int = 10) -> dict[str, Any]:
    """Of a picture that is `times` as large as the one that is written."""
    world2cam = np.linalg.inv(shot.cam2world)
    return {
        "object_id": "lamp",
        "camera": {
            "q": quaternion(world2cam[:3, :3]),
            "t": (1000 * UNIT * world2cam[:3, 3]).tolist(),
            "focal_length": times * float(shot.intrinsics[0, 0]),
            "camera_model": "pixel_5",
        },
        "filename": f"{number:03d}.jpg",
        "image_size": [times * side for side in shot.depth.shape],
        "split": "train",
        "occluded": False,
    }


def thing(shot: Shot) -> np.ndarray:
    return UNIT * shot.depth < BACKGROUND


def write_scene(
    folder: Path, shots: Sequence[Shot], numbers: Sequence[int] | None = None, prefix: str = "downsampled_"
) -> None:
    """Picture i is that of number `numbers[i]`."""
    numbers = range(len(shots)) if numbers is None else numbers
    for part in ("images", "depth", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, shot in zip(numbers, shots, strict=True):
        Image.fromarray(shot.rgb).save(folder / "images" / f"{prefix}{number:03d}.jpg", quality=95)
        disparity = np.where(thing(shot), np.round(655.35 / (UNIT * shot.depth.astype(np.float64))), 0)
        Image.fromarray(disparity.astype(np.uint16)).save(folder / "depth" / f"{prefix}{number:03d}.png")
        Image.fromarray(255 * thing(shot).astype(np.uint8)).save(folder / "masks" / f"{prefix}{number:03d}.png")
    entries = [annotation(shot, number) for number, shot in zip(numbers, shots, strict=True)]
    (folder / "annotations.json").write_text(json.dumps(entries))


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / "lamp" / "multiview_00_pixel_5", shots)
    return {"root": root, "require_wild_set": False}
