"""The rotation nearest to a matrix, with a gradient that stays finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SMALLEST_SUM = 1e-3
"""Least sum of two singular values that a gradient is divided by."""


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotations [..., 3, 3] nearest to matrices [..., 3, 3] by the Frobenius norm (special orthogonal Procrustes;
    Levinson et al., arXiv 2006.14616). Determinant +1; a matrix that is not finite gives NaN, and no error.

    The gradient is that of the rotation itself and not of its factors, which have none where singular values are equal:
    the rotation of M = R P turns by the skew part of Rᵀ dM over sums of singular values. Such a sum is 0 only where many
    rotations are equally near; there it is bounded.
    """
    return _NearestRotation.apply(matrix)


class _NearestRotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        finite = matrix.isfinite().flatten(-2).all(-1)[..., None, None]
        identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
        u, s, vt = torch.linalg.svd(torch.where(finite, matrix, identity))
        sign = torch.where(_determinant(u) * _determinant(vt) < 0, -1.0, 1.0).to(matrix.dtype)
        signs = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
        rotation = (u * signs.unsqueeze(-2)) @ vt
        ctx.save_for_backward(rotation, s * signs, vt, finite)
        return torch.where(finite, rotation, torch.nan)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rotation, s, vt, finite = ctx.saved_tensors
        v = vt.transpose(-1, -2)
        turn = vt @ rotation.transpose(-1, -2) @ gradient @ v
        sums = (s.unsqueeze(-1) + s.unsqueeze(-2)).clamp_min(SMALLEST_SUM)
        skew = (turn - turn.transpose(-1, -2)) / sums
        return torch.where(finite, rotation @ v @ skew @ vt, torch.nan)


def _determinant(matrix: Tensor) -> Tensor:
    first, second, third = matrix.unbind(-1)
    return (first * torch.linalg.cross(second, third)).sum(-1)
