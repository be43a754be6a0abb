"""COLMAP's binary files of cameras and images (https://colmap.github.io/format.html), little-endian, read without COLMAP."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from muskie.data.sources.cameras import inverse, poses, rotations
from muskie.data.sources.colmap_text import ColmapCamera, ColmapImage
from muskie.errors import DataError

MODELS = (
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    ("SIMPLE_DIVISION", 4),
    ("DIVISION", 5),
    ("SIMPLE_FISHEYE", 3),
    ("FISHEYE", 4),
    ("EUCM", 6),
    ("EQUIRECTANGULAR", 2),
)
"""Names and numbers of parameters of the camera models, by COLMAP's numbers."""

_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<iiQQ")
_IMAGE = struct.Struct("<i7di")
_POINT = 24
"""Bytes of an observation: x, y (double), and the number of its point (int64), -1 for none."""


class _Record(NamedTuple):
    """An image as it stands in the file: quaternion and translation, number of the camera, name; where its points begin, and
    how many they are."""

    pose: tuple[float, ...]
    camera: int
    name: str
    points: int
    observations: int


def read_binary_cameras(file: Path) -> dict[int, ColmapCamera]:
    """Cameras by their numbers.

    Raises:
        DataError: the file is missing or broken; the message names it.
    """
    found = {}
    with _mapped(file) as data:
        offset = _COUNT.size
        for _ in range(_COUNT.unpack_from(data)[0]):
            number, model, width, height = _CAMERA.unpack_from(data, offset)
            if not 0 <= model < len(MODELS):
                raise ValueError(f"camera {number} is of model number {model}, which is unknown")
            name, count = MODELS[model]
            parameters = struct.unpack_from(f"<{count}d", data, offset + _CAMERA.size)
            if min(width, height) < 1 or not np.isfinite(parameters).all():
                raise ValueError(f"camera {number} is of {width} x {height} pixels, its parameters {parameters}")
            found[number] = ColmapCamera(name, (width, height), parameters)
            offset += _CAMERA.size + 8 * count
        _ended(data, offset)
    return found


def read_binary_images(file: Path) -> dict[str, ColmapImage]:
    """Pictures by their names, which are paths below the folder of pictures.

    Raises:
        DataError: the file is missing or broken; the message names it.
    """
    with _mapped(file) as data:
        records = [(record.name, record.camera, record.pose) for record in _records(data)]
    if not records:
        return {}
    rows = np.array([pose for _, _, pose in records])
    broken = ~np.isfinite(rows).all(1) | (np.linalg.norm(rows[:, :4], axis=1) < 0.5)
    if broken.any():
        raise DataError(f"{file}: the pose of {records[int(broken.argmax())][0]} is none")
    cam2world = inverse(poses(rotations(rows[:, :4]), rows[:, 4:]))
    return {name: ColmapImage(camera, pose) for (name, camera, _), pose in zip(records, cam2world, strict=True)}


def read_binary_points(file: Path) -> dict[str, np.ndarray]:
    """The numbers of the points that each picture sees, int64 [N], each once, in order; by the names of the pictures.

    Raises:
        DataError: the file is missing or broken; the message names it.
    """
    with _mapped(file) as data:
        return {record.name: _points(data, record) for record in _records(data)}


def _records(data: mmap.mmap) -> Iterator[_Record]:
    offset = _COUNT.size
    for _ in range(_COUNT.unpack_from(data)[0]):
        _, *pose, camera = _IMAGE.unpack_from(data, offset)
        start = offset + _IMAGE.size
        end = data.find(b"\0", start)
        if end < 0:
            raise ValueError("it is cut off")
        (count,) = _COUNT.unpack_from(data, end + 1)
        offset = end + 1 + _COUNT.size
        if offset + count * _POINT > len(data):
            raise ValueError("it is cut off")
        yield _Record(tuple(pose), camera, data[start:end].decode("utf-8", "surrogateescape"), offset, count)
        offset += count * _POINT
    _ended(data, offset)


def _points(data: mmap.mmap, record: _Record) -> np.ndarray:
    numbers = np.frombuffer(data, dtype="<i8", count=3 * record.observations, offset=record.points)[2::3]
    return np.unique(numbers[numbers >= 0])


def _ended(data: mmap.mmap, offset: int) -> None:
    if offset != len(data):
        raise ValueError(f"{len(data) - offset} bytes are left behind its end")


@contextmanager
def _mapped(file: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file; whatever does not fit them names it."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError, struct.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); expected a binary file of COLMAP") from error
