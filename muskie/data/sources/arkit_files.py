"""Files of ARKitScenes: poses, intrinsics, what is named by time, and which recordings show one room."""

from __future__ import annotations

import csv
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.sources.cameras import pinhole, rotations
from muskie.data.sources.files import read_matrix
from muskie.data.sources.trajectory import Trajectory, from_axis_angle

APART = 0.005
"""Seconds by which what belongs together may differ in time, as in the tools of the data set."""

GAP = 0.25
"""Seconds between two poses, beyond which nothing between them is known; they come at 10 Hz."""


def seconds(stem: str) -> float | None:
    """Seconds, by the name of a file."""
    found = re.fullmatch(r"(?:.*_)?(\d+\.\d+)", stem)
    return float(found[1]) if found else None


@lru_cache(maxsize=64)
def by_time(folder: Path, suffix: str) -> tuple[np.ndarray, list[str]]:
    """Seconds, float64 [N], and names of the files of a folder that are named by time."""
    found = []
    if folder.is_dir():
        found = [(time, p.name) for p in folder.iterdir() if p.suffix == suffix and (time := seconds(p.stem)) is not None]
    return np.array([time for time, _ in found], dtype=np.float64), [name for _, name in found]


@lru_cache(maxsize=64)
def read_trajectory(file: Path) -> Trajectory:
    """The poses of a `.traj` file; lines that are not finite are left out.

    Raises:
        OSError: it holds anything else; the message names it.
    """
    try:
        rows = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise OSError(f"{file}: {error}; expected seven numbers a line: time, rotation, translation") from error
    if rows.size and rows.shape[1] != 7:
        raise OSError(f"{file}: {rows.shape[1]} numbers a line; expected seven: time, rotation, translation")
    rows = rows.reshape(-1, 7)[np.isfinite(rows).all(1)] if rows.size else rows.reshape(0, 7)
    quaternions = from_axis_angle(rows[:, 1:4]) * np.array([1.0, -1, -1, -1])  # of the inverse: camera-to-world
    centres = -(rotations(quaternions) @ rows[:, 4:, None])[..., 0]
    return Trajectory(rows[:, 0], quaternions, centres, GAP, APART)


def read_pincam(file: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """Intrinsics [3, 3], and width and height of the picture that they are for.

    Raises:
        OSError: it holds anything else; the message names it.
    """
    numbers = read_matrix(file)
    if numbers is None or numbers.shape != (1, 6) or numbers[0, :4].min() <= 0:
        raise OSError(f"{file}: expected six numbers: width, height, two focal lengths above 0, and the principal point")
    width, height, *rest = numbers[0].tolist()
    return pinhole(*rest), (round(width), round(height))


def read_visits(file: Path) -> dict[str, str]:
    """The room of each recording, as far as a `metadata.csv` knows; nothing without it."""
    known = {}
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as opened:
            for row in csv.DictReader(opened):
                numbers = [re.fullmatch(r"(\d+)(?:\.0*)?", row.get(key) or "") for key in ("video_id", "visit_id")]
                if numbers[0] and numbers[1]:
                    known[numbers[0][1]] = f"visit {numbers[1][1]}"
    except FileNotFoundError:
        pass
    return known
