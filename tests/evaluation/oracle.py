"""Rooms as posed views, and features that know where in the room every pixel lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.data.rooms import camera_path, make_room, render
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.evaluation.views.posed_views import PosedViews, read_posed
from muskie.evaluation.views.view_sets import ViewSet
from muskie.geometry import transform_points, unproject
from muskie.streams import stream


def rooms(size: tuple[int, int], views: int, distance: int, count: int = 2, finer: int = 1) -> PosedViews:
    """The first views of several rooms, as evaluation reads them, or the same with `finer` times as many pixels a side."""
    source = SyntheticRooms(scenes=count, frames=(views - 1) * distance + 1)
    size = (size[0] * finer, size[1] * finer)
    sets = [ViewSet(source, source.scene(n), tuple(source.scene(n).frames[::distance])) for n in range(count)]
    read = [read_posed(one, size, number=number) for number, one in enumerate(sets)]
    parts = (torch.cat([getattr(views, part) for views in read]) for part in ("images", "depth", "intrinsics", "cam2world"))
    return PosedViews(*parts, list(range(count)))  # type: ignore[call-arg, arg-type]


def through_a_long_lens(side: int, focal: float, views: int, seeds: Sequence[int]) -> PosedViews:
    """Neighbouring frames of rooms through a lens so long that a pixel covers a millimetre or two."""
    intrinsics = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    images, depths, poses = [], [], []
    for seed in seeds:
        rng = stream(seed, "long lens")
        room = make_room(rng)
        path = camera_path(room, 64, rng)[:views]
        drawn = [render(room, pose, intrinsics, (side, side), time=0.0) for pose in path]
        images.append(np.stack([rgb.transpose(2, 0, 1) for rgb, _ in drawn]))
        depths.append(np.stack([depth for _, depth in drawn]))
        poses.append(np.stack(path))
    cameras = torch.from_numpy(intrinsics).expand(len(images), views, 3, 3).clone()
    tensors = (torch.from_numpy(np.stack(part)) for part in (images, depths))
    return PosedViews(*tensors, cameras, torch.from_numpy(np.stack(poses)), list(range(len(images))))  # type: ignore[call-arg, arg-type]


def through_lenses_of_their_own(
    size: tuple[int, int], views: int, distance: int, count: int = 2, finer: int = 1
) -> PosedViews:
    """Frames of rooms, each view as if cropped out of a larger picture at a place and a magnification of its own."""
    height, width = size[0] * finer, size[1] * finer
    zoom, side = 0.75 * min(height, width), stream(0, "lenses")
    stretch, moved = 1.5 ** side.uniform(-1, 1, (views, 2)), 0.2 * side.uniform(-1, 1, (views, 2))
    stretch[:2], moved[:2] = [[0.75, 0.8], [1.3, 1.2]], [[0.15, -0.1], [-0.15, 0.1]]  # far apart where there are but two
    lenses = np.tile(np.eye(3), (views, 1, 1))
    lenses[:, 0, 0], lenses[:, 1, 1] = zoom * stretch.T
    lenses[:, 0, 2], lenses[:, 1, 2] = ((0.5 + moved) * [width, height]).T
    images, depths, poses = [], [], []
    for number in range(count):
        rng = stream(number, "lenses of their own")
        room = make_room(rng)
        path = camera_path(room, 64, rng)[: (views - 1) * distance + 1 : distance]
        drawn = [render(room, pose, lens, (height, width)) for pose, lens in zip(path, lenses, strict=True)]
        images.append(np.stack([rgb.transpose(2, 0, 1) for rgb, _ in drawn]))
        depths.append(np.stack([depth for _, depth in drawn]))
        poses.append(np.stack(path))
    tensors = [torch.from_numpy(np.stack(part)) for part in (images, depths, [lenses] * count, poses)]
    return PosedViews(*tensors, list(range(count)))  # type: ignore[call-arg, arg-type]


def world_points(views: PosedViews) -> Tensor:
    """Where every pixel lies, float64 [B, V, 3, H, W]."""
    camera = unproject(views.depth.double(), views.intrinsics)
    world = transform_points(views.cam2world, camera.flatten(-3, -2))
    return world.unflatten(-2, views.size).movedim(-1, -3)


class Oracle(FrozenBackbone):
    """Gives maps that were made before, whatever the pictures show.

    Args:
        maps: [B, V, C, h, w].
        size: of the pictures.
    """

    def __init__(self, maps: Tensor, size: tuple[int, int], name: str = "oracle") -> None:
        self.name, self.depth, self.fresh, self.model = name, 1, None, None  # type: ignore[assignment]
        self.device, self.dtype, self.maps, self.side = torch.device("cpu"), None, maps, max(size[0] // maps.shape[-2], 1)

    @property
    def patch_size(self) -> int:
        return self.side

    def features(self, images: Tensor, layers: Sequence[int] = (-1,), norm: bool = True) -> list[Tensor]:
        return [self.maps]
