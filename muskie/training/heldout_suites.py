"""Suites in a run: whether they have what they need, and what of their tables a run tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import DataError
from muskie.evaluation.results import Table
from muskie.evaluation.views.posed_views import NoGeometry, PosedViews, read_posed
from muskie.evaluation.views.view_sets import ViewSet

TRIES = 8
"""Samples that are tried."""


def first_readable(choose: Callable[[], Sequence[ViewSet]], size: tuple[int, int], suites: Sequence[str]) -> PosedViews:
    """The first of some samples that can be read.

    Raises:
        DataError: there are none, or none of the first few can be read: data without depth or cameras.
    """
    reason = ""
    try:
        for number, views in enumerate(choose()[:TRIES]):
            try:
                return read_posed(views, size, number=number)
            except (OSError, NoGeometry) as error:  # suites leave such samples out
                reason = str(error)
    except DataError as error:
        reason = str(error)
    off = "turn suites off: evaluation.at_end=false evaluation.every=0"
    raise DataError(f"evaluation.suites={list(suites)}: {reason}; or {off}")


@contextmanager
def eager(device: torch.device) -> Iterator[None]:
    """Within, nothing is compiled anew for the shapes of evaluation, and the caller's autocast does not reach geometry."""
    with torch.compiler.set_stance("force_eager"), torch.autocast(device.type, enabled=False):
        yield


def scalars(tables: Sequence[Table], backbone: FrozenBackbone) -> dict[str, float]:
    """The columns of the short tables, of the model itself."""
    found = {}
    for table in tables:
        shown = {(metric, pooling) for metric, pooling, _ in table.summary[:2]}
        for row in table.rows:
            if row.model == backbone.name and (row.metric, row.pooling) in shown:
                where = row.readout if row.layer is None else f"{row.readout}_layer{row.layer}"
                found[f"heldout/{row.suite}_{row.metric}/{where}"] = row.value
    return found


def headline(table: Table, backbone: FrozenBackbone) -> str:
    """The best line of a model by the first share among the short table's columns."""
    for metric, pooling, heading in table.summary:
        rows = [row for row in table.rows if (row.model, row.metric, row.pooling) == (backbone.name, metric, pooling)]
        rows = [row for row in rows if not math.isnan(row.value)]
        if metric in table.percent and rows:  # of a share, more is better
            best = max(rows, key=lambda row: row.value)
            where = best.readout if best.layer is None else f"{best.readout}, layer {best.layer}"
            return f"{table.title}: {heading} {100 * best.value:.1f} % ({where}, the best of its read-outs)"
    return f"{table.title}: measured, see the scalars"
