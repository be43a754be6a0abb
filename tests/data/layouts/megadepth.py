"""MegaDepth with the cameras of D2-Net: COLMAP's text files, and depth in HDF5."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from walk import Shot
from written import quaternion

from muskie.data.sources.megadepth import MegaDepth

SOURCE = MegaDepth
SIZE = (48, 64)
DEPTH, UNIT = 0.0, 1.0
POSES, MASKS, PLAIN = True, False, False

V1 = Path("phoenix") / "S6" / "zl548" / "MegaDepth_v1"
SFM = Path("Undistorted_SfM")


def age(root: Path) -> None:
    """As if all had been written a while ago: what is just written is looked at anew, whatever is watched."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (1e9, 1e9))


def write_depth(file: Path, depth: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as content:
        content["depth"] = depth


def write_model(folder: Path, shots: Sequence[Shot], seen: Sequence[Sequence[int]] = ()) -> None:
    """`seen`: the points that each picture sees; between them stand some that have no point."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras, images = ["# Camera list"], ["# Image list"]
    for number, shot in enumerate(shots):
        height, width = shot.rgb.shape[:2]
        values = shot.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
        cameras.append(f"{number + 7} PINHOLE {width} {height} " + " ".join(map(repr, values.tolist())))
        world2cam = np.linalg.inv(shot.cam2world)
        pose = [*quaternion(world2cam[:3, :3]), *world2cam[:3, 3].tolist()]
        images.append(f"{100 - number} " + " ".join(map(repr, pose)) + f" {number + 7} {number}.jpg")
        images.append(" ".join(f"1.5 2.5 {point} 3.5 4.5 -1" for point in (seen[number] if seen else ())))
    (folder / "cameras.txt").write_text("\n".join(cameras) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    (folder / "points3D.txt").write_text("# 3D point list\n")


def write_pictures(folder: Path, shots: Sequence[Shot]) -> None:
    folder.mkdir(parents=True)
    for number, shot in enumerate(shots):
        Image.fromarray(shot.rgb).save(folder / f"{number}.jpg", quality=95)


def write(root: Path, shots: Sequence[Shot], scene: str = "0001") -> dict[str, Any]:
    write_pictures(root / SFM / scene / "images", shots)
    write_model(root / SFM / scene / "sparse-txt", shots)
    for number, shot in enumerate(shots):
        write_depth(root / V1 / scene / "dense0" / "depths" / f"{number}.h5", shot.depth)
    return {"root": root, "split": "train"}
