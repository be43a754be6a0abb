"""Scores of scenes become means, pooled or not, and the mean over categories: against sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muskie.evaluation.geometry.columns import columns
from muskie.evaluation.geometry.scene_scores import CATEGORIES, SceneScores
from muskie.evaluation.intervals import interval, mean_over_categories, resampled
from muskie.evaluation.results import Row


def scored(part: str, values: list[float], weights: list[float], categories: list[str | None]) -> SceneScores:
    scores = SceneScores(part)
    scores.scenes([f"room {n}" for n in range(len(values))], categories)
    for value, weight in zip(values, weights, strict=True):
        scores.add("one", dict.fromkeys(columns(part), value) | {"pairs": weight, "pixels": weight})
    return scores


def by_pooling(scores: SceneScores, metric: str) -> dict[str, Row]:
    return {row.pooling: row for row in scores.rows("data") if row.metric == metric}


def test_three_averages_of_one_score() -> None:
    """Categories of two scenes and of one; a scene of which nothing is known is in no average."""
    scores = scored("pose", [0.2, 0.4, 0.9, math.nan], [45, 15, 3, 0], ["apple", "apple", "ball", "ball"])
    rows = by_pooling(scores, "AUC@30")
    assert set(rows) == {"", "pooled over pairs", CATEGORIES}
    assert rows[""].value == pytest.approx(0.5) and rows[""].count == 3
    pooled = rows["pooled over pairs"]
    assert pooled.value == pytest.approx((45 * 0.2 + 15 * 0.4 + 3 * 0.9) / 63) and pooled.count == 63
    assert rows[CATEGORIES].value == pytest.approx((0.3 + 0.9) / 2)
    assert all(row.low <= row.value <= row.high for row in rows.values())
    assert (pooled.suite, pooled.data, pooled.model) == ("pose", "data", "one")
    assert scores.means("one")["AUC@30"] == pytest.approx(0.5) and "pairs" not in scores.means("one")
    assert scores.means("nobody") == {}


@pytest.mark.parametrize("categories", [[None, None, None], ["a", "b", "c"], ["a", "a", "a"], ["a", "a", None]])
def test_categories_that_say_nothing(categories: list[str | None]) -> None:
    """There are none, each scene is one, or there is one alone."""
    assert set(by_pooling(scored("depth", [0.1, 0.2, 0.3], [5, 5, 10], categories), "AbsRel")) == {"", "pooled over pixels"}


@pytest.mark.parametrize("part", ["pointmap", "trajectory"])
def test_clouds_and_trajectories_are_not_pooled(part: str) -> None:
    rows = by_pooling(scored(part, [0.1, 0.2, 0.6], [1, 1, 1], ["a", "a", "b"]), columns(part)[0])
    assert set(rows) == {"", CATEGORIES} and rows[CATEGORIES].value == pytest.approx(0.375)


def test_means_over_categories_of_resamplings() -> None:
    rng = np.random.default_rng(0)
    values, names = rng.random(9), np.array(["a", "b", "a", "c", "c", "c", "b", "a", "a"])
    statistic = mean_over_categories(values, np.ones(9), list(names))
    weights = np.concatenate([resampled(list("abcdefghi"))[:20], np.zeros((1, 9), dtype=np.int64)])
    for row, found in zip(weights, statistic(weights), strict=True):
        means = [np.average(values[names == name], weights=row[names == name]) for name in "abc" if row[names == name].any()]
        assert found == pytest.approx(np.mean(means)) if means else np.isnan(found)
    assert np.isnan(interval(mean_over_categories(np.zeros(2), np.zeros(2), ["a", "b"]), np.ones((1, 2)))[0])
