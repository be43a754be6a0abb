"""TUM RGB-D, as its archives unpack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot, intrinsics
from written import quaternion

from muskie.data.sources.tum import TumRGBD

SOURCE = TumRGBD
SIZE = (48, 64)
DEPTH, UNIT = 0.0001001, 1.0
POSES, MASKS, PLAIN = True, False, False

START = 1305031102.0


def recorded() -> list[float]:
    """The walk's intrinsics as TUM counts them: for 640x480, pixel centres at integers."""
    matrix = intrinsics(480, 640)
    return [matrix[0, 0], matrix[1, 1], matrix[0, 2] - 0.5, matrix[1, 2] - 0.5]


def pose_line(time: float, cam2world: np.ndarray) -> str:
    w, x, y, z = quaternion(cam2world[:3, :3])
    return " ".join(f"{value:.9f}" for value in (time, *cam2world[:3, 3], x, y, z, w))


def write_sequence(folder: Path, shots: Sequence[Shot], depth_late: float = 0.012, pose_late: float = 0.004) -> None:
    """Frames a tenth of a second apart; depth and pose come so many seconds later."""
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    lines: dict[str, list[str]] = {"rgb": ["# color images", "# timestamp filename"], "depth": ["# depth maps"]}
    for index, shot in enumerate(shots):
        values = {"rgb": shot.rgb, "depth": np.round(shot.depth * 5000).astype(np.uint16)}
        for part, late in (("rgb", 0.0), ("depth", depth_late)):
            time = f"{START + 0.1 * index + late:.6f}"
            Image.fromarray(values[part]).save(folder / part / f"{time}.png")
            lines[part].append(f"{time} {part}/{time}.png")
    for part in lines:
        (folder / f"{part}.txt").write_text("\n".join(lines[part]) + "\n")
    poses = [pose_line(START + 0.1 * index + pose_late, shot.cam2world) for index, shot in enumerate(shots)]
    (folder / "groundtruth.txt").write_text("\n".join(["# timestamp tx ty tz qx qy qz qw", *poses]))


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_sequence(root / "rgbd_dataset_walk", shots)
    return {"root": root, "intrinsics": recorded()}
