"""Depth maps of a distorting lens as a pinhole camera at the same place would have measured them."""

from __future__ import annotations

import numpy as np

ROWS = 16
"""How many rows of the result are looked up at once: pictures of 24 megapixels would fill gigabytes, and not the cache."""


def distort(x: np.ndarray, y: np.ndarray, parameters: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where COLMAP's THIN_PRISM_FISHEYE sees rays.

    Args:
        x, y: of the rays at z = 1, [...].
        parameters: fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, sx1, sy1.

    Returns:
        x and y in pixels, [...].
    """
    focal_x, focal_y, centre_x, centre_y, k1, k2, p1, p2, k3, k4, sx, sy = parameters
    radius = np.sqrt(x * x + y * y)
    # An equidistant fisheye, ...
    bent = np.divide(np.arctan(radius), radius, out=np.ones_like(radius), where=radius > 1e-9)
    u, v = x * bent, y * bent
    # ... whose rays a lens then moves along the radius, by tangential distortion and by a thin prism.
    square, across = u * u + v * v, u * v
    along = square * (k1 + square * (k2 + square * (k3 + square * k4)))
    moved_u = u + u * along + 2 * p1 * across + p2 * (square + 2 * u * u) + sx * square
    moved_v = v + v * along + 2 * p2 * across + p1 * (square + 2 * v * v) + sy * square
    return focal_x * moved_u + centre_x, focal_y * moved_v + centre_y


def undistort_depth(
    depth: np.ndarray, parameters: tuple[float, ...], intrinsics: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Looks up every pixel of a pinhole camera in the depth map of a THIN_PRISM_FISHEYE camera of the same pose. Depth is z
    in both, so it is only moved, never changed: the nearest value counts.

    Args:
        depth: [H, W] of the distorting camera; infinite, not a number or <= 0 is unknown.
        parameters: of that camera, as for `distort`.
        intrinsics: [3, 3] of the pinhole camera.
        size: width and height of its picture.

    Returns:
        float32 [height, width], 0 = unknown.
    """
    width, height = size
    found = np.zeros((height, width), dtype=np.float32)
    # In single precision, which is faster and moves a pixel by a thousandth.
    x = ((np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]).astype(np.float32)
    y = ((np.arange(height) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]).astype(np.float32)
    for top in range(0, height, ROWS):
        rays_x, rays_y = np.meshgrid(x, y[top : top + ROWS])
        column, row = (np.floor(pixels).astype(np.int32) for pixels in distort(rays_x, rays_y, parameters))
        inside = (column >= 0) & (column < depth.shape[1]) & (row >= 0) & (row < depth.shape[0])
        values = np.where(inside, depth[np.where(inside, row, 0), np.where(inside, column, 0)], 0)
        found[top : top + ROWS] = np.where(np.isfinite(values) & (values > 0), values, 0)
    return found
