"""Viewpoints hold the cameras and the points, and stand where they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from muskie.visualization.viewpoints import from_above, from_behind

SIZE = (108, 150)


def scene(turn: float = 0.0, shift: float = 0.0, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Points in a box before level cameras, the cameras, and the rotation to upright axes; all turned, moved and scaled."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform([-3, -2, 2], [3, 1, 8], (5000, 3)))
    poses = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    poses[:, :3, 3] = torch.from_numpy(rng.uniform(-1, 1, (5, 3)))
    world = torch.eye(4, dtype=torch.float64)
    world[:3, :3] = torch.from_numpy(Rotation.from_rotvec([turn, 0.7 * turn, -turn]).as_matrix())
    world[:3, 3] = shift
    poses = world @ poses
    poses[:, :3, 3] *= scale
    flip = torch.diag(torch.tensor([1.0, -1, -1])).double()
    return scale * (points @ world[:3, :3].T + shift), poses, flip @ world[:3, :3].T


@pytest.mark.parametrize("make", [from_behind, from_above])
@pytest.mark.parametrize(("turn", "shift", "scale"), [(0.0, 0.0, 1.0), (0.8, 5.0, 1.0), (2.0, -3.0, 1e-3), (0.0, 0.0, 1e3)])
def test_all_is_in_the_picture_and_fills_it(make: object, turn: float, shift: float, scale: float) -> None:
    points, poses, upright = scene(turn, shift, scale)
    viewpoint = make(points, poses, upright, SIZE)  # type: ignore[operator]
    xy, z, _ = viewpoint.project(torch.cat([poses[:, :3, 3], points]))
    held = ((xy >= 0) & (xy < torch.tensor([SIZE[1], SIZE[0]]))).all(-1)
    assert held[:5].all() and held.double().mean() > 0.97
    extent = (xy[held].amax(0) - xy[held].amin(0)) / torch.tensor([SIZE[1], SIZE[0]])
    assert extent.max() > 0.75
    if viewpoint.focal is not None:
        assert (z > 0).all()


def test_a_scene_is_seen_the_same_wherever_it_lies() -> None:
    points, poses, upright = scene()
    for make in (from_behind, from_above):
        first = make(points, poses, upright, SIZE).project(points)[0]
        moved = scene(1.1, 2.0)
        assert torch.allclose(make(*moved, SIZE).project(moved[0])[0], first, atol=1e-6)


def test_up_and_forward() -> None:
    points, poses, upright = scene()
    # A place; one above it, beyond it, right of it.
    ends = torch.tensor([[0.0, 0, 4], [0, -1, 4], [0, 0, 5], [1, 0, 4]]).double()
    (x, y), (_, y_up), (_, y_beyond), (x_right, _) = from_behind(points, poses, upright, SIZE).project(ends)[0].tolist()
    assert y_up < y - 3 and y_beyond < y and x_right > x + 3
    (x, y), (x_up, y_up), (_, y_beyond), (x_right, _) = from_above(points, poses, upright, SIZE).project(ends)[0].tolist()
    assert (x_up, y_up) == pytest.approx((x, y)) and y_beyond < y - 3 and x_right > x + 3


def test_a_lone_point_far_away_does_not_shrink_the_rest() -> None:
    points, poses, upright = scene()
    for make in (from_behind, from_above):
        before = make(points, poses, upright, SIZE).project(points)[0]
        far = torch.cat([points, torch.tensor([[0.0, 0, 1e6], [1e6, 0, 3]]).double()])
        after = make(far, poses, upright, SIZE).project(points)[0]
        assert (after - before).abs().max() < 3


def test_cameras_alone() -> None:
    _, poses, upright = scene()
    for count in (1, 5):
        for make in (from_behind, from_above):
            xy, _, _ = make(torch.zeros(0, 3), poses[:count], upright, SIZE).project(poses[:count, :3, 3])
            assert ((xy >= 0) & (xy < torch.tensor([SIZE[1], SIZE[0]]))).all()
