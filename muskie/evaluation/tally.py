"""Counts of hits and sums of errors, sample by sample, until they become rows with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from muskie.evaluation.intervals import interval, ratio_of_sums, resampled
from muskie.evaluation.results import Row


class Line(NamedTuple):
    """What a line of a table is about; see `Row`."""

    model: str
    readout: str = ""
    layer: int | None = None
    pooling: str = ""


class Tally:
    """Sums and counts of every line, metric and sample. They stay on the device until `rows` is called."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Line, str], list[tuple[Tensor, Tensor]]] = {}
        self._groups: list[str] = []

    def batch(self, groups: Sequence[str]) -> None:
        """Begins a batch; `groups` says which room each of its samples shows."""
        self._groups += groups

    def add(self, line: Line, values: Mapping[str, Tensor], counted: Tensor) -> None:
        """The points of one batch.

        Args:
            line: whose they are.
            values: metric -> [B, ...], one number a point: an error, or whether it is a hit. NaN: not measured.
            counted: bool [B, ...], which points count.
        """
        for metric, value in values.items():
            known = counted & ~value.isnan() if value.is_floating_point() else counted
            total = torch.where(known, value, 0).double().flatten(1).sum(1)
            self._parts.setdefault((line, metric), []).append((total, known.flatten(1).sum(1)))

    def rows(self, suite: str, data: str, seed: int = 0) -> list[Row]:
        """One row for every line and metric: the mean over all points, its interval by bootstrap over rooms."""
        weights = resampled(self._groups, seed=seed)
        found = []
        for (line, metric), parts in self._parts.items():
            sums = torch.cat([total for total, _ in parts]).cpu().numpy()
            counts = torch.cat([count for _, count in parts]).cpu().numpy()
            value, low, high = interval(ratio_of_sums(sums, counts), weights)
            found.append(Row(suite, data, *line, metric, value, low, high, int(np.sum(counts))))
        return found
