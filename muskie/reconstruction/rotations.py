"""Rotations as quaternions, and the nearest rotation to a matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotations nearest to matrices [..., 3, 3] (Frobenius norm), float64: what rounding left over is taken away."""
    left, _, right = torch.linalg.svd(matrix.double())
    sign = torch.ones_like(matrix[..., 0], dtype=torch.float64)
    sign[..., 2] = torch.linalg.det(left @ right)
    return left @ (sign[..., None] * right)


def rigid(transform: Tensor) -> Tensor:
    """Transforms [..., 4, 4] with the nearest rotation and the same translation, float64: of a camera, the centre stays."""
    result = transform.double().clone()
    result[..., :3, :3] = nearest_rotation(transform[..., :3, :3])
    return result


def quaternion_wxyz(rotation: Tensor) -> Tensor:
    """Unit quaternions (w, x, y, z) of rotations [..., 3, 3], float64 [..., 4], with w >= 0.

    The eigenvector of the greatest eigenvalue of a symmetric 4 x 4 matrix (Bar-Itzhack, 2000): exact for all angles, half
    turns among them, and that of the nearest rotation where the matrix is slightly off.
    """
    m = rotation.double()
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    rows = [
        [a + b + c, m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]],
        [torch.zeros_like(a), a - b - c, m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0]],
        [torch.zeros_like(a), torch.zeros_like(a), b - a - c, m[..., 1, 2] + m[..., 2, 1]],
        [torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a), c - a - b],
    ]
    upper = torch.stack([torch.stack(row, -1) for row in rows], -2)
    quaternion = torch.linalg.eigh(upper, UPLO="U").eigenvectors[..., -1]
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
