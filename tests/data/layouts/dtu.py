"""DTU, as MVSNet has prepared it: for training, and a folder a scan, as for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.dtu import DTU

SOURCE = DTU
SIZE = (150, 200)
"""An eighth of 1600x1200; MVSNet's cut is 160x128 of it."""
DEPTH = 1e-5
POSES, MASKS, PLAIN = True, False, False


def cut(shot: Shot) -> Shot:
    """Its middle, as MVSNet cuts it out of the half-sized recordings, 44 rows and 80 columns of which go on each side."""
    matrix = shot.intrinsics.copy()
    matrix[:2, 2] -= 20, 11
    return Shot(shot.rgb[11:139, 20:180], shot.depth[11:139, 20:180], matrix, shot.cam2world)


def recorded(shot: Shot) -> np.ndarray:
    """Its intrinsics at 1600x1200."""
    return np.diag([8.0, 8.0, 1.0]) @ shot.intrinsics


def camera_text(shot: Shot, matrix: np.ndarray) -> str:
    """Its pose in millimetres, and the intrinsics that are to stand there."""
    world2cam = np.linalg.inv(shot.cam2world)
    world2cam[:3, 3] *= 1000
    rows = ["extrinsic", *(" ".join(f"{v:.9f}" for v in row) for row in world2cam), "", "intrinsic"]
    return "\n".join([*rows, *(" ".join(f"{v:.9f}" for v in row) for row in matrix), "", "425.0 2.5"])


def save_pfm(file: Path, metres: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = (1000 * metres[::-1]).astype("<f4")
    file.write_bytes(f"Pf\n{metres.shape[1]} {metres.shape[0]}\n-1.000000\n".encode() + rows.tobytes())


def save_picture(file: Path, rgb: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(rgb)).save(file)


def write_prepared(root: Path, shots: Sequence[Shot], scan: str = "scan1", raw: bool = False) -> None:
    """The layout for training; `raw`: with whole pictures."""
    for view, shot in enumerate(shots):
        folder, rgb = (f"Rectified_raw/{scan}", shot.rgb) if raw else (f"Rectified/{scan}_train", cut(shot).rgb)
        save_picture(root / folder / f"rect_{view + 1:03d}_3_r5000.png", rgb)
        save_pfm(root / "Depths_raw" / scan / f"depth_map_{view:04d}.pfm", shot.depth)
        (root / "Cameras").mkdir(exist_ok=True)
        (root / "Cameras" / f"{view:08d}_cam.txt").write_text(camera_text(shot, recorded(shot)))


def write_scan(folder: Path, shots: Sequence[Shot]) -> None:
    """The layout for tests."""
    for view, shot in enumerate(shots):
        save_picture(folder / "images" / f"{view:08d}.png", shot.rgb)
        save_pfm(folder / "depths" / f"{view:08d}.pfm", shot.depth)
        (folder / "cams").mkdir(exist_ok=True)
        (folder / "cams" / f"{view:08d}_cam.txt").write_text(camera_text(shot, recorded(shot)))


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scan(root / "scan1", shots)
    return {"root": root, "split": "test"}
