"""The annotation files of CO3Dv2 as Meta publishes them: cameras of frames, quality of sequences, set lists."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from muskie.data.scene import Camera
from muskie.data.sources.cameras import inverse, pinhole, poses, resized
from muskie.data.sources.files import rigid
from muskie.errors import DataError

ISOTROPIC, BY_BORDERS = "ndc_isotropic", "ndc_norm_image_bounds"
_ONE_BY_ONE = Lock()
"""Held while annotations are parsed: those of a large category take a gigabyte until the numbers are out of them."""

BROKEN = (OSError, EOFError, zlib.error, AttributeError, LookupError, TypeError, ValueError)


NUMBERS = 19
"""How many numbers there are of a frame, NaN where nothing is stated: width, height, focal lengths and principal point in
pixels of that size, the scale of the depth map, and PyTorch3D's R, by rows, and T."""


@dataclass(frozen=True)
class Sequence:
    """The frames of a sequence in the order of capture.

    Attributes:
        frames: the names of their pictures.
        numbers: float64 [frames, NUMBERS].
    """

    frames: list[str]
    numbers: np.ndarray


def depth_scale(numbers: np.ndarray) -> float:
    """What the values of the depth map are multiplied by, from the numbers of a frame; NaN: there is none."""
    return float(numbers[6])


def annotated_camera(numbers: np.ndarray, size: tuple[int, int], file: Path) -> Camera | None:
    """The OpenCV camera of a frame, from its numbers, whose picture, `file`, has `size` = (width, height).

    Raises:
        OSError: the picture has another aspect ratio than its annotation, or the camera has no rotation.
    """
    width, height, *intrinsics = (float(number) for number in numbers[:6])
    rotation, translation = numbers[7:16].reshape(3, 3), numbers[16:]
    if not np.isfinite([*intrinsics, *numbers[7:]]).all():
        return None
    # PyTorch3D multiplies rows, x R + T, and its cameras have x to the left and y up.
    flip = np.array([-1.0, -1.0, 1.0])
    world2cam = rigid(poses(flip[:, None] * rotation.T, flip * translation))
    if world2cam is None:
        raise OSError(f"{file}: the camera that is annotated has no rotation")
    return Camera(resized(pinhole(*intrinsics), (int(width), int(height)), size, file), inverse(world2cam))


def read_sequences(category: Path) -> dict[str, Sequence]:
    """By name, from `<category>/frame_annotations.jgz`.

    Raises:
        DataError: the file is broken; the message names it.
    """
    file = category / "frame_annotations.jgz"
    try:
        found: dict[str, list[tuple[int, str, list[float]]]] = {}
        with _ONE_BY_ONE:
            for entry in _read(file):
                name = Path(entry["image"]["path"]).name
                found.setdefault(entry["sequence_name"], []).append((int(entry["frame_number"]), name, _numbers(entry)))
        result = {}
        for sequence, frames in found.items():
            frames.sort(key=lambda frame: frame[0])
            by_name = {name: numbers for _, name, numbers in frames}
            result[sequence] = Sequence(list(by_name), np.array(list(by_name.values())))
        return result
    except BROKEN as error:
        expected = "a gzipped list of frames with sequence_name, frame_number, image and viewpoint"
        raise _broken(file, error, expected) from error


def read_qualities(category: Path) -> dict[str, float]:
    """How sure the cameras of each sequence are, from `<category>/sequence_annotations.jgz`; NaN where nothing is stated.

    Raises:
        DataError: the file is missing or broken; the message names it.
    """
    file = category / "sequence_annotations.jgz"
    try:
        return {
            entry["sequence_name"]: float(math.nan if (score := entry.get("viewpoint_quality_score")) is None else score)
            for entry in _read(file)
        }
    except BROKEN as error:
        raise _broken(file, error, "a gzipped list of sequences with sequence_name and viewpoint_quality_score") from error


def read_set_list(file: Path, splits: tuple[str, ...]) -> dict[str, set[str]]:
    """By sequence, the names of the pictures of some splits, from `<category>/set_lists/set_lists_<name>.json`.

    Raises:
        DataError: the file is broken; the message names it.
    """
    try:
        lists = json.loads(file.read_text())
        found: dict[str, set[str]] = {}
        for sequence, _, path in (entry for split in splits for entry in lists.get(split, [])):
            found.setdefault(sequence, set()).add(Path(path).name)
        return found
    except BROKEN as error:
        raise _broken(file, error, "lists of [sequence, frame number, path] under train, val and test") from error


def _read(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rb") as stream:
        entries = json.loads(stream.read())
    if not isinstance(entries, list):
        raise ValueError("no list")
    return entries


def _numbers(entry: dict[str, Any]) -> list[float]:
    """The numbers of a frame, as `NUMBERS` says."""
    height, width = (float(side) for side in entry["image"]["size"])
    depth, viewpoint = entry.get("depth"), entry.get("viewpoint")
    scale = math.nan if depth is None else float(depth["scale_adjustment"])
    if viewpoint is None:
        return [width, height, *[math.nan] * 4, scale, *[math.nan] * 12]
    # In PyTorch3D's normalised coordinates +1 is the left or upper border, and -1 the right or lower one: of the shorter
    # side for both axes, or each of its own.
    form = viewpoint.get("intrinsics_format", BY_BORDERS)
    if form not in (ISOTROPIC, BY_BORDERS):
        raise ValueError(f"intrinsics_format {form!r}")
    unit_x, unit_y = (min(width, height) / 2,) * 2 if form == ISOTROPIC else (width / 2, height / 2)
    (focal_x, focal_y), (x, y) = viewpoint["focal_length"], viewpoint["principal_point"]
    intrinsics = [focal_x * unit_x, focal_y * unit_y, width / 2 - x * unit_x, height / 2 - y * unit_y]
    pose = [float(number) for row in (*viewpoint["R"], viewpoint["T"]) for number in row]
    if len(pose) != 12:
        raise ValueError(f"R and T of {len(pose)} numbers")
    return [width, height, *intrinsics, scale, *pose]


def _broken(file: Path, error: Exception, expected: str) -> DataError:
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    return DataError(f"{file}: {what}; expected {expected}")
