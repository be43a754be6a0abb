"""Matches between the patches of two views: those that are each other's nearest neighbour."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.evaluation.readout import patch_centres
from muskie.evaluation.tracks import TOLERANCE, depth_at
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import invert, project, transform_points, unproject_points


class Matches(NamedTuple):
    """Matches of a batch of pairs, patch by patch of view 0.

    Attributes:
        nearest: int64 [B, L], the number of a patch of view 1; means nothing where `mutual` is False.
        mutual: bool [B, L], whether both choose each other.
    """

    nearest: Tensor
    mutual: Tensor

    def positions(self, grid: tuple[int, int], size: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        """Of every pair the matched patch centres in view 0 and view 1, float64 [M, 2] each, (x, y) in pixels.

        Args:
            grid: h and w of both views.
            size: H and W of the pictures.
        """
        nearest, mutual = self.nearest.cpu(), self.mutual.cpu()
        first = patch_centres(torch.arange(grid[0] * grid[1]), grid, size)
        second = patch_centres(nearest, grid, size)
        return [(first[kept], found[kept]) for found, kept in zip(second, mutual, strict=True)]


def mutual_nearest(first: Tensor, second: Tensor, metric: str = "cosine") -> Matches:
    """Matches by features.

    A patch that is equally near to two others, but for rounding, has no nearest neighbour and no match: on features that
    say nothing, choosing the first of them would call chance a match.

    Args:
        first, second: [B, C, h, w] of view 0 and view 1; the grids may differ.
        metric: `"cosine"` or `"l2"`.
    """
    found = []
    for one, other in zip(first.flatten(2), second.flatten(2), strict=True):  # pair by pair: L x L numbers are many
        affinity, rounding = _affinity(one, other, metric)
        forth, clear_forth = _clear_maximum(affinity, rounding)  # [L]
        back, clear_back = _clear_maximum(affinity.T, rounding)
        there = torch.arange(len(forth), device=forth.device)
        found.append((forth, clear_forth & clear_back[forth] & (back[forth] == there)))
    nearest, mutual = zip(*found, strict=True)
    return Matches(torch.stack(nearest), torch.stack(mutual))


def _affinity(one: Tensor, other: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """How near all patches of [C, L] are to those of [C, L'], as [L, L'], higher = nearer; and how far it is rounded."""
    rounding = 8 * torch.finfo(one.dtype).eps
    if metric == "cosine":
        return F.normalize(one, dim=0).T @ F.normalize(other, dim=0), one.new_tensor(rounding)
    mean = other.mean(1, keepdim=True)  # what all features have in common changes no distance, but would cost digits
    one, other = one - mean, other - mean
    squares, other_squares = one.square().sum(0), other.square().sum(0)
    affinity = 2 * (one.T @ other) - squares[:, None] - other_squares
    return affinity, rounding * (squares.max() + other_squares.max())


def _clear_maximum(affinity: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row [L, L'] where its maximum is, [L], and whether no other entry is as high."""
    highest, where = affinity.topk(min(2, affinity.shape[1]), dim=1)
    return where[:, 0], highest[:, 0].isfinite() & (highest[:, :1] - highest[:, 1:] > rounding).all(1)


def true_matches(views: PosedViews, grid: tuple[int, int], tolerance: float = TOLERANCE) -> Matches:
    """Matches by geometry: what a perfect matcher of patches would answer.

    The surface at a patch's centre is looked for in the other view, where it lies in a patch if it is in the picture and
    not behind what is measured there; both directions must agree.

    Args:
        views: of two views each, on the CPU.
        grid: h and w.
        tolerance: metres that a point may lie behind the measured surface and still be seen.
    """
    forth, seen = _true_patches(views, 0, 1, grid, tolerance)
    back, seen_back = _true_patches(views, 1, 0, grid, tolerance)
    there = torch.arange(forth.shape[1])
    return Matches(forth, seen & seen_back.gather(1, forth) & (back.gather(1, forth) == there))


def _true_patches(
    views: PosedViews, source: int, target: int, grid: tuple[int, int], tolerance: float
) -> tuple[Tensor, Tensor]:
    """The patch of `target` that shows the surface at each patch centre of `source`, int64 [B, L]; whether one does."""
    centres = patch_centres(torch.arange(grid[0] * grid[1]), grid, views.size).expand(len(views.images), -1, -1)
    # The centre of an even patch lies between pixels. Depth is of one of them: a mean across an edge would be in mid-air.
    depth = depth_at(views.depth[:, source], centres, "nearest")
    points = unproject_points(centres, depth, views.intrinsics[:, source])
    to_target = invert(views.cam2world[:, target]) @ views.cam2world[:, source]
    positions, z = project(transform_points(to_target, points), views.intrinsics[:, target])
    extent = positions.new_tensor([views.size[1], views.size[0]])
    inside = (depth > 0) & (z > 0) & ((positions >= 0) & (positions < extent)).all(-1)
    positions = torch.where(inside[..., None], positions, 0)
    measured = depth_at(views.depth[:, target], positions, "nearest")
    seen = inside & ~((measured > 0) & (z > measured + tolerance))
    column, row = (positions / extent * positions.new_tensor([grid[1], grid[0]])).long().unbind(-1)
    return row.clamp(max=grid[0] - 1) * grid[1] + column.clamp(max=grid[1] - 1), seen
