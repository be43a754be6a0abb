"""Where points truly lie and which views see them, against walls whose geometry can be worked out by hand.

Of `muskie.evaluation.tracks`; another file of tests has that name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.evaluation.tracks import depth_at, draw_queries, draw_tracks
from muskie.evaluation.views.posed_views import PosedViews

HEIGHT, WIDTH = 41, 58
FOCALS = np.array([[50.0, 44.0], [37.0, 52.0], [62.0, 48.0], [45.0, 36.0]])
CENTRES = np.array([[27.3, 22.1], [33.0, 17.9], [24.6, 24.2], [29.9, 20.0]])
"""Of the cameras, in x and y: no two alike, as after crops."""
WALL, SCREEN = 4.0, 2.0
"""Depth of a wall behind everything, and of a rectangular screen before it. Cameras lie at z = 0 and look along z."""
RECTANGLE = np.array([[-0.4, -0.5], [0.35, 0.3]])
"""The screen's corners, in x and y of the world."""
PLACES = np.array([[0.0, 0, 0], [0.5, 0.1, 0], [-0.4, -0.3, 0], [0.1, 0.45, 0]])


def depth_from(camera: int) -> np.ndarray:
    """What a camera at its place measures: the screen where a pixel's ray meets it, the wall elsewhere."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    at_screen = (np.stack([x, y], -1) - CENTRES[camera]) / FOCALS[camera] * SCREEN + PLACES[camera, :2]
    met = ((at_screen > RECTANGLE[0]) & (at_screen < RECTANGLE[1])).all(-1)
    return np.where(met, SCREEN, WALL).astype(np.float32)


def walls(cameras: Sequence[int] = (0, 1, 2, 3), copies: int = 1) -> PosedViews:
    cameras = list(cameras)
    depth = np.stack([depth_from(camera) for camera in cameras])
    intrinsics, poses = np.tile(np.eye(3), (len(cameras), 1, 1)), np.tile(np.eye(4), (len(cameras), 1, 1))
    intrinsics[:, [0, 1], [0, 1]], intrinsics[:, :2, 2] = FOCALS[cameras], CENTRES[cameras]
    poses[:, :3, 3] = PLACES[cameras]
    parts = (np.zeros((len(cameras), 3, HEIGHT, WIDTH), np.uint8), depth, intrinsics, poses)
    tensors = (torch.from_numpy(part).expand(copies, *part.shape).clone() for part in parts)
    return PosedViews(*tensors, numbers=list(range(copies)))  # type: ignore[call-arg, arg-type]


def flat(depths: Tensor, shift: float = 0.0) -> PosedViews:
    """Views of 8 x 8 pixels with depth maps [V, 8, 8]; their cameras are one behind the other, `shift` metres apart."""
    views = len(depths)
    intrinsics = torch.tensor([[10.0, 0, 4], [0, 10, 4], [0, 0, 1]], dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    poses[:, 2, 3] = -shift * torch.arange(views)
    images = torch.zeros(1, views, 3, 8, 8, dtype=torch.uint8)
    return PosedViews(images, depths[None].float(), intrinsics.expand(1, views, 3, 3), poses[None], [0])


def test_points_lie_where_they_project_and_screens_hide_them() -> None:
    """Every query: its world point by hand, and the rays from each camera to it, which meet the screen or do not."""
    views = walls()
    tracks = draw_tracks(views, HEIGHT * WIDTH)
    queries = tracks.queries[0].numpy()
    column, row = np.floor(queries).astype(int).T
    depth = views.depth[0, 0].numpy()[row, column].astype(float)[:, None]
    points = np.concatenate([(queries - CENTRES[0]) / FOCALS[0] * depth, depth], axis=1)
    hidden_somewhere = 0
    for view, place in enumerate(PLACES):
        ray = points - place
        position = ray[:, :2] / ray[:, 2:] * FOCALS[view] + CENTRES[view]
        np.testing.assert_allclose(tracks.positions[0, view].numpy(), position, rtol=0, atol=1e-9)
        if view == 0:
            continue
        inside = ((position >= 0) & (position < [WIDTH, HEIGHT])).all(1)
        crossing = place[:2] + ray[:, :2] / ray[:, 2:] * SCREEN
        before = points[:, 2] > SCREEN + 1e-6
        hidden = before & ((crossing > RECTANGLE[0]) & (crossing < RECTANGLE[1])).all(1)
        # A depth map has pixels: within one of the screen's border, it cannot say.
        border = np.abs((RECTANGLE[:, None] - crossing) / SCREEN * FOCALS[view]).min((0, 2)) < 1
        sure = ~border
        np.testing.assert_array_equal(tracks.visible[0, view].numpy()[sure], (inside & ~hidden)[sure])
        hidden_somewhere += int((inside & hidden & sure).sum())
        assert int((inside & ~hidden)[sure].sum()) > 100
    assert hidden_somewhere > 100
    seen = tracks.visible[0]
    assert torch.equal(seen[0], seen[1:].any(0)) and 100 < int(seen[0].sum()) < HEIGHT * WIDTH


@pytest.mark.parametrize(("behind", "seen"), [(0.049, True), (0.051, False), (-0.049, True), (-1.5, True)])
def test_a_point_is_hidden_only_if_it_lies_behind_what_is_measured(behind: float, seen: bool) -> None:
    depth = torch.full((2, 8, 8), 2.0)
    depth[1] -= behind
    assert draw_tracks(flat(depth), 5).visible[0, 1].tolist() == [seen] * 5
    assert draw_tracks(flat(depth), 5, tolerance=2.0).visible[0, 1].all(), "as far behind as one likes"


def test_where_nothing_was_measured_a_point_counts_as_seen() -> None:
    depth = torch.full((2, 8, 8), 2.0)
    depth[1] = 0
    assert draw_tracks(flat(depth), 5).visible.all()


def test_each_view_is_asked_at_the_pixel_that_the_point_lies_in() -> None:
    """One metre nearer, points move outwards; of the two views' pixels only those hide which lie there."""
    depth = torch.full((2, 8, 8), 3.0)
    depth[1] = 2.0
    views = flat(depth, shift=-1.0)
    tracks = draw_tracks(views, 64)
    expected = 4 + (tracks.queries[0] - 4) * 3 / 2
    torch.testing.assert_close(tracks.positions[0, 1], expected, rtol=0, atol=1e-12)
    inside = ((expected >= 0) & (expected < 8)).all(-1)
    assert torch.equal(tracks.visible[0, 1], inside) and 30 < int(inside.sum()) < 64
    views.depth[0, 1, 6, 1] -= 0.06  # hides what is shown by the pixel in row 6, column 1, and by no part of others
    column, row = expected.floor().long().unbind(-1)
    struck = (row == 6) & (column == 1)
    assert int(struck.sum()) == 1
    assert torch.equal(draw_tracks(views, 64).visible[0, 1], inside & ~struck)


