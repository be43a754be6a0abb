"""Angles against closed forms, and the area under the curve against SuperGlue's own words for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muskie.evaluation.two_view.pose_errors import auc, direction_error, median, rotation_error

rng = np.random.default_rng(0)


def turn(axis: np.ndarray, degrees: float) -> np.ndarray:
    """The rotation about an axis, [3, 3]: the exponential of a skew matrix."""
    x, y, z = np.radians(degrees) * axis / np.linalg.norm(axis)
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()


@pytest.mark.parametrize("angle", [0, 1e-6, 1e-3, 1, 90, 179, 179.999999, 180])
def test_rotation_error_is_the_angle_between(angle: float) -> None:
    start = turn(rng.normal(size=3), 77)
    for axis in rng.normal(size=(5, 3)):
        end = start @ turn(axis, angle)
        assert rotation_error(start, end) == pytest.approx(angle, abs=1e-9)
        assert rotation_error(end, start) == pytest.approx(angle, abs=1e-9)


def test_rotation_error_does_not_depend_on_the_frame() -> None:
    one, other, frame = (np.stack([turn(axis, 100) for axis in rng.normal(size=(6, 3))]) for _ in range(3))
    expected = rotation_error(one, other)
    assert expected.shape == (6,) and expected.min() > 1
    np.testing.assert_allclose(rotation_error(frame @ one, frame @ other), expected)
    np.testing.assert_allclose(rotation_error(one @ frame, other @ frame), expected)


def test_direction_error_is_the_angle_whatever_the_lengths() -> None:
    forward = np.array([0.0, 0.0, 2.0])
    for angle in (0, 1e-6, 30, 90, 135, 180):
        other = 0.1 * np.array([np.sin(np.radians(angle)), 0, np.cos(np.radians(angle))])
        assert direction_error(forward, other) == pytest.approx(angle, abs=1e-9)
        assert direction_error(forward, other, signed=False) == pytest.approx(min(angle, 180 - angle), abs=1e-9)


def test_no_length_is_no_direction() -> None:
    found = direction_error(np.array([[0, 0, 1.0], [0, 0, 0], [1, 0, 0]]), np.array([[0, 0, 0.0], [0, 0, 1], [1, 0, 0]]))
    np.testing.assert_array_equal(found, [np.nan, np.nan, 0])


def as_superglue(errors: np.ndarray, threshold: float) -> float:
    """The definition: recall k / N at the sorted errors, from (0, 0) on, flat from the last one to the threshold."""
    errors = np.sort(errors)
    recall = np.arange(1, len(errors) + 1) / len(errors)
    inside = errors < threshold
    x = np.concatenate([[0], errors[inside], [threshold]])
    y = np.concatenate([[0], recall[inside], [inside.mean()]])
    return float(np.trapezoid(y, x) / threshold)


def everyone(errors: np.ndarray) -> np.ndarray:
    return np.ones((1, len(errors)), dtype=np.int64)


@pytest.mark.parametrize("threshold", [5, 10, 20])
def test_auc_is_that_of_superglue(threshold: float) -> None:
    for scale in (1, 10, 100):
        errors = np.concatenate([rng.exponential(scale, 40), np.round(rng.exponential(scale, 40)), [threshold, 180, 180]])
        assert auc(errors, threshold)(everyone(errors))[0] == pytest.approx(as_superglue(errors, threshold), abs=1e-12)


def test_auc_in_closed_form() -> None:
    zeros, count = np.zeros(7), 50
    assert auc(zeros, 5)(everyone(zeros)) == 1
    assert auc(zeros + 5, 5)(everyone(zeros)) == 0, "an error as large as the threshold is none below it"
    even = 10 * np.arange(1, count + 1) / count  # the last one is not below 10
    part = (count - 1) / count
    assert auc(even, 10)(everyone(even))[0] == pytest.approx(part**2 / 2 + part / count)
    one = np.array([4.0, 180.0])  # rises to a half at 4, stays there
    assert auc(one, 10)(everyone(one))[0] == pytest.approx((4 * 0.5 / 2 + 6 * 0.5) / 10)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_repetitions(seed: int) -> None:
    draw = np.random.default_rng(seed)
    errors = np.concatenate([draw.exponential(8, 12), draw.integers(0, 12, 8), [180.0]])
    weights = draw.integers(0, 4, size=(20, len(errors)))
    weights[0] = 0
    weights[1] = np.arange(len(errors)) == 3
    repeated = [np.repeat(errors, times) for times in weights[1:]]
    for threshold in (5, 10, 20):
        found = auc(errors, threshold)(weights)
        assert np.isnan(found[0])
        np.testing.assert_allclose(found[1:], [as_superglue(x, threshold) for x in repeated], atol=1e-12)
    found = median(errors)(weights)
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [np.median(x) for x in repeated])


def test_the_median_leaves_out_what_is_not_known() -> None:
    values = np.array([3.0, np.nan, 1.0, np.nan])
    weights = np.array([[1, 1, 1, 1], [1, 5, 0, 5], [0, 1, 0, 0]])
    np.testing.assert_array_equal(median(values)(weights), [2, 3, np.nan])
    assert np.isnan(median(values[1:2])(np.ones((2, 1), dtype=int))).all()
