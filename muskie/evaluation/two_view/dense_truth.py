"""Ground truth of two-view matching: where the pixels, or the patch centres, of view 0 lie in view 1, and where both see
the same point.

A point counts as seen in both views where its depth in view 1 agrees with what view 1 measured there, within a share of
the latter (0.05, as RoMa and the linear-probe protocol of MuM, arXiv 2511.17309, have it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muskie.errors import ConfigError
from muskie.evaluation.views.posed_views import PosedViews
from muskie.evaluation.views.view_sets import rotation_angles
from muskie.geometry import Reprojection, reproject

TOLERANCE = 0.05
"""By which share of the measured depth two depths of one point may differ, as published."""


@dataclass
class Warp:
    """Points of view 0 in view 1.

    Attributes:
        positions: float64 [B, h, w, 2], (x, y) in pixels of view 1; (0, 0) where `valid` is False.
        valid: bool [B, h, w], the depth is known and both views see the point.
    """

    positions: Tensor
    valid: Tensor


def pixel_warp(views: PosedViews, tolerance: float = TOLERANCE) -> Warp:
    """The truth at all pixel centres of view 0, [B, H, W].

    Args:
        views: pairs, V = 2.
        tolerance: see `TOLERANCE`.

    Raises:
        ConfigError: V is not 2.
    """
    return _warp(views, views.depth[:, 0].double(), tolerance)


def patch_warp(views: PosedViews, grid: tuple[int, int], tolerance: float = TOLERANCE) -> Warp:
    """The truth at the centres of view 0's patches, [B, h, w]; see `centre_depth` for the depth that they have.

    Args:
        views: pairs, V = 2.
        grid: (h, w) over the picture; a patch is H/h x W/w pixels, which need not be whole.
        tolerance: see `TOLERANCE`.

    Raises:
        ConfigError: V is not 2.
    """
    return _warp(views, centre_depth(views.depth[:, 0], grid, tolerance), tolerance)


def _warp(views: PosedViews, depth: Tensor, tolerance: float) -> Warp:
    found = reproject_grid(views, depth, tolerance)
    return Warp(torch.where(found.visible[..., None], found.pixels, 0), found.visible)


def reproject_grid(views: PosedViews, depth: Tensor, tolerance: float = TOLERANCE) -> Reprojection:
    """Finds the centres of a grid over view 0 in view 1.

    Args:
        views: pairs, V = 2.
        depth: float64 [B, h, w], at the centres.
        tolerance: see `TOLERANCE`.

    Raises:
        ConfigError: V is not 2.
    """
    if (count := views.images.shape[1]) != 2:
        raise ConfigError(f"two-view matching needs samples of 2 views, and these have {count}; choose pairs with views=2")
    height, width = views.size
    # The centres of patches are the pixel centres of the same camera with patches for pixels.
    shrink = torch.diag(depth.new_tensor([depth.shape[-1] / width, depth.shape[-2] / height, 1]))
    source = (depth, shrink @ views.intrinsics[:, 0], views.cam2world[:, 0])
    return reproject(*source, views.depth[:, 1].double(), views.intrinsics[:, 1], views.cam2world[:, 1], tolerance)


def centre_depth(depth: Tensor, grid: tuple[int, int], tolerance: float = TOLERANCE, edges: bool = False) -> Tensor:
    """Depth at the centres of patches.

    The centre of an even patch is the corner of four pixels. There, inverse depth is interpolated between their centres
    (bilinear): it is linear in the picture on any plane, so that planes come out exactly. Where the pixels that have a
    weight are not all known, or differ by more than `tolerance`, the centre is on the edge of a surface and belongs to
    none.

    Args:
        depth: [..., H, W], 0 = unknown.
        grid: (h, w) over the picture.
        tolerance: how far the pixels may differ, as a share of the nearest one's depth.
        edges: on edges, take the depth of the pixel that the centre lies in (right of or below it where it lies between
            pixels) instead of 0.

    Returns:
        float64 [..., h, w]; 0 where it is unknown.
    """
    depth = depth.double()
    top, bottom, down, in_row = _between(depth.shape[-2], grid[0], depth)
    left, right, across, in_column = _between(depth.shape[-1], grid[1], depth)
    rows, columns = torch.stack([top, top, bottom, bottom]), torch.stack([left, right, left, right])
    down, across = torch.stack([1 - down, 1 - down, down, down]), torch.stack([1 - across, across, 1 - across, across])
    corners = depth[..., rows[:, :, None], columns[:, None, :]]  # [..., 4, h, w]
    inverse = (down[:, :, None] * across[:, None, :] / corners.clamp(min=1e-9)).sum(-3)
    nearest, farthest = corners.amin(-3), corners.amax(-3)
    smooth = (nearest > 0) & (farthest - nearest <= tolerance * nearest)
    return torch.where(smooth, 1 / inverse, depth[..., in_row[:, None], in_column] if edges else 0)


def _between(pixels: int, patches: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along one side: the pixels before and after each patch centre (one and the same where they coincide), the weight
    of the latter, and the pixel that the centre lies in."""
    centre = (2 * torch.arange(patches, dtype=torch.float64, device=like.device) + 1) * pixels / (2 * patches)
    before, after = ((centre - 0.5).floor(), (centre - 0.5).ceil())
    holds, last = centre.floor().long(), pixels - 1
    return before.long().clamp(0, last), after.long().clamp(0, last), centre - 0.5 - before, holds.clamp(0, last)


def target_patches(warp: Warp, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The class of each point: the patch of view 1 whose centre is nearest to where it lies.

    Args:
        warp: [B, ...].
        grid: (h, w) of view 1.
        size: H and W of the picture.

    Returns:
        int64 [B, ...], 0 .. h·w - 1; -1 where the truth is not valid.
    """
    side = warp.positions.new_tensor([size[1] / grid[1], size[0] / grid[0]])
    last = warp.positions.new_tensor([grid[1] - 1, grid[0] - 1])
    column, row = torch.minimum((warp.positions / side).floor(), last).long().unbind(-1)
    return torch.where(warp.valid, row * grid[1] + column, -1)


def viewpoint_angles(views: PosedViews) -> np.ndarray:
    """The viewpoint angle of each pair: by how much the second camera is turned against the first; float64 [B], degrees."""
    rotations = views.cam2world[:, :, :3, :3].cpu().numpy()
    return rotation_angles(rotations[:, 0], rotations[:, 1])
