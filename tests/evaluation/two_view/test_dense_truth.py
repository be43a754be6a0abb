"""Ground truth of two-view matching against closed forms: planes, edges, occlusions and rotations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracle import through_lenses_of_their_own, world_points
from paired import DEPTH, FOCAL, plane_pairs, room_pairs, turn

from muskie.errors import ConfigError
from muskie.evaluation.two_view.dense_truth import (
    Warp,
    centre_depth,
    patch_warp,
    pixel_warp,
    target_patches,
    viewpoint_angles,
)
from muskie.streams import stream

SIZE = (48, 64)


def centres(grid: tuple[int, int]) -> torch.Tensor:
    """Patch centres [h, w, 2] over a picture of SIZE."""
    y = torch.tensor([(row + 0.5) * SIZE[0] / grid[0] for row in range(grid[0])], dtype=torch.float64)
    x = torch.tensor([(column + 0.5) * SIZE[1] / grid[1] for column in range(grid[1])], dtype=torch.float64)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


@pytest.mark.parametrize("grid", [SIZE, (6, 8), (16, 8), (5, 7), (1, 1)])
def test_a_plane_that_is_passed_sideways_moves_by_one_shift(grid: tuple[int, int]) -> None:
    shifts = [(0.0, 0.0), (3.3, -7.2), (-70.0, 0.0)]
    views = plane_pairs(shifts, SIZE)
    truth = pixel_warp(views) if grid == SIZE else patch_warp(views, grid)
    wanted = centres(grid) + torch.tensor(shifts, dtype=torch.float64)[:, None, None]
    inside = ((wanted >= 0) & (wanted < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
    assert torch.equal(truth.valid, inside)
    assert torch.allclose(truth.positions, torch.where(inside[..., None], wanted, 0), atol=1e-9)
    assert inside[0].all() and not inside[2].any()


@pytest.mark.parametrize("grid", [SIZE, (6, 8), (5, 7)])
def test_each_view_has_a_lens_of_its_own(grid: tuple[int, int]) -> None:
    shift, focal, centre = (3.3, -7.2), np.array([70.0, 40.0]), np.array([25.0, 31.0])
    views = plane_pairs([shift], SIZE)
    views.intrinsics[:, 1] = torch.tensor([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    truth = pixel_warp(views) if grid == SIZE else patch_warp(views, grid)
    on_plane = (centres(grid).numpy() - [SIZE[1] / 2, SIZE[0] / 2] + shift) / FOCAL * DEPTH  # in camera 1
    wanted = torch.from_numpy(on_plane / DEPTH * focal + centre)
    inside = ((wanted >= 0) & (wanted < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
    assert torch.equal(truth.valid[0], inside) and not inside.all() and inside.sum() > 4
    assert torch.allclose(truth.positions[0][inside], wanted[inside], atol=1e-9)


def test_in_rooms_both_views_show_the_same_point_through_lenses_of_their_own() -> None:
    views = through_lenses_of_their_own((96, 120), views=2, distance=6)
    truth, points = pixel_warp(views), world_points(views)
    assert 0.2 < truth.valid.double().mean() < 0.9
    away = []
    for pair in range(len(truth.valid)):
        column, row = truth.positions[pair][truth.valid[pair]].long().T
        away.append((points[pair, 1][:, row, column] - points[pair, 0][:, truth.valid[pair]]).norm(dim=0))
    assert torch.cat(away).median() < 0.02, "half a pixel in metres"


def slanted(grid: tuple[int, int], picture: tuple[int, int] = SIZE) -> torch.Tensor:
    """Depth of a slanted plane at the centres of a grid: its inverse is linear in the picture."""
    y = (torch.arange(grid[0], dtype=torch.float64) + 0.5) * picture[0] / grid[0]
    x = (torch.arange(grid[1], dtype=torch.float64) + 0.5) * picture[1] / grid[1]
    return 1 / (0.3 + 0.004 * x[None, :] - 0.003 * y[:, None])


@pytest.mark.parametrize("grid", [(6, 8), (16, 8), (5, 7), (24, 32), SIZE])
def test_depth_between_pixels_is_exact_on_planes(grid: tuple[int, int]) -> None:
    found = centre_depth(slanted(SIZE)[None], grid)[0]
    assert torch.allclose(found, slanted(grid), atol=1e-12)


def test_depth_on_the_edge_of_a_surface_belongs_to_none() -> None:
    depth = torch.full((4, 8), 2.0)
    depth[:, 4:] = 3.0  # the edge is at x = 4, the centre of the picture
    assert torch.equal(centre_depth(depth, (1, 1)), torch.tensor([[0.0]], dtype=torch.float64))
    assert torch.equal(centre_depth(depth, (1, 1), edges=True), torch.tensor([[3.0]], dtype=torch.float64))
    assert torch.allclose(centre_depth(depth, (1, 2)), torch.tensor([[2.0, 3.0]], dtype=torch.float64))
    depth[:, 4:] = 2.09  # within a share of 0.05: one surface, at the harmonic mean
    assert centre_depth(depth, (1, 1)).item() == pytest.approx(2 / (1 / 2.0 + 1 / 2.09), rel=1e-6)
    assert centre_depth(depth, (1, 1), tolerance=0.04).item() == 0


def test_unknown_pixels_are_not_interpolated() -> None:
    depth = torch.full((6, 6), 2.0)
    depth[2, 2] = 0  # one of the four around the centre of the picture
    assert centre_depth(depth, (1, 1)).item() == 0
    assert centre_depth(depth, (1, 1), edges=True).item() == 2  # of pixel (3, 3)
    assert centre_depth(depth, (2, 2)).min().item() == pytest.approx(2)  # odd patches: their middle pixel alone
    depth[1, 1] = 0
    assert centre_depth(depth, (2, 2)).tolist() == [[0, 2], [2, 2]]
    assert centre_depth(depth, (2, 2), edges=True)[0, 0] == 0


@pytest.mark.parametrize(("factor", "seen"), [(1.04, True), (0.96, True), (1.07, False), (0.5, False), (0.0, False)])
def test_both_views_must_have_measured_the_same_point(factor: float, seen: bool) -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.depth[:, 1, :, 32:] = DEPTH * factor
    for truth in (pixel_warp(views), patch_warp(views, (6, 8))):
        half = truth.valid.shape[-1] // 2
        assert truth.valid[..., :half].all()
        assert truth.valid[..., half:].all() == truth.valid[..., half:].any() == seen


def test_odd_patches_have_the_truth_of_their_middle_pixel() -> None:
    for views in room_pairs(2, size=45):
        pixels, patches = pixel_warp(views), patch_warp(views, (15, 15))
        assert patches.valid.any() and not patches.valid.all()
        assert torch.equal(patches.valid, pixels.valid[:, 1::3, 1::3])
        assert torch.allclose(patches.positions, pixels.positions[:, 1::3, 1::3], atol=1e-9)


def test_the_class_is_the_nearest_patch() -> None:
    grid, size = (5, 7), SIZE
    rng = stream(0, "positions")
    positions = torch.from_numpy(rng.uniform(0, 1, (3, 11, 2)) * [size[1], size[0]])
    valid = torch.from_numpy(rng.random((3, 11)) < 0.8)
    distances = torch.cdist(positions, centres(grid).flatten(0, 1).expand(3, -1, -1))
    wanted = torch.where(valid, distances.argmin(-1), -1)
    assert torch.equal(target_patches(Warp(positions, valid), grid, size), wanted)
    corner = Warp(torch.tensor([[[64.0, 48.0]]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool))
    assert target_patches(corner, grid, size).item() == 34


def test_viewpoint_angles_are_those_between_the_cameras() -> None:
    views = plane_pairs([(0.0, 0.0)] * 4, SIZE)
    for number, degrees in enumerate((0.0, 10.0, 75.0, 180.0)):
        one = turn(33.0, 0) @ turn(-50.0, 2)  # a common rotation of the world changes nothing
        views.cam2world[number, 0, :3, :3] = torch.from_numpy(one)
        views.cam2world[number, 1, :3, :3] = torch.from_numpy(one @ turn(degrees, number % 3))
    assert np.allclose(viewpoint_angles(views), [0, 10, 75, 180], atol=1e-4)


def test_more_than_two_views_are_refused() -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    for part in ("images", "depth", "intrinsics", "cam2world"):
        value = getattr(views, part)
        setattr(views, part, torch.cat([value, value[:, :1]], dim=1))
    with pytest.raises(ConfigError, match="these have 3"):
        pixel_warp(views)
