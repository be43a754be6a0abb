"""COLMAP's text files of cameras and images (https://colmap.github.io/format.html). It counts pixel centres as we do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muskie.data.sources.cameras import inverse, pinhole, poses, rotations
from muskie.errors import DataError

PARAMETERS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "THIN_PRISM_FISHEYE": 12}


@dataclass(frozen=True)
class ColmapCamera:
    """A camera model of COLMAP.

    Attributes:
        model: its name there, e.g. `"PINHOLE"`.
        size: width and height of its pictures.
        parameters: as the model orders them.
    """

    model: str
    size: tuple[int, int]
    parameters: tuple[float, ...]

    def intrinsics(self) -> np.ndarray | None:
        """Float64 [3, 3]; None if its lens distorts."""
        if self.model == "PINHOLE":
            return pinhole(*self.parameters)
        if self.model == "SIMPLE_PINHOLE":
            return pinhole(self.parameters[0], *self.parameters)
        return None


@dataclass(frozen=True)
class ColmapImage:
    """A picture: the number of its camera, and its pose, camera-to-world, float64 [4, 4]."""

    camera: int
    cam2world: np.ndarray


def read_cameras(file: Path) -> dict[int, ColmapCamera]:
    """Cameras by their numbers.

    Raises:
        DataError: the file is missing or broken; the message names it and the line.
    """
    found = {}
    for number, fields in _lines(file):
        try:
            model, size = fields[1], (int(fields[2]), int(fields[3]))
            parameters = tuple(float(field) for field in fields[4:])
            if (
                min(size) < 1
                or not np.isfinite(parameters).all()
                or len(parameters) != PARAMETERS.get(model, len(parameters))
            ):
                raise ValueError(f"{model} with {len(parameters)} parameters")
            found[int(fields[0])] = ColmapCamera(model, size, parameters)
        except (ValueError, IndexError) as error:
            raise DataError(f"{file}, line {number}: {error}; expected 'CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]'") from error
    return found


def read_images(file: Path) -> dict[str, ColmapImage]:
    """Pictures by their names, which are paths below the folder of pictures.

    Raises:
        DataError: the file is missing or broken; the message names it and the line.
    """
    found: dict[str, ColmapImage] = {}
    names, lines = [], _lines(file, every_other=True)
    rows = np.zeros((len(lines), 7))
    for row, (number, fields) in enumerate(lines):
        try:
            rows[row] = [float(field) for field in fields[1:8]]
            if not np.isfinite(rows[row]).all() or np.linalg.norm(rows[row, :4]) < 0.5:
                raise ValueError("no rotation")
            names.append((" ".join(fields[9:]), int(fields[8])))
        except (ValueError, IndexError) as error:
            raise DataError(
                f"{file}, line {number}: {error}; expected 'IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME'"
            ) from error
    cam2world = inverse(poses(rotations(rows[:, :4]), rows[:, 4:])) if names else np.zeros((0, 4, 4))
    for (name, camera), pose in zip(names, cam2world, strict=True):
        found[name] = ColmapImage(camera, pose)
    return found


def _lines(file: Path, every_other: bool = False) -> list[tuple[int, list[str]]]:
    """Numbers and fields of the lines that are no comment; `every_other`: without the points that follow each, which may be
    an empty line."""
    try:
        lines = [line for line in enumerate(file.read_text().splitlines(), 1) if not line[1].startswith("#")]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error}); expected a text file of COLMAP") from error
    if every_other:
        lines = lines[::2]
    return [(number, line.split()) for number, line in lines if line.strip()]
