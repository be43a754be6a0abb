"""Waymo, processed: pictures of a sequence with `.npz` cameras and `.exr` depth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.waymo import Waymo

SOURCE = Waymo
SIZE = (48, 64)
DEPTH = 0.0
POSES, MASKS, PLAIN = True, False, False


def write_exr(file: Path, depth: np.ndarray) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Y": np.ascontiguousarray(depth, dtype=np.float32)}) as exr:
        exr.write(str(file))


def write_beside(picture: Path, shot: Shot) -> None:
    """A picture, its camera and its depth."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(shot.rgb).save(picture, quality=95)
    np.savez(picture.with_suffix(".npz"), intrinsics=shot.intrinsics, cam2world=shot.cam2world)
    write_exr(picture.with_suffix(".exr"), shot.depth)


def write(root: Path, shots: Sequence[Shot], sequence: str = "segment-1005", camera: int = 1) -> dict[str, Any]:
    for number, shot in enumerate(shots):
        write_beside(root / sequence / f"{number:05d}_{camera}.jpg", shot)
    return {"root": root}
