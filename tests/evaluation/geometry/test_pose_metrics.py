"""Relative poses against closed forms, and the published histogram in its own words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from muskie.errors import DataError
from muskie.evaluation.geometry.pose_metrics import PairErrors, columns, exact_auc, histogram_auc, pair_errors, pose_scores
from muskie.evaluation.geometry.trivial import identity_poses


def cameras(*shape: int, seed: int = 0) -> np.ndarray:
    draw = torch.Generator().manual_seed(seed)
    skew = torch.randn(*shape, 3, 3, generator=draw, dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    poses[..., :3, :3] = torch.linalg.matrix_exp(skew - skew.transpose(-1, -2))
    poses[..., :3, 3] = torch.randn(*shape, 3, generator=draw, dtype=torch.float64)
    return poses.numpy()


def about_z(degrees: float) -> np.ndarray:
    turn = np.eye(4)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return turn


def similar(poses: np.ndarray, scale: float, world: np.ndarray) -> np.ndarray:
    grown = poses.copy()
    grown[..., :3, 3] *= scale
    return world @ grown


def test_truth_is_right_in_any_frame_and_scale() -> None:
    true = cameras(3, 6)
    found = similar(true, 0.01, cameras(3, 1, seed=1))
    errors = pair_errors(found, true)
    assert errors.rotation.shape == (3, 15)
    for error in errors:
        assert error.max() < 1e-9
    for name, score in pose_scores(errors).items():
        np.testing.assert_allclose(score, np.ones(3), rtol=1e-9, err_msg=name)


def test_errors_depend_on_no_frame() -> None:
    true, found = cameras(2, 5), cameras(2, 5, seed=1)
    expected = pair_errors(found, true)
    moved = pair_errors(similar(found, 7, cameras(seed=2)), similar(true, 0.3, cameras(seed=3)))
    for one, other in zip(moved, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert expected.signed.max() > 90 >= expected.translation.max()


def published(found: np.ndarray, true: np.ndarray) -> tuple[list[float], list[float]]:
    """Each pair by itself: quaternions from scipy, and the squared cosine of directions; no translation is exactly none."""
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    turned, shifted = [], []
    for i in range(len(true)):
        for j in range(i + 1, len(true)):
            one, other = (np.linalg.inv(poses[i]) @ np.linalg.inv(np.linalg.inv(poses[j])) for poses in (found, true))
            dot = rotation.from_matrix(one[:3, :3]).as_quat() @ rotation.from_matrix(other[:3, :3]).as_quat()
            turned.append(np.degrees(np.arccos(1 - 2 * np.clip(1 - dot**2, 1e-15, None))))
            t, true_t = (np.linalg.inv(poses[i])[:3, :3] @ (poses[j] - poses[i])[:3, 3] for poses in (found, true))
            t, true_t = (x / (np.linalg.norm(x) + 1e-15) for x in (t, true_t))
            loss = max(1 - (t @ true_t) ** 2, 1e-15)
            shifted.append(np.degrees(np.arccos(np.sqrt(1 - loss))))
    return turned, shifted


def test_errors_are_the_published_ones() -> None:
    true, found = cameras(7), cameras(7, seed=1)
    true[3, :3, 3] = true[5, :3, 3]  # no direction
    found[0, :3, 3] = found[1, :3, 3]
    turned, shifted = published(found, true)
    errors = pair_errors(found, true)
    np.testing.assert_allclose(errors.rotation, turned, atol=1e-5)
    np.testing.assert_allclose(errors.translation, shifted, atol=1e-5)
    assert (errors.translation == 90).sum() == 2


@pytest.mark.parametrize("angle", [1e-7, 1e-3, 14.5, 90, 179.99999])
def test_a_turned_camera_is_off_by_its_angle(angle: float) -> None:
    """The first camera turns about its axis; the second is beside it, in a direction that turns as much."""
    true = np.stack([np.eye(4), np.eye(4)])
    true[1, 0, 3] = 3
    errors = pair_errors(true @ np.stack([about_z(angle), about_z(0)]), true)
    np.testing.assert_allclose(errors.rotation, angle, rtol=1e-6)
    np.testing.assert_allclose(errors.signed, angle, rtol=1e-6)
    np.testing.assert_allclose(errors.translation, min(angle, 180 - angle), rtol=1e-6)


def test_a_turned_second_camera_has_the_right_direction() -> None:
    """The form: translation is where camera j is, in camera i, for i < j."""
    true = cameras(2)
    errors = pair_errors(true @ np.stack([about_z(0), about_z(50)]), true)
    np.testing.assert_allclose(errors.rotation, 50)
    np.testing.assert_allclose(errors.translation, 0, atol=1e-9)


def test_opposite_directions_are_right_unless_signed() -> None:
    true = np.stack([np.eye(4)] * 2)
    found = true.copy()
    true[1, 2, 3], found[1, 2, 3] = 1, -1
    scores = pose_scores(pair_errors(found, true))
    assert scores["RTA@5"] == scores["AUC@5"] == 1 and scores["RTA@30 signed"] == scores["AUC@30 signed"] == 0


def test_what_is_not_finite_fails_every_pair_of_its_view() -> None:
    true = cameras(2, 5)
    found = true.copy()
    found[1, 2, 0, 3] = np.nan
    errors = pair_errors(found, true)
    touched = [i == 2 or j == 2 for i in range(5) for j in range(i + 1, 5)]
    for error, worst in zip(errors, (180, 90, 180), strict=True):
        assert error[0].max() < 1e-5
        np.testing.assert_allclose(error[1], np.where(touched, worst, 0), atol=1e-5)
    with pytest.raises(DataError, match="true camera is not finite"):
        pair_errors(true, found)


MIRROR = np.diag([1.0, 1, -1, 1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda poses: poses @ MIRROR,  # left-handed axes
        lambda poses: MIRROR @ poses,  # a left-handed world
        lambda poses: poses @ np.diag([1.02, 1.02, 1.02, 1]),
        lambda poses: poses @ (np.eye(4) + 0.03 * np.eye(4, k=1) * [[1], [0], [0], [0]]),  # skewed
        lambda poses: poses * [[0], [0], [0], [1]],
    ],
)
def test_what_is_no_rotation_fails_every_pair_of_its_view(spoil: Callable[[np.ndarray], np.ndarray]) -> None:
    """Relative poses of a mirrored world are those of the right one."""
    true = cameras(2, 5)
    found = true.copy()
    found[1] = spoil(true[1])
    errors = pair_errors(found, true)
    for error, worst in zip(errors, (180, 90, 180), strict=True):
        assert error[0].max() < 1e-5 and (error[1] == worst).all()
    found[1, [0, 1, 3, 4]] = true[1, [0, 1, 3, 4]]
    touched = [i == 2 or j == 2 for i in range(5) for j in range(i + 1, 5)]
    assert ((pair_errors(found, true).rotation[1] == 180) == touched).all()
    with pytest.raises(DataError, match="true camera has a rotation that is none"):
        pair_errors(true, found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_is_no_failure(dtype: torch.dtype) -> None:
    true = cameras(20, 5)
    found = torch.from_numpy(true).to(dtype).double().numpy()
    assert pair_errors(found, true).rotation.max() < 1


def test_identity_poses_have_no_direction() -> None:
    true = cameras(4)
    errors = pair_errors(identity_poses(torch.from_numpy(true)), torch.from_numpy(true))
    assert (errors.translation == 90).all() and (errors.signed == 90).all()
    assert pose_scores(errors)["AUC@30"] == 0


def numpy_histogram(errors: np.ndarray, threshold: int) -> float:
    counts, _ = np.histogram(errors, bins=np.arange(threshold + 1))
    return float(np.mean(np.cumsum(counts / len(errors))))


@pytest.mark.parametrize("threshold", [1, 5, 15, 30])
def test_auc_is_that_of_the_histogram(threshold: int) -> None:
    rng = np.random.default_rng(0)
    for errors in (rng.uniform(0, 40, 45), np.arange(41.0), rng.uniform(0, 3, 7), np.array([threshold, 180.0])):
        assert histogram_auc(errors, threshold) == pytest.approx(numpy_histogram(errors, threshold), abs=1e-12)


def test_auc_of_known_errors() -> None:
    assert histogram_auc(np.zeros(45), 30) == 1 and exact_auc(np.zeros(45), 30) == 1
    assert histogram_auc(np.full(45, 30.5), 30) == 0 and exact_auc(np.full(45, 30.5), 30) == 0
    assert histogram_auc(np.full(45, 14.5), 30) == pytest.approx((30 - 14) / 30)
    assert exact_auc(np.full(45, 14.5), 30) == pytest.approx((30 - 14.5) / 30)
    np.testing.assert_allclose(histogram_auc(np.array([[0.0, 100], [14.5, 14.5]]), 30), [0.5, 16 / 30])
    assert np.isnan(histogram_auc(np.zeros((2, 0)), 30)).all()
    for threshold in (0, 2.5):
        with pytest.raises(ValueError, match="one degree"):
            histogram_auc(np.zeros(3), threshold)  # type: ignore[arg-type]


def test_exact_auc_is_an_integral() -> None:
    errors = np.random.default_rng(0).uniform(0, 40, 30)
    grid = (np.arange(300_000) + 0.5) / 1e4
    share = np.searchsorted(np.sort(errors), grid, side="right") / len(errors)
    assert exact_auc(errors, 30) == pytest.approx(share.mean(), abs=1e-4)


def test_scores_count_the_worse_of_both() -> None:
    errors = PairErrors(np.array([1.0, 10, 20, 5]), np.array([10.0, 1, 4, 4.5]), np.array([170.0, 1, 4, 4.5]))
    scores = pose_scores(errors, degrees=(5, 15))
    assert scores["RRA@5"] == 0.25 and scores["RRA@15"] == 0.75 and scores["RTA@5"] == 0.75 and scores["RTA@15"] == 1
    assert scores["RTA@15 signed"] == 0.75
    for name, worse in (("AUC@15", [10, 10, 20, 5]), ("AUC@15 signed", [170, 10, 20, 5])):
        assert scores[name] == pytest.approx(numpy_histogram(np.array(worse), 15))
    assert scores["AUC@15 exact"] == pytest.approx((5 + 5 + 0 + 10) / 15 / 4)
    assert list(scores) == columns((5, 15))


def test_a_single_view_measures_nothing() -> None:
    scores = pose_scores(pair_errors(cameras(2, 1), cameras(2, 1)))
    assert all(np.isnan(score).all() and score.shape == (2,) for score in scores.values())
