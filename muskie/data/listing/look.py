"""Looking at single frames of a source: what their pictures, depth, cameras and object masks are like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from muskie.data.geometry_check import camera_problem, known_depth, size_problem
from muskie.data.images import decode
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.errors import DataError
from muskie.geometry import reproject

LEVELS = (np.arange(32) + 0.5) / 32
"""Shares of the pixels of a depth map that lie nearer than the depths that are kept of it."""

SOME = 20_000
"""Pixels that these are taken of, about; sorting all those of a large map takes longer than reading it."""

SIDE = 96
"""Pixels of the shorter side of a depth map that are looked for in another one, at least."""

SHARED = 0.05
"""Two frames are compared if each shows at least this share of the other's pixels, with depth."""


class Run(NamedTuple):
    """Frames `start` to `stop` of scene number `scene`; `beside`: each is compared with its neighbour, read for that, else
    with the one before it, if that is of this run."""

    scene: int
    start: int
    stop: int
    beside: bool


@dataclass
class Look:
    """What one frame is like.

    Attributes:
        name: `scene/frame`.
        size: width and height of the upright picture, as it is stored; None: it cannot be read.
        unreadable: why the picture cannot be read, in words; empty where it can.
        wrong: what is wrong with its depth, camera or mask, in words; empty where nothing is. To have none is not wrong.
        depths: float32 [len(LEVELS)], quantiles of its known depth; None: none is known.
        known: share of the pixels of its depth map that are known; None: there is no map.
        camera: whether it has one that can be one.
        focal: horizontal focal length, in pixels and as a share of the width; None without such a camera.
        mask: whether it has a mask of an object.
        disagreement: median relative difference of the depth of its points in a neighbouring frame's camera from what that
            frame measured there; None where the two do not show the same, or have no depth and cameras.
    """

    name: str
    size: tuple[int, int] | None = None
    unreadable: str = ""
    wrong: str = ""
    depths: np.ndarray | None = None
    known: float | None = None
    camera: bool = False
    focal: tuple[float, float] | None = None
    mask: bool = False
    disagreement: float | None = None


class Measured(NamedTuple):
    """Depth [H, W], 0 = unknown, and camera of a sound frame."""

    depth: np.ndarray
    camera: Camera


def look_at(source: SceneSource, run: Run) -> list[Look]:
    """Looks at the frames of a run."""
    scene, before, looks = source.scene(run.scene), None, []
    for number in range(run.start, run.stop):
        seen, measured = _look(source, scene, scene.frames[number])
        if run.beside and measured and len(scene.frames) > 1:
            beside = number + 1 if number + 1 < len(scene.frames) else number - 1
            before = _look(source, scene, scene.frames[beside])[1]
        if measured and before:
            seen.disagreement = disagreement(measured, before)
        before = measured
        looks.append(seen)
    return looks


def spread(source: SceneSource, count: int) -> list[Run]:
    """About `count` frames, evenly over the scenes; all, where there are no more."""
    scenes, found = len(source), dict[tuple[int, int], None]()
    for number in range(count):
        scene, within = divmod((number + 0.5) * scenes / count, 1)
        # Of more scenes than looks, each is looked at in another place: multiples of the golden ratio are spread evenly.
        within = within if count >= scenes else (number * 0.618034) % 1
        found[int(scene), int(within * len(source.scene(int(scene)).frames))] = None
    return [Run(scene, frame, frame + 1, beside=True) for scene, frame in found]


def everything(source: SceneSource, length: int = 32) -> Iterator[Run]:
    """All frames, in runs of at most `length`."""
    for scene, frames in enumerate(source.lengths().tolist()):
        for start in range(0, frames, length):
            yield Run(scene, start, min(start + length, frames), beside=False)


def disagreement(one: Measured, other: Measured) -> float | None:
    """See `Look.disagreement`."""
    step = max(1, min(one.depth.shape) // SIDE)
    # Every step-th pixel is a picture of its own: pixel i's centre, at step · i + 0.5, becomes i + 0.5.
    thinned = np.array([[1 / step, 0, 0.5 - 0.5 / step], [0, 1 / step, 0.5 - 0.5 / step], [0, 0, 1]])
    seen = _tensors(one.depth[::step, ::step], Camera(thinned @ one.camera.intrinsics, one.camera.cam2world))
    found = reproject(*seen, *_tensors(other.depth, other.camera))
    shared = found.inside & (found.measured > 0)
    if shared.double().mean() < SHARED:
        return None
    return float(((found.depth - found.measured).abs() / found.measured)[shared].median())


def _look(source: SceneSource, scene: Scene, name: str) -> tuple[Look, Measured | None]:
    """A frame, and its depth and camera if both are sound."""
    seen = Look(f"{scene.name}/{name}")
    frame = _read(source, scene, name, seen)
    if frame is None:
        return seen, None
    width, _ = seen.size = frame.size
    depth = None
    if frame.camera is not None:
        problem = camera_problem(frame.camera)
        seen.camera, seen.wrong = not problem, seen.wrong or (f"its camera has {problem}" if problem else "")
        focal = float(frame.camera.intrinsics[0, 0]) if seen.camera else 0.0
        seen.focal = (focal, focal / width) if seen.camera else None
    if frame.depth is not None:
        problem = size_problem(frame)
        seen.wrong = seen.wrong or problem
        depth = None if problem else known_depth(frame.depth)
        values = known_depth(frame.depth)
        values = values[values > 0]
        seen.known = values.size / max(frame.depth.size, 1)
        some = values[:: max(1, values.size // SOME)]
        seen.depths = np.quantile(some, LEVELS).astype(np.float32) if some.size else None
    try:
        seen.mask = source.mask(scene, name) is not None
    except (OSError, DataError) as error:
        seen.wrong = seen.wrong or f"its mask: {error}"
    return seen, Measured(depth, frame.camera) if depth is not None and frame.camera and seen.camera else None


def _read(source: SceneSource, scene: Scene, name: str, seen: Look) -> Frame | None:
    """A frame with geometry; without it, where that cannot be read; None where the picture cannot be."""
    # A picture that lies in no file may be made at the size that is asked for.
    at_least = None if source.file(scene, name) is None else 1
    try:
        frame = source.read(scene, name, at_least=at_least, geometry=True)
        return replace(frame, image=decode(frame.image))
    except (OSError, DataError) as error:
        seen.wrong = str(error)
    try:
        frame = source.read(scene, name)
        return replace(frame, image=decode(frame.image))
    except (OSError, DataError) as error:
        seen.unreadable, seen.wrong = str(error), ""
    return None


def _tensors(depth: np.ndarray, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """As `muskie.geometry` takes them, float64."""
    depth64 = torch.from_numpy(np.ascontiguousarray(depth)).double()
    return depth64, torch.from_numpy(camera.intrinsics).double(), torch.from_numpy(camera.cam2world).double()
