"""Pictures of a room: cast the rays, colour what they meet, light it, and expose it to eight bits."""

from __future__ import annotations

import numpy as np

from muskie.data.rooms.casting import blocked, cast, regions_in_view
from muskie.data.rooms.layout import FACES, Room
from muskie.data.rooms.lighting import Light
from muskie.data.rooms.textures import albedo

_CHUNK = 9216
"""Pixels that are coloured at once: few enough for their arrays to stay in the cache."""


def render(
    room: Room,
    cam2world: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    time: float = 0.0,
    supersample: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Takes a picture of a room.

    Args:
        room: what is seen.
        cam2world: float [4, 4], OpenCV camera to world, metres; the camera stands in free space.
        intrinsics: float [3, 3], pixels, without skew; pixel centres at integer + 0.5.
        size: height and width in pixels.
        time: moment of the light, in frames.
        supersample: rays per pixel along each side for the colours. Depth is always that of the pixel's centre.

    Returns:
        rgb: uint8 [H, W, 3].
        depth: float32 [H, W], z in metres, > 0 everywhere.

    Raises:
        ValueError: `size` or `supersample` is not positive.
    """
    if min(*size, supersample) < 1:
        raise ValueError(f"size={size}, supersample={supersample}: both must be 1 or more")
    light = room.lights.at(time)
    depth, colour = _shoot(room, cam2world, intrinsics, size, light, colours=supersample == 1)
    if colour is None:
        finer = np.diag([supersample, supersample, 1.0]) @ intrinsics
        dense = (size[0] * supersample, size[1] * supersample)
        _, colour = _shoot(room, cam2world, finer, dense, light, colours=True)
        assert colour is not None
        colour = colour.reshape(3, size[0], supersample, size[1], supersample).mean(axis=(2, 4))
    return _expose(colour), depth


def _expose(colour: np.ndarray) -> np.ndarray:
    """Linear RGB [3, H, W] to uint8 [H, W, 3]: a soft shoulder, and a square root, the fast cousin of sRGB's curve."""
    encoded = np.sqrt(colour / (np.float32(0.7) + np.float32(0.3) * colour))
    encoded *= np.float32(255.0)
    encoded += np.float32(0.5)
    pixels = np.empty((*colour.shape[1:], 3), dtype=np.uint8)
    for channel in range(3):
        pixels[..., channel] = np.minimum(encoded[channel], np.float32(255.0))
    return pixels


def _shoot(
    room: Room, cam2world: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int], light: Light, colours: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """One ray per pixel: depth [H, W] and, if asked for, linear RGB [3, H, W]."""
    height, width = size
    x = ((np.arange(width) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]).astype(np.float32)
    y = ((np.arange(height) + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1]).astype(np.float32)
    rotation = cam2world[:3, :3].astype(np.float32)[:, :, None, None]
    # Direction of depth 1: the distance along it is the depth.
    direction = rotation[:, 0] * x + (rotation[:, 1] * y[:, None] + rotation[:, 2])
    origin = cam2world[:3, 3].astype(np.float32).reshape(3, 1, 1)
    depth, primitive = cast(room, origin, direction, regions_in_view(room, cam2world, intrinsics, size))
    if not colours:
        return depth, None
    colour = np.empty((3, height * width), dtype=np.float32)
    flat = direction.reshape(3, -1)
    pixel = float(2.0 / (intrinsics[0, 0] + intrinsics[1, 1]))
    for start in range(0, height * width, _CHUNK):
        part = slice(start, start + _CHUNK)
        args = flat[:, part], depth.reshape(-1)[part], primitive.reshape(-1)[part]
        colour[:, part] = _shade(room, light, origin[:, 0], *args, pixel)
    return depth, colour.reshape(3, height, width)


def _shade(
    room: Room,
    light: Light,
    origin: np.ndarray,
    direction: np.ndarray,
    depth: np.ndarray,
    primitive: np.ndarray,
    pixel: float,
) -> np.ndarray:
    """Linear RGB [3, P] of the points at `depth` [P] along `direction` [3, P]; a pixel is `pixel` wide at depth 1."""
    point = origin + direction * depth
    surface, u, v, normal = _place(room, point, primitive)
    length = np.sqrt((direction * direction).sum(axis=0))
    facing = np.abs((direction * normal).sum(axis=0)) / length
    # Between the short and the long side of the pixel's print on the surface, for one filter serves both directions.
    footprint = depth * length * np.float32(pixel) / np.maximum(facing, np.float32(0.05)) ** 0.5
    colour = albedo(room.surfaces, surface, u, v, footprint)
    colour *= _irradiance(room, light, point, normal)
    colour *= light.gain[:, None]
    return colour


def _place(room: Room, point: np.ndarray, primitive: np.ndarray) -> tuple[np.ndarray, ...]:
    """The surface [P], its coordinates u [P] and v [P] in metres, and its normal [3, P], of points on primitives."""
    cos, sin = np.cos(room.yaw), np.sin(room.yaw)
    offset = point - room.centre.T.take(primitive, axis=1)
    turn_cos, turn_sin = cos.take(primitive), sin.take(primitive)
    local = np.stack([turn_cos * offset[0] + turn_sin * offset[1], turn_cos * offset[1] - turn_sin * offset[0], offset[2]])
    scaled = np.abs(local) / room.half.T.take(primitive, axis=1)
    axis = scaled.argmax(axis=0)
    first = axis == 0
    last = axis == 2
    across = np.where(first, local[0], np.where(last, local[2], local[1]))
    u, v = np.where(first, local[1], local[0]), np.where(last, local[1], local[2])
    surface = primitive * FACES + 2 * axis + (across > 0)
    normal = _face_normals(room, cos, sin).take(surface, axis=1)
    if room.ball.any():
        round_ = np.flatnonzero(room.ball.take(primitive))
        radius = room.half[:, 0].take(primitive[round_])
        normal[:, round_] = offset[:, round_] / radius
        # A ball carries the texture of the cube around it, seen from its centre.
        stretch = radius / np.abs(across[round_])
        u[round_] *= stretch
        v[round_] *= stretch
    return surface, u, v, normal


def _face_normals(room: Room, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Normals of all surfaces, [3, N * FACES], towards the free space."""
    normal = np.zeros((len(room), 3, 2, 3), dtype=np.float32)
    sign = np.array([-1.0, 1.0], dtype=np.float32)
    normal[:, 0, :, 0], normal[:, 0, :, 1] = cos[:, None] * sign, sin[:, None] * sign
    normal[:, 1, :, 0], normal[:, 1, :, 1] = -sin[:, None] * sign, cos[:, None] * sign
    normal[:, 2, :, 2] = sign
    normal[0] *= -1.0
    return np.ascontiguousarray(normal.reshape(-1, 3).T)


def _irradiance(room: Room, light: Light, point: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Light on points [3, P] with the given normals [3, P], linear RGB [3, P]; the near lamp throws shadows."""
    far = np.maximum(light.direction @ normal, 0.0)
    lamp = light.position[:, None]
    away = point - lamp
    # Falls with the distance and not with its square: the walls of a room light each other.
    near = np.maximum(-(away * normal).sum(axis=0), 0.0) / ((away * away).sum(axis=0) + np.float32(0.1))
    near *= ~blocked(room, lamp, away)
    total = light.ambient[:, None] + light.sun[:, None] * far
    total += light.lamp[:, None] * near
    return total
