"""Opening images of any kind as 8-bit RGB."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

REDUCTIONS = (8, 4, 2)
"""By how much a JPEG can be decoded smaller without doing the work of the rest; of others the library has no fast way."""

jpeg: Any
try:
    jpeg = importlib.import_module("simplejpeg")
except ImportError:  # Pillow then does it, in nearly twice the time
    jpeg = None


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image, upright.

    Attributes:
        pixels: uint8 [H, W, 3], RGB.
    """

    pixels: np.ndarray

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels of a column."""
        return int(self.pixels.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def pillow(self) -> Image.Image:
        """The same for Pillow."""
        return Image.fromarray(self.pixels)


def open_image(path: Path, at_least: int | None = None) -> Picture:
    """Opens an image as 8-bit RGB, upright.

    Grey, palette, RGBA, CMYK and 16-bit images are converted (16 bits keep their upper 8; transparency is dropped), EXIF
    rotation is applied. 32-bit and floating-point images say nowhere what is white, and are refused.

    Args:
        path: of the file.
        at_least: the shorter side may be decoded smaller, by 2, 4 or 8, down to this many pixels (JPEG alone can; it is
            several times faster). None: full size.

    Raises:
        OSError: the file is missing, broken, no image, or of 32 bits; the message names it.
    """
    try:
        return decode_bytes(path.read_bytes(), at_least)
    except OSError as error:
        # Pillow's own message rarely says which file it was.
        raise OSError(f"{path}: {error.strerror or error}") from error


def decode_bytes(data: bytes, at_least: int | None = None) -> Picture:
    """As `open_image`, of the content of a file.

    Raises:
        OSError: broken, no image, or of 32 bits.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            factor = reduction(image.size, at_least) if image.format == "JPEG" else 1
            if _orientation(image) in TURNS:
                # What is left of a side that is no multiple comes last, and would come first in the upright image.
                factor = next((f for f in REDUCTIONS if f <= factor and not (image.width % f or image.height % f)), 1)
            size = (-(-image.width // factor), -(-image.height // factor))
            pixels = _decode_jpeg(data, size) if image.format == "JPEG" and image.mode in ("RGB", "L") else None
            if pixels is not None:
                return Picture(_turned(pixels, image))
            if factor > 1:
                image.draft("RGB", (image.width // factor, image.height // factor))
            return decode(image)
    except UnidentifiedImageError as error:  # whose message holds the address of the bytes
        raise OSError("cannot identify the image") from error
    except OSError:
        raise
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"cannot be decoded ({error})") from error


def reduction(size: tuple[int, int], at_least: int | None) -> int:
    """By how much an image of this size may be reduced so that its shorter side keeps `at_least` pixels: 1, 2, 4 or 8."""
    if at_least is None:
        return 1
    return next((factor for factor in REDUCTIONS if min(size) // factor >= at_least), 1)


def _decode_jpeg(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """uint8 [H, W, 3] at `size` = (W, H), one that JPEG can be reduced to; None where it takes Pillow to read it, or to say
    what is wrong."""
    if jpeg is None:
        return None
    try:
        pixels: np.ndarray = jpeg.decode_jpeg(data, "RGB", min_height=size[1], min_width=size[0])
    except Exception:  # it is strict where Pillow is not
        return None
    return pixels if pixels.shape == (size[1], size[0], 3) else None


def decode(image: Image.Image | Picture) -> Picture:
    """An image that Pillow may only have opened, upright and in 8-bit RGB, as `open_image` gives it.

    Raises:
        OSError: broken, or of 32 bits.
    """
    if isinstance(image, Picture):
        return image
    try:
        image.load()
    except OSError:
        raise
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"cannot be decoded ({error})") from error
    return Picture(_turned(np.array(to_rgb(image)), image))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1  # the pixels are sound, what is noted beside them is not


def _turned(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """The pixels of an image, upright."""
    orientation = _orientation(image)
    if orientation not in TURNS:
        return pixels
    mirrored, turns = TURNS[orientation]
    turned = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
    return np.ascontiguousarray(turned)


TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}
"""EXIF's orientations: whether to mirror left-right first, and then how often to turn counter-clockwise by 90 degrees."""


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB.

    Raises:
        OSError: broken, or of 32 bits.
    """
    if image.mode == "RGB":
        return image
    if image.mode in ("I", "F"):
        raise OSError(f"a grey image of mode {image.mode!r} (32 bits) has no defined white; convert it to 8 or 16 bits")
    if image.mode.startswith("I;16"):  # Pillow would clip it to 255 instead of scaling it
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image.convert("RGB")
