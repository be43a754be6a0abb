"""The cameras of Hypersim, some of which have tilted or shifted lenses, as pinhole cameras."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from muskie.data.sources.cameras import poses
from muskie.data.sources.files import rigid
from muskie.data.sources.hdf5 import read_hdf5
from muskie.errors import DataError

OPENGL = np.diag([1.0, -1.0, -1.0])
"""From OpenGL's axes (x right, y up, z backwards) to OpenCV's, and back."""

UV = np.array([[2.0, 0.0, -1.0], [0.0, -2.0, 1.0], [0.0, 0.0, 1.0]])
"""From positions in a picture of width and height 1 to the data set's (u, v): -1 to 1 between its borders, v upwards."""

LENS = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
LENS += ["settings_output_img_width", "settings_output_img_height"]


class Lens(NamedTuple):
    """How the pictures of a room were projected.

    Attributes:
        intrinsics: float64 [3, 3], for a picture of width and height 1.
        turn: float64 [3, 3], from the pinhole camera's coordinates to those of the camera that the poses are of.
        size: width and height of the pictures as they were rendered.
    """

    intrinsics: np.ndarray
    turn: np.ndarray
    size: tuple[int, int]


def lens(cam_from_uv: np.ndarray, size: np.ndarray) -> Lens | None:
    """The pinhole camera of a matrix `M_cam_from_uv`, [3, 3], which gives the ray (OpenGL's axes) of (u, v, 1).

    Any such matrix is that of a pinhole camera: as the product of a rotation and an upper triangular matrix it says where
    that camera looks, along the normal of its image plane, and the inverse of its intrinsics. A plain camera is
    not turned; a tilted lens is a turned one with its principal point beside the middle; a lens both tilted and shifted has
    some skew in addition. None: the matrix is none of a camera.
    """
    turn, upper = np.linalg.qr(OPENGL @ cam_from_uv @ UV)
    if np.abs(np.diag(upper)).min() <= 1e-6 * np.abs(upper).max():
        return None
    signs = np.sign(np.diag(upper))
    turn, upper = turn * signs, upper * signs[:, None]
    if np.linalg.det(turn) < 0:
        return None
    intrinsics = np.linalg.inv(upper)
    return Lens(intrinsics / intrinsics[2, 2], turn, (int(size[0]), int(size[1])))


@lru_cache(maxsize=4)
def read_lenses(file: Path) -> dict[str, Lens | None]:
    """`metadata_camera_parameters.csv`, by the name of the room; None where the matrix is none of a camera.

    Raises:
        DataError: it is not that file.
    """
    found = {}
    try:
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                numbers = np.array([float(row[column] or "nan") for column in LENS])
                usable = np.isfinite(numbers).all() and numbers[9:].min() >= 1
                found[row["scene_name"]] = lens(numbers[:9].reshape(3, 3), numbers[9:]) if usable else None
    except (OSError, LookupError, TypeError, ValueError) as error:
        what = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{file}: {what}; expected the file of that name of contrib/mikeroberts3000 in the data set's repository"
        ) from error
    return found


@lru_cache(maxsize=1024)
def read_trajectory(room: Path, camera: str) -> np.ndarray | None:
    """Camera-to-world of OpenCV's axes, float64 [N, 4, 4] in metres, of the frames 0 to N - 1; those that are not
    finite, or whose matrix is no rotation, are NaN. None: there are no poses.

    Raises:
        ConfigError: h5py is not installed.
        OSError: a file is missing or broken; the message names it.
    """
    files = [room / "_detail" / camera / f"camera_keyframe_{what}.hdf5" for what in ("orientations", "positions")]
    if not any(file.is_file() for file in files):
        return None
    rotations, positions = (read_hdf5(file).astype(np.float64) for file in files)
    if rotations.shape != (len(positions), 3, 3) or positions.shape != (len(positions), 3):
        raise OSError(f"{files[0]}: of shape {rotations.shape}, beside positions of shape {positions.shape}")
    cam2world = poses(rotations @ OPENGL, positions * _metres(room / "_detail" / "metadata_scene.csv"))
    for number, matrix in enumerate(cam2world):
        exact = rigid(matrix) if np.isfinite(matrix).all() else None
        cam2world[number] = np.nan if exact is None else exact
    return cam2world


def _metres(file: Path) -> float:
    """How long a unit of the room is."""
    with file.open(newline="") as lines:
        values = {row[0]: row[1] for row in csv.reader(lines) if len(row) > 1}
    try:
        unit = float(values["meters_per_asset_unit"])
    except (KeyError, ValueError):
        unit = np.nan
    if not 0 < unit < np.inf:
        raise OSError(f"{file}: no line meters_per_asset_unit,<number above 0>")
    return unit


@lru_cache(maxsize=4)
def read_split(file: Path, split: str) -> dict[str, set[tuple[str, int]]]:
    """Camera and number of the released frames of a split, by the room, from `metadata_images_split_scene_v1.csv`.

    Raises:
        DataError: it is not that file.
    """
    found: dict[str, set[tuple[str, int]]] = {}
    try:
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                if row["split_partition_name"] == split and row["included_in_public_release"] == "True":
                    found.setdefault(row["scene_name"], set()).add((row["camera_name"], int(row["frame_id"])))
    except (OSError, LookupError, TypeError, ValueError) as error:
        what = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{file}: {what}; expected the file of that name of evermotion_dataset/analysis in the data set's repository"
        ) from error
    return found
