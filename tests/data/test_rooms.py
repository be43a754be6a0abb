"""The rooms are checked against geometry that is worked out here, from cameras and depth alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from muskie.data.rooms import Room, camera_path, make_room, render
from muskie.data.rooms.casting import blocked, cast, regions_in_view
from muskie.streams import stream

SIZE = 96


def intrinsics(size: int = SIZE, degrees: float = 65.0) -> np.ndarray:
    focal = 0.5 * size / np.tan(np.radians(degrees) / 2)
    return np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])


def walk(index: int, frames: int = 40) -> tuple[Room, np.ndarray]:
    rng = stream(7, "test", index)
    room = make_room(rng)
    return room, camera_path(room, frames, rng)


def project(depth: np.ndarray, camera: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the pixels of one camera appear in another one: columns, rows (pixels) and depth, each [H, W]."""
    matrix = intrinsics(len(depth))
    rows, columns = np.indices(depth.shape) + 0.5
    pixels = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    points = np.linalg.inv(matrix) @ pixels * depth.reshape(-1)
    world = camera[:3, :3] @ points + camera[:3, 3:]
    seen = matrix @ (other[:3, :3].T @ (world - other[:3, 3:]))
    columns, rows, z = (part.reshape(depth.shape) for part in (seen[0] / seen[2], seen[1] / seen[2], seen[2]))
    return columns, rows, z


def sample(picture: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Bilinear values of `picture` [H, W] at places inside of its outermost pixel centres."""
    x, y = columns - 0.5, rows - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, y - top
    upper = picture[top, left] * (1 - fx) + picture[top, left + 1] * fx
    lower = picture[top + 1, left] * (1 - fx) + picture[top + 1, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def spread(depth: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Farthest by nearest of the four pixels around each place."""
    left, top = np.floor(columns - 0.5).astype(int), np.floor(rows - 0.5).astype(int)
    four = np.stack([depth[top + down, left + right] for down in (0, 1) for right in (0, 1)])
    return four.max(axis=0) / four.min(axis=0)


def inside(columns: np.ndarray, rows: np.ndarray, z: np.ndarray, size: int = SIZE) -> np.ndarray:
    return (z > 0) & (columns > 1) & (columns < size - 1) & (rows > 1) & (rows < size - 1)


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("apart", [1, 8, 16])
def test_depth_and_colour_agree_between_frames(index: int, apart: int) -> None:
    room, path = walk(index)
    first, second = 3, 3 + apart
    colour, depth = render(room, path[first], intrinsics(), (SIZE, SIZE), time=first)
    other_colour, other_depth = render(room, path[second], intrinsics(), (SIZE, SIZE), time=second)
    columns, rows, z = project(depth, path[first], path[second])
    seen = inside(columns, rows, z)
    # 1 / depth is linear over a plane in the picture: between pixels of one face it is interpolated exactly, and between
    # a thing and what is behind it there is nothing to compare with.
    there = np.zeros_like(z)
    there[seen] = 1.0 / sample(1.0 / other_depth, columns[seen], rows[seen])
    seen[seen] = spread(other_depth, columns[seen], rows[seen]) < 1.1
    # A point behind what the other camera sees is hidden. A point in front of it would be a contradiction.
    mutual = seen & (z < 1.03 * there)
    assert mutual.mean() > (0.8 if apart == 1 else 0.3)
    agree = np.abs(z / np.where(mutual, there, 1.0) - 1) < 0.01
    assert agree[mutual].mean() > 0.95
    good = mutual & agree
    for channel in range(3):
        moved = sample(other_colour[..., channel].astype(float), columns[good], rows[good])
        assert np.corrcoef(colour[good][:, channel], moved)[0, 1] > 0.85


def empty_room(half: tuple[float, float, float] = (2.0, 3.0, 1.5)) -> Room:
    room = make_room(stream(0, "empty"))
    extent = np.array([half], dtype=np.float32)
    return replace(room, centre=extent * [[0, 0, 1]], half=extent, yaw=room.yaw[:1], ball=room.ball[:1])


def look(position: tuple[float, float, float], forward: tuple[float, float, float]) -> np.ndarray:
    """A level camera."""
    z = np.array(forward) / np.linalg.norm(forward)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = position
    return pose


def test_a_wall_seen_head_on_has_one_depth() -> None:
    _, depth = render(empty_room(), look((0.5, 0.0, 1.5), (1, 0, 0)), intrinsics(degrees=40), (SIZE, SIZE))
    np.testing.assert_allclose(depth, 1.5, rtol=1e-5)


def test_a_slanted_wall_and_the_floor_have_the_depth_of_their_planes() -> None:
    pose = look((0.5, -0.5, 1.2), (1.0, 0.4, -0.3))
    _, depth = render(empty_room(), pose, intrinsics(), (SIZE, SIZE))
    rows, columns = np.indices(depth.shape) + 0.5
    rays = np.linalg.inv(intrinsics()) @ np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    world = pose[:3, :3] @ rays
    planes = [((2.0 - 0.5), 0), ((-2.0 - 0.5), 0), ((3.0 + 0.5), 1), ((-3.0 + 0.5), 1), (-1.2, 2), (3.0 - 1.2, 2)]
    hits = np.stack([offset / world[axis] for offset, axis in planes])
    expected = np.where(hits > 0, hits, np.inf).min(axis=0).reshape(SIZE, SIZE)
    np.testing.assert_allclose(depth, expected, rtol=1e-4)


def one_thing(ball: bool) -> Room:
    """A room of 8 m a side with a box or a ball of 0.5 m half extent in the middle of the air."""
    room = make_room(stream(0, "one"))
    return replace(
        room,
        centre=np.array([[0, 0, 4], [0, 0, 4]], dtype=np.float32),
        half=np.array([[4, 4, 4], [0.5, 0.5, 0.5]], dtype=np.float32),
        yaw=np.array([0, np.pi / 4], dtype=np.float32),
        ball=np.array([False, ball]),
    )


@pytest.mark.parametrize(("ball", "nearest"), [(False, 2.0 - np.sqrt(0.5)), (True, 1.5)])
def test_things_stand_where_they_should(ball: bool, nearest: float) -> None:
    """Seen from 2 m: the edge of a box turned by 45 degrees is half a diagonal nearer, a ball its radius."""
    size = 201
    _, depth = render(one_thing(ball), look((-2.0, 0.0, 4.0), (1, 0, 0)), intrinsics(size), (size, size))
    assert depth[size // 2, size // 2] == pytest.approx(nearest, rel=1e-3)
    assert depth.min() == pytest.approx(nearest, rel=1e-3)
    covered = (depth < 3.0).sum() / intrinsics(size)[0, 0] ** 2
    if ball:
        # A ball of radius r at distance d appears under the angle asin(r / d).
        assert covered == pytest.approx(np.pi * np.tan(np.arcsin(0.25)) ** 2, rel=0.02)
    else:
        # Two faces whose far edges are 2 m away: two trapezoids.
        near, far, height = 2.0 - np.sqrt(0.5), 2.0, 1.0
        assert covered == pytest.approx(np.sqrt(0.5) / far * (height / near + height / far), rel=0.02)


@pytest.mark.parametrize("index", range(3))
def test_resolution_changes_the_picture_but_not_the_geometry(index: int) -> None:
    room, path = walk(index)
    fine_colour, fine = render(room, path[5], intrinsics(96), (96, 96), time=5)
    coarse_colour, coarse = render(room, path[5], intrinsics(48), (48, 48), time=5)
    # A coarse centre is the corner of four fine pixels.
    four = 4.0 / (1.0 / fine).reshape(48, 2, 48, 2).sum(axis=(1, 3))
    assert (np.abs(four / coarse - 1) < 0.01).mean() > 0.9
    shrunk = fine_colour.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), coarse_colour.ravel())[0, 1] > 0.75


