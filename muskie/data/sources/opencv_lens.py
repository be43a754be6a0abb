"""Pictures of a distorting lens (OpenCV's model) as a pinhole camera at the same place would have taken them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from muskie.data.images import Picture

ROWS = 64
"""How many rows are looked up at once: pictures of 4K would fill gigabytes, and not the cache."""

Distortion = tuple[float, float, float, float]
"""k1, k2, p1, p2."""


def distort(x: np.ndarray, y: np.ndarray, distortion: Distortion) -> tuple[np.ndarray, np.ndarray]:
    """Where rays x, y [...], at z = 1, seem to come from behind the lens (COLMAP's and OpenCV's model OPENCV)."""
    k1, k2, p1, p2 = distortion
    square, across = x * x + y * y, x * y
    radial = 1 + square * (k1 + square * k2)
    return (
        x * radial + 2 * p1 * across + p2 * (square + 2 * x * x),
        y * radial + 2 * p2 * across + p1 * (square + 2 * y * y),
    )


def undistort(image: Picture, intrinsics: np.ndarray, distortion: Distortion) -> Picture:
    """The picture of a pinhole camera of the same pose, intrinsics and size, bilinear; black where the lens saw nothing.

    Args:
        image: as the lens took it.
        intrinsics: [3, 3], of both; pixel centres at integer + 0.5.
        distortion: of the lens that took `image`.
    """
    numbers = tuple(float(number) for number in intrinsics.flat)
    index, weights = _looked_up(numbers, tuple(distortion), image.size)
    width, height = image.size
    # A black frame of one pixel: what lies outside is looked up there.
    pixels = np.zeros((height + 2, width + 2, 3), dtype=np.float32)
    pixels[1:-1, 1:-1] = image.pixels
    flat, found = pixels.reshape(-1, 3), np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, ROWS):
        at, (right, down) = index[top : top + ROWS], weights[:, top : top + ROWS, :, None]
        above = flat[at] * (1 - right) + flat[at + 1] * right
        below = flat[at + width + 2] * (1 - right) + flat[at + width + 3] * right
        found[top : top + ROWS] = np.round(above * (1 - down) + below * down)
    return Picture(found)


@lru_cache(maxsize=2)
def _looked_up(
    intrinsics: tuple[float, ...], distortion: Distortion, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel, the upper left of the four that it lies between, in the flattened picture with its frame, int32
    [H, W], and the shares of the right and the lower ones, float32 [2, H, W]. The frames of a scene have it in common."""
    width, height = size
    focal_x, _, centre_x, _, focal_y, centre_y = intrinsics[:6]
    x, y = np.meshgrid((np.arange(width) + 0.5 - centre_x) / focal_x, (np.arange(height) + 0.5 - centre_y) / focal_y)
    seen_x, seen_y = distort(x, y, distortion)
    # + 0.5: half a pixel back to indices, and one on for the frame.
    column = np.clip(seen_x * focal_x + centre_x + 0.5, 0, width + 0.999)
    row = np.clip(seen_y * focal_y + centre_y + 0.5, 0, height + 0.999)
    left, top = np.floor(column).astype(np.int32), np.floor(row).astype(np.int32)
    return top * (width + 2) + left, np.stack([column - left, row - top]).astype(np.float32)
