"""BlendedMVS as downloaded (MVSNet's files), prepared (`.npz` and `.exr` beside each picture), or pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from layouts.waymo import write_exr
from PIL import Image
from walk import Shot

from muskie.data.sources.blendedmvs import BlendedMVS

SOURCE = BlendedMVS
SIZE = (72, 96)
"""An eighth of 768x576."""

DEPTH = 1e-6
POSES, MASKS, PLAIN = True, False, False


def camera_text(shot: Shot) -> str:
    rows = [" ".join(f"{value:.12f}" for value in row) for row in (*np.linalg.inv(shot.cam2world), *shot.intrinsics)]
    return "\n".join(["extrinsic", *rows[:4], "", "intrinsic", *rows[4:], "", "0.5 0.01 128.0 9.5 "])


def save_pfm(file: Path, depth: np.ndarray) -> None:
    head = f"Pf\n{depth.shape[1]} {depth.shape[0]}\n-1.000000\n"
    file.write_bytes(head.encode() + np.ascontiguousarray(depth[::-1]).astype("<f4").tobytes())


def write(root: Path, shots: Sequence[Shot], name: str = "5c1f33f1d33e1f2e4aa6dda4") -> dict[str, Any]:
    for folder in ("blended_images", "cams", "rendered_depth_maps"):
        (root / name / folder).mkdir(parents=True)
    (root / name / "cams" / "pair.txt").write_text("0\n")
    for number, shot in enumerate(shots):
        for masked in ("", "_masked"):
            picture = root / name / "blended_images" / f"{number:08d}{masked}.jpg"
            Image.fromarray(np.zeros_like(shot.rgb) if masked else shot.rgb).save(picture, quality=95)
        (root / name / "cams" / f"{number:08d}_cam.txt").write_text(camera_text(shot))
        save_pfm(root / name / "rendered_depth_maps" / f"{number:08d}.pfm", shot.depth)
    return {"root": root, "split": "train"}


def write_prepared(root: Path, shots: Sequence[Shot], name: str = "5c1f33f1d33e1f2e4aa6dda4") -> dict[str, Any]:
    (root / name).mkdir(parents=True)
    for number, shot in enumerate(shots):
        picture = root / name / f"{number:08d}.jpg"
        Image.fromarray(shot.rgb).save(picture, quality=95)
        pose = shot.cam2world.astype(np.float32)
        np.savez(
            picture.with_suffix(".npz"),
            intrinsics=shot.intrinsics.astype(np.float32),
            R_cam2world=pose[:3, :3],
            t_cam2world=pose[:3, 3],
        )
        write_exr(picture.with_suffix(".exr"), shot.depth)
    return {"root": root, "split": "train"}
