"""How well depth and cameras of two frames agree, in pixels: there by the depth of one, back by that of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.geometry import invert, project, reproject, transform_points, unproject_points

SMOOTH = 0.05
"""Neighbouring depths that differ by more, relative, are of two surfaces, between which nothing can be said."""


def round_trip(
    depth: Tensor,
    intrinsics: Tensor,
    cam2world: Tensor,
    target_depth: Tensor,
    target_intrinsics: Tensor,
    target_cam2world: Tensor,
) -> Tensor:
    """Pixels by which points miss where they began: from one frame into the other by the depth of the first, and back by
    what the second one measured there. 0 where depth and cameras are exact; a wrong convention costs dozens.

    Args:
        depth, intrinsics, cam2world: [H, W], [3, 3], [4, 4] of the first, float64.
        target_depth, target_intrinsics, target_cam2world: of the second.

    Returns:
        [N], of all pixels of known depth that lie on a smooth surface of the second, and that it sees: the two depths
        agree to a fifth.
    """
    found = reproject(depth, intrinsics, cam2world, target_depth, target_intrinsics, target_cam2world, tolerance=0.2)
    seen = found.visible
    pixels = found.pixels[seen]  # [N, 2]
    measured, smooth = _interpolated(target_depth, pixels)
    points = unproject_points(pixels, measured, target_intrinsics)
    back = transform_points(invert(cam2world) @ target_cam2world, points)
    landed, _ = project(back, intrinsics)
    row, column = seen.nonzero().unbind(-1)
    begun = torch.stack([column, row], dim=-1) + 0.5
    return (landed - begun).norm(dim=-1)[smooth]


def _interpolated(depth: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Depth [N] between the four pixels around each position [N, 2], and whether these are of one surface. Its inverse is
    what is linear on a plane."""
    height, width = depth.shape
    x, y = (pixels - 0.5).unbind(-1)
    left, top = x.floor().clamp(0, max(width - 2, 0)).long(), y.floor().clamp(0, max(height - 2, 0)).long()
    across, down = (x - left).clamp(0, 1), (y - top).clamp(0, 1)
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    corners = torch.stack([depth[top, left], depth[top, right], depth[bottom, left], depth[bottom, right]])  # [4, N]
    nearest, farthest = corners.min(0).values, corners.max(0).values
    smooth = (nearest > 0) & (farthest - nearest <= SMOOTH * farthest)
    weights = torch.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down])
    inverse = (weights / corners.clamp(min=1e-12)).sum(0)
    return 1 / inverse, smooth
