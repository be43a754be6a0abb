"""Points and the views that see them, as structure from motion has them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from muskie.geometry import invert, transform_points, unproject_points
from muskie.reconstruction.confidence import evenly
from muskie.reconstruction.result import Reconstruction
from muskie.reconstruction.rotations import rigid

AGREE = 0.02
"""How far two depths of one point may differ, as a share."""


@dataclass
class Tracks:
    """N points, and M observations of them, sorted by view, then by point.

    Attributes:
        points: float64 [N, 3], in the world, each on the ray of its pixel.
        colours: uint8 [N, 3].
        view, point: int64 [M], which view sees which point.
        xy: float64 [M, 2], where, in pixels of the processed images.
    """

    points: np.ndarray
    colours: np.ndarray
    view: np.ndarray
    point: np.ndarray
    xy: np.ndarray


def make_tracks(reconstruction: Reconstruction, kept: Tensor, max_points: int, agree: float = AGREE) -> Tracks:
    """Points with the views that see them.

    A point stands on the ray of its pixel's centre, by the camera with the estimated intrinsics, at the depth of the point
    map: it projects to that pixel exactly, though the model's own point may lie a little beside the ray. Another view
    sees it where it projects into its picture, its own depth there (nearest pixel) is the same, and that pixel passes
    the filters too. There the observation is the projection: so bundle adjustment of the result, as it is, has nothing to
    mend.

    Args:
        reconstruction: of V views. Of poses that are not quite rigid, the nearest rotation counts, as in COLMAP's files.
        kept: bool [V, H, W], pixels that pass the filters, see `kept_pixels`.
        max_points: at most so many, evenly spread over the pictures.
        agree: how far the two depths may differ, as a share of the smaller one.
    """
    kept = kept.cpu()
    chosen = evenly(kept, max_points)
    views, rows, columns = chosen.nonzero(as_tuple=True)
    depth = reconstruction.depth.cpu()
    intrinsics, poses = reconstruction.intrinsics.cpu().double(), rigid(reconstruction.cam2world.cpu())
    world2cam = invert(poses)
    pixels = torch.stack([columns, rows], -1).double() + 0.5
    starts = torch.searchsorted(views, torch.arange(len(reconstruction) + 1)).tolist()
    points = torch.empty(len(views), 3, dtype=torch.float64)
    colours = torch.empty(len(views), 3, dtype=torch.uint8)
    for view, (first, end) in enumerate(pairwise(starts)):
        own = slice(first, end)
        local = unproject_points(pixels[own], depth[view][rows[own], columns[own]].double(), intrinsics[view])
        points[own] = transform_points(poses[view], local)
        colours[own] = reconstruction.images[view].cpu()[:, rows[own], columns[own]].T

    seen_by, seen, places = [], [], []
    for view in range(len(reconstruction)):
        sees, xy = _sees(points, world2cam[view], intrinsics[view], depth[view], kept[view], agree)
        own = slice(starts[view], starts[view + 1])
        sees[own], xy[own] = True, pixels[own]
        numbers = sees.nonzero().squeeze(1)
        seen_by.append(torch.full_like(numbers, view))
        seen.append(numbers)
        places.append(xy[numbers])
    joined = (torch.cat(parts).numpy() for parts in (seen_by, seen, places))
    return Tracks(points.numpy(), colours.numpy(), *joined)


def _sees(
    points: Tensor, world2cam: Tensor, intrinsics: Tensor, depth: Tensor, kept: Tensor, agree: float
) -> tuple[Tensor, Tensor]:
    """Which points [N, 3] a view sees, bool [N], and where they project to, [N, 2]."""
    height, width = depth.shape
    local = transform_points(world2cam, points)
    z = local[:, 2]
    xy = local[:, :2] / z[:, None] * intrinsics.diagonal()[:2] + intrinsics[:2, 2]
    inside = (z > 0) & ((xy >= 0) & (xy < xy.new_tensor([width, height]))).all(-1)
    column, row = torch.where(inside[:, None], xy, 0).long().unbind(-1)
    measured = depth[row, column].double()
    agrees = (z - measured).abs() <= agree * torch.minimum(z, measured)
    return inside & kept[row, column] & agrees, xy
