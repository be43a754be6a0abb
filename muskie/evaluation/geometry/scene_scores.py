"""Scores of reconstruction models scene by scene, until they become rows of a table.

Published tables average in several ways, and each row says which, by its pooling:

- `""`: the mean over scenes (samples);
- `"pooled over pairs"` of poses, `"pooled over pixels"` of depth: a scene weighs as many pairs of views, or valid pixels, as
  it has;
- `"mean over categories"`: of scenes whose names have the form `category/scene` the mean of each category, then of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from muskie.evaluation.geometry.columns import columns
from muskie.evaluation.geometry.depth_metrics import PIXELS
from muskie.evaluation.geometry.pose_metrics import PAIRS
from muskie.evaluation.intervals import Statistic, interval, mean_over_categories, ratio_of_sums, resampled
from muskie.evaluation.results import Row

WEIGHTS = {"pose": PAIRS, "depth": PIXELS}
"""What scenes weigh by where they are pooled."""

CATEGORIES = "mean over categories"


class SceneScores:
    """Scores of one part; intervals are by bootstrap over rooms.

    Args:
        part: of `muskie.evaluation.geometry.answers.PARTS`.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self._groups: list[str] = []
        self._categories: list[str | None] = []
        self._scores: dict[str, list[dict[str, float]]] = {}

    def scenes(self, groups: Sequence[str], categories: Sequence[str | None] | None = None) -> None:
        """The rooms of the scenes whose scores come next, and their categories; None: they have none."""
        self._groups += groups
        self._categories += [None] * len(groups) if categories is None else categories

    def add(self, model: str, scores: dict[str, float]) -> None:
        """The scores of one scene more."""
        self._scores.setdefault(model, []).append(scores)

    def values(self, model: str, metric: str) -> np.ndarray:
        """A score of every scene, float64 [N]; NaN where nothing could be measured."""
        return np.array([scores[metric] for scores in self._scores[model]])

    def means(self, model: str) -> dict[str, float]:
        """Metric -> mean over scenes; those that have none, such as of a single view, are left out."""
        names = self._scores[model][0] if self._scores.get(model) else ()
        return {name: _mean(self.values(model, name)) for name in names if name not in WEIGHTS.values()}

    def rows(self, data: str, seed: int = 0, config: Any = None) -> list[Row]:
        """A row for every model, metric and pooling."""
        weights = resampled(self._groups, seed=seed)
        rows = []
        for model in self._scores:
            for metric in columns(self.part, config):
                values = self.values(model, metric)
                known = ~np.isnan(values)
                values = np.where(known, values, 0.0)
                for pooling, statistic, count in self._poolings(model, values, known):
                    numbers = interval(statistic, weights)
                    rows.append(Row(self.part, data, model, "", None, pooling, metric, *numbers, count))
        return rows

    def _poolings(self, model: str, values: np.ndarray, known: np.ndarray) -> list[tuple[str, Statistic, int]]:
        """Name, statistic and count of each."""
        found = [("", ratio_of_sums(values, known.astype(float)), int(known.sum()))]
        if weight := WEIGHTS.get(self.part):
            parts = np.where(known, self.values(model, weight), 0.0)
            found.append((f"pooled over {weight}", ratio_of_sums(values * parts, parts), int(parts.sum())))
        named = [category for category in self._categories if category is not None]
        if len(named) == len(values) and 1 < len(set(named)) < len(named):
            found.append((CATEGORIES, mean_over_categories(values, known.astype(float), named), int(known.sum())))
        return found


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
