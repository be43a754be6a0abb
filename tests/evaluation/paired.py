"""Pairs of known geometry, and backbones of known features, for the tests of two-view matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.evaluation.views.posed_views import PosedViews, read_posed
from muskie.evaluation.views.view_sets import ViewSet
from muskie.streams import stream

FOCAL, DEPTH = 50.0, 2.0


def plane_pairs(shifts: Sequence[tuple[float, float]], size: tuple[int, int] = (48, 64), first: int = 0) -> PosedViews:
    """Pairs that look straight at a plane 2 m away; its points move by `shifts` (x, y) pixels from view 0 to view 1."""
    count, (height, width) = len(shifts), size
    intrinsics = torch.tensor([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]], dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 2, 1, 1)
    poses[:, 1, :2, 3] = -torch.tensor(shifts, dtype=torch.float64) * DEPTH / FOCAL
    pictures = stream(0, "planes", first).integers(256, size=(count, 2, 3, height, width), dtype=np.uint8)
    depth = torch.full((count, 2, height, width), DEPTH)
    return PosedViews(
        torch.from_numpy(pictures), depth, intrinsics.repeat(count, 2, 1, 1), poses, list(range(first, first + count))
    )


def turn(degrees: float, axis: int = 1) -> np.ndarray:
    """Rotation [3, 3] about an axis."""
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return np.roll(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), axis, (0, 1))


def room_pairs(count: int, distance: int = 2, size: int = 48, scenes: int = 2) -> list[PosedViews]:
    """Rendered pairs, one each."""
    rooms = SyntheticRooms(scenes=scenes, frames=32, image_size=size)
    found = []
    for number in range(count):
        scene = rooms.scene(number % scenes)
        frames = (scene.frames[number], scene.frames[number + distance])
        found.append(read_posed(ViewSet(rooms, scene, frames), (size, size), number=number))
    return found


class Remembered:
    """A model whose features are told, view by view.

    Args:
        patch_size: pixels.
    """

    def __init__(self, patch_size: int) -> None:
        self.patch_size = patch_size
        self.maps: dict[bytes, Tensor] = {}

    def learn(self, views: PosedViews, features: Tensor) -> None:
        """Features [B, V, C, h, w] of views."""
        for picture, known in zip(views.images.flatten(0, 1), features.flatten(0, 1), strict=True):
            self.maps[picture.numpy().tobytes()] = known

    def get_intermediate_layers(
        self, images: Tensor, n: int | Sequence[int] = 1, reshape: bool = False, norm: bool = True
    ) -> tuple[Tensor, ...]:
        found = torch.stack([self.maps[picture.numpy().tobytes()] for picture in images.flatten(0, 1)])
        return (found.unflatten(0, images.shape[:2]),)


def remembered(
    views: Sequence[PosedViews], features: Callable[[PosedViews], Tensor], patch: int, name: str
) -> FrozenBackbone:
    """A backbone of one layer with given features [B, V, C, h, w] for each batch."""
    model = Remembered(patch)
    for batch in views:
        model.learn(batch, features(batch))
    return FrozenBackbone(name, model, 1)


def in_world(views: PosedViews, patch: int) -> Tensor:
    """World points [B, V, h·w, 3] of the patch centres, by the depth of the pixel right of and below each."""
    height, width = views.size
    rows = torch.arange(patch // 2, height, patch)
    columns = torch.arange(patch // 2, width, patch)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    depth = views.depth[..., y, x].double().flatten(-2)
    even = 0.0 if patch % 2 == 0 else 0.5
    pixels = torch.stack([x + even, y + even, torch.ones(x.shape)], dim=-1).double().flatten(0, 1)
    points = torch.einsum("bvij,nj->bvni", torch.linalg.inv(views.intrinsics), pixels) * depth[..., None]
    return torch.einsum("bvij,bvnj->bvni", views.cam2world[..., :3, :3], points) + views.cam2world[..., None, :3, 3]


def by_place(views: PosedViews, patch: int, length: float = 0.1, width: int = 256) -> Tensor:
    """Features [B, V, C, h, w] whose cosine falls with the distance in space (random Fourier features of a Gaussian)."""
    points = in_world(views, patch)
    rng = stream(0, "fourier")
    waves = torch.from_numpy(rng.standard_normal((3, width)) / length)
    phases = torch.from_numpy(rng.uniform(0, 2 * np.pi, width))
    values = torch.cos(points @ waves + phases).float()  # [B, V, L, C]
    return values.transpose(-1, -2).unflatten(-1, (views.size[0] // patch, views.size[1] // patch))
