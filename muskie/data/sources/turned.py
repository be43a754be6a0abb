"""Cameras of pictures that are stored lying, with a note of how to turn them (EXIF): telephones write them so.

COLMAP and nerfstudio pass over that note: their cameras belong to the pixels as they lie in the file. Ours belong to the
upright picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from muskie.data.scene import Camera
from muskie.data.sources.files import image_size

_TURNS = {1: 0, 6: 1, 3: 2, 8: 3}
_CLOCKWISE = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""From the coordinates of a camera to those of one whose picture is turned clockwise: what was up is right."""


class Lying(NamedTuple):
    """How a picture is stored: its width and height there, and how often it is turned clockwise, by 90 degrees, to stand
    upright, 0 to 3."""

    size: tuple[int, int]
    turns: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return self.size[::-1] if self.turns % 2 else self.size

    def camera(self, intrinsics: np.ndarray, cam2world: np.ndarray) -> Camera:
        """The camera of the upright picture from that of the stored one."""
        width, height = self.size
        for _ in range(self.turns):  # (u, v) -> (height - v, u)
            (focal_x, _, x), (_, focal_y, y) = intrinsics[:2]
            intrinsics = np.array([[focal_y, 0, height - y], [0, focal_x, x], [0, 0, 1]])
            rotation = np.eye(4)
            rotation[:3, :3] = _CLOCKWISE.T
            cam2world = cam2world @ rotation
            width, height = height, width
        return Camera(intrinsics.copy(), cam2world.copy())

    def map(self, values: np.ndarray) -> np.ndarray:
        """A map [H, W] of the stored picture, e.g. depth, for the upright one."""
        return np.ascontiguousarray(np.rot90(values, -self.turns))


def lying(path: Path) -> Lying:
    """How a picture is stored, without decoding it (TIFF alone is decoded, and taken as `open_image` gives it).

    Raises:
        OSError: the file is missing, no image, or one that is mirrored to stand upright; the message names it.
    """
    try:
        with Image.open(path) as image:
            if image.format != "TIFF":
                return Lying(image.size, _turns(image))
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"{path}: cannot be opened ({error})") from error
    return Lying(image_size(path), 0)


def _turns(image: Image.Image) -> int:
    try:
        noted = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # not PNG's own, which decodes the picture
    except Exception:
        return 0  # `open_image` leaves a picture as it is if what is noted beside it is broken
    if noted in (2, 4, 5, 7):
        raise OSError("is mirrored by its EXIF orientation; no camera sees that. Remove the note or turn the pixels")
    return _TURNS.get(noted, 0)
