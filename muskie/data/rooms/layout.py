"""What a room is made of, and how one is drawn: walls, boxes on the floor, on walls and on boxes, balls.

World frame: z up, floor at z = 0, the room centred over the origin; metres and radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muskie.data.rooms.lighting import Lights, make_lights
from muskie.data.rooms.textures import Surfaces, make_surfaces

FACES = 6
"""Surfaces of a primitive: -x, +x, -y, +y, -z, +z in its own frame. A ball has the six sides of the cube around it."""


@dataclass(frozen=True)
class Room:
    """A room of N primitives. Number 0 is the room itself, a box seen from inside; the others are seen from outside.

    Attributes:
        centre: float32 [N, 3].
        half: float32 [N, 3], half extents; the radius three times for a ball.
        yaw: float32 [N], turn about z.
        ball: bool [N], a ball and not a box.
        surfaces: the textures of N * `FACES` surfaces.
        lights: what lights it.
    """

    centre: np.ndarray
    half: np.ndarray
    yaw: np.ndarray
    ball: np.ndarray
    surfaces: Surfaces
    lights: Lights

    def __len__(self) -> int:
        return len(self.yaw)

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance of `points` [P, 3] from the nearest surface, metres, float [P]; negative in a wall or a thing."""
        offset = points - self.centre[:, None].astype(np.float64)
        cos, sin = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        x, y = cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]
        beyond = np.abs(np.stack([x, y, offset[..., 2]], axis=-1)) - self.half[:, None]
        box = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.minimum(beyond.max(axis=-1), 0.0)
        ball = np.linalg.norm(offset, axis=-1) - self.half[:, :1]
        distance = np.where(self.ball[:, None], ball, box)
        distance[0] = -beyond[0].max(axis=-1)
        return distance.min(axis=0)


def make_room(rng: np.random.Generator) -> Room:
    """Draws a room of 4.5 to 7 m a side and 2.5 to 3.2 m in height, with 4 to 10 boxes and 1 to 4 balls."""
    half = np.array([*rng.uniform(2.25, 3.5, 2), rng.uniform(1.25, 1.6)])
    things = [_Thing(np.array([0.0, 0.0, half[2]]), half, 0.0, False)]
    for _ in range(int(rng.integers(4, 11))):
        things.append(_box(rng, half, things))
    for _ in range(int(rng.integers(1, 5))):
        things.append(_ball(rng, half, things))
    halves = np.array([thing.half for thing in things])
    # All faces of a thing are as coarse as the thing is large. Each wall of the room is a thing of its own.
    sizes = np.repeat(2.0 * np.sort(halves, axis=1)[:, 1], FACES)
    faces = np.arange(len(sizes))
    owners = np.where(faces < FACES, faces, faces - faces % FACES)
    return Room(
        centre=np.array([thing.centre for thing in things], dtype=np.float32),
        half=halves.astype(np.float32),
        yaw=np.array([thing.yaw for thing in things], dtype=np.float32),
        ball=np.array([thing.ball for thing in things]),
        surfaces=make_surfaces(rng, sizes, owners),
        lights=make_lights(rng, half),
    )


@dataclass(frozen=True)
class _Thing:
    centre: np.ndarray
    half: np.ndarray
    yaw: float
    ball: bool


def _box(rng: np.random.Generator, room: np.ndarray, things: list[_Thing]) -> _Thing:
    """A box on the floor, on a wall, or on an earlier box."""
    place = rng.random()
    tables = _tables(things)
    if place < 0.3:
        return _shelf(rng, room)
    if place < 0.45 and tables:
        table = tables[int(rng.integers(len(tables)))]
        half = np.array([*rng.uniform(0.35, 0.6, 2) * table.half[:2].min(), rng.uniform(0.08, 0.3)])
        return _Thing(_on_top(rng, table, half), half, float(rng.uniform(0.0, np.pi)), False)
    tall = rng.random() < 0.25
    half = np.array([*rng.uniform(0.2, 0.65, 2), rng.uniform(0.7, 1.0) if tall else rng.uniform(0.15, 0.5)])
    return _Thing(np.array([*_spot(rng, room, things), half[2]]), half, float(rng.uniform(0.0, np.pi)), False)


def _ball(rng: np.random.Generator, room: np.ndarray, things: list[_Thing]) -> _Thing:
    """A ball on the floor, on a box, or hanging like a lamp."""
    place = rng.random()
    radius = rng.uniform(0.12, 0.4)
    tables = _tables(things)
    if place < 0.4 and tables:
        table = tables[int(rng.integers(len(tables)))]
        radius = min(radius, float(table.half[:2].min()))
        centre = _on_top(rng, table, np.full(3, radius))
    else:
        height = radius if place < 0.75 else 2.0 * room[2] - radius - rng.uniform(0.2, 0.8)
        centre = np.array([*_spot(rng, room, things), height])
    return _Thing(centre, np.full(3, radius), float(rng.uniform(0.0, 2.0 * np.pi)), True)


def _shelf(rng: np.random.Generator, room: np.ndarray) -> _Thing:
    """A box with its back to a wall: a shelf, a cupboard, a picture."""
    half = np.array([rng.uniform(0.03, 0.2), rng.uniform(0.25, 0.8), rng.uniform(0.08, 0.45)])
    axis, side = int(rng.integers(2)), float(rng.choice([-1.0, 1.0]))
    centre = np.empty(3)
    centre[axis] = side * (room[axis] - half[0])
    centre[1 - axis] = rng.uniform(-1.0, 1.0) * (room[1 - axis] - half[1])
    centre[2] = rng.uniform(0.8, 2.0 * room[2] - half[2] - 0.2)
    return _Thing(centre, half, axis * np.pi / 2, False)


def _tables(things: list[_Thing]) -> list[_Thing]:
    """Boxes that something can stand on."""
    return [t for t in things[1:] if not t.ball and t.half[:2].min() > 0.2 and t.centre[2] + t.half[2] < 1.3]


def _on_top(rng: np.random.Generator, table: _Thing, half: np.ndarray) -> np.ndarray:
    """A place on `table` for a thing of half extents `half`."""
    shift = rng.uniform(-0.3, 0.3, 2) * table.half[:2].min()
    return np.array([*(table.centre[:2] + shift), table.centre[2] + table.half[2] + half[2]])


def _spot(rng: np.random.Generator, room: np.ndarray, things: list[_Thing]) -> np.ndarray:
    """A place on the floor [2], the one of a few draws that is farthest from what stands there already."""
    spots = rng.uniform(-1.0, 1.0, (3, 2)) * (room[:2] - 0.5)
    if len(things) == 1:
        return spots[0]
    others = np.array([thing.centre[:2] for thing in things[1:]])
    apart = np.linalg.norm(spots[:, None] - others, axis=-1).min(axis=1)
    return spots[int(apart.argmax())]
