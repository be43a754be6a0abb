"""A reconstruction of COLMAP, undistorted, with dense stereo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot
from written import quaternion

from muskie.data.sources.colmap import Colmap

SOURCE = Colmap
SIZE = (48, 64)
DEPTH, UNIT = 0.0, 1.0
POSES, MASKS, PLAIN = True, False, False


def write_map(file: Path, values: np.ndarray) -> None:
    """As COLMAP's own script writes a map [H, W]: width, height and channels, then the values, width running fastest."""
    file.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    file.write_bytes(f"{width}&{height}&1&".encode() + values.T.astype("<f4").tobytes("F"))


def image_line(number: int, cam2world: np.ndarray, camera: int, name: str) -> str:
    world2cam = np.linalg.inv(cam2world)
    values = (*quaternion(world2cam[:3, :3]), *world2cam[:3, 3])
    return f"{number} {' '.join(f'{value:.12f}' for value in values)} {camera} {name}"


def camera_line(number: int, model: str, size: tuple[int, int], parameters: Sequence[float]) -> str:
    return f"{number} {model} {size[1]} {size[0]} {' '.join(f'{value:.12f}' for value in parameters)}"


def write_model(
    folder: Path, shots: Sequence[Shot], names: Sequence[str], seen: Mapping[int, Sequence[int]] | None = None
) -> None:
    """A reconstruction in text. `seen`: for each point the pictures, counted from 0, that see it."""
    folder.mkdir(parents=True)
    points: list[list[int]] = [[] for _ in shots]
    tracks = []
    for point, pictures in (seen or {}).items():
        track = []
        for picture in pictures:
            track.append(f"{picture + 1} {len(points[picture])}")
            points[picture].append(point)
        tracks.append(f"{point} 0 0 1 9 9 9 0.5 {' '.join(track)}")
    cameras, images = [], ["# Image list with two lines of data per image:"]
    for index, (shot, name) in enumerate(zip(shots, names, strict=True)):
        parameters = [shot.intrinsics[0, 0], shot.intrinsics[1, 1], *shot.intrinsics[:2, 2]]
        cameras.append(camera_line(index + 1, "PINHOLE", shot.depth.shape, parameters))
        images += [image_line(index + 1, shot.cam2world, index + 1, name), " ".join(f"1.5 2.5 {p}" for p in points[index])]
    (folder / "cameras.txt").write_text("# Camera list\n" + "\n".join(cameras) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    (folder / "points3D.txt").write_text("\n".join(tracks) + "\n")


def write_scene(folder: Path, shots: Sequence[Shot], seen: Mapping[int, Sequence[int]] | None = None) -> None:
    names = [f"IMG_{number}.png" for number in range(len(shots))]
    (folder / "images").mkdir(parents=True)
    for shot, name in zip(shots, names, strict=True):
        Image.fromarray(shot.rgb).save(folder / "images" / name)
        write_map(folder / "stereo" / "depth_maps" / f"{name}.geometric.bin", shot.depth)
    write_model(folder / "sparse" / "0", shots, names, seen)


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / "walk", shots)
    return {"root": root}
