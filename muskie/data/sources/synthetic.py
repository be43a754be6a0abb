"""Endless synthetic rooms with exact geometry: a data set that needs no download and no disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from muskie.data.rooms import Room, camera_path, make_room, render
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.errors import ConfigError, DataError
from muskie.streams import stream

FIELD_OF_VIEW = (60.0, 70.0)
"""Vertical field of view in degrees, drawn once per scene; the horizontal one follows the aspect ratio."""

SMALLEST = 8
"""Least side of a picture, in pixels."""

DEFAULT_SIZE = 96
"""Side of a picture in pixels where nothing is asked for."""


class SyntheticRooms(SceneSource):
    """Walks of a hand-held camera through randomly furnished and textured rooms, rendered when they are read.

    Scene i is a pure function of (`seed`, i) and the number of frames; only the last few rooms are kept in memory. Light
    and exposure drift from frame to frame. Between neighbouring frames the picture moves by about 2 % of its width.

    Args:
        scenes: how many scenes there are, >= 1. They cost nothing until they are read.
        frames: frames of each, >= 1.
        image_size: height and width in pixels, or one number for both; >= 8. None: square, as large as the reader asks
            for, so that no size is enlarged; 96 where it asks for nothing.
        seed: another seed gives other rooms, >= 0.

    Raises:
        ConfigError: an argument is of the wrong type or out of range.
    """

    name = "synthetic"
    uniform_length = True
    window = 16

    def __init__(
        self,
        scenes: int = 1_000_000,
        frames: int = 64,
        image_size: int | Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        self.scenes = _whole("scenes", scenes, least=1)
        self.seed = _whole("seed", seed, least=0)
        self.image_size = None if image_size is None else _size(image_size)
        self.frames = _whole("frames", frames, least=1)
        self._names = tuple(f"{number:06d}" for number in range(self.frames))

    def __len__(self) -> int:
        return self.scenes

    def scene(self, index: int) -> Scene:
        if not 0 <= index < self.scenes:
            raise IndexError(f"scene {index} of {self.scenes}")
        return Scene(f"room-{index:06d}", self._names)

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        index, number = self._address(scene, frame)
        world = _world(self.seed, index, self.frames)
        full_height, full_width = self.image_size or _size(DEFAULT_SIZE if at_least is None else max(at_least, SMALLEST))
        height, width = full_height, full_width
        shorter = min(height, width)
        if at_least is not None and at_least < shorter and not geometry:
            # Rendered smaller, not shrunk: time goes with the number of pixels.
            shrink = max(at_least, SMALLEST) / shorter
            height, width = round(height * shrink), round(width * shrink)
        intrinsics = _intrinsics(world, (full_height, full_width), (height, width))
        cam2world = world.path[number].copy()
        rgb, depth = render(world.room, cam2world, intrinsics, (height, width), time=float(number))
        image = Image.fromarray(rgb)
        return Frame(image, depth, Camera(intrinsics, cam2world)) if geometry else Frame(image)

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        index, number = self._address(scene, frame)
        world = _world(self.seed, index, self.frames)
        size = self.image_size or _size(DEFAULT_SIZE)
        return Camera(_intrinsics(world, size, size), world.path[number].copy())

    def identity(self, scene: Scene, frame: str) -> str:
        return f"rendered room {self.seed}/{scene.name}/{frame}"

    def find(self, wanted: Collection[str]) -> Iterator[tuple[int, str, str]]:
        """As of every source; but there may be no end of these rooms, so what is wanted is looked up."""
        for identity in wanted:
            kind, _, rest = identity.partition("/")
            if kind == f"rendered room {self.seed}":
                with suppress(DataError):
                    name, _, frame = rest.partition("/")
                    yield self._address(Scene(name, self._names), frame)[0], frame, identity

    def _address(self, scene: Scene, frame: str) -> tuple[int, int]:
        """The numbers of a scene and of a frame of it."""
        digits = scene.name.removeprefix("room-")
        if not digits.isdecimal() or int(digits) >= self.scenes or scene.name != f"room-{int(digits):06d}":
            raise DataError(f"scene {scene.name!r} is none of the {self.scenes} scenes of {self.name!r}")
        if not frame.isdecimal() or int(frame) >= self.frames or frame != self._names[int(frame)]:
            raise DataError(f"scene {scene.name!r} has no frame {frame!r}: its frames are '000000' to {self._names[-1]!r}")
        return int(digits), int(frame)


class _World(NamedTuple):
    room: Room
    path: np.ndarray
    field_of_view: float


@lru_cache(maxsize=16)
def _world(seed: int, index: int, frames: int) -> _World:
    """The room of a scene, its camera path [frames, 4, 4] and its vertical field of view in radians.

    Making it takes as long as rendering a few frames, and frames of a scene are read together: the last ones are kept.
    """
    rng = stream(seed, "room", index)
    field_of_view = float(np.radians(rng.uniform(*FIELD_OF_VIEW)))
    room = make_room(rng)
    return _World(room, camera_path(room, frames, rng), field_of_view)


def _intrinsics(world: _World, full: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """float64 [3, 3] of pictures of `size` (H, W) that show what pictures of the `full` size show."""
    focal = 0.5 * full[0] / np.tan(0.5 * world.field_of_view)
    return np.array(
        [
            [focal * size[1] / full[1], 0.0, size[1] / 2],
            [0.0, focal * size[0] / full[0], size[0] / 2],
            [0.0, 0.0, 1.0],
        ]
    )


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(f"{name}={value!r}: a whole number >= {least} is needed")
    return int(value)


def _size(image_size: object) -> tuple[int, int]:
    """(H, W) of the argument."""
    if not isinstance(image_size, Sequence):
        side = _whole("image_size", image_size, least=SMALLEST)
        return side, side
    if isinstance(image_size, str) or len(image_size) != 2:
        raise ConfigError(f"image_size={image_size!r}: one number, or two (height, width), >= {SMALLEST} are needed")
    height, width = (_whole(f"image_size[{k}]", side, least=SMALLEST) for k, side in enumerate(image_size))
    return height, width
