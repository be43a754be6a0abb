"""95 % intervals by bootstrap: what is seen in one room is resampled as one, for its samples are not independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from muskie.streams import stream

DRAWS = 1000

Statistic = Callable[[np.ndarray], np.ndarray]
"""How often each sample counts, [R, N] -> the statistic of each of the R resamplings, [R]."""


def resampled(groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each sample counts in each resampling, int64 [draws, N].

    Args:
        groups: of the N samples, which room each shows; whole groups are drawn, with replacement, as many as there are.
            Where there is one group alone, its samples are drawn.
        draws: resamplings.
        seed: of the draws.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        members = np.arange(len(groups))
    count = int(members.max()) + 1
    picks = stream(seed, "bootstrap").integers(count, size=(draws, count))
    rows = np.repeat(np.arange(draws), count)
    times = np.bincount(rows * count + picks.ravel(), minlength=draws * count).reshape(draws, count)
    return times[:, members]


def interval(statistic: Statistic, weights: np.ndarray) -> tuple[float, float, float]:
    """A statistic of all samples, and the bounds of its 95 % interval; NaN where nothing was measured.

    Args:
        statistic: see `Statistic`.
        weights: from `resampled`.
    """
    value = float(statistic(np.ones((1, weights.shape[1]), dtype=np.int64))[0])
    drawn = statistic(weights)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return value, float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return value, float(low), float(high)


def mean_over_categories(sums: np.ndarray, counts: np.ndarray, categories: Sequence[str]) -> Statistic:
    """The mean over categories of the ratio of sums in each, `ratio_of_sums`; those without points are left out.

    Args:
        sums, counts: [N].
        categories: of the N samples.
    """
    names, members = np.unique(np.asarray(categories), return_inverse=True)
    inside = members[:, None] == np.arange(len(names))  # [N, K]

    def statistic(weights: np.ndarray) -> np.ndarray:
        totals, below = weights @ (sums[:, None] * inside), weights @ (counts[:, None] * inside)  # [R, K]
        known = below > 0
        ratios = np.divide(totals, below, out=np.zeros_like(totals, dtype=float), where=known)
        return np.divide(ratios.sum(1), known.sum(1), out=np.full(len(weights), np.nan), where=known.any(1))

    return statistic


def ratio_of_sums(sums: np.ndarray, counts: np.ndarray) -> Statistic:
    """All points pooled: the sum over samples of `sums` [N] over that of `counts` [N]; NaN without points."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights @ counts
        return np.divide(weights @ sums, total, out=np.full(len(weights), np.nan), where=total > 0)

    return statistic
