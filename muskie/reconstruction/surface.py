"""What neighbouring pixels say of the surface between them: how steeply it is seen, and where it faces."""

from __future__ import annotations

import torch
from torch import Tensor


def grazing_angle(local_points: Tensor) -> Tensor:
    """The angle between surface and viewing ray at each pixel, in degrees, 90 = seen straight on; [..., H, W].

    At the edge of an object, networks put points between it and what lies behind; these seem to lie on a surface that is
    seen at less than a few degrees, at any resolution. Along each axis the neighbour counts that makes the angle greater, so
    that a clean step between two surfaces is no edge; then the smaller of the two axes. Points that are not finite are
    not neighbours; 0 where there is no neighbour at all.

    Args:
        local_points: [..., H, W, 3] in the camera.
    """
    rays = torch.nn.functional.normalize(local_points, dim=-1)
    angles = []
    for axis in (-3, -2):
        if local_points.shape[axis] < 2:
            continue
        count = local_points.shape[axis] - 1
        step = local_points.narrow(axis, 1, count) - local_points.narrow(axis, 0, count)
        from_first, from_second = (_angle(step, rays.narrow(axis, first, count)) for first in (0, 1))
        none = torch.zeros_like(from_first.narrow(axis + 1, 0, 1))
        after = torch.cat([from_first, none], axis + 1)
        before = torch.cat([none, from_second], axis + 1)
        angles.append(torch.maximum(after, before))
    if not angles:
        return torch.zeros_like(local_points[..., 0])
    return torch.stack(angles).amin(0)


def _angle(step: Tensor, rays: Tensor) -> Tensor:
    along = (step * rays).sum(-1).abs()
    across = torch.linalg.cross(step, rays, dim=-1).norm(dim=-1)
    return torch.rad2deg(torch.atan2(across, along)).nan_to_num(0.0)


def facing_normals(local_points: Tensor, reach: int = 2) -> Tensor:
    """Unit normals [..., H, W, 3] in the camera, turned towards it; those that cannot be known face it straight.

    Args:
        local_points: [..., H, W, 3] in the camera.
        reach: pixels to each side that a normal is taken over; larger is smoother.
    """
    height, width = local_points.shape[-3:-1]
    rows, columns = (torch.arange(n, device=local_points.device) for n in (height, width))
    down, up = (rows + reach).clamp(max=height - 1), (rows - reach).clamp(min=0)
    right, left = (columns + reach).clamp(max=width - 1), (columns - reach).clamp(min=0)
    across = local_points[..., right, :] - local_points[..., left, :]
    along = local_points[..., down, :, :] - local_points[..., up, :, :]
    # Each is made a unit before they are multiplied: the product of two short steps would vanish in a small unit of length.
    along, across = (torch.nn.functional.normalize(step, dim=-1) for step in (along, across))
    normals = torch.nn.functional.normalize(torch.linalg.cross(along, across, dim=-1), dim=-1)
    to_camera = -torch.nn.functional.normalize(local_points, dim=-1)
    normals = torch.where((normals * to_camera).sum(-1, keepdim=True) < 0, -normals, normals)
    known = normals.isfinite().all(-1, keepdim=True) & (normals.norm(dim=-1, keepdim=True) > 0.5)
    return torch.where(known, normals, to_camera)
