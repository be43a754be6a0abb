"""Errors of relative poses against scipy's rotations, and gradients where the published form has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from curved_scenes import rigid
from scipy.spatial.transform import Rotation
from torch import Tensor

from muskie.objectives.relative_poses import pose_costs, relative, rotation_angle

B, V = 2, 4
EVERY = torch.ones(B, dtype=torch.bool)
NONE_MIRRORED = torch.zeros(B, V, dtype=torch.bool)


def turned(angle: float, about: tuple[float, float, float] = (1.0, 2.0, -0.5)) -> Tensor:
    axis = np.array(about) / np.linalg.norm(about)
    return torch.from_numpy(Rotation.from_rotvec(angle * axis).as_matrix())


@pytest.mark.parametrize("published", [False, True])
def test_against_loops(published: bool) -> None:
    ours, truth = rigid(B, V, seed=1), rigid(B, V, seed=2, reach=0.1)
    translation, rotation = pose_costs(ours, truth, EVERY, NONE_MIRRORED, 0.1, published)
    for b in range(B):
        hubers, angles = [], []
        for i in range(V):
            for j in range(V):
                if i == j:
                    continue
                a, e = (np.linalg.inv(x[b, i].numpy()) @ x[b, j].numpy() for x in (ours, truth))
                d = np.abs(a[:3, 3] - e[:3, 3])
                hubers.append(np.where(d < 0.1, d**2 / 2, 0.1 * (d - 0.05)).mean())
                angles.append(Rotation.from_matrix(e[:3, :3].T @ a[:3, :3]).magnitude())
        assert translation.count[b] == rotation.count[b] == V * (V - 1)
        assert translation.scenes[b].item() == pytest.approx(np.mean(hubers), rel=1e-9)
        assert rotation.scenes[b].item() == pytest.approx(np.mean(angles), rel=1e-9)


@pytest.mark.parametrize("angle", [1e-7, 1e-4, 1e-3, 0.3, 1.5, math.pi / 2, 3.0, math.pi - 1e-6, math.pi])
def test_angle(angle: float) -> None:
    assert rotation_angle(turned(angle)).item() == pytest.approx(angle, rel=1e-6, abs=1e-12)
    single = rotation_angle(turned(angle).float()).item()
    assert single == pytest.approx(angle, abs=1e-6), "float32 keeps small angles"


@pytest.mark.parametrize("angle", [1e-6, 1e-4, 1e-3, 0.3, 2.0, 3.1])
def test_the_gradient_has_length_one_at_small_errors_too(angle: float) -> None:
    """Turning on by a little changes the angle by as much, in float32 as well; the published form has no gradient there."""
    turn = torch.tensor(angle, dtype=torch.float32, requires_grad=True)
    zero, one = torch.zeros(()), torch.ones(())
    rows = [torch.stack([turn.cos(), -turn.sin(), zero]), torch.stack([turn.sin(), turn.cos(), zero])]
    rotation_angle(torch.stack([*rows, torch.stack([zero, zero, one])])).backward()
    assert turn.grad is not None and turn.grad.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("about", [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (1.0, -1.0, 1.0)])
@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi])
def test_finite_gradients_at_special_rotations(angle: float, about: tuple[float, float, float]) -> None:
    for matrix in (turned(angle, about), torch.eye(3), torch.zeros(3, 3), torch.diag(torch.tensor([1.0, -1, -1]))):
        matrix = matrix.clone().requires_grad_()
        rotation_angle(matrix).backward()
        assert matrix.grad is not None and matrix.grad.isfinite().all()


def test_gradients_against_differences() -> None:
    ours, truth = rigid(B, V, seed=1).requires_grad_(), rigid(B, V, seed=2, reach=0.1)
    for part in range(2):
        assert torch.autograd.gradcheck(
            lambda x, part=part: pose_costs(x, truth, EVERY, NONE_MIRRORED)[part].mean(), ours, atol=1e-7
        )


def test_relative_poses_are_of_the_second_camera_in_the_first() -> None:
    cameras = rigid(B, V, seed=1)
    rotation, translation = relative(cameras)
    for i in range(V):
        for j in range(V):
            expected = torch.linalg.inv(cameras[:, i]) @ cameras[:, j]
            torch.testing.assert_close(rotation[:, i, j], expected[:, :3, :3])
            torch.testing.assert_close(translation[:, i, j], expected[:, :3, 3])


@pytest.mark.parametrize("world", [1.0, 1e6])
def test_the_world_changes_nothing(world: float) -> None:
    cameras = rigid(B, V, seed=1)
    for x, y in zip(relative(cameras), relative(rigid(B, 1, seed=5, reach=world) @ cameras), strict=True):
        torch.testing.assert_close(x, y, atol=1e-9 * world, rtol=0)


def test_float32_errors_stay_small_far_from_the_origin() -> None:
    truth = rigid(B, V, seed=1)
    away = torch.eye(4, dtype=torch.float64)
    away[:3, 3] = 100
    translation, rotation = pose_costs((away @ truth).float(), away @ truth, EVERY, NONE_MIRRORED)
    assert translation.mean() < 1e-9 and rotation.mean() < 1e-6


@pytest.mark.parametrize("published", [False, True])
def test_nothing_to_compare(published: bool) -> None:
    for views, counts in ((1, EVERY), (V, ~EVERY)):
        ours = rigid(B, views, seed=1).requires_grad_()
        none = torch.zeros(B, views, dtype=torch.bool)
        both = pose_costs(ours, rigid(B, views, seed=2), counts, none, published=published)
        total = both[0].mean(published) + both[1].mean(published)
        total.backward()
        assert total == 0 and ours.grad is not None and (ours.grad == 0).all()


def test_published_rotations_stop_at_the_clamp() -> None:
    same = rigid(B, V, seed=1).requires_grad_()
    floor = pose_costs(same, same.detach(), EVERY, NONE_MIRRORED, published=True)[1].mean()
    assert floor.item() == pytest.approx(math.acos(1 - 1e-6), rel=1e-6)
    floor.backward()
    assert same.grad is not None and (same.grad == 0).all()
    assert pose_costs(same, same.detach(), EVERY, NONE_MIRRORED)[1].mean() < 1e-15


def test_mirrored_views_are_compared_with_mirrored_ones_alone() -> None:
    """Two views mirrored together, one not: four ordered pairs of six would need a reflection, so one pair is left."""
    truth, mirror = rigid(1, 3, seed=1), torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    mirrored = torch.tensor([[True, True, False]])
    seen = truth.clone()
    seen[:, :2] = truth[:, :2] @ mirror
    ours = mirror @ seen  # the first two: rotations, as a model gives them, in the mirrored world
    ours[:, 2] = rigid(1, seed=8)
    translation, rotation = pose_costs(ours, seen, EVERY[:1], mirrored)
    assert rotation.count == translation.count == 2
    assert rotation.mean() < 1e-12 and translation.mean() < 1e-12
