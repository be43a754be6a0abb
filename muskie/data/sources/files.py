"""What lies beside the pictures of a data set, read the same way for all of them: sizes, depth maps, matrices, poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from muskie.data.images import decode


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the picture that `open_image` gives, upright, without decoding it (TIFF alone is decoded).

    An orientation that a PNG notes behind its pixels, where next to nobody puts it, is not seen.

    Raises:
        OSError: the file is missing or no image; the message names it.
    """
    try:
        with Image.open(path) as image:
            if image.format == "TIFF":  # whether its size is turned already depends on the version of Pillow
                return decode(image).size
            width, height = image.size
            return (height, width) if _lies_on_its_side(image) else (width, height)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"{path}: cannot be opened ({error})") from error


def _lies_on_its_side(image: Image.Image) -> bool:
    try:
        # Not `image.getexif()`: that of PNG files decodes the picture to look for notes behind it.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception:
        return False  # `open_image` leaves a picture as it is if what is noted beside it is broken


ASPECT = 0.03
"""How far aspect ratios of what belongs together may differ: those of ScanNet's colour and depth do by half a percent."""


def check_aspect(of: tuple[int, int], size: tuple[int, int], file: Path) -> None:
    """
    Raises:
        OSError: a picture of `size` = (W, H) is none of what `file`, of another size, belongs to.
    """
    if abs(of[0] * size[1] / (of[1] * size[0]) - 1) > ASPECT:
        raise OSError(
            f"{file}: it is of {of[0]}x{of[1]} pixels and its picture of {size[0]}x{size[1]}, another aspect ratio"
        )


def read_grey(file: Path, size: tuple[int, int]) -> np.ndarray:
    """The values of a grey image, e.g. a depth map of 16 bits: float32 [H, W] at `size` = (W, H), by nearest neighbour.

    Raises:
        OSError: missing, broken, a colour image, or of another aspect ratio by more than `ASPECT`; the message names it.
    """
    try:
        with Image.open(file) as image:
            stored = image.size
            values = np.asarray(image.resize(size, Image.Resampling.NEAREST))
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"{file}: cannot be decoded ({error})") from error
    if values.ndim != 2:
        raise OSError(f"{file}: a colour image; expected depth, 16-bit grey")
    check_aspect(stored, size, file)
    return values.astype(np.float32)


def read_matrix(file: Path) -> np.ndarray | None:
    """Numbers in rows, float64 [rows, columns]; None if there is anything else, or one that is not finite."""
    try:
        matrix = np.loadtxt(file, ndmin=2)
    except ValueError:
        return None
    return matrix if np.isfinite(matrix).all() else None


def read_pose(file: Path) -> np.ndarray | None:
    """A camera-to-world matrix, float64 [4, 4], its rotation made exact; None if there is no such file.

    Raises:
        OSError: it holds anything else; the message names it.
    """
    if not file.is_file():
        return None
    cam2world = read_matrix(file)
    if cam2world is None or cam2world.shape != (4, 4) or not np.allclose(cam2world[3], [0, 0, 0, 1]):
        raise OSError(f"{file}: expected a finite 4x4 camera-to-world matrix whose last row is 0 0 0 1")
    exact = rigid(cam2world)
    if exact is None:
        raise OSError(f"{file}: its upper left 3x3 matrix is no rotation")
    return exact


def rigid(matrix: np.ndarray) -> np.ndarray | None:
    """A finite [4, 4] matrix with its rotation made exact, for files round to a few digits; None if it has none."""
    left, scales, right = np.linalg.svd(matrix[:3, :3])
    if not np.allclose(scales, 1, atol=1e-2) or np.linalg.det(left @ right) < 0:
        return None
    exact = matrix.copy()
    exact[:3, :3] = left @ right
    return exact
