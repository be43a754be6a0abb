"""A reconstruction of COLMAP: its cameras and images, from binary or text files, and the points that images share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muskie.data.sources.cameras import pinhole
from muskie.data.sources.colmap_binary import MODELS, read_binary_cameras, read_binary_images, read_binary_points
from muskie.data.sources.colmap_text import ColmapCamera, ColmapImage, read_cameras, read_images
from muskie.data.sources.natural import naturally
from muskie.errors import DataError

LENSES = {"SIMPLE_RADIAL": 3, "RADIAL": 3, "OPENCV": 4, "FULL_OPENCV": 4}
"""Models with a lens that may be none, and the numbers before those of their lens: f, cx, cy, or fx, fy, cx, cy."""


def models(scene: Path) -> list[str]:
    """The folders of the reconstructions of a scene: `sparse/0`, `sparse/1`, ... or `sparse` itself."""
    sparse = scene / "sparse"
    if not sparse.is_dir():
        return []
    if model_files(sparse):
        return ["sparse"]
    return [f"sparse/{name}" for name in naturally(p.name for p in sparse.iterdir()) if model_files(sparse / name)]


def model_files(folder: Path) -> tuple[Path, Path] | None:
    """The files of cameras and images of a reconstruction, those in binary first; None: it is none."""
    for suffix in (".bin", ".txt"):
        files = folder / f"cameras{suffix}", folder / f"images{suffix}"
        if all(file.is_file() for file in files):
            return files
    return None


def read_model(folder: Path) -> tuple[dict[int, ColmapCamera], dict[str, ColmapImage]]:
    """Cameras by their numbers, pictures by their names.

    Raises:
        DataError: a file is missing or broken, or a picture is of a camera that is not there; the message names it.
    """
    files = model_files(folder)
    if files is None:
        raise DataError(f"{folder}: no cameras.bin and images.bin there, nor .txt")
    binary = files[0].suffix == ".bin"
    cameras = read_binary_cameras(files[0]) if binary else read_cameras(files[0])
    images = read_binary_images(files[1]) if binary else read_images(files[1])
    needed = dict(MODELS)
    for number, camera in cameras.items():
        if len(camera.parameters) != needed.get(camera.model, len(camera.parameters)):
            raise DataError(
                f"{files[0]}: camera {number}, {camera.model}, has {len(camera.parameters)} parameters; expected "
                f"{needed[camera.model]}"
            )
    for name, image in images.items():
        if image.camera not in cameras:
            raise DataError(f"{files[1]}: {name} is of camera {image.camera}, which {files[0].name} does not have")
    return cameras, images


def straight(camera: ColmapCamera) -> np.ndarray | None:
    """Intrinsics, float64 [3, 3], of a camera whose lens does not distort; None if it does."""
    matrix, before = camera.intrinsics(), LENSES.get(camera.model)
    if matrix is not None or before is None or any(camera.parameters[before:]):
        return matrix
    values = camera.parameters[:before]
    return pinhole(*values) if before == 4 else pinhole(values[0], *values)


def read_points(folder: Path) -> dict[str, np.ndarray]:
    """The numbers of the points that each picture of a reconstruction sees, int64 [N], each once, by the pictures' names.

    Raises:
        DataError: a file is missing or broken; the message names it.
    """
    files = model_files(folder)
    if files is None:
        raise DataError(f"{folder}: no cameras.bin and images.bin there, nor .txt")
    return read_binary_points(files[1]) if files[1].suffix == ".bin" else _read_text_points(files[1])


def _read_text_points(file: Path) -> dict[str, np.ndarray]:
    try:
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        found = {}
        for line, points in zip(lines[::2], lines[1::2], strict=False):
            numbers = np.array(points.split()[2::3], dtype=np.int64)
            found[" ".join(line.split()[9:])] = np.unique(numbers[numbers >= 0])
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); expected 'X Y POINT3D_ID' of each point") from error
    return found


def shared_points(seen: Sequence[np.ndarray]) -> np.ndarray:
    """Which share of the points of picture i picture j sees too, float32 [N, N]; 0 where i has none.

    Args:
        seen: for each picture the numbers of its points, each once.
    """
    count = len(seen)
    points = np.concatenate([np.zeros(0, dtype=np.int64), *seen])
    pictures = np.repeat(np.arange(count), [len(numbers) for numbers in seen])
    order = np.lexsort((pictures, points))
    points, pictures = points[order], pictures[order]
    shared = np.diag(np.array([len(numbers) for numbers in seen], dtype=np.int64))
    for apart in range(1, count):  # of the pictures that see one point, those that stand so far apart
        same = points[apart:] == points[:-apart]
        if not same.any():
            break
        one, other = pictures[:-apart][same], pictures[apart:][same]
        np.add.at(shared, (one, other), 1)
    shared = shared + np.triu(shared, 1).T
    return (shared / np.maximum(np.diag(shared)[:, None], 1)).astype(np.float32)
