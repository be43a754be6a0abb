"""ScanNet++ prepared (one `.npz` a scene, depth in millimetres), or as downloaded (undistorted photographs, nerfstudio)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.scannetpp import ScanNetPP

SOURCE = ScanNetPP
SIZE = (73, 110)
"""A sixteenth of 1752x1168."""

DEPTH = 0.0005001
POSES, MASKS, PLAIN = True, False, False
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def stem(number: int) -> str:
    return f"DSC{number + 1:05d}"


def write(root: Path, shots: Sequence[Shot], name: str = "0a5c013435", suffix: str = "") -> dict[str, Any]:
    """Prepared; `suffix`: of the names in the `.npz`."""
    for folder in ("images", "depth"):
        (root / name / folder).mkdir(parents=True)
    for number, shot in enumerate(shots):
        Image.fromarray(shot.rgb).save(root / name / "images" / f"{stem(number)}.jpg", quality=95)
        Image.fromarray(np.round(1000 * shot.depth).astype(np.uint16)).save(root / name / "depth" / f"{stem(number)}.png")
    np.savez(
        root / name / "scene_metadata.npz",
        images=[stem(number) + suffix for number in range(len(shots))],
        trajectories=[shot.cam2world for shot in shots],
        intrinsics=[shot.intrinsics for shot in shots],
    )
    return {"root": root}


def write_download(
    root: Path, shots: Sequence[Shot], name: str = "0a5c013435", folder: str = "resized_undistorted_images", tests: int = 0
) -> dict[str, Any]:
    """As downloaded; the last `tests` shots are kept for tests of novel views."""
    dslr = root / "data" / name / "dslr"
    (dslr / folder).mkdir(parents=True)
    (dslr / "nerfstudio").mkdir()
    frames = []
    for number, shot in enumerate(shots):
        file = f"{stem(number)}.JPG"
        Image.fromarray(shot.rgb).save(dslr / folder / file, format="JPEG", quality=95)
        matrix = (shot.cam2world @ OPENGL).tolist()
        frames.append({"file_path": file, "mask_path": f"{stem(number)}.png", "transform_matrix": matrix, "is_bad": False})
    k = 2 * shots[0].intrinsics  # told for pictures of twice the size
    (height, width), split = shots[0].depth.shape, len(frames) - tests
    told = {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "w": 2 * width, "h": 2 * height}
    told |= {"k1": 0.0, "k2": 0.0, "camera_model": "PINHOLE", "frames": frames[:split], "test_frames": frames[split:]}
    (dslr / "nerfstudio" / "transforms_undistorted.json").write_text(json.dumps(told))
    return {"root": root}
