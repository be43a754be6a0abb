"""What no model is needed for: the answers that every table of geometry is to be read against."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.geometry import unproject

TRIVIAL, ROW, TRUTH = FLOORS = ("trivial", "in a row", "truth")
"""What tables call the answers that need no model."""


def identity_poses(cam2world: Tensor) -> Tensor:
    """All cameras at one place, turned alike, of the shape of poses [..., V, 4, 4]."""
    return torch.eye(4, dtype=cam2world.dtype, device=cam2world.device).expand_as(cam2world).clone()


def poses_in_a_row(cam2world: Tensor) -> Tensor:
    """Each camera one step to the right of the one before, turned alike, of the shape of poses [..., V, 4, 4].

    All cameras at one place have no direction of translation, and so an AUC of 0; a direction that never changes is right by
    luck, the more often the more the cameras of a data set move one way.
    """
    poses = identity_poses(cam2world)
    poses[..., 0, 3] = torch.arange(cam2world.shape[-3], dtype=poses.dtype, device=poses.device)
    return poses


def constant_depth(depth: Tensor) -> Tensor:
    """A wall before every camera, [..., V, H, W]: depth 1 everywhere. The alignment finds its best scale."""
    return torch.ones_like(depth)


def wall_points(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Points [..., V, H, W, 3] of `constant_depth` seen by the true intrinsics [..., V, 3, 3] from `identity_poses`."""
    return unproject(constant_depth(depth).to(intrinsics), intrinsics)