def test_points_behind_a_camera_are_not_seen() -> None:
    views = flat(torch.full((2, 8, 8), 2.0), shift=-5.0)
    assert not draw_tracks(views, 5).visible.any(), "and then not in view 0 either"


def test_a_picture_includes_its_left_and_upper_border_alone() -> None:
    views = flat(torch.full((2, 8, 8), 2.0))
    for axis in (0, 1):
        for shift, seen in ((-0.5, 8 * 8), (0.5, 7 * 8)):  # by half a pixel: from centres to borders
            moved = replace(views, cam2world=views.cam2world.clone())
            moved.cam2world[0, 1, axis, 3] = -shift * 2.0 / 10
            assert int(draw_tracks(moved, 64).visible[0, 1].sum()) == seen


def test_queries_are_pixels_of_known_depth_each_once() -> None:
    depth = torch.zeros(1, 9, 7)
    known = torch.rand(9, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    depth[0, known] = 1.5
    pixels, drawn = draw_queries(depth, 63, [3])
    count = int(known.sum())
    assert drawn[0, :count].all() and not drawn[0, count:].any()
    column, row = pixels[0, :count].unbind(-1)
    found = torch.zeros_like(known)
    found[row, column] = True
    assert torch.equal(found, known)
    assert pixels[0, :count].tolist() != torch.stack([column, row], -1)[torch.argsort(row * 7 + column)].tolist(), "drawn"


def test_queries_are_drawn_from_all_pixels_alike() -> None:
    pixels, _ = draw_queries(torch.ones(400, 4, 6), 6, list(range(400)))
    times = torch.zeros(4, 6)
    times.index_put_((pixels[..., 1].flatten(), pixels[..., 0].flatten()), torch.ones(2400), accumulate=True)
    # Each pixel is among 6 of 24 with probability 1/4.
    assert float((times - 100).abs().max()) < 4.5 * math.sqrt(400 * 0.25 * 0.75)


def test_what_is_drawn_depends_on_seed_and_sample_alone() -> None:
    depth = torch.ones(3, 20, 30)
    together, _ = draw_queries(depth, 10, [7, 2, 5], seed=1)
    alone, _ = draw_queries(depth[:1], 10, [2], seed=1)
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(draw_queries(depth, 10, [7, 2, 5], seed=2)[0], together)
    views = walls(copies=2)
    first = draw_tracks(replace(views, numbers=[4, 9]), 20)
    second = draw_tracks(replace(walls(), numbers=[9]), 20)
    assert torch.equal(first.positions[1], second.positions[0]) and torch.equal(first.visible[1], second.visible[0])


def test_too_few_pixels_are_filled_up_by_queries_that_count_nowhere() -> None:
    depth = torch.zeros(2, 8, 8)
    depth[0, 2, 3:6], depth[1] = 2.0, 3.0
    tracks = draw_tracks(flat(depth, shift=1.0), 10)  # view 1 would also see the place of camera 0, which is depth 0
    assert tracks.visible[0].sum(1).tolist() == [3, 3] and tracks.queries.shape == (1, 10, 2)
    assert {tuple(q) for q in tracks.queries[0][tracks.visible[0, 0]].tolist()} == {(3.5, 2.5), (4.5, 2.5), (5.5, 2.5)}


def test_a_single_view_has_nothing_to_find() -> None:
    assert not draw_tracks(flat(torch.ones(1, 8, 8)), 5).visible.any()


def test_the_frame_of_the_world_does_not_matter() -> None:
    views = walls()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    world = torch.eye(4, dtype=torch.float64)
    world[:3, :3] = rotation * torch.linalg.det(rotation)
    world[:3, 3] = torch.tensor([3.0, -70, 11])
    one, other = draw_tracks(views, 300), draw_tracks(replace(views, cam2world=world @ views.cam2world), 300)
    torch.testing.assert_close(one.positions, other.positions, rtol=0, atol=1e-9)
    assert torch.equal(one.visible, other.visible) and torch.equal(one.queries, other.queries)


def test_the_order_of_the_other_views_does_not_matter() -> None:
    views, order = walls(), [0, 3, 1, 2]
    one, other = draw_tracks(views, 200), draw_tracks(walls(order), 200)
    assert torch.equal(one.positions[:, order], other.positions) and torch.equal(one.visible[:, order], other.visible)


def naive(depth: np.ndarray, x: float, y: float, how: str) -> float:
    height, width = depth.shape
    if how == "nearest":
        return depth[min(int(y), height - 1), min(int(x), width - 1)]
    total = weights = 0.0
    for row in range(-1, height + 1):
        for column in range(-1, width + 1):
            weight = max(0, 1 - abs(x - column - 0.5)) * max(0, 1 - abs(y - row - 0.5))
            value = depth[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            if value > 0:
                total, weights = total + weight * value, weights + weight
    return total / weights if weights > 1e-9 else 0


@pytest.mark.parametrize("how", ["nearest", "bilinear"])
def test_depth_between_pixels_against_a_loop(how: str) -> None:
    """Pixels of unknown depth have no share, and beyond the outermost centres the border goes on."""
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(2, 3, 5, 7, generator=generator)
    depth[torch.rand(depth.shape, generator=generator) < 0.4] = 0
    positions = torch.rand(2, 3, 40, 2, generator=generator, dtype=torch.float64) * torch.tensor([7.0, 5.0])
    positions[..., :4, :] = torch.tensor([[0.0, 0.0], [7, 5], [0.5, 4.5], [7, 0]]).double()
    found = depth_at(depth, positions, how)
    assert found.dtype == torch.float64
    for b in range(2):
        for v in range(3):
            expected = [naive(depth[b, v].numpy(), x, y, how) for x, y in positions[b, v].tolist()]
            np.testing.assert_allclose(found[b, v].numpy(), expected, rtol=0, atol=1e-6)
    assert 0 < int((found == 0).sum()) < found.numel() / 2


def test_depth_of_a_plane_is_exact_between_pixels() -> None:
    x, y = torch.arange(9) + 0.5, torch.arange(6) + 0.5
    depth = 1 + 0.25 * x[None] + 0.5 * y[:, None]
    positions = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([8.0, 5]) + 0.5
    expected = 1 + 0.25 * positions[:, 0] + 0.5 * positions[:, 1]
    torch.testing.assert_close(depth_at(depth, positions), expected, rtol=0, atol=1e-6)
