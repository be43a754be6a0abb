"""Frusta, their sizes and colours, and which way is up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from muskie.reconstruction.frusta import frustum_corners, frustum_depth, upright, view_colours

INTRINSICS = torch.tensor([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]], dtype=torch.float64)


def test_frusta_go_through_the_corners_of_the_picture() -> None:
    corners = frustum_corners(INTRINSICS, 30, 40, 0.5)
    assert torch.equal(corners[0], torch.zeros(3).double())
    pixels = corners[1:5] @ INTRINSICS.T
    assert torch.allclose(pixels[:, :2] / pixels[:, 2:], torch.tensor([[0, 0], [40, 0], [40, 30], [0, 30]]).double())
    assert torch.allclose(corners[1:, 2], torch.tensor(0.5).double()) and corners[5, 1] < corners[1, 1]


def test_upright() -> None:
    pose = torch.eye(4).repeat(3, 1, 1).double()
    assert torch.allclose(upright(pose), torch.diag(torch.tensor([1.0, -1, -1]).double()))
    # A ring of cameras that look inwards, in a world that is turned anyhow: up is the axis of the ring.
    turned = torch.from_numpy(Rotation.from_rotvec([0.4, -1.1, 2.0]).as_matrix())
    steps = np.linspace(0, 360, 8, endpoint=False)[:, None]
    ring = torch.from_numpy(Rotation.from_euler("y", steps, degrees=True).as_matrix())
    poses = torch.eye(4).repeat(8, 1, 1).double()
    poses[:, :3, :3] = turned @ ring
    rotation = upright(poses)
    assert torch.allclose(rotation @ -turned[:, 1], torch.tensor([0.0, 1, 0]).double())
    assert torch.allclose(rotation @ rotation.T, torch.eye(3).double()) and torch.linalg.det(rotation) > 0
    # Opposite cameras, one on its head: no mean of anything; still a rotation.
    poses = torch.eye(4).repeat(2, 1, 1).double()
    poses[1, :3, :3] = torch.diag(torch.tensor([1.0, -1, -1]).double())
    assert torch.allclose(torch.linalg.det(upright(poses)), torch.tensor(1.0).double())


def test_colours_of_many_cameras_differ() -> None:
    for count in (1, 2, 8, 40):
        colours = view_colours(count).double()
        assert colours.shape == (count, 3)
        if count > 1:
            assert torch.cdist(colours, colours).fill_diagonal_(1e9).min() > min(100, 200 / count)


def test_frusta_are_as_large_as_the_gaps() -> None:
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[:, 0, 3] = torch.tensor([0.0, 0.05, 0.1])
    assert abs(frustum_depth(poses, 1.0) - 0.06) < 1e-6
    assert frustum_depth(poses, 10.0) == pytest.approx(0.3) and frustum_depth(poses, 0.1) == pytest.approx(0.012)
    assert frustum_depth(poses[:1], 2.0) == pytest.approx(0.24)


def test_cameras_at_one_place_do_not_make_the_others_small() -> None:
    poses = torch.eye(4).repeat(6, 1, 1)
    poses[:, 0, 3] = torch.tensor([0.0, 0.0, 0.0, 1e-6, 0.05, 0.1])
    assert frustum_depth(poses, 1.0) == pytest.approx(0.06, abs=1e-5)


def test_cameras_at_one_place_still_have_frusta() -> None:
    assert frustum_depth(torch.eye(4).repeat(5, 1, 1), 2.0) == pytest.approx(0.06)


def test_a_camera_that_looks_down_makes_no_nonsense_of_up() -> None:
    """Straight down, with the picture's upper side to the north: its own up is up."""
    pose = torch.eye(4).double()[None]
    pose[0, :3, :3] = torch.from_numpy(Rotation.from_euler("x", -90, degrees=True).as_matrix())
    rotation = upright(pose)
    assert torch.allclose(rotation @ rotation.T, torch.eye(3).double()) and torch.linalg.det(rotation) > 0
    assert torch.allclose(rotation @ -pose[0, :3, 1], torch.tensor([0.0, 1, 0]).double())
