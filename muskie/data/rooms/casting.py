"""Where rays meet a room: exact distances to boxes and balls, one primitive at a time with whole-array operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from muskie.data.rooms.layout import Room

Region: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture that a primitive can cover."""

_NEAR = 0.02
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32)


def cast(
    room: Room, origin: np.ndarray, direction: np.ndarray, regions: Sequence[Region | None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Meets rays with a room.

    Args:
        room: what is met.
        origin: float32 [3, H, W] or broadcastable to it; inside the room and outside of its things, metres.
        direction: float32 [3, H, W], not of unit length.
        regions: for each primitive the rays that can meet it, None: none of them. Left out: any ray can meet any
            primitive. With regions all rays have one origin, [3, 1, 1].

    Returns:
        distance: float32 [H, W], in lengths of `direction`; so with directions of depth 1 this is the depth.
        primitive: intp [H, W], what is met.
    """
    inverse = _inverse(direction)
    # The room: along each axis a ray heads for one of two walls, and it meets the nearest of the three.
    half, centre = room.half[0].reshape(3, 1, 1), room.centre[0].reshape(3, 1, 1)
    distance = (half * np.abs(inverse) + (centre - origin) * inverse).min(axis=0)
    primitive = np.zeros(distance.shape, dtype=np.intp)
    everything = (slice(None), slice(None))
    for k in range(1, len(room)):
        region = everything if regions is None else regions[k]
        if region is None:
            continue
        here = (slice(None), *region)
        meet = _ball if room.ball[k] else _box
        start = origin if origin.shape[1:] == (1, 1) else origin[here]
        found = meet(room, k, start, direction[here], inverse[2][region])
        nearer = found < distance[region]
        np.copyto(distance[region], found, where=nearer)
        primitive[region][nearer] = k
    return distance, primitive


def regions_in_view(room: Room, cam2world: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]) -> list[Region | None]:
    """For each primitive the smallest rectangle of a picture of `size` (H, W) that holds it, None if it is out of view.

    A primitive that reaches behind the camera gets the whole picture.
    """
    cos, sin = np.cos(room.yaw)[:, None], np.sin(room.yaw)[:, None]
    corner = _CORNERS * room.half[:, None]
    x, y = cos * corner[..., 0] - sin * corner[..., 1], sin * corner[..., 0] + cos * corner[..., 1]
    world = np.stack([x, y, corner[..., 2]], axis=-1) + room.centre[:, None]
    camera = (world - cam2world[:3, 3]) @ cam2world[:3, :3]
    depth = np.maximum(camera[..., 2:], _NEAR)
    pixel = camera[..., :2] / depth * np.diagonal(intrinsics)[:2] + intrinsics[:2, 2]
    limit = (size[1], size[0])
    first = np.clip(np.floor(pixel.min(axis=1) - 0.5), 0, limit).astype(int)
    last = np.clip(np.ceil(pixel.max(axis=1) + 0.5), 0, limit).astype(int)
    ahead = (camera[..., 2] > _NEAR).sum(axis=1)
    regions: list[Region | None] = []
    for (left, top), (right, bottom), corners in zip(first.tolist(), last.tolist(), ahead.tolist(), strict=True):
        if 0 < corners < 8:
            regions.append((slice(0, size[0]), slice(0, size[1])))
        elif corners == 0 or left >= right or top >= bottom:
            regions.append(None)
        else:
            regions.append((slice(top, bottom), slice(left, right)))
    return regions


def blocked(room: Room, origin: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Whether something stands between `origin` [3, 1] and the points `origin + way` [3, P] on surfaces, bool [P]."""
    towards = room.centre.T - origin
    distance = np.linalg.norm(towards, axis=0)
    # Most rays miss the sphere around most things: only those in its cone are looked at closely.
    sine = np.linalg.norm(room.half, axis=1) / distance
    cosine = np.where(sine < 1.0, np.sqrt(np.maximum(1.0 - sine * sine, 0.0)), np.float32(-1.0))
    axis, length = (towards / distance).T, np.sqrt((way * way).sum(axis=0))
    found = np.zeros(way.shape[1], dtype=bool)
    for k in range(1, len(room)):
        rays = np.flatnonzero(axis[k] @ way > cosine[k] * length)
        if len(rays):
            part = way.take(rays, axis=1)
            meet = _ball if room.ball[k] else _box
            found[rays] |= meet(room, k, origin, part, _inverse(part[2])) < 0.999
    return found


def _inverse(direction: np.ndarray) -> np.ndarray:
    """1 / direction without infinities, whose products with 0 would not be numbers."""
    return np.float32(1.0) / np.where(np.abs(direction) < 1e-7, np.float32(1e-7), direction)


def _box(room: Room, k: int, origin: np.ndarray, direction: np.ndarray, inverse_z: np.ndarray) -> np.ndarray:
    """Distances to box k, infinite where it is missed: the latest entry into its three slabs, before the first exit."""
    cos, sin = np.cos(room.yaw[k]), np.sin(room.yaw[k])
    ox, oy, oz = (origin[axis] - room.centre[k, axis] for axis in range(3))
    dx, dy = direction[0], direction[1]
    enter, leave = None, None
    for start, inverse, half in (
        (cos * ox + sin * oy, _inverse(cos * dx + sin * dy), room.half[k, 0]),
        (cos * oy - sin * ox, _inverse(cos * dy - sin * dx), room.half[k, 1]),
        (oz, inverse_z, room.half[k, 2]),
    ):
        middle, reach = start * inverse, half * np.abs(inverse)
        # Signs are turned: `middle + reach` is minus the entry.
        enter = middle + reach if enter is None else np.minimum(enter, middle + reach)
        leave = reach - middle if leave is None else np.minimum(leave, reach - middle)
    assert enter is not None and leave is not None
    entry = -enter
    return np.where((entry < leave) & (entry > 0.0), entry, np.float32(np.inf))


def _ball(room: Room, k: int, origin: np.ndarray, direction: np.ndarray, inverse_z: np.ndarray) -> np.ndarray:
    """Distances to ball k, infinite where it is missed: the smaller root of |origin + t * direction - centre| = r."""
    dx, dy, dz = direction
    ox, oy, oz = (room.centre[k, axis] - origin[axis] for axis in range(3))
    square = dx * dx + dy * dy + dz * dz
    along = dx * ox + dy * oy + dz * oz
    beyond = ox * ox + oy * oy + oz * oz - room.half[k, 0] ** 2
    discriminant = along * along - square * beyond
    entry = (along - np.sqrt(np.maximum(discriminant, 0.0))) / square
    return np.where((discriminant > 0.0) & (entry > 0.0), entry, np.float32(np.inf))
