"""Pictures with a mark whose place is known, and where it is found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photographs" / "arch"
KITCHEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "7scenes" / "redkitchen" / "seq-01"

EXIF_SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
"""What EXIF 2.3 says of orientations: the sides of the upright picture that the first stored row and column are."""


def spot(width: int, height: int, x: float, y: float, radius: float) -> np.ndarray:
    """A red, soft spot on black centred at (x, y), in pixels whose centres are at integer + 0.5; uint8 [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    bright = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.round(255 * bright)
    return pixels


def spot_at(pixels: np.ndarray) -> tuple[float, float]:
    """Where the spot is in uint8 [3, H, W]: its centre of mass, also where padding is white."""
    red = pixels[0].astype(float) - pixels[1]
    red[red < 8] = 0
    rows, columns = np.mgrid[: red.shape[0], : red.shape[1]] + 0.5
    return float((red * columns).sum() / red.sum()), float((red * rows).sum() / red.sum())


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The array that a camera writes beside this EXIF orientation."""
    first_row, first_column = EXIF_SIDES[orientation]
    if first_row in ("left", "right"):
        upright = upright.swapaxes(0, 1)
    upright = upright[::-1] if first_row in ("bottom", "right") else upright
    return upright[:, ::-1] if first_column in ("bottom", "right") else upright


def write_exif(path: Path, upright: np.ndarray, orientation: int, **options: object) -> None:
    """A file whose pixels lie as a camera with this orientation writes them."""
    image = Image.fromarray(np.ascontiguousarray(stored(upright, orientation)))
    exif = Image.Exif()
    exif[0x112] = orientation
    image.save(path, exif=exif, **options)
