"""Rigid transforms and the pinhole camera, as pure functions on tensors.

Conventions, here and everywhere: camera axes x right, y down, z forward (OpenCV); poses `cam2world [..., 4, 4]`; intrinsics
`[..., 3, 3]` in pixels with pixel centres at integer + 0.5, so that a picture spans (0, 0) to (W, H); depth is z along the
camera's axis, not the length of the ray, in metres, 0 = unknown. Leading dimensions `...` are batch dimensions and
broadcast. Results have the dtype and device of the inputs, under autocast too, whose half precision is too coarse for
geometry; float64 is worth it for ground truth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def _as_given(function: Callable[P, R]) -> Callable[P, R]:
    """The function with matrix products in the precision of its arguments."""

    @wraps(function)
    def uncast(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(given.device.type for given in (*args, *kwargs.values()) if isinstance(given, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return uncast


@_as_given
def invert(transform: Tensor) -> Tensor:
    """The inverse of rigid transforms [..., 4, 4]: cam2world to world2cam and back."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    inverse = torch.zeros_like(transform)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -rotation @ transform[..., :3, 3:]
    inverse[..., 3, 3] = 1
    return inverse


@_as_given
def transform_points(transform: Tensor, points: Tensor) -> Tensor:
    """Points [..., N, 3] moved by transforms [..., 4, 4]; with cam2world, from camera to world coordinates."""
    return points @ transform[..., :3, :3].transpose(-1, -2) + transform[..., None, :3, 3]


def pixel_centres(height: int, width: int, like: Tensor) -> Tensor:
    """Positions (x, y) of all pixels, [H, W, 2], with the dtype and device of `like`."""
    y = torch.arange(height, dtype=like.dtype, device=like.device) + 0.5
    x = torch.arange(width, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Camera coordinates [..., H, W, 3] of the pixels of depth maps [..., H, W]; the origin where depth is unknown."""
    pixels = pixel_centres(depth.shape[-2], depth.shape[-1], depth).flatten(0, 1)
    return unproject_points(pixels, depth.flatten(-2), intrinsics).unflatten(-2, depth.shape[-2:])


@_as_given
def unproject_points(pixels: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Camera coordinates [..., N, 3] of pixel positions [..., N, 2] at depths [..., N]."""
    rays = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)
    return rays @ torch.linalg.inv(intrinsics).transpose(-1, -2) * depth[..., None]  # each ray has z = 1


@_as_given
def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel positions [..., N, 2] and depths [..., N] of points [..., N, 3] in camera coordinates.

    Positions of points that are not in front of the camera (depth <= 0) mean nothing, and may be infinite or NaN.
    """
    homogeneous = points @ intrinsics.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:], points[..., 2]


class Reprojection(NamedTuple):
    """Where the pixels of one frame, the source, lie in another one, the target.

    Attributes:
        pixels: [..., H, W, 2], (x, y) in the target; means nothing where `inside` is False.
        depth: [..., H, W], z of the points in the target's camera.
        measured: [..., H, W], what the target's own depth map says there (nearest pixel); 0 = unknown or not inside.
        inside: bool [..., H, W], the source's depth is known, and the point is in front of the target and in its picture.
        visible: bool [..., H, W], `inside`, and both depths agree: the target sees the same point, and nothing before it.
    """

    pixels: Tensor
    depth: Tensor
    measured: Tensor
    inside: Tensor
    visible: Tensor


@_as_given
def reproject(
    depth: Tensor,
    intrinsics: Tensor,
    cam2world: Tensor,
    target_depth: Tensor,
    target_intrinsics: Tensor,
    target_cam2world: Tensor,
    tolerance: float = 0.05,
) -> Reprojection:
    """Finds each pixel of a source frame in a target frame.

    Args:
        depth, intrinsics, cam2world: [..., H, W], [..., 3, 3], [..., 4, 4] of the source.
        target_depth, target_intrinsics, target_cam2world: of the target, whose H and W may differ.
        tolerance: how far the two depths may differ, as a share of the measured one. Points that lie behind what the
            target measured are occluded; points before it are noise, or a pose or depth that is wrong.
    """
    height, width = depth.shape[-2:]
    to_target = invert(target_cam2world) @ cam2world
    points = transform_points(to_target, unproject(depth, intrinsics).flatten(-3, -2))  # [..., H·W, 3]
    pixels, z = project(points, target_intrinsics)
    batch = torch.broadcast_shapes(pixels.shape[:-2], z.shape[:-1], target_depth.shape[:-2])
    pixels, z = pixels.expand(*batch, -1, -1), z.expand(*batch, -1)
    target_height, target_width = target_depth.shape[-2:]
    size = torch.tensor([target_width, target_height], dtype=pixels.dtype, device=pixels.device)
    inside = (depth.flatten(-2) > 0) & (z > 0) & ((pixels >= 0) & (pixels < size)).all(-1)
    column, row = torch.where(inside[..., None], pixels, 0).long().unbind(-1)
    flat = target_depth.flatten(-2).expand(*batch, -1)
    measured = torch.where(inside, flat.gather(-1, row * target_width + column), 0)
    visible = inside & ((z - measured).abs() <= tolerance * measured)
    shape = (height, width)
    return Reprojection(
        pixels.unflatten(-2, shape),
        z.unflatten(-1, shape),
        measured.unflatten(-1, shape),
        inside.unflatten(-1, shape),
        visible.unflatten(-1, shape),
    )
