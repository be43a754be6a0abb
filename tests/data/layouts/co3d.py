"""CO3Dv2: as Meta publishes it, with PyTorch3D's cameras in its annotations, and prepared, with archives beside pictures."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.co3d import CO3D

SOURCE = CO3D
SIZE = (48, 64)
DEPTH = 0.003
POSES, MASKS, PLAIN = True, True, False

SCALE = 0.25
SEQUENCE = "apple/110_13051_23361"


def picture(number: int) -> str:
    return f"frame{number + 1:06d}.jpg"


def viewpoint(shot: Shot, form: str | None) -> dict[str, Any]:
    """A camera as PyTorch3D states it: x_ndc = f X / Z + p with X to the left and Y up, +1 at the left and at the upper
    border, of the shorter side in both directions, or (the older form) of each."""
    height, width = shot.depth.shape
    world2cam = np.linalg.inv(shot.cam2world)
    unit = np.array([min(height, width)] * 2 if form == "ndc_isotropic" else [width, height]) / 2
    axes = np.diag([-1.0, -1.0, 1.0])
    stated: dict[str, Any] = {
        "R": (axes @ world2cam[:3, :3]).T.tolist(),
        "T": (axes @ world2cam[:3, 3]).tolist(),
        "focal_length": (shot.intrinsics[[0, 1], [0, 1]] / unit).tolist(),
        "principal_point": ((np.array([width, height]) / 2 - shot.intrinsics[:2, 2]) / unit).tolist(),
    }
    return stated if form is None else {**stated, "intrinsics_format": form}


def save_frame(folder: Path, name: str, shot: Shot) -> None:
    """Picture, depth as half floats at a quarter of its scale, a depth mask of everything, and a mask of the nearer half."""
    for part in ("images", "depths", "depth_masks", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(shot.rgb).save(folder / "images" / name, quality=95)
    halves = (shot.depth / SCALE).astype(np.float16).view(np.uint16)
    Image.fromarray(halves).save(folder / "depths" / f"{name}.geometric.png")
    Image.new("1", shot.rgb.shape[1::-1], 1).save(folder / "depth_masks" / f"{name[:-4]}.png")
    Image.fromarray(255 * near(shot).astype(np.uint8)).save(folder / "masks" / f"{name[:-4]}.png")


def near(shot: Shot) -> np.ndarray:
    return shot.depth < np.median(shot.depth)


def write_annotated(
    root: Path,
    shots: Sequence[Shot],
    sequence: str = SEQUENCE,
    names: Sequence[str] | None = None,
    form: str | None = "ndc_isotropic",
    quality: float | None = 0.8,
) -> None:
    """A sequence as Meta publishes it; the category's files are written anew with those that stand there."""
    category, name = sequence.split("/")
    names = names or [picture(number) for number in range(len(shots))]
    entries = [
        {
            "sequence_name": name,
            "frame_number": index,
            "frame_timestamp": -1.0,
            "image": {"path": f"{sequence}/images/{file}", "size": list(shot.depth.shape)},
            "depth": {"path": f"{sequence}/depths/{file}.geometric.png", "scale_adjustment": SCALE},
            "viewpoint": viewpoint(shot, form),
        }
        for index, (file, shot) in enumerate(zip(names, shots, strict=True))
    ]
    for file, shot in zip(names, shots, strict=True):
        save_frame(root / sequence, file, shot)
    change(root / category / "frame_annotations.jgz", lambda old: [*entries[::-1], *old])
    score = {"sequence_name": name, "category": category, "viewpoint_quality_score": quality}
    change(root / category / "sequence_annotations.jgz", lambda old: [*old, score])


def change(file: Path, how: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Writes a file of annotations anew."""
    old = json.loads(gzip.decompress(file.read_bytes())) if file.is_file() else []
    file.write_bytes(gzip.compress(json.dumps(how(old)).encode()))


def write_prepared(root: Path, shots: Sequence[Shot], sequence: str = SEQUENCE) -> None:
    """The simple layout, without annotations; depth in steps of a 65535th of 10."""
    for number, shot in enumerate(shots):
        name = picture(number)
        save_frame(root / sequence, name, shot)
        steps = np.round(shot.depth / 10 * 65535).astype(np.uint16)
        Image.fromarray(steps).save(root / sequence / "depths" / f"{name}.geometric.png")
        file = root / sequence / "images" / f"{name[:-4]}.npz"
        np.savez(file, camera_pose=shot.cam2world, camera_intrinsics=shot.intrinsics, maximum_depth=10.0)


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_annotated(root, shots)
    return {"root": root}