def test_shortcuts_miss_nothing() -> None:
    """The rectangles that things are looked for in, and the cones of shadow rays, change no result."""
    for index in range(6):
        room, path = walk(index)
        rows, columns = np.indices((48, 64)) + 0.5
        rays = np.stack([(columns - 32) / 40, (rows - 24) / 40, np.ones_like(rows)])
        matrix = np.array([[40.0, 0.0, 32.0], [0.0, 40.0, 24.0], [0.0, 0.0, 1.0]])
        for pose in path[::13]:
            direction = np.einsum("ij,jhw->ihw", pose[:3, :3], rays).astype(np.float32)
            origin = pose[:3, 3].astype(np.float32).reshape(3, 1, 1)
            depth, thing = cast(room, origin, direction)
            again, same = cast(room, origin, direction, regions_in_view(room, pose, matrix, (48, 64)))
            np.testing.assert_array_equal(depth, again)
            np.testing.assert_array_equal(thing, same)
            way = (origin + direction * depth).reshape(3, -1) - path[0, :3, 3:].astype(np.float32)
            first, _ = cast(room, path[0, :3, 3].astype(np.float32).reshape(3, 1, 1), way[:, None])
            np.testing.assert_array_equal(blocked(room, path[0, :3, 3:].astype(np.float32), way), first[0] < 0.999)


def test_supersampling_smooths_colours_and_leaves_depth() -> None:
    room, path = walk(0)
    plain, depth = render(room, path[0], intrinsics(), (SIZE, SIZE))
    smooth, same = render(room, path[0], intrinsics(), (SIZE, SIZE), supersample=2)
    np.testing.assert_array_equal(depth, same)
    assert np.corrcoef(plain.ravel(), smooth.ravel())[0, 1] > 0.8
    with pytest.raises(ValueError, match="supersample=0"):
        render(room, path[0], intrinsics(), (SIZE, SIZE), supersample=0)


