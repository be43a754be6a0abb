"""How far the relative poses of all pairs of views are from the true ones: no view is special (π³, arXiv 2507.13347)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from muskie.objectives.scene_sums import SceneSums

CLAMP = 1e-6
"""How near to 1 the published form lets the cosine of a rotation's error come."""


class Relative(NamedTuple):
    """Of all ordered pairs (i, j) of views, camera j in camera i: rotation [B, V, V, 3, 3], translation [B, V, V, 3]."""

    rotation: Tensor
    translation: Tensor


def relative(cam2world: Tensor) -> Relative:
    """The relative poses of [B, V, 4, 4]. Written out: a matrix product may be computed in a lower precision. Centres are
    subtracted before they are turned, so that a world far from its origin costs little precision."""
    axes, centre = cam2world[..., :3, :3], cam2world[..., :3, 3]
    apart = centre[:, None] - centre[:, :, None]  # [B, i, j, 3]
    rotation = (axes[:, :, None, :, :, None] * axes[:, None, :, :, None, :]).sum(-3)  # R_iᵀ R_j
    return Relative(rotation, (axes[:, :, None] * apart[..., None]).sum(-2))  # R_iᵀ (c_j - c_i)


def pose_costs(
    cam2world: Tensor, target: Tensor, counts: Tensor, mirrored: Tensor, huber: float = 0.1, published: bool = False
) -> tuple[SceneSums, SceneSums]:
    """What translations and rotations cost, over all ordered pairs of two views.

    Args:
        cam2world: [B, V, 4, 4], at the scale of the target, rotations orthonormal.
        target: [B, V, 4, 4], in its own precision; rotations may be mirrored.
        counts: bool [B], scenes that count.
        mirrored: bool [B, V], where the target's rotation has determinant -1. No motion takes a view to the mirror image
            of another: such pairs are left out.
        huber: where the Huber distance of translations turns from quadratic to linear.
        published: the rotation's angle by an arc cosine that stops at `CLAMP`, 1.4e-3 rad, and there has no gradient.

    Returns:
        The Huber distance of translations, a mean over coordinates, and the angle of rotations in radians.
    """
    ours, truth = relative(cam2world), Relative(*(x.to(cam2world.dtype) for x in relative(target)))
    different = ~torch.eye(cam2world.shape[1], dtype=torch.bool, device=cam2world.device)
    pairs = counts[:, None, None] & different & (mirrored[:, :, None] == mirrored[:, None, :])
    distance = F.huber_loss(ours.translation, truth.translation, reduction="none", delta=huber).mean(-1)
    error = (truth.rotation[..., :, None] * ours.rotation[..., None, :]).sum(-3)  # R̂ᵀ R
    angle = _clamped_angle(error) if published else rotation_angle(error)
    return SceneSums.of(distance, pairs), SceneSums.of(angle, pairs)


def rotation_angle(rotation: Tensor) -> Tensor:
    """The angle of rotations [..., 3, 3] in [0, π], from sine and cosine: exact at small angles, and with a gradient of
    length 1 (to the angle) at all but 0 and π, where it is 0."""
    axis = torch.stack([rotation[..., i, j] - rotation[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], dim=-1)
    sine, cosine = torch.linalg.vector_norm(axis, dim=-1) / 2, (_trace(rotation) - 1) / 2
    return torch.atan2(sine, torch.where((sine == 0) & (cosine == 0), 1, cosine))  # both 0: no rotation


def _clamped_angle(rotation: Tensor) -> Tensor:
    return torch.acos(((_trace(rotation) - 1) / 2).clamp(CLAMP - 1, 1 - CLAMP))


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
