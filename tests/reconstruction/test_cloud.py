"""Filters, even choice, normals and rotations against closed forms and exact scenes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from muskie.errors import ConfigError
from muskie.geometry import unproject
from muskie.reconstruction import Reconstruction
from muskie.reconstruction.cloud import cloud
from muskie.reconstruction.confidence import evenly, kept_pixels
from muskie.reconstruction.frusta import frustum_corners, frustum_depth, upright, view_colours
from muskie.reconstruction.rotations import nearest_rotation, quaternion_wxyz
from muskie.reconstruction.surface import facing_normals, grazing_angle

INTRINSICS = torch.tensor([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]], dtype=torch.float64)


def slanted(degrees: float) -> torch.Tensor:
    """Local points [30, 40, 3] of a plane through (0, 0, 2), turned about y by that much from facing the camera."""
    angle = np.radians(degrees)
    normal = torch.tensor([np.sin(angle), 0, -np.cos(angle)], dtype=torch.float64)
    rays = unproject(torch.ones(30, 40, dtype=torch.float64), INTRINSICS)
    return rays * (normal[2] * 2 / (rays @ normal))[..., None]


@pytest.mark.parametrize("degrees", [0.0, 30.0, 60.0])
def test_normals_and_angles_of_a_plane(degrees: float) -> None:
    points = slanted(degrees)
    angle = np.radians(degrees)
    expected = torch.tensor([np.sin(angle), 0, -np.cos(angle)], dtype=torch.float64)
    assert torch.allclose(facing_normals(points), expected.expand_as(points), atol=1e-9)
    # Across the slant, in the plane of the ray and the normal, the angle is that between ray and plane.
    rays = torch.nn.functional.normalize(points[15], dim=-1)
    true = torch.rad2deg(torch.asin(-(rays @ expected)))
    assert ((grazing_angle(points)[15] - true).abs() < 1.0).all()


def test_points_between_two_surfaces_are_edges_and_a_clean_step_is_none() -> None:
    depth = torch.full((30, 40), 2.0, dtype=torch.float64)
    depth[:, 20:] = 4
    assert (grazing_angle(unproject(depth, INTRINSICS)) > 60).all()
    depth[:, 20] = 3  # hangs in the air
    angles = grazing_angle(unproject(depth, INTRINSICS))
    assert (angles[:, 20] < 5).all() and (angles[:, :20] > 60).all() and (angles[:, 21:] > 60).all()
    depth[:, 20] = torch.nan
    angles = grazing_angle(unproject(depth, INTRINSICS))
    assert (angles[:, :20] > 60).all() and (angles[:, 21:] > 60).all() and (angles[:, 20] == 0).all()


def test_the_least_sure_are_left_out(room: Reconstruction) -> None:
    valid = room.valid
    kept = kept_pixels(room, percentile=25, edge=0)
    share = float(kept.sum() / valid.sum())
    assert abs(share - 0.75) < 0.001
    assert room.confidence[kept].min() >= room.confidence[valid & ~kept].max()
    assert torch.equal(kept_pixels(room, percentile=0, edge=0), valid)
    flat = replace(room, confidence=torch.full_like(room.confidence, 2.0))
    assert torch.equal(kept_pixels(flat, percentile=90, edge=0), valid)  # none is less sure than another
    assert int(kept_pixels(room, percentile=0, edge=8).sum()) < int(valid.sum())


@pytest.mark.parametrize("setting", [{"percentile": 100}, {"percentile": -1}, {"edge": 90}, {"percentile": float("nan")}])
def test_filters_out_of_range(room: Reconstruction, setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected 0"):
        kept_pixels(room, **setting)


def test_an_even_choice() -> None:
    kept = torch.ones(2, 96, 128, dtype=torch.bool)
    kept[0, :48] = False
    for count in (0, 1, 300, 5000):
        chosen = evenly(kept, count)
        assert int(chosen.sum()) == count and not (chosen & ~kept).any()
    # Each block of 16 x 16 kept pixels holds its share, up to a few. Of a random choice, 25 ± 5, the farthest is 13 off.
    blocks = evenly(kept, 1800).unfold(1, 16, 16).unfold(2, 16, 16).sum((-1, -2))
    full = kept.unfold(1, 16, 16).unfold(2, 16, 16).all(-1).all(-1)
    assert (blocks[full] - 1800 / (1.5 * 48)).abs().max() <= 6
    assert evenly(kept, None) is kept and torch.equal(evenly(kept, 10**9), kept)


def test_the_cloud_is_the_points_of_the_pixels(room: Reconstruction) -> None:
    points = cloud(room, percentile=0, edge=0, max_points=500)
    at = (points.views, points.rows, points.columns)
    assert len(points) == 500
    assert torch.allclose(points.points, room.points[at], atol=1e-6)
    assert torch.equal(points.colours, room.images.permute(0, 2, 3, 1)[at])
    assert torch.equal(points.confidence, room.confidence[at])
    to_camera = room.cam2world[points.views, :3, 3] - points.points
    assert ((to_camera * points.normals).sum(-1) > 0).all() and (points.radii > 0).all()


def test_no_broken_number_enters_the_cloud(room: Reconstruction) -> None:
    points = room.local_points.clone()
    points[0, ::2, ::3, 0], points[1, 5], points[2, :, 9, 2] = torch.nan, torch.inf, -torch.inf
    broken = cloud(replace(room, local_points=points), percentile=0, edge=0)
    for values in (broken.points, broken.normals, broken.confidence, broken.radii):
        assert values.isfinite().all()
    assert 0 < len(broken) < len(cloud(room, percentile=0, edge=0))


def test_quaternions_against_scipy() -> None:
    generator = np.random.default_rng(0)
    rotations = Rotation.random(200, random_state=generator).as_matrix()
    half_turns = Rotation.from_rotvec(np.pi * np.eye(3)).as_matrix()
    matrices = torch.from_numpy(np.concatenate([rotations, half_turns, np.eye(3)[None]]))
    quaternions = quaternion_wxyz(matrices)
    back = Rotation.from_quat(quaternions.numpy(), scalar_first=True).as_matrix()
    assert np.allclose(back, matrices.numpy(), atol=1e-12) and (quaternions[:, 0] >= 0).all()
    noisy = nearest_rotation(matrices + 1e-3)
    assert torch.allclose(noisy @ noisy.transpose(1, 2), torch.eye(3).double(), atol=1e-12)
    assert torch.allclose(torch.linalg.det(noisy), torch.ones(len(noisy)).double())


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
