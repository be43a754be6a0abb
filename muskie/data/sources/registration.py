"""Depth maps of one camera as another one beside it would have measured them."""

from __future__ import annotations

import numpy as np


def register(depth: np.ndarray, intrinsics: np.ndarray, to_other: np.ndarray, other_intrinsics: np.ndarray) -> np.ndarray:
    """Moves a depth map into another camera: every pixel is unprojected, moved, and written to the pixel that it falls on.

    Of several that fall on one pixel the nearest counts. Pixels on which none falls are unknown: what the first camera did
    not see, and, where the second has the longer focal length, gaps.

    Args:
        depth: [H, W], z in metres, 0 = unknown.
        intrinsics: [3, 3] of the camera that measured it.
        to_other: [4, 4], from its camera coordinates to those of the other camera.
        other_intrinsics: [3, 3] of that one.

    Returns:
        float32 [H, W].
    """
    height, width = depth.shape
    row, column = np.nonzero(depth)
    z = depth[row, column].astype(np.float64)
    pixels = np.stack([column + 0.5, row + 0.5, np.ones_like(z)])
    points = to_other[:3, :3] @ (np.linalg.inv(intrinsics) @ pixels * z) + to_other[:3, 3:]
    in_front = points[:, points[2] > 0]
    x, y = (other_intrinsics @ in_front)[:2] / in_front[2]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = y[inside].astype(np.int64) * width + x[inside].astype(np.int64)
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, index, in_front[2, inside])
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32).reshape(height, width)
