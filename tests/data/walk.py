"""Exact geometry for tests of loaders: pictures and depth of one rendered room along one camera path."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from muskie.data.rooms import Room, camera_path, make_room, render
from muskie.data.scene import Frame
from muskie.geometry import reproject
from muskie.streams import stream

RELATIVE = np.array([[0.85, 0.0, 0.52], [0.0, 1.1, 0.46], [0.0, 0.0, 1.0]])
"""Intrinsics for a picture of width and height 1: no two numbers are alike, so that none can be taken for another."""


class Shot(NamedTuple):
    """A picture uint8 [H, W, 3], its depth float32 [H, W] in metres, and its camera, [3, 3] and [4, 4]."""

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    cam2world: np.ndarray


@lru_cache(maxsize=1)
def _walk() -> tuple[Room, np.ndarray]:
    rng = stream(0, "a room for tests of loaders")
    room = make_room(rng)
    return room, camera_path(room, 24, rng)


def intrinsics(height: int, width: int, plain: bool = False) -> np.ndarray:
    """For a picture of this size; `plain`: of square pixels, and with the principal point in the middle."""
    if plain:
        return np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1]])
    return np.diag([width, height, 1.0]) @ RELATIVE


@lru_cache(maxsize=64)
def shoot(number: int, height: int, width: int, plain: bool = False) -> Shot:
    """Picture `number`, 0 to 23, of the walk."""
    room, path = _walk()
    matrix = intrinsics(height, width, plain)
    return Shot(*render(room, path[number], matrix, (height, width)), matrix, path[number])


def tensors(frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """Depth and camera as `muskie.geometry` takes them, float64."""
    assert frame.depth is not None and frame.camera is not None
    assert frame.depth.dtype == np.float32 and frame.depth.shape == (frame.image.height, frame.image.width)
    assert frame.camera.intrinsics.dtype == frame.camera.cam2world.dtype == np.float64
    parts = (frame.depth, frame.camera.intrinsics, frame.camera.cam2world)
    depth, matrix, pose = (torch.from_numpy(part).double() for part in parts)
    return depth, matrix, pose


def agreement(one: Frame, other: Frame) -> tuple[float, float]:
    """How the depth of `one`, seen from `other`, agrees with what `other` measured: median relative difference, and the
    share of the measured pixels of `one` inside `other` that agree within 2 %."""
    found = reproject(*tensors(one), *tensors(other), tolerance=0.02)
    known = found.inside & (found.measured > 0)
    assert known.double().mean() > 0.05
    difference = ((found.depth - found.measured).abs() / found.measured)[known]
    return float(difference.median()), float(found.visible[known].double().mean())
