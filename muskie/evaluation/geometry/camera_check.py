"""Which of the poses that a model says can be those of cameras: the others count as if they were not finite."""

from __future__ import annotations

import numpy as np

from muskie.data.geometry_check import RIGID
from muskie.errors import DataError


def can_be_cameras(cam2world: np.ndarray) -> np.ndarray:
    """Whether poses are finite, and their rotations are: as for the cameras of data, R^T R is the identity up to `RIGID` in
    each of its numbers (rounding to half precision passes), and the determinant is above 0.

    A mirrored world has the same relative poses as the right one. Without this, a model that says left for right throughout
    would be perfect.

    Args:
        cam2world: [..., 4, 4].

    Returns:
        bool [...].
    """
    rotation = np.where(np.isfinite(cam2world), cam2world, 0)[..., :3, :3]
    off = np.abs(np.swapaxes(rotation, -1, -2) @ rotation - np.eye(3)).max((-1, -2))
    return np.isfinite(cam2world).all((-1, -2)) & (off <= RIGID) & (np.linalg.det(rotation) > 0)


def check_true_cameras(cam2world: np.ndarray) -> None:
    """To be called before predictions are compared with true poses [..., 4, 4].

    Raises:
        DataError: one is not finite, or its rotation is none.
    """
    if not np.isfinite(cam2world).all():
        raise DataError("a true camera is not finite; leave views without a known pose out")
    if not can_be_cameras(cam2world).all():
        raise DataError(
            "a true camera has a rotation that is none (scaled, skewed, or mirrored); expected cam2world of determinant 1, "
            "x right, y down, z forward; mend the poses, or leave such views out"
        )
