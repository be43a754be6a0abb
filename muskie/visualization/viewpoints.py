"""From where to look at a scene: from behind its cameras, and from above."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muskie.visualization.point_cloud import Viewpoint

TILT = 28.0
"""Degrees that one looks down at the scene from behind the cameras."""
TURN = 20.0
"""Degrees that one stands to the side there, so that depth is seen."""
FIELD = 35.0
"""Vertical field of view in degrees: long lenses keep lines that are parallel nearly so."""
ROBUST = 0.004
"""Share of the points at each end of an axis that a picture need not hold."""
MARGIN = 1.08


def from_behind(points: Tensor, cam2world: Tensor, upright: Tensor, size: tuple[int, int]) -> Viewpoint:
    """Looks over the cameras at the scene, in perspective: all cameras are in the picture, and nearly all points.

    Args:
        points: [N, 3], in the world; N may be 0.
        cam2world: [V, 4, 4].
        upright: [3, 3], from the world to x right, y up, z backward.
        size: (height, width) of the picture.
    """
    tilt, turn = math.radians(TILT), math.radians(TURN)
    down = torch.tensor([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
    aside = torch.tensor([[math.cos(turn), 0, -math.sin(turn)], [0, 1, 0], [math.sin(turn), 0, math.cos(turn)]])
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotation = flip.double() @ down.double() @ aside.double() @ upright.double()
    held = _held(points, cam2world, rotation)
    focal = 0.5 * size[0] / math.tan(math.radians(FIELD) / 2)
    slopes = torch.tensor([size[1], size[0]], dtype=torch.float64) / 2 / focal
    # The middle of each axis is found first; then how far back the eye must stand for every corner to be in the picture.
    middle = (held.amin(0) + held.amax(0)) / 2
    held = held - middle
    away = MARGIN * (held[:, :2].abs() / slopes).amax(-1) - held[:, 2]
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = rotation
    transform[:3, 3] = -middle
    transform[2, 3] += max(float(away.max()), 1e-6)
    return Viewpoint(transform, size, focal)


def from_above(points: Tensor, cam2world: Tensor, upright: Tensor, size: tuple[int, int]) -> Viewpoint:
    """Looks straight down, orthographic, as on a plan; forward is up in the picture. Arguments as `from_behind`."""
    onto = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)  # x right, y down = backward, z down
    rotation = onto @ upright.double()
    held = _held(points, cam2world, rotation)
    low, high = held.amin(0), held.amax(0)
    extent = (high - low)[:2].clamp(min=1e-9)
    scale = float((torch.tensor([size[1], size[0]]) / (MARGIN * extent)).amin())
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = rotation
    transform[:3, 3] = -(low + high) / 2
    return Viewpoint(transform, size, None, scale)


def _held(points: Tensor, cam2world: Tensor, rotation: Tensor) -> Tensor:
    """What the picture must hold, [n, 3] in turned axes: points without the farthest ones, and the cameras."""
    centres = cam2world[:, :3, 3].double().cpu() @ rotation.T
    if not len(points):
        ahead = cam2world[:, :3, 2].double().cpu() @ rotation.T
        return torch.cat([centres - 1, centres + 1, centres + ahead])
    sample = points[:: -(-len(points) // 100_000)].double().cpu() @ rotation.T
    ends = sample.quantile(torch.tensor([ROBUST, 1 - ROBUST], dtype=torch.float64), dim=0)
    return torch.cat([sample.clamp(min=ends[0], max=ends[1]), centres])
