"""What evaluations say: rows of measured numbers, and the files that they become."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        suite: what was evaluated, e.g. `"correspondence"`.
        data: what on.
        model: the backbone's name, or that of a floor.
        readout: how its answer was read, e.g. `"cosine"`; `""` for floors.
        layer: of the features; None where there is none.
        pooling: what was pooled, e.g. `"without query view"`.
        metric: e.g. `"PCK@10px"`.
        value, low, high: the number and its 95 % interval; NaN where nothing could be measured.
        count: points, or pairs, that it was measured on.
    """

    suite: str
    data: str
    model: str
    readout: str
    layer: int | None
    pooling: str
    metric: str
    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Table:
    """The rows of one suite on one data set.

    Attributes:
        title: heading.
        notes: sentences below it: what was measured, how.
        rows: all numbers.
        columns: metrics that the Markdown table shows, in order; the files have all.
        percent: metrics that are shares, and shown in %.
    """

    title: str
    notes: Sequence[str]
    rows: Sequence[Row]
    columns: Sequence[str]
    percent: frozenset[str] = frozenset()

    def markdown(self) -> str:
        """One Markdown table for each pooling: a line a model, read-out and layer."""
        parts = [f"## {self.title}", "", *(f"{note}\n" for note in self.notes)]
        for pooling in dict.fromkeys(row.pooling for row in self.rows):
            rows = [row for row in self.rows if row.pooling == pooling]
            if pooling:
                parts += [f"**{pooling[0].upper()}{pooling[1:]}**", ""]
            parts += [*_lines(rows, self.columns, self.percent), ""]
        return "\n".join(parts)


def _lines(rows: Sequence[Row], columns: Sequence[str], percent: frozenset[str]) -> Iterable[str]:
    shown = [metric for metric in columns if any(row.metric == metric for row in rows)]
    cells = {((row.model, row.readout, row.layer), row.metric): _cell(row, row.metric in percent) for row in rows}
    heads = [f"{metric} (%)" if metric in percent else metric for metric in shown]
    yield f"| model | read-out | layer | {' | '.join(heads)} |"
    yield f"|---|---|---|{'---|' * len(shown)}"
    for line in dict.fromkeys(key for key, _ in cells):
        model, readout, layer = line
        values = " | ".join(cells.get((line, metric), "") for metric in shown)
        yield f"| {model} | {readout} | {'' if layer is None else layer} | {values} |"


def _cell(row: Row, percent: bool) -> str:
    if math.isnan(row.value):
        return "–"
    scale = 100 if percent else 1
    value, low, high = (_rounded(scale * number) for number in (row.value, row.low, row.high))
    return value if math.isnan(row.low) or low == high == value else f"{value} ({low}–{high})"


def _rounded(number: float) -> str:
    return f"{number:.1f}" if abs(number) < 100 else f"{number:.0f}"


def write_results(folder: Path, tables: Sequence[Table], settings: Mapping[str, Any]) -> None:
    """Writes `results.json` (settings, notes, rows), `results.csv` (one row a number) and `results.md` (the tables).

    Each file is written beside and renamed, so that a killed write leaves the last one whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": settings,
        "tables": [
            {"title": table.title, "notes": list(table.notes), "rows": [_plain(row) for row in table.rows]}
            for table in tables
        ],
    }
    _replace(folder / "results.json", json.dumps(content, indent=1, allow_nan=False))
    names = [field.name for field in fields(Row)]
    beside = folder / "results.csv.part"
    with beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(_plain(row) for table in tables for row in table.rows)
    beside.replace(folder / "results.csv")
    _replace(folder / "results.md", "\n".join(table.markdown() for table in tables))


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON and CSV say it: NaN, which neither knows, is nothing."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(row).items()}


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text)
    beside.replace(path)
