"""Cameras as things to draw: frusta, their colours, and which way is up."""

from __future__ import annotations

import torch
from torch import Tensor

EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))
"""The lines of a frustum, between its corners: from the centre to the picture's corners, and around the picture."""
UP_MARK = ((1, 5), (5, 2))
"""The lines of the small roof that stands on the upper side of the picture."""


def frustum_corners(intrinsics: Tensor, height: int, width: int, depth: float | Tensor) -> Tensor:
    """Corners [..., 6, 3] in the camera (OpenCV): its centre, the picture's corners (left top, right top, right bottom, left
    bottom) at a depth, and a point above the middle of its upper side.

    Args:
        intrinsics: [..., 3, 3], in pixels.
        height, width: of the picture, in pixels.
        depth: z of the picture.
    """
    corners = intrinsics.new_tensor([[0, 0], [width, 0], [width, height], [0, height], [width / 2, -0.35 * height]])
    rays = torch.cat([corners, torch.ones_like(corners[:, :1])], -1) @ torch.linalg.inv(intrinsics).transpose(-1, -2)
    return torch.cat([torch.zeros_like(rays[..., :1, :]), rays * depth], -2)


def frustum_depth(cam2world: Tensor, median_depth: float) -> float:
    """How deep to draw the frusta, in world units: as far as cameras lie apart, from 3 to 12 % of the scene's depth. Those
    at one place (to 1 % of it) are drawn over each other at any size, and do not make the others small."""
    low, high = 0.03 * median_depth, 0.12 * median_depth
    if len(cam2world) < 2:
        return high
    centres = cam2world[:, :3, 3].double()
    between = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")  # exact where they are near
    nearest = between.masked_fill(between < 0.01 * median_depth, torch.inf).amin(1)
    nearest = nearest[nearest.isfinite()]
    return min(max(1.2 * float(nearest.median()), low), high) if len(nearest) else low


def view_colours(views: int) -> Tensor:
    """Colours uint8 [V, 3] that are told apart, in the order of the rainbow from red to purple, all equally light.

    Hues at even steps of OKLCH (Ottosson, 2020), lightness .66, chroma .18 as far as sRGB has it.
    """
    hue = torch.deg2rad(25 + torch.arange(views, dtype=torch.float64) * (300 / max(views - 1, 1) if views > 1 else 0))
    a, b = 0.18 * torch.cos(hue), 0.18 * torch.sin(hue)
    light = 0.66
    cone = torch.stack(
        [
            light + 0.3963377774 * a + 0.2158037573 * b,
            light - 0.1055613458 * a - 0.0638541728 * b,
            light - 0.0894841775 * a - 1.2914855480 * b,
        ],
        -1,
    )
    to_linear = cone.new_tensor(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = (cone**3 @ to_linear.T).clamp(0, 1)
    coded = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
    return (coded * 255).round().to(torch.uint8)


def upright(cam2world: Tensor) -> Tensor:
    """The rotation float64 [3, 3] from the world to axes x right, y up, z backward, as all cameras together see it.

    The world of a model has no up. Photographs are mostly taken upright: up is the mean of the cameras' up, backward the
    mean against their viewing directions, made perpendicular to it. Where a mean is nothing, as on a full circle, the
    first camera's is taken.
    For one camera without rotation the result is diag(1, -1, -1), from OpenCV to OpenGL.
    """
    axes = cam2world[:, :3, :3].double()
    up = _mean_direction(-axes[:, :, 1])
    back = -axes[:, :, 2]
    level = back - (back @ up)[:, None] * up
    sideways = torch.linalg.cross(axes[0, :, 0], up)  # where the first camera looks straight up or down
    z = next(v for v in (level.mean(0), level[0], sideways) if v.norm() > 0.05)
    z = torch.nn.functional.normalize(z, dim=0)
    return torch.stack([torch.linalg.cross(up, z), up, z])


def _mean_direction(directions: Tensor) -> Tensor:
    mean = directions.mean(0)
    return torch.nn.functional.normalize(mean if mean.norm() > 0.05 else directions[0], dim=0)
