"""One size for views of many sizes, and where each pixel of it lies in the original."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from muskie.errors import ConfigError
from muskie.inputs.pixel_map import PixelMap

FITS = ("crop", "pad")


def common_size(aspects: Sequence[float], patch_size: int, long_side: int) -> tuple[int, int]:
    """The size (H, W) for all views: that of their median aspect ratio (width / height; the geometric mean of the two in the
    middle). The long side is the largest multiple of the patch size that is at most `long_side`, the short side the
    nearest.

    Raises:
        ConfigError: `long_side` is less than one patch.
    """
    if long_side < patch_size:
        raise ConfigError(f"size={long_side}: expected at least one patch of the model, {patch_size} px, for the long side")
    aspect = math.exp(float(np.median(np.log(aspects))))
    long = long_side // patch_size * patch_size
    short = max(round(long * min(aspect, 1 / aspect) / patch_size), 1) * patch_size
    return (short, long) if aspect >= 1 else (long, short)


def fitted(original: tuple[int, int], size: tuple[int, int], fit: str = "crop", pixel_aspect: float = 1.0) -> PixelMap:
    """How an image is brought to a size.

    Args:
        original: its (W, H), upright.
        size: the (W, H) that it gets.
        fit: `"crop"`: the largest centred rectangle of that shape is kept, so that nothing but image is seen and pixels
            stay square; `"pad"`: all of it is kept, centred, with white beside it (a whole number of pixels wide; the two
            scales may differ by what that takes).
        pixel_aspect: width / height of the original's pixels; 1 for photographs.

    Raises:
        ConfigError: an unknown fit.
    """
    (width, height), (to_width, to_height) = original, size
    ratios = to_width / (width * pixel_aspect), to_height / height
    if fit == "crop":
        scale_y = max(ratios)
        scale_x = scale_y * pixel_aspect
        offset_x, offset_y = (width - to_width / scale_x) / 2, (height - to_height / scale_y) / 2
    elif fit == "pad":
        least = min(ratios)
        inner_width = min(max(round(width * pixel_aspect * least), 1), to_width)
        inner_height = min(max(round(height * least), 1), to_height)
        scale_x, scale_y = inner_width / width, inner_height / height
        offset_x, offset_y = -((to_width - inner_width) // 2) / scale_x, -((to_height - inner_height) // 2) / scale_y
    else:
        raise ConfigError(f"fit={fit!r}: expected one of {', '.join(map(repr, FITS))}")
    return PixelMap(original_size=original, size=size, scale=(scale_x, scale_y), offset=(offset_x, offset_y))


def inner_box(pixel_map: PixelMap) -> tuple[int, int, int, int]:
    """Where the original lies in the processed image: (left, top, right, bottom) in pixels; beside it is padding."""
    (width, height), (to_width, to_height) = pixel_map.original_size, pixel_map.size
    (scale_x, scale_y), (offset_x, offset_y) = pixel_map.scale, pixel_map.offset
    left, top = max(round(-offset_x * scale_x), 0), max(round(-offset_y * scale_y), 0)
    right = min(round((width - offset_x) * scale_x), to_width)
    bottom = min(round((height - offset_y) * scale_y), to_height)
    return left, top, right, bottom


def resized(image: Image.Image, pixel_map: PixelMap) -> np.ndarray:
    """The image as its pixel map says (bicubic, antialiased), uint8 [3, H, W]; padding is white.

    Args:
        image: RGB; it may have been decoded smaller than the original by a factor, as JPEG can.
        pixel_map: from the original to the result.
    """
    width, height = pixel_map.original_size
    (scale_x, scale_y), (offset_x, offset_y) = pixel_map.scale, pixel_map.offset
    left, top, right, bottom = inner_box(pixel_map)
    factor_x, factor_y = image.width / width, image.height / height
    box = (
        max(left / scale_x + offset_x, 0) * factor_x,
        max(top / scale_y + offset_y, 0) * factor_y,
        min((right / scale_x + offset_x) * factor_x, image.width),
        min((bottom / scale_y + offset_y) * factor_y, image.height),
    )
    inner = image.resize((right - left, bottom - top), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    pixels = np.full((3, pixel_map.size[1], pixel_map.size[0]), 255, dtype=np.uint8)
    pixels[:, top:bottom, left:right] = np.asarray(inner).transpose(2, 0, 1)
    return pixels
