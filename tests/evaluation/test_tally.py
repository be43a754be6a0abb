"""Sums and counts against plain averages."""

from __future__ import annotations

import math

import pytest
import torch

from muskie.evaluation.intervals import interval, ratio_of_sums, resampled
from muskie.evaluation.tally import Line, Tally

LINE = Line("model", "cosine", 3, "all")


def test_all_points_of_all_batches_are_averaged() -> None:
    generator = torch.Generator().manual_seed(0)
    tally, every, per_sample, groups = Tally(), [], [], []
    for size in (2, 3, 1):
        values, counted = torch.rand(size, 4, 5, generator=generator), torch.rand(size, 4, 5, generator=generator) < 0.6
        names = [f"room{n}" for n in range(len(groups), len(groups) + size)]
        tally.batch(names)
        groups += names
        tally.add(LINE, {"error": values}, counted)
        every.append(values[counted])
        per_sample += [(float(v[c].double().sum()), int(c.sum())) for v, c in zip(values, counted, strict=True)]
    (row,) = tally.rows("suite", "data", seed=4)
    assert (row.suite, row.data, row.model, row.readout, row.layer) == ("suite", "data", "model", "cosine", 3)
    assert (row.pooling, row.metric, row.count) == ("all", "error", sum(map(len, every)))
    assert row.value == pytest.approx(float(torch.cat(every).mean()), abs=1e-6)
    sums, counts = (torch.tensor(part).numpy() for part in zip(*per_sample, strict=True))
    expected = interval(ratio_of_sums(sums, counts), resampled(groups, seed=4))
    assert (row.value, row.low, row.high) == pytest.approx(expected) and row.low < row.value < row.high
    assert (row.low, row.high) != (tally.rows("suite", "data", seed=5)[0].low, row.high)


def test_hits_are_shares() -> None:
    tally = Tally()
    tally.batch(["a", "b"])
    hits = torch.tensor([[True, False, True], [True, True, True]])
    tally.add(LINE, {"hit": hits}, torch.tensor([[True, True, False], [True, False, False]]))
    (row,) = tally.rows("suite", "data")
    assert (row.value, row.count) == (pytest.approx(2 / 3), 3)


def test_what_was_not_measured_is_no_point() -> None:
    tally = Tally()
    tally.batch(["a"])
    values = torch.tensor([[1.0, math.nan, 3.0, math.nan]])
    tally.add(LINE, {"error": values}, torch.tensor([[True, True, False, False]]))
    (row,) = tally.rows("suite", "data")
    assert (row.value, row.low, row.high, row.count) == (1, 1, 1, 1)


def test_an_infinite_error_of_a_point_that_does_not_count_does_no_harm() -> None:
    tally = Tally()
    tally.batch(["a"])
    tally.add(LINE, {"error": torch.tensor([[2.0, math.inf]])}, torch.tensor([[True, False]]))
    assert tally.rows("suite", "data")[0].value == 2


def test_nothing_at_all() -> None:
    tally = Tally()
    tally.batch(["a", "b"])
    tally.add(LINE, {"error": torch.ones(2, 3)}, torch.zeros(2, 3, dtype=torch.bool))
    (row,) = tally.rows("suite", "data")
    assert math.isnan(row.value) and math.isnan(row.low) and row.count == 0


def test_sums_are_of_double_precision() -> None:
    """Of many points near 100, float32 would lose the digits that differ."""
    tally = Tally()
    tally.batch(["a"])
    values = torch.tensor([100.0, 100.01]).repeat(200_000)[None]
    tally.add(LINE, {"error": values}, torch.ones_like(values, dtype=torch.bool))
    assert tally.rows("suite", "data")[0].value == pytest.approx(float(values.double().mean()), abs=1e-9)


def test_every_line_and_metric_is_a_row_in_the_order_they_came() -> None:
    tally = Tally()
    for _ in range(2):
        tally.batch(["a"])
        for line in (Line("b"), Line("a", layer=1), Line("a", layer=2)):
            tally.add(line, {"x": torch.ones(1, 2), "y": torch.zeros(1, 2)}, torch.ones(1, 2, dtype=torch.bool))
    rows = tally.rows("suite", "data")
    assert [(row.model, row.layer, row.metric, row.value, row.count) for row in rows] == [
        (model, layer, metric, value, 4)
        for model, layer in (("b", None), ("a", 1), ("a", 2))
        for metric, value in (("x", 1), ("y", 0))
    ]
