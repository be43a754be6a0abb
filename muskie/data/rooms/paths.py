"""A hand-held camera's walk through a room: smooth, in free space, looking at things, moving the picture evenly."""

from __future__ import annotations

import numpy as np

from muskie.data.rooms.casting import cast
from muskie.data.rooms.layout import Room

FLOW = (0.016, 0.024)
"""Mean motion of the picture between two frames, in widths of a square picture of 65 degrees; one draw per path."""

_FOCAL = float(0.5 / np.tan(np.radians(65.0) / 2.0))
_STEP = 0.65
"""Longest step between two way points, metres."""

_CLEARANCE = 0.45
"""Least distance from everything of the way points and of points 0.13 m apart on the lines between them, metres.

A cubic B-spline leaves those lines by at most a sixth of the second difference of its control points, here 0.22 m: so the
camera keeps at least 0.15 m from everything."""

_OPTIONS = 16
"""Continuations among which each way point is chosen."""

_SAMPLES = 6
"""Poses per way point at which the motion of the picture is measured."""


def camera_path(room: Room, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Walks a camera through a room.

    Args:
        room: where to walk.
        frames: how many poses, >= 1.
        rng: draws the way.

    Returns:
        float64 [frames, 4, 4], cam2world; between two poses the picture moves by `FLOW` of its width on average. The
        camera keeps its distance from all surfaces and rolls by a few degrees only.

    Raises:
        ValueError: `frames` is not positive.
    """
    if frames < 1:
        raise ValueError(f"frames={frames}: must be 1 or more")
    flow = rng.uniform(*FLOW)
    # A step between way points moves the picture by 17 to 35 % of its width.
    way = _way_points(room, 5 + int(np.ceil(frames * flow / 0.16)), rng)
    spots = np.arange(0.0, len(way) - 3.0, 1.0 / _SAMPLES)
    poses = _pose(_spline(way, spots))
    pace = _motion(room, poses)
    # Nobody stops or starts within a step, or runs where little moves in the picture.
    kernel = np.hanning(4 * _SAMPLES + 1)[1:-1]
    pace = np.convolve(np.pad(pace, len(kernel) // 2, mode="edge"), kernel / kernel.sum(), mode="valid")
    pace = np.maximum(pace, 0.5 * pace.mean())
    travelled = np.concatenate([[0.0], np.cumsum(pace)])
    flow = min(flow, travelled[-1] / frames)
    when = np.interp(np.arange(frames) * flow, travelled, spots)
    return _pose(_spline(way, when))


def _way_points(room: Room, count: int, rng: np.random.Generator) -> np.ndarray:
    """Control points [count, 6] of the walk: x, y, z, yaw, pitch, roll in metres and radians.

    Each is the best of some random continuations of the one before: free, and with a good view.
    """
    low = np.array([*(-room.half[0, :2]), 0.5]) + _CLEARANCE
    high = np.array([*room.half[0, :2], min(2.4, 2.0 * room.half[0, 2])]) - _CLEARANCE
    draws = np.zeros((256, 6))
    draws[:, :3] = rng.uniform(low, high, (256, 3))
    draws[:, 3] = rng.uniform(-np.pi, np.pi, 256)
    draws[:, 4] = rng.normal(-0.15, 0.15, 256)
    starts = draws[room.clearance(draws[:, :3]) > _CLEARANCE][:_OPTIONS]
    if not len(starts):
        starts = draws[[room.clearance(draws[:, :3]).argmax()]]
    way = [starts[_view(room, starts).argmax()]]
    heading, turning = rng.normal(0.0, 0.3, 3), rng.uniform(-0.2, 0.2)
    for _ in range(count - 1):
        here = way[-1]
        step = 0.7 * heading + rng.normal(0.0, [0.28, 0.28, 0.1], (_OPTIONS, 3))
        step *= np.minimum(1.0, _STEP / np.linalg.norm(step, axis=1, keepdims=True))
        # The last option turns on the spot, so that there is always one that is free.
        step[-1] = 0.0
        options = np.tile(here, (_OPTIONS, 1))
        options[:, :3] += step
        options[:, 3] += np.clip(0.6 * turning + rng.normal(0.0, 0.25, _OPTIONS), -0.45, 0.45)
        options[:, 4] = np.clip(0.6 * here[4] + rng.normal(-0.06, 0.12, _OPTIONS), -0.5, 0.25)
        options[:, 5] = 0.7 * here[5] + rng.normal(0.0, 0.025, _OPTIONS)
        legs = here[:3] + np.linspace(0.2, 1.0, 5)[:, None, None] * step
        free = (room.clearance(legs.reshape(-1, 3)).reshape(5, _OPTIONS) > _CLEARANCE).all(axis=0)
        free &= (options[:, 2] > low[2]) & (options[:, 2] < high[2])
        free[-1] = True
        worth = _view(room, options) + 0.5 * np.linalg.norm(step, axis=1) / _STEP
        way.append(options[np.where(free, worth, -np.inf).argmax()])
        heading, turning = way[-1][:3] - here[:3], way[-1][3] - here[3]
    return np.array(way)


def _view(room: Room, states: np.ndarray) -> np.ndarray:
    """How good the view from each of `states` [K, 6] is: things in it count, a near obstacle or a far void costs."""
    distance, primitive = _look(room, _pose(states), rays=4)
    middle = 1.0 / (1.0 / distance).mean(axis=1)
    things = np.minimum((primitive > 0).mean(axis=1), 0.5)
    return things - np.maximum(0.0, 1.4 - middle) - 0.3 * np.maximum(0.0, middle - 3.0)


def _motion(room: Room, poses: np.ndarray) -> np.ndarray:
    """Mean motion of the picture from each of `poses` [K, 4, 4] to the next, in picture widths, [K - 1]."""
    rays = 6
    depth, _ = _look(room, poses[:-1], rays)
    points = np.concatenate([_grid(rays) * depth[:, None], np.ones_like(depth)[:, None]], axis=1)
    moved = np.linalg.inv(poses[1:]) @ poses[:-1] @ points
    shift = moved[:, :2] / np.maximum(moved[:, 2:3], 0.1) - _grid(rays)[:2]
    return _FOCAL * np.linalg.norm(shift, axis=1).mean(axis=1)


def _look(room: Room, poses: np.ndarray, rays: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth and primitive, each [K, rays * rays], that cameras at `poses` [K, 4, 4] see on a coarse grid."""
    direction = (poses[:, :3, :3] @ _grid(rays)).transpose(1, 0, 2).astype(np.float32)
    origin = poses[:, :3, 3].T[:, :, None].astype(np.float32)
    return cast(room, origin, direction)


def _grid(rays: int) -> np.ndarray:
    """Directions [3, rays * rays] of depth 1, spread evenly over the picture."""
    at = (np.arange(rays) + 0.5 - rays / 2) / rays / _FOCAL
    return np.stack([np.tile(at, rays), np.repeat(at, rays), np.ones(rays * rays)])


def _spline(control: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The uniform cubic B-spline of `control` [K, D] at `at` [P] in [0, K - 3], float64 [P, D]."""
    first = np.clip(np.floor(at), 0, len(control) - 4).astype(int)
    t = at - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=-1) / 6.0
    return np.einsum("pk,pkd->pd", weights, control[first[:, None] + np.arange(4)])


def _pose(states: np.ndarray) -> np.ndarray:
    """cam2world [K, 4, 4] of states [K, 6]: x, y, z, yaw about the vertical, pitch upwards, roll clockwise."""
    yaw, pitch, roll = states[:, 3], states[:, 4], states[:, 5]
    zero = np.zeros_like(yaw)
    forward = np.stack([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)], axis=-1)
    level = np.stack([np.sin(yaw), -np.cos(yaw), zero], axis=-1)
    down = np.cross(forward, level)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    pose = np.tile(np.eye(4), (len(states), 1, 1))
    pose[:, :3, 0] = cos * level + sin * down
    pose[:, :3, 1] = cos * down - sin * level
    pose[:, :3, 2] = forward
    pose[:, :3, 3] = states[:, :3]
    return pose
