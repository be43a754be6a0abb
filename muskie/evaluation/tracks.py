"""Ground truth of multi-view correspondence: where points of the first view lie in all views, and where they are seen.

The protocol is that of Muskie (arXiv 2511.18115): queries are drawn among the pixels of known depth of view 0, unprojected,
and projected into the other views; a view sees a point that lies in its picture, in front of the camera, and not behind
what its own depth map shows there. Where that shows nothing, the point counts as seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import invert, project, transform_points, unproject_points
from muskie.streams import stream

TOLERANCE = 0.05
"""Metres that a point may lie behind the measured surface and still be seen, as published."""


@dataclass
class Tracks:
    """Points of view 0 in all views.

    Attributes:
        queries: float64 [B, Q, 2], (x, y) in view 0, at pixel centres.
        positions: float64 [B, V, Q, 2], where they are; in view 0 the queries themselves.
        visible: bool [B, V, Q], whether a view sees them. A query that no other view sees is not visible in view 0
            either, so that it counts nowhere; neither do those that fill a batch up where a view has too few pixels.
    """

    queries: Tensor
    positions: Tensor
    visible: Tensor


def draw_queries(depth: Tensor, count: int, numbers: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pixels of known depth, drawn without replacement.

    Args:
        depth: [B, H, W] of view 0, on the CPU.
        count: Q.
        numbers: of the B samples; each has draws of its own, whatever batch it is in.
        seed: of the draws.

    Returns:
        int64 [B, Q, 2], (column, row), and bool [B, Q]: False where a sample has fewer such pixels.
    """
    width = depth.shape[-1]
    pixels = np.zeros((len(depth), count, 2), dtype=np.int64)
    drawn = np.zeros((len(depth), count), dtype=bool)
    for sample, number in enumerate(numbers):
        known = np.flatnonzero(depth[sample].numpy().ravel() > 0)
        chosen = stream(seed, "queries", number).permutation(known)[:count]
        pixels[sample, : len(chosen)] = np.stack([chosen % width, chosen // width], axis=-1)
        drawn[sample, : len(chosen)] = True
    return torch.from_numpy(pixels), torch.from_numpy(drawn)


def draw_tracks(views: PosedViews, count: int, seed: int = 0, tolerance: float = TOLERANCE) -> Tracks:
    """Draws queries and finds them in all views.

    Args:
        views: on the CPU.
        count: queries Q of each sample.
        seed: of the draws.
        tolerance: metres; see `TOLERANCE`.
    """
    pixels, drawn = draw_queries(views.depth[:, 0], count, views.numbers, seed)
    column, row = pixels.unbind(-1)  # [B, Q]
    scene = torch.arange(len(pixels))[:, None]
    queries = pixels.double() + 0.5
    points = unproject_points(queries, views.depth[scene, 0, row, column].double(), views.intrinsics[:, 0])  # [B, Q, 3]
    to_views = invert(views.cam2world) @ views.cam2world[:, :1]  # [B, V, 4, 4]
    positions, z = project(transform_points(to_views, points[:, None]), views.intrinsics)  # [B, V, Q, 2], [B, V, Q]
    height, width = views.size
    inside = (z > 0) & ((positions >= 0) & (positions < positions.new_tensor([width, height]))).all(-1)
    measured = depth_at(views.depth, torch.where(inside[..., None], positions, 0), "nearest")
    visible = inside & ~((measured > 0) & (z > measured + tolerance)) & drawn[:, None]
    visible[:, 0] = visible[:, 1:].any(1)
    positions[:, 0] = queries
    return Tracks(queries, positions, visible)


def depth_at(depth: Tensor, positions: Tensor, how: str = "bilinear") -> Tensor:
    """Depth at positions in the picture.

    Args:
        depth: [..., H, W], 0 = unknown.
        positions: [..., N, 2], (x, y), 0 <= x <= W, 0 <= y <= H; the leading dimensions are those of `depth`.
        how: `"nearest"`: of the pixel that the position lies in; `"bilinear"`: between the centres of four pixels, of
            which those with unknown depth have no weight.

    Returns:
        float64 [..., N]; 0 where it is unknown.
    """
    height, width = depth.shape[-2:]
    flat = depth.flatten(-2).double()
    shift = 0.0 if how == "nearest" else 0.5
    corner = (positions - shift).floor()
    offsets = [(0, 0)] if how == "nearest" else [(0, 0), (1, 0), (0, 1), (1, 1)]
    total = weights = torch.zeros_like(positions[..., 0])
    for dx, dy in offsets:
        x, y = corner[..., 0] + dx, corner[..., 1] + dy
        weight = torch.ones_like(x)
        if how == "bilinear":
            weight = (1 - (positions[..., 0] - 0.5 - x).abs()) * (1 - (positions[..., 1] - 0.5 - y).abs())
        index = y.clamp(0, height - 1).long() * width + x.clamp(0, width - 1).long()
        value = flat.gather(-1, index)
        weight = torch.where(value > 0, weight, 0)
        total, weights = total + weight * value, weights + weight
    return torch.where(weights > 1e-9, total / weights.clamp(min=1e-9), 0)
