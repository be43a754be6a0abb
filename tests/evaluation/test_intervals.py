"""The bootstrap against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muskie.evaluation.intervals import interval, ratio_of_sums, resampled
from muskie.streams import stream

ALONE = [str(n) for n in range(30)]


def means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(1)


def test_as_many_groups_are_drawn_as_there_are() -> None:
    groups = ["a", "b", "a", "c", "c", "c"]
    weights = resampled(groups, draws=500)
    assert weights.shape == (500, 6) and weights.dtype.kind == "i"
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 3:] == weights[:, 3:4]).all(), "as one"
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    counts = {tuple(row) for row in weights[:, [0, 1, 3]].tolist()}
    assert len(counts) == 10, "all ways to draw 3 of 3 with replacement"


def test_the_groups_share_of_the_draws() -> None:
    """Each of G groups is drawn G times with probability 1/G: its count is binomial, with mean 1 and variance 1 - 1/G."""
    weights = resampled(ALONE, draws=20_000)
    assert weights.mean(0) == pytest.approx(1, abs=4.5 / math.sqrt(20_000))
    assert weights.var(0) == pytest.approx(1 - 1 / 30, abs=0.05)


def test_one_room_alone_is_resampled_by_its_samples() -> None:
    weights = resampled(["room"] * 8, draws=300)
    assert (weights.sum(1) == 8).all() and len({tuple(row) for row in weights.tolist()}) > 200
    assert (resampled(["room"], draws=5) == 1).all()


def test_draws_depend_on_the_seed_alone() -> None:
    assert (resampled(ALONE, seed=1) == resampled(ALONE, seed=1)).all()
    assert (resampled(ALONE, seed=1) != resampled(ALONE, seed=2)).any()
    renamed = [f"x{n:02d}" for n in range(30)]
    assert (resampled(renamed) == resampled([f"y{n:02d}" for n in range(30)])).all()


@pytest.mark.parametrize("size", [1, 5])
def test_the_variance_of_a_mean_over_resamplings(size: int) -> None:
    """In closed form: the variance of the groups' means, over their number. Samples of one group are no new ones."""
    rng = stream(0, "values")
    of_group = rng.normal(size=20)
    values = np.repeat(of_group, size) + 0.3 * rng.normal(size=20 * size)
    groups = np.repeat([f"g{n:02d}" for n in range(20)], size).tolist()
    drawn = means(values, resampled(groups, draws=20_000))
    of_means = values.reshape(20, size).mean(1)
    assert drawn.var() == pytest.approx(of_means.var() / 20, rel=4.5 * math.sqrt(2 / 20_000))
    assert drawn.mean() == pytest.approx(values.mean(), abs=4.5 * math.sqrt(of_means.var() / 20 / 20_000))


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    """Of means of 40 normal numbers; percentile intervals of so few are a little too narrow: by theory, 94 of 100."""
    rng = stream(0, "experiments")
    weights = resampled([str(n) for n in range(40)], draws=400)
    held = 0
    for _ in range(600):
        values = rng.normal(3, 2, size=40)
        value, low, high = interval(lambda w, v=values: means(v, w), weights)  # type: ignore[misc]
        assert low < value < high and value == pytest.approx(values.mean())
        held += low <= 3 <= high
    assert held / 600 == pytest.approx(0.94, abs=4 * math.sqrt(0.94 * 0.06 / 600))


def test_bounds_are_quantiles_of_the_resamplings() -> None:
    weights = np.repeat(np.arange(1, 1001)[:, None], 1, axis=1)
    value, low, high = interval(lambda w: w[:, 0].astype(float), weights)
    assert value == 1 and low == pytest.approx(1 + 0.025 * 999) and high == pytest.approx(1 + 0.975 * 999)


def test_all_points_are_pooled() -> None:
    sums, counts = np.array([1.0, 6, 0]), np.array([1, 4, 5])
    statistic = ratio_of_sums(sums, counts)
    assert statistic(np.array([[1, 1, 1], [2, 0, 1], [0, 3, 0]])) == pytest.approx([7 / 10, 2 / 7, 18 / 12])


def test_resamplings_without_points_do_not_count() -> None:
    """A room without any point is drawn alone now and then."""
    sums, counts = np.array([0.0, 8]), np.array([0, 4])
    assert np.isnan(ratio_of_sums(sums, counts)(np.array([[2, 0]]))).all()
    assert interval(ratio_of_sums(sums, counts), resampled(["a", "b"])) == (2, 2, 2)


def test_without_any_point_there_is_no_number() -> None:
    with np.errstate(all="raise"):
        found = interval(ratio_of_sums(np.zeros(3), np.zeros(3, int)), resampled(["a", "b", "c"]))
    assert all(math.isnan(number) for number in found)
