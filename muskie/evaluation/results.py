"""What evaluations say: rows of measured numbers, and the files that they become."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

NOTHING = 1e-12
"""Numbers below it are shown as 0, in any unit that scenes are measured in: of exact answers, double precision leaves less.
"""


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
        columns: metrics of the full tables, in order.
        summary: the few columns of the short table, (metric, pooling, heading).
        percent: metrics that are shares, and shown in %.
    """

    title: str
    notes: Sequence[str]
    rows: Sequence[Row]
    columns: Sequence[str]
    summary: Sequence[tuple[str, str, str]] = ()
    percent: frozenset[str] = frozenset()

    def short(self) -> str:
        """Heading, notes, and the summary's columns as a Markdown table: a line a model, read-out and layer, where there are
        any: a column that is empty in all lines is left out."""
        parts = [f"## {self.title}", "", *(f"{note}\n" for note in self.notes)]
        lines = self._lines(self.summary) if self.summary else []
        return "\n".join([*parts, *lines, ""])

    def full(self) -> str:
        """All columns that hold something, a Markdown table for each pooling."""
        parts = []
        for pooling in dict.fromkeys(row.pooling for row in self.rows):
            measured = {row.metric for row in self.rows if row.pooling == pooling}
            heads = [(metric, pooling, metric) for metric in self.columns if metric in measured]
            parts += [f"### {self.title}: {pooling or 'all columns'}", "", *self._lines(heads), ""]
        return "\n".join(parts)

    def _lines(self, columns: Sequence[tuple[str, str, str]]) -> list[str]:
        cells = {
            ((row.model, row.readout, row.layer), row.metric, row.pooling): _cell(row, row.metric in self.percent)
            for row in self.rows
        }
        heads = ["model", "read-out", "layer"]
        heads += [f"{heading} (%)" if metric in self.percent else heading for metric, _, heading in columns]
        lines = [[_escaped(head) for head in heads]]
        for line in dict.fromkeys(key for key, _, _ in cells):
            values = [cells.get((line, metric, pooling), "") for metric, pooling, _ in columns]
            if any(values):
                layer = "" if line[2] is None else str(line[2])
                lines.append([_escaped(line[0]), _escaped(line[1]), layer, *values])
        filled = [column for column in range(len(heads)) if len(lines) == 1 or any(line[column] for line in lines[1:])]
        lines = [[line[column] for column in filled] for line in lines]
        widths = [max(len(line[column]) for line in lines) for column in range(len(filled))]
        lines.insert(1, ["-" * width for width in widths])
        return [f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines]


def _escaped(text: str) -> str:
    """As the cell of a Markdown table shows it."""
    return text.replace("|", "\\|")


def _cell(row: Row, percent: bool) -> str:
    if math.isnan(row.value):
        return "–"
    shown = _share if percent else _three_digits
    value, low, high = (shown(number) for number in (row.value, row.low, row.high))
    return value if math.isnan(row.low) or low == high == value else f"{value} ({low}–{high})"


def _share(number: float) -> str:
    """In percent, with one decimal; from 100 on with none."""
    number *= 100
    return f"{number:.1f}" if abs(number) < 99.95 else f"{number:.0f}"


def _three_digits(number: float) -> str:
    """Three digits that mean something, in whatever unit the number is; from 100 on all before the point, and powers of ten
    below a ten thousandth. What rounding leaves of none is 0."""
    if abs(number) < NOTHING or not math.isfinite(number):
        return "0.0" if abs(number) < NOTHING else str(number)
    exponent = int(f"{number:.2e}".split("e")[1])  # that of the rounded number: 9.996 is 10.0
    return f"{number:.{max(2 - exponent, 0)}f}" if exponent >= -4 else f"{number:.2e}"


def write_results(folder: Path, tables: Sequence[Table], settings: Mapping[str, Any]) -> None:
    """Writes `results.json` (settings, notes, rows), `results.csv` (one row a number) and `results.md` (of every table the
    short one, then the full ones).

    Each file is written beside and renamed, so that a killed write leaves the last one whole. Numbers that are not finite
    are null in JSON and empty in CSV, but text in the settings (`"inf"`), as is what JSON has no form for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "settings": _written(settings),
        "tables": [
            {"title": table.title, "notes": list(table.notes), "rows": [_plain(row) for row in table.rows]}
            for table in tables
        ],
    }
    _replace(folder / "results.json", json.dumps(content, indent=1, allow_nan=False))
    names = [field.name for field in fields(Row)]
    beside = folder / "results.csv.part"
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(_plain(row) for table in tables for row in table.rows)
    beside.replace(folder / "results.csv")
    parts = [part for table in tables for part in (table.short(), table.full())]
    _replace(folder / "results.md", "\n".join(parts))


def _plain(row: Row) -> dict[str, Any]:
    """A row as JSON and CSV say it: what is not finite, which neither knows, is nothing."""
    return {k: None if isinstance(value, float) and not math.isfinite(value) else value for k, value in asdict(row).items()}


def _written(setting: Any) -> Any:
    """A setting as JSON can say it."""
    if isinstance(setting, Mapping):
        return {str(key): _written(value) for key, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [_written(value) for value in setting]
    if setting is None or isinstance(setting, str | bool | int) or (isinstance(setting, float) and math.isfinite(setting)):
        return setting
    return str(setting)


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
