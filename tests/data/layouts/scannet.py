"""ScanNet, as its SensReader exports it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot, intrinsics

from muskie.data.sources.scannet import ScanNet

SOURCE = ScanNet
SIZE = (48, 64)
DEPTH = 0.0005001
POSES, MASKS, PLAIN = True, False, False


def recorded(width: int, height: int) -> np.ndarray:
    """The intrinsics as ScanNet states them, 4x4, for a picture of this size: pixel centres are at integers."""
    matrix = np.eye(4)
    matrix[:3, :3] = intrinsics(height, width)
    matrix[:2, 2] -= 0.5
    return matrix


def write_scene(
    folder: Path,
    shots: Sequence[Shot],
    numbers: Sequence[int] | None = None,
    depths: Sequence[np.ndarray] | None = None,
    own: bool = True,
) -> None:
    """Picture i is `<5 numbers[i]>.jpg`; `depths`: in place of the shots'; `own`: with the scene's own intrinsics."""
    numbers = range(len(shots)) if numbers is None else numbers
    for part in ("color", "depth", "pose"):
        (folder / part).mkdir(parents=True)
    for index, (number, shot) in enumerate(zip(numbers, shots, strict=True)):
        name, depth = 5 * number, shot.depth if depths is None else depths[index]
        Image.fromarray(shot.rgb).save(folder / "color" / f"{name}.jpg", quality=95)
        Image.fromarray(np.round(depth * 1000).astype(np.uint16)).save(folder / "depth" / f"{name}.png")
        np.savetxt(folder / "pose" / f"{name}.txt", shot.cam2world, fmt="%f")
    if own:
        (folder / "intrinsic").mkdir()
        np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", recorded(640, 480), fmt="%f")
        np.savetxt(folder / "intrinsic" / "intrinsic_color.txt", recorded(1296, 968), fmt="%f")


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / "scene0707_00", shots)
    return {"root": root}
