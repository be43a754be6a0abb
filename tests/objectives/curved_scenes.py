"""Scenes with exact geometry, and predictions of them, for the tests of the reconstruction objective."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from muskie.geometry import unproject
from muskie.models.geometry_output import Geometry
from muskie.objectives.pointmaps import PointMaps


class Truth(NamedTuple):
    depth: Tensor
    intrinsics: Tensor
    cam2world: Tensor


def rigid(*shape: int, seed: int = 0, reach: float = 1.0) -> Tensor:
    """Random motions, float64 [*shape, 4, 4]."""
    g = torch.Generator().manual_seed(seed)
    count = int(torch.tensor(shape).prod()) if shape else 1
    motion = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    motion[:, :3, :3] = torch.from_numpy(Rotation.random(count, rng=seed).as_matrix())
    motion[:, :3, 3] = reach * torch.randn(count, 3, generator=g, dtype=torch.float64)
    return motion.reshape(*shape, 4, 4)


def truth(b: int = 2, v: int = 3, h: int = 7, w: int = 9, seed: int = 0, holes: float = 0.2) -> Truth:
    """Wavy surfaces with a step (an edge), some depth unknown, float64."""
    g = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    phase = torch.rand(b, v, 4, 1, 1, generator=g, dtype=torch.float64)
    depth = (
        2 + 2 * phase[:, :, 0] + 0.1 * torch.sin(x / 3 + 6 * phase[:, :, 1]) + 0.1 * torch.cos(y / 2 + 6 * phase[:, :, 2])
    )
    depth = depth + 0.8 * (x > w * (0.5 + 0.3 * phase[:, :, 3]))
    depth = torch.where(torch.rand(b, v, h, w, generator=g) < holes, 0, depth)
    k = torch.tensor([[1.1 * w, 0, 0.45 * w], [0, 1.2 * w, 0.55 * h], [0, 0, 1]], dtype=torch.float64)
    return Truth(depth, k.repeat(b, v, 1, 1), rigid(b, v, seed=seed))


def perfect(scene: Truth, dtype: torch.dtype = torch.float64) -> Geometry:
    """The truth as a prediction, at the same scale."""
    g = torch.Generator().manual_seed(7)
    sure = 1 + torch.rand(2, *scene.depth.shape, generator=g, dtype=torch.float64).exp()
    depth = torch.where(scene.depth > 0, scene.depth, 3.0)
    parts = (unproject(depth, scene.intrinsics), sure[0], scene.cam2world, depth, sure[1])
    return Geometry(*(part.clone().to(dtype) for part in parts))


def wrong(scene: Truth, dtype: torch.dtype = torch.float64, by: float = 0.1, seed: int = 3) -> Geometry:
    """A prediction with errors of every kind, at a scale and in a world of its own."""
    g = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return by * torch.randn(like.shape, generator=g, dtype=torch.float64)

    right = perfect(scene)
    assert right.depth is not None and right.depth_confidence is not None
    points, depth = right.local_points, right.depth
    points = points + noise(points) * points.norm(dim=-1, keepdim=True)
    depth = depth * noise(depth).exp()
    b, v = depth.shape[:2]
    turns = torch.from_numpy(Rotation.from_rotvec(noise(torch.empty(b * v, 3)).numpy()).as_matrix()).reshape(b, v, 3, 3)
    poses = right.cam2world.clone()
    poses[..., :3, :3] = poses[..., :3, :3] @ turns
    poses[..., :3, 3] += noise(poses[..., :3, 3])
    parts = scaled(Geometry(points, right.confidence, rigid(b, 1, seed=9) @ poses, depth, right.depth_confidence), 1.7)
    return Geometry(*(part.to(dtype) for part in tensors(parts)))


def scaled(prediction: Geometry, by: float) -> Geometry:
    assert prediction.depth is not None
    poses = prediction.cam2world.clone()
    poses[..., :3, 3] *= by
    points, depth = prediction.local_points * by, prediction.depth * by
    return Geometry(points, prediction.confidence, poses, depth, prediction.depth_confidence)


def tensors(prediction: Geometry) -> tuple[Tensor, ...]:
    """Its five tensors."""
    assert prediction.depth is not None and prediction.depth_confidence is not None
    return (
        prediction.local_points,
        prediction.confidence,
        prediction.cam2world,
        prediction.depth,
        prediction.depth_confidence,
    )


def single(prediction: Geometry) -> Geometry:
    """In float32."""
    return Geometry(*(part.float() for part in tensors(prediction)))


def empty_first(scene: Truth) -> Truth:
    """The first scene without depth."""
    depth = scene.depth.clone()
    depth[0] = 0
    return scene._replace(depth=depth)


def gradients(objective: PointMaps, prediction: Geometry, scene: Truth) -> dict[str, Tensor]:
    """Of the loss, by every tensor of the prediction."""
    names = [field.name for field in dataclasses.fields(Geometry) if getattr(prediction, field.name) is not None]
    leaves = {name: getattr(prediction, name).clone().requires_grad_() for name in names}
    loss = objective(Geometry(**leaves), *scene).loss
    loss.backward()
    return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
