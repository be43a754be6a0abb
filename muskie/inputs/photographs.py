"""One photograph: its size without decoding it, and its pixels as the eye sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image

from muskie.data.images import decode
from muskie.errors import DataError

_TRANSPOSED = {5, 6, 7, 8}
"""EXIF orientations that exchange width and height."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be opened.

    Attributes:
        name: unlike that of any other.
        size: (W, H) of the original, upright.
        open: given the (W, H) that it is wanted for, the image: upright, RGB, 8 bits; of the original's size, or smaller by
            a whole factor, but at least twice as large as wanted. Raises `OSError`, whose message names it.
        pixel_aspect: width / height of the original's pixels.
    """

    name: str
    size: tuple[int, int]
    open: Callable[[tuple[int, int]], Image.Image]
    pixel_aspect: float = 1.0


def photograph(path: Path, name: str) -> Picture:
    """A picture from an image file, of which only the head is read.

    Raises:
        OSError: missing, or no image; the message names it.
    """

    def opened(wanted: tuple[int, int]) -> Image.Image:
        with _words(path), Image.open(path) as image:
            _draft(image, wanted)
            return upright(image)

    with _words(path), Image.open(path) as image:
        size = (image.height, image.width) if _orientation(image) in _TRANSPOSED else image.size
    return Picture(name, size, opened)


def picture(image: Image.Image, name: str) -> Picture:
    """A picture from an image of Pillow's, which may have been opened from a file that needs turning.

    Raises:
        OSError: it cannot be decoded.
    """
    with _words(name):
        ready = upright(image)
    return Picture(name, ready.size, lambda wanted: ready)


def array_image(pixels: np.ndarray | torch.Tensor, name: str) -> Image.Image:
    """An image from an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], or from a tensor [1, H, W], [3, H, W] or [4, H, W];
    uint8, uint16, or floating point in [0, 1]. A fourth channel is opacity.

    Raises:
        DataError: another shape, type or range.
    """
    channels_first = isinstance(pixels, torch.Tensor)
    array = pixels.detach().cpu() if isinstance(pixels, torch.Tensor) else pixels
    array = array.float().numpy() if isinstance(array, torch.Tensor) and array.is_floating_point() else np.asarray(array)
    shape = tuple(array.shape)
    channels = 1 if array.ndim == 2 else shape[0 if channels_first else -1] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or 0 in shape:
        kind = "tensor" if channels_first else "array"
        wanted = "a tensor [3, H, W] (views: [V, 3, H, W])" if channels_first else "an array [H, W, 3] (views: [V, H, W, 3])"
        first = shape[:1] in {(3,), (4,)} and not channels_first and array.ndim == 3
        hint = "; this one has its channels first: give array.transpose(1, 2, 0)" if first else ""
        raise DataError(f"{name}: {kind} of shape {list(shape)}; expected {wanted}{hint}")
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # also NaN
            raise DataError(
                f"{name}: floating-point values from {low:.4g} to {high:.4g}; expected [0, 1], without mean or standard "
                "deviation taken out (the model does that), or uint8"
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DataError(f"{name}: values of type {array.dtype}; expected uint8, uint16, or floating point in [0, 1]")
    if array.ndim == 3:
        array = array.transpose(1, 2, 0) if channels_first else array
        array = array[..., 0] if channels == 1 else array
    return Image.fromarray(np.ascontiguousarray(array))


def upright(image: Image.Image) -> Image.Image:
    """An image that Pillow may only have opened: turned as EXIF says, on white where it is transparent, 8-bit RGB.

    Raises:
        OSError: broken, or of 32 bits.
    """
    if not image.has_transparency_data:
        return decode(image).pillow()
    orientation = _orientation(image)
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    opaque = opaque.convert("RGB")
    opaque.getexif()[ExifTags.Base.Orientation] = orientation
    return decode(opaque).pillow()


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the pixels are sound, what is noted beside them is not
        return 1


def _draft(image: Image.Image, wanted: tuple[int, int]) -> None:
    """Lets JPEG decode at a half, a quarter or an eighth: several times faster. Only where that divides the size, so that
    no pixel at the border stands for less than a whole one and positions stay exact."""
    short, long = min(image.size), max(image.size)
    for factor in (8, 4, 2):
        enough = short >= 2 * factor * min(wanted) and long >= 2 * factor * max(wanted)
        if enough and image.width % factor == 0 and image.height % factor == 0:
            image.draft("RGB", (image.width // factor, image.height // factor))
            return


@contextmanager
def _words(name: str | Path) -> Iterator[None]:
    """Whatever damaged bytes raise, as an `OSError` that names the file."""
    try:
        yield
    except Image.UnidentifiedImageError as error:
        raise OSError(f"{name}: no image that can be read") from error
    except OSError as error:
        raise OSError(f"{name}: {error.strerror or error}") from error
    except Exception as error:  # it differs from format to format
        raise OSError(f"{name}: cannot be decoded ({error})") from error
