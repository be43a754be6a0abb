"""Trajectories against evo, and against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_pose_metrics import about_z, cameras, similar

from muskie.errors import ConfigError, DataError
from muskie.evaluation.geometry.trajectory import COLUMNS, FAILED, check_delta, trajectory_errors
from muskie.evaluation.geometry.trivial import identity_poses


def noisy(true: np.ndarray, amount: float, seed: int = 0) -> np.ndarray:
    skew = amount * torch.randn(len(true), 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = true.copy()
    found[:, :3, :3] = torch.linalg.matrix_exp(skew - skew.transpose(-1, -2)).numpy() @ found[:, :3, :3]
    found[:, :3, 3] += amount * np.random.default_rng(seed).normal(size=(len(true), 3))
    return similar(found, 3.7, cameras(seed=9))


@pytest.mark.parametrize("alignment", ["sim3", "se3", "none"])
@pytest.mark.parametrize(("poses", "delta", "amount"), [(3, 1, 0.1), (12, 1, 0.3), (12, 4, 0.01), (30, 1, 2.0)])
def test_errors_are_those_of_evo(alignment: Any, poses: int, delta: int, amount: float) -> None:
    metrics, trajectory = pytest.importorskip("evo.core.metrics"), pytest.importorskip("evo.core.trajectory")
    true = cameras(poses)
    found = noisy(true, amount)
    errors = trajectory_errors(found, true, alignment, delta)
    pair = [trajectory.PosePath3D(poses_se3=list(poses.copy())) for poses in (true, found)]
    if alignment != "none":
        scale = pair[1].align(pair[0], correct_scale=alignment == "sim3")[2]
        assert errors.scale == pytest.approx(scale)
    relation = metrics.PoseRelation
    wanted = {
        "ate": metrics.APE(relation.translation_part),
        "rpe_translation": metrics.RPE(relation.translation_part, delta, metrics.Unit.frames, 0.01, all_pairs=True),
        "rpe_rotation": metrics.RPE(relation.rotation_angle_deg, delta, metrics.Unit.frames, 0.01, all_pairs=True),
    }
    for name, metric in wanted.items():
        metric.process_data(tuple(pair))
        expected = metric.get_statistic(metrics.StatisticsType.rmse)
        assert getattr(errors, name) == pytest.approx(expected, rel=1e-7), name
    assert not errors.failed


def test_truth_in_another_frame_and_scale_has_no_error() -> None:
    true = cameras(10)
    errors = trajectory_errors(similar(true, 0.2, cameras(seed=1)), true)
    assert errors.ate < 1e-9 and errors.rpe_translation < 1e-9 and errors.rpe_rotation < 1e-9
    assert errors.scale == pytest.approx(5) and not errors.failed


def test_errors_are_in_the_unit_of_the_truth() -> None:
    true = cameras(10)
    found = noisy(true, 0.2)
    metres, millimetres = (trajectory_errors(found, similar(true, unit, cameras(seed=2))) for unit in (1, 1000))
    np.testing.assert_allclose(millimetres[:2], 1000 * np.array(metres[:2]))
    np.testing.assert_allclose(millimetres.rpe_rotation, metres.rpe_rotation)


def test_a_mirrored_trajectory_is_no_match() -> None:
    true = cameras(10)
    found = true.copy()
    found[:, 0, 3] *= -1
    assert trajectory_errors(found, true).ate > 0.1


def test_a_straight_drive_counts() -> None:
    true = np.stack([about_z(3 * step) for step in range(6)])
    true[:, 2, 3] = [0, 1, 2, 4, 5, 7]
    found = similar(true, 0.5, cameras(seed=1))
    exact = trajectory_errors(found, true)
    assert exact.ate < 1e-9 and exact.rpe_rotation < 1e-6 and not exact.failed
    turned = trajectory_errors(found @ np.stack([about_z(2 * step) for step in range(6)]), true)
    assert turned.ate < 1e-9 and turned.rpe_rotation == pytest.approx(2)


def test_standing_still_is_the_worst_there_is() -> None:
    true = cameras(8)
    still = trajectory_errors(identity_poses(torch.from_numpy(true)), true)
    centres = true[:, :3, 3]
    assert still.failed and np.isnan(still.scale)
    assert still.ate == pytest.approx(np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean()))
    assert still.rpe_translation == pytest.approx(np.sqrt((np.diff(centres, axis=0) ** 2).sum(1).mean()))
    for seed in range(1, 20):
        assert trajectory_errors(cameras(8, seed=seed), true).ate <= still.ate


def test_what_is_not_finite_fails() -> None:
    true = cameras(8)
    found = true.copy()
    found[3, 0, 0] = np.nan
    errors, still = trajectory_errors(found, true), trajectory_errors(identity_poses(torch.from_numpy(true)), true)
    assert errors.failed and errors.rpe_rotation == 180
    assert errors[:2] == pytest.approx(still[:2])
    assert errors.scores()[FAILED] == 1 and tuple(errors.scores()) == COLUMNS
    with pytest.raises(DataError, match="true camera is not finite"):
        trajectory_errors(true, found)


@pytest.mark.parametrize("alignment", ["sim3", "se3", "none"])
def test_what_is_no_rotation_fails(alignment: Any) -> None:
    """A mirrored camera in its place; a mirrored world of cameras on a line, which a turn would bring to the true one."""
    true = cameras(8)
    found = true.copy()
    found[3] = found[3] @ np.diag([-1.0, 1, 1, 1])
    line = true.copy()
    line[:, :2, 3] = 0
    for wrong, right in ((found, true), (np.diag([1.0, 1, -1, 1]) @ line, line)):
        errors = trajectory_errors(wrong, right, alignment)
        assert errors.failed and errors.rpe_rotation == 180
        assert errors[:2] == pytest.approx(trajectory_errors(np.full_like(right, np.nan), right, alignment)[:2])
    with pytest.raises(DataError, match="true camera has a rotation that is none"):
        trajectory_errors(true, found)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e5])
def test_what_rounding_leaves_of_a_place_is_no_motion(size: float) -> None:
    """Static poses in float32, in any unit; those that move by a ten thousandth of where they are do so."""
    true = cameras(8)
    place = np.random.default_rng(0).normal(size=3)
    still, slow = true.copy(), true.copy()
    still[:, :3, 3] = (place + 1e-7 * true[:, :3, 3]).astype(np.float32)
    slow[:, :3, 3] = place + 1e-4 * true[:, :3, 3]
    assert np.ptp(still[:, :3, 3], axis=0).max() > 0
    still[:, :3, 3] *= size
    slow[:, :3, 3] *= size
    assert np.isnan(list(trajectory_errors(true, still).scores().values())).all()
    said = trajectory_errors(still, true)
    assert said.failed and said.ate == trajectory_errors(identity_poses(torch.from_numpy(true)), true).ate
    assert not trajectory_errors(still, true, "se3").failed, "which has no scale to find"
    moved = trajectory_errors(true, slow)
    assert not moved.failed and moved.ate < 1e-9 * size and moved.scale == pytest.approx(1e-4 * size)


def test_delta_is_checked_by_the_shortest_that_is_measured() -> None:
    check_delta(4, [5, 2, 9, 1])
    check_delta(7, [2])
    with pytest.raises(ConfigError, match=r"trajectory\.delta=5: expected 1 to 4, for a sample has 5 views; take a smaller"):
        check_delta(5, [9, 5, 2, 7])


def test_nothing_to_measure() -> None:
    true = cameras(8)
    still = true.copy()
    still[:, :3, 3] = still[0, :3, 3]
    for errors in (trajectory_errors(true, still), trajectory_errors(true[:2], true[:2])):
        assert all(np.isnan(list(errors.scores().values())))
    with pytest.raises(ValueError, match="delta=8"):
        trajectory_errors(true, true, delta=8)


def test_without_a_scale_to_find_standing_still_is_an_answer() -> None:
    true = cameras(8)
    still = identity_poses(torch.from_numpy(true))
    errors = trajectory_errors(still, true, "none")
    assert not errors.failed and errors.ate == pytest.approx(np.sqrt((true[:, :3, 3] ** 2).sum(1).mean()))
    assert not trajectory_errors(still, true, "se3").failed