def test_cameras_are_rigid_level_free_and_smooth() -> None:
    for index in range(12):
        room, path = walk(index, frames=64)
        assert path.shape == (64, 4, 4) and path.dtype == np.float64
        rotation = path[:, :3, :3]
        np.testing.assert_allclose(rotation.transpose(0, 2, 1) @ rotation, np.tile(np.eye(3), (64, 1, 1)), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(rotation), 1.0)
        np.testing.assert_array_equal(path[:, 3], np.tile([0.0, 0.0, 0.0, 1.0], (64, 1)))
        assert (np.abs(rotation[:, 2, 0]) < np.sin(np.radians(12))).all(), "rolls"
        assert (rotation[:, 2, 1] < -0.5).all(), "head over heels"
        assert distance_to_everything(room, path[:, :3, 3]) > 0.15
        moves = np.diff(path[:, :3, 3], axis=0)
        assert np.linalg.norm(moves, axis=1).max() < 0.3
        assert np.linalg.norm(np.diff(moves, axis=0), axis=1).max() < 0.06


def distance_to_everything(room: Room, points: np.ndarray) -> float:
    """By brute force: dense points on every surface, and a test that no camera is inside of a thing."""
    side = np.linspace(-1, 1, 25)
    a, b = (grid.ravel() for grid in np.meshgrid(side, side))
    one = np.ones_like(a)
    faces = [np.roll(np.stack([sign * one, a, b]), axis, axis=0) for axis in range(3) for sign in (-1, 1)]
    cube = np.concatenate(faces, axis=1)
    least = np.inf
    for k in range(len(room)):
        shape = cube / np.linalg.norm(cube, axis=0) if room.ball[k] else cube
        cos, sin = np.cos(room.yaw[k]), np.sin(room.yaw[k])
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        surface = (turn @ (shape * room.half[k][:, None])).T + room.centre[k]
        least = min(least, np.linalg.norm(points[::4, None] - surface, axis=-1).min())
        local = (points - room.centre[k]) @ turn / room.half[k]
        within = np.linalg.norm(local, axis=1) < 1 if room.ball[k] else (np.abs(local) < 1).all(axis=1)
        assert within.all() if k == 0 else not within.any()
    return float(least)


def test_neighbouring_frames_move_a_little_and_distant_ones_overlap() -> None:
    flows, overlaps = [], []
    for index in range(16):
        room, path = walk(index)
        _, depth = render(room, path[2], intrinsics(48), (48, 48))
        _, later = render(room, path[18], intrinsics(48), (48, 48))
        columns, rows, z = project(depth, path[2], path[3])
        at_rows, at_columns = np.indices(depth.shape) + 0.5
        flows.append(np.hypot(columns - at_columns, rows - at_rows)[z > 0].mean() / 48)
        columns, rows, z = project(depth, path[2], path[18])
        seen = inside(columns, rows, z, 48)
        seen[seen] = np.abs(z[seen] / sample(later, columns[seen], rows[seen]) - 1) < 0.05
        overlaps.append(seen.mean())
    assert 0.015 < np.mean(flows) < 0.03 and max(flows) < 0.045
    assert 0.4 < np.mean(overlaps) < 0.8 and min(overlaps) > 0.1


def test_pictures_are_bright_and_textured_at_all_scales() -> None:
    for index in range(8):
        room, path = walk(index)
        colour, depth = render(room, path[0], intrinsics(), (SIZE, SIZE))
        assert colour.dtype == np.uint8 and depth.dtype == np.float32 and (depth > 0).all()
        values = colour / 255.0
        assert 0.25 < values.mean() < 0.75
        assert (values > 0.996).mean() < 0.15
        for scale in (1, 4, 8):
            small = values.reshape(SIZE // scale, scale, SIZE // scale, scale, 3).mean(axis=(1, 3))
            assert np.abs(np.diff(small, axis=0)).mean() > 0.02, f"flat at {scale} pixels"
        assert depth.std() / depth.mean() > 0.1, "no relief"


def test_light_changes_slowly_and_geometry_never() -> None:
    room, path = walk(1)
    pictures = [render(room, path[0], intrinsics(), (SIZE, SIZE), time=time) for time in (0, 1, 20)]
    (first, depth), (next_, same), (late, still) = pictures
    np.testing.assert_array_equal(depth, same)
    np.testing.assert_array_equal(depth, still)
    soon, later = (np.abs(first.astype(int) - other).mean() for other in (next_, late))
    assert 0.1 < soon < 8.0
    assert later > soon


def test_the_same_generator_gives_the_same_room_and_another_one_another() -> None:
    pictures = [render(*_shot(index)) for index in (0, 0, 1)]
    np.testing.assert_array_equal(pictures[0][0], pictures[1][0])
    np.testing.assert_array_equal(pictures[0][1], pictures[1][1])
    assert (pictures[0][0] != pictures[2][0]).mean() > 0.9


def _shot(index: int) -> tuple[Room, np.ndarray, np.ndarray, tuple[int, int]]:
    room, path = walk(index, frames=4)
    return room, path[0], intrinsics(), (SIZE, SIZE)
