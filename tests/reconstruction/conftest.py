"""Exact reconstructions: a rendered room, and a box of which every number has a closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.data.sources.synthetic import SyntheticRooms
from muskie.geometry import unproject
from muskie.inputs.pixel_map import PixelMap
from muskie.models.geometry_output import Geometry
from muskie.reconstruction import Reconstruction
from tests.reconstruction.box import Box, make_box, replaced

SIZE = (48, 64)


@dataclass
class Truth:
    """What the renderer says: images uint8 [V, 3, H, W], the rest float64."""

    images: Tensor
    depth: Tensor
    intrinsics: Tensor
    cam2world: Tensor
    confidence: Tensor

    @property
    def local_points(self) -> Tensor:
        return unproject(self.depth, self.intrinsics)

    def geometry(self) -> Geometry:
        parts = (self.local_points, self.confidence, self.cam2world)
        return Geometry(*(part.float()[None] for part in parts))


@pytest.fixture(scope="session")
def truth() -> Truth:
    source = SyntheticRooms(scenes=1, frames=32, image_size=SIZE)
    scene = source.scene(0)
    frames = [source.read(scene, f"{number:06d}", geometry=True) for number in (0, 6, 12)]
    cameras = [frame.camera for frame in frames if frame.camera is not None]
    depth = torch.stack([torch.from_numpy(np.asarray(frame.depth)) for frame in frames]).double()
    return Truth(
        torch.stack([torch.from_numpy(np.array(frame.image)).permute(2, 0, 1) for frame in frames]),
        depth,
        torch.stack([torch.from_numpy(np.asarray(camera.intrinsics)) for camera in cameras]),
        torch.stack([torch.from_numpy(np.asarray(camera.cam2world)) for camera in cameras]),
        1 + torch.exp(1 - depth / depth.mean()),
    )


@pytest.fixture
def pixel_maps() -> list[PixelMap]:
    """Three originals: larger and cropped, padded at the sides, of the same size."""
    height, width = SIZE
    return [
        PixelMap((300, 200), (width, height), (0.25, 0.25), (22.0, 4.0)),
        PixelMap((100, 96), (width, height), (0.5, 0.5), (-14.0, 0.0)),
        PixelMap((width, height), (width, height), (1.0, 1.0), (0.0, 0.0)),
    ]


@pytest.fixture
def room(truth: Truth, pixel_maps: list[PixelMap]) -> Reconstruction:
    names = ["0.jpg", "a folder/1.jpg", "2.png"]
    return Reconstruction.from_geometry(truth.geometry(), truth.images, names, pixel_maps)


@pytest.fixture(scope="session")
def box() -> Box:
    """Four views of the room; not to be changed."""
    return make_box()


@pytest.fixture
def no_points(box: Box) -> Reconstruction:
    """Everything lies behind the cameras, and some of it is no number."""
    points = -box.reconstruction.local_points.clone()
    points[0, ::2] = torch.nan
    return replaced(box.reconstruction, local_points=points)


@pytest.fixture
def one_view(box: Box) -> Reconstruction:
    """The third view alone."""
    r = box.reconstruction
    tensors = {key: value[2:3] for key, value in vars(r).items() if isinstance(value, Tensor)}
    return replaced(r, **tensors, names=r.names[2:3], pixel_maps=r.pixel_maps[2:3])
