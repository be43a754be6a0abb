"""What a point-map prediction is compared with: true points and poses at unit scale, from depth and cameras."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from muskie.geometry import pixel_centres

NEAR = 0.1
"""Depths below this share of the mean depth of a view weigh no more than one of this size."""


class Targets(NamedTuple):
    """The truth about a batch, at unit scale.

    Attributes:
        points: [B, V, H, W, 3], in each view's camera; the origin where depth is unknown.
        valid: bool [B, V, H, W], where depth is known.
        weights: [B, V, H, W], 1 / depth, so that near and far count alike; 0 where depth is unknown.
        cam2world: [B, V, 4, 4], in the precision of the cameras given.
        mirrored: bool [B, V], the picture was mirrored: there its camera is that of the mirrored world.
    """

    points: Tensor
    valid: Tensor
    weights: Tensor
    cam2world: Tensor
    mirrored: Tensor


def targets(depth: Tensor, intrinsics: Tensor, cam2world: Tensor, dtype: torch.dtype, published: bool = False) -> Targets:
    """Points from depth, at the scale where their mean distance from the camera that sees them is 1.

    A picture mirrored by a crop has a negative focal length. Nothing in the picture tells of it, so the truth is that of the
    mirrored world: the points are in an ordinary camera of the mirrored picture, and the pose has that camera's axes. Its
    rotation then has determinant -1; between two such views it has 1 again.

    Args:
        depth: [B, V, H, W], z; 0 or less, and what is not finite, is unknown.
        intrinsics: [B, V, 3, 3], upper triangular.
        cam2world: [B, V, 4, 4]; float64 keeps worlds that lie far from their origin exact.
        dtype: of the points.
        published: distances from the first camera, as published (Muskie, arXiv 2511.18115). The scale then depends on
            which view is first.
    """
    valid = (depth > 0) & depth.isfinite()
    z = torch.where(valid, depth, 0).to(dtype)
    signs = torch.ones_like(intrinsics[..., 0])
    signs[..., :2] = torch.where(intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2] < 0, -1, 1)
    points = _rays(intrinsics, signs, z) * z[..., None]
    poses = cam2world.clone()
    poses[..., :3, :3] *= signs[..., None, :]
    scale = mean_distance(_in_first_camera(points, poses) if published else points, valid)
    poses[..., :3, 3] /= scale[:, None, None].to(poses.dtype)
    z = z / scale[:, None, None, None]
    mean = z.sum((-2, -1)) / valid.sum((-2, -1)).clamp(min=1)
    weights = torch.where(valid, 1 / (torch.maximum(z, NEAR * mean[..., None, None]) + 1e-6), 0)
    return Targets(points / scale[:, None, None, None, None], valid, weights, poses, signs.prod(-1) < 0)


def mean_distance(points: Tensor, valid: Tensor) -> Tensor:
    """Mean length of points [B, V, H, W, 3] where bool [B, V, H, W] holds, [B]; 1 where that is none, or all are 0."""
    lengths = torch.where(valid, torch.linalg.vector_norm(points, dim=-1), 0)
    mean = lengths.sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp(min=1)
    return torch.where(mean > 0, mean, 1)


def _rays(intrinsics: Tensor, signs: Tensor, like: Tensor) -> Tensor:
    """Directions of z = 1 through all pixels, [B, V, H, W, 3]. Without a matrix inverse or product: the one waits for the
    device, the other may be computed in a lower precision."""
    x, y = pixel_centres(like.shape[-2], like.shape[-1], like).to(intrinsics.dtype).unbind(-1)
    k = intrinsics[..., None, None]
    down = (y - k[:, :, 1, 2]) / k[:, :, 1, 1]
    right = (x - k[:, :, 0, 2] - k[:, :, 0, 1] * down) / k[:, :, 0, 0]
    rays = torch.stack([right, down, torch.ones_like(down)], dim=-1)
    return (rays * signs[:, :, None, None]).to(like.dtype)


def _in_first_camera(points: Tensor, cam2world: Tensor) -> Tensor:
    """Points of each camera in the coordinates of the first, [B, V, H, W, 3]."""
    first = cam2world[:, :1, :3, :3].transpose(-1, -2)
    turn = (first[..., None] * cam2world[..., None, :3, :3]).sum(-2)
    offset = (first * (cam2world[..., None, :3, 3] - cam2world[:, :1, None, :3, 3])).sum(-1)
    turn, offset = (x[:, :, None, None].to(points.dtype) for x in (turn, offset))
    return (turn * points[..., None, :]).sum(-1) + offset
