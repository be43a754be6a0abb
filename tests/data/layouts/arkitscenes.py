"""ARKitScenes, as `raw` and `3dod` unpack, or prepared: depth in millimetres, `.pincam` files, a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.arkitscenes import ARKitScenes

SOURCE = ARKitScenes
SIZE = (60, 80)
"""An eighth of 640x480."""

DEPTH = 0.0005001
POSES, MASKS, PLAIN = True, False, False

START = 6845.75
"""Seconds; shots are a tenth apart, as the poses are."""


def traj_line(time: float, cam2world: np.ndarray) -> str:
    """World-to-camera, as axis times angle and translation."""
    world2cam = np.linalg.inv(cam2world)
    rotation = world2cam[:3, :3]
    angle = np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    vector = axis * angle / (2 * np.sin(angle))
    return " ".join(f"{value:.12f}" for value in (time, *vector, *world2cam[:3, 3]))


def pincam(shot: Shot) -> str:
    height, width = shot.depth.shape
    k = shot.intrinsics
    return f"{width} {height} {k[0, 0]:.9f} {k[1, 1]:.9f} {k[0, 2]:.9f} {k[1, 2]:.9f}\n"


def write(
    root: Path,
    shots: Sequence[Shot],
    name: str = "Training/47333462",
    kind: str = "vga_wide",
    below: str = "",
    suffix: str = ".png",
    times: Sequence[float] | None = None,
) -> dict[str, Any]:
    """`kind`: the folder of the pictures; `below`: what `3dod` has between the recording and its folders."""
    base = root / name / below
    identity = Path(name).name
    for folder in (kind, "lowres_depth", f"{kind}_intrinsics"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    times = times or [START + number / 10 for number in range(len(shots))]
    for time, shot in zip(times, shots, strict=True):
        stem = f"{identity}_{time:.3f}"
        Image.fromarray(shot.rgb).save(base / kind / f"{stem}{suffix}", quality=95)
        Image.fromarray(np.round(1000 * shot.depth).astype(np.uint16)).save(base / "lowres_depth" / f"{stem}.png")
        (base / f"{kind}_intrinsics" / f"{stem}.pincam").write_text(pincam(shot))
    lines = [traj_line(time, shot.cam2world) for time, shot in zip(times, shots, strict=True)]
    (base / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    return {"root": root, "split": "train"} if name.startswith("Training/") else {"root": root}
