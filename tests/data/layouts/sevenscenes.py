"""7-Scenes: what the colour camera sees, with poses of the depth camera, and depth of either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot, _walk

from muskie.data.rooms import render
from muskie.data.sources.sevenscenes import COLOUR_INTRINSICS, COLOUR_TO_DEPTH, DEPTH_INTRINSICS, SevenScenes

SOURCE = SevenScenes
SIZE = (48, 64)
DEPTH = 0.0005001
POSES, MASKS, PLAIN = True, False, True


def shoot(number: int) -> Shot:
    """Picture `number` of the walk by the colour camera of 7-Scenes, whose intrinsics stand in no file."""
    room, path = _walk()
    matrix = at_size(COLOUR_INTRINSICS)
    return Shot(*render(room, path[number], matrix, SIZE), matrix, path[number])


def at_size(intrinsics: np.ndarray) -> np.ndarray:
    return np.diag([SIZE[1] / 640, SIZE[0] / 480, 1.0]) @ intrinsics


def write_sequence(folder: Path, shots: Sequence[Shot], registered: bool = True) -> None:
    """Depth as the colour camera sees it, `registered`, or as the depth camera beside it does."""
    folder.mkdir(parents=True)
    for index, shot in enumerate(shots):
        stem = f"{folder}/frame-{index:06d}"
        beside = shot.cam2world @ np.linalg.inv(COLOUR_TO_DEPTH)
        depth = shot.depth if registered else render(_walk()[0], beside, at_size(DEPTH_INTRINSICS), SIZE)[1]
        Image.fromarray(shot.rgb).save(f"{stem}.color.png")
        millimetres = np.round(depth * 1000).astype(np.uint16)
        Image.fromarray(millimetres).save(f"{stem}.depth.proj.png" if registered else f"{stem}.depth.png")
        np.savetxt(f"{stem}.pose.txt", beside, fmt="%.12f")


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_sequence(root / "chess" / "seq-01", shots)
    return {"root": root}
