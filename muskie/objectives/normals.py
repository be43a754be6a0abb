"""How far the surface normals of predicted points are from the true ones (MoGe, arXiv 2410.19115; π³, arXiv 2507.13347)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from muskie.objectives.scene_sums import SceneSums

EDGE = 0.03
"""A pixel is on an edge where the depths around it spread over more than this share of its own."""
BETA = math.radians(3)
"""Up to this angle the cost is quadratic, beyond it linear."""
RANGE = math.radians(1), math.radians(90)
"""The angles that the published form tells apart."""


def normal_costs(points: Tensor, target: Tensor, valid: Tensor, published: bool = False) -> SceneSums:
    """What the normals cost, for each corner of each square of four pixels, by the two edges that meet there.

    The error of a normal is the chord between the two unit normals, which is the angle in radians where that is small. A
    predicted triangle smaller than the true one counts as a normal that is shorter than 1. So the gradient stays bounded
    while neighbouring points nearly coincide, as they do before training, where the angle's grows without bound.

    Args:
        points: [B, V, H, W, 3], at the scale of the target; finite where not valid, too.
        target: [B, V, H, W, 3].
        valid: bool [B, V, H, W].
        published: the angle itself, clamped to `RANGE` (so that a perfect prediction costs something, and normals off by
            more get no gradient), added up over the corners, averaged over all squares, valid or not, and divided by
            4·max(H, W).
    """
    valid = valid & ~on_edge(target[..., 2], valid)
    ours, truth, inside = _corners(points), _corners(target), _corners(valid)
    total, count = torch.zeros_like(points[:, 0, 0, 0, 0]), torch.zeros_like(points[:, 0, 0, 0, 0])
    for corner in range(4):
        before, after = (corner - 1) % 4, (corner + 1) % 4
        normal, true = (
            torch.linalg.cross(x[before] - x[corner], x[after] - x[corner], dim=-1) for x in (ours, truth)
        )  # [B, V, H-1, W-1, 3], as long as the parallelogram is large
        length = torch.linalg.vector_norm(true, dim=-1)
        known = inside[before] & inside[corner] & inside[after] & (length > 0)
        true = true / torch.where(length > 0, length, 1)[..., None]
        error = _angle(normal, true).clamp(*RANGE) if published else _chord(normal, true, length)
        costs = SceneSums.of(F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=BETA), known)
        total, count = total + costs.total, count + costs.count
    if published:
        views, height, width = valid.shape[1:]
        total, count = total / (4 * max(height, width)), torch.full_like(count, views * (height - 1) * (width - 1))
    return SceneSums(total, count)


def on_edge(depth: Tensor, valid: Tensor) -> Tensor:
    """Where the known depths of the 3 x 3 pixels around one spread over more than `EDGE` of its own, bool [B, V, H, W]."""
    low, high = (torch.where(valid, sign * depth, -torch.inf).flatten(0, 1) for sign in (-1, 1))
    span = F.max_pool2d(high, 3, 1, 1) + F.max_pool2d(low, 3, 1, 1)
    return span.unflatten(0, depth.shape[:2]) > EDGE * depth


def _corners(x: Tensor) -> tuple[Tensor, ...]:
    """The four corners of all squares of four pixels, clockwise from the upper left, each [B, V, H-1, W-1, ...]."""
    return x[:, :, :-1, :-1], x[:, :, :-1, 1:], x[:, :, 1:, 1:], x[:, :, 1:, :-1]


def _chord(normal: Tensor, true: Tensor, length: Tensor) -> Tensor:
    """Between true unit normals and normals divided by their length, or by the true `length` where that is more."""
    longer = torch.maximum(torch.linalg.vector_norm(normal, dim=-1), length)
    return torch.linalg.vector_norm(normal / torch.where(longer > 0, longer, 1)[..., None] - true, dim=-1)


def _angle(normal: Tensor, true: Tensor) -> Tensor:
    """In radians; of a normal of no length 0, without gradient."""
    across = torch.linalg.vector_norm(torch.linalg.cross(normal, true, dim=-1), dim=-1)
    along = (normal * true).sum(-1)
    return torch.atan2(across, torch.where((across == 0) & (along == 0), 1, along))
