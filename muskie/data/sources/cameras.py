"""Cameras as data sets write them, turned into ours: quaternions, world-to-camera poses, intrinsics for another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def rotations(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of quaternions (w, x, y, z) [..., 4] of any length but 0: v -> q v q* / |q|^2."""
    w, x, y, z = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def poses(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Rotations [..., 3, 3] and translations [..., 3] as float64 [..., 4, 4]."""
    matrix = np.zeros((*rotation.shape[:-2], 4, 4))
    matrix[..., :3, :3], matrix[..., :3, 3], matrix[..., 3, 3] = rotation, translation, 1
    return matrix


def inverse(world2cam: np.ndarray) -> np.ndarray:
    """The inverse of rigid transforms [..., 4, 4]: world2cam to cam2world and back."""
    rotation = np.swapaxes(world2cam[..., :3, :3], -1, -2)
    return poses(rotation, -(rotation @ world2cam[..., :3, 3:])[..., 0])


def pinhole(focal_x: float, focal_y: float, centre_x: float, centre_y: float) -> np.ndarray:
    """Intrinsics, float64 [3, 3]."""
    return np.array([[focal_x, 0, centre_x], [0, focal_y, centre_y], [0, 0, 1]], dtype=np.float64)


def resized(intrinsics: np.ndarray, of: tuple[int, int], size: tuple[int, int], file: Path) -> np.ndarray:
    """Intrinsics of a picture of width and height `of`, for `file`, which is the same picture at `size`.

    Raises:
        OSError: the aspect ratios differ by more than a pixel that shrinking may have cut off: it is another picture.
    """
    if abs(size[0] * of[1] - size[1] * of[0]) > max(of):
        raise OSError(
            f"{file}: {size[0]}x{size[1]} pixels; its camera is for a picture of {of[0]}x{of[1]}, another aspect ratio"
        )
    return intrinsics * np.array([[size[0] / of[0]], [size[1] / of[1]], [1.0]])
