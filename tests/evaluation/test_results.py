"""Result files are read back as they were written, and tables are Markdown."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from muskie.evaluation.results import Row, Table, write_results

ROW = Row("correspondence", "rooms", "run", "cosine", 3, "ours", "PCK@10px", 0.4321, 0.401, 0.46, 1200)
ROWS = [
    ROW,
    replace(ROW, metric="error (px)", value=12.345, low=11.0, high=13.0),
    replace(ROW, pooling="published", value=0.5, low=0.5, high=0.5),
    replace(ROW, layer=5, value=math.nan, low=math.nan, high=math.nan, count=0),
    Row("correspondence", "rooms", "same pixel", "", None, "ours", "PCK@10px", 1.0, 0.9996, 1.0, 7),
]
SUMMARY = [("PCK@10px", "ours", "PCK@10px"), ("PCK@10px", "published", "as published"), ("error (px)", "ours", "error")]


def table(rows: Sequence[Row] = ROWS, **settings: object) -> Table:
    given = {"columns": ["PCK@10px", "error (px)"], "summary": SUMMARY, "percent": frozenset({"PCK@10px"}), **settings}
    return Table("Correspondence", ["Two rooms.", "And more."], rows, **given)  # type: ignore[arg-type]


def cells(markdown: str) -> list[list[str]]:
    """The cells of all table lines, the rule below the heads left out."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if not set(line) <= {"|", "-", " "}
    ]


def test_the_short_table() -> None:
    text = table().short()
    assert text.startswith("## Correspondence\n\nTwo rooms.\n\nAnd more.\n\n| model")
    heads, *lines = cells(text)
    assert heads == ["model", "read-out", "layer", "PCK@10px (%)", "as published (%)", "error"]
    assert lines == [
        ["run", "cosine", "3", "43.2 (40.1–46.0)", "50.0", "12.3 (11.0–13.0)"],
        ["run", "cosine", "5", "–", "", ""],
        ["same pixel", "", "", "100", "", ""],
    ]


def test_the_full_tables_are_one_for_each_pooling() -> None:
    ours, published = table().full().split("### ")[1:]
    assert ours.startswith("Correspondence: ours\n\n|") and published.startswith("Correspondence: published\n\n|")
    assert cells(ours)[0] == ["model", "read-out", "layer", "PCK@10px (%)", "error (px)"] and len(cells(ours)) == 4
    assert cells(published) == [["model", "read-out", "layer", "PCK@10px (%)"], ["run", "cosine", "3", "50.0"]]


def test_columns_that_are_empty_everywhere_are_left_out() -> None:
    """Suites of reconstruction models have neither read-outs nor layers; one line that has them is enough."""
    rows = [
        replace(ROW, model=name, readout="", layer=None, value=value) for name, value in (("one", 0.4), ("two", math.nan))
    ]
    for text in (table(rows).short(), table(rows).full()):
        assert cells(text) == [["model", "PCK@10px (%)"], ["one", "40.0 (40.1–46.0)"], ["two", "–"]]
    assert cells(table([*rows, replace(ROW, layer=0)]).short())[0][:3] == ["model", "read-out", "layer"]
    assert cells(table([*rows, replace(ROW, readout="", layer=0)]).short()) == [
        ["model", "layer", "PCK@10px (%)"],
        ["one", "", "40.0 (40.1–46.0)"],
        ["two", "", "–"],
        ["run", "0", "43.2 (40.1–46.0)"],
    ]


def test_markdown_tables_are_whole() -> None:
    """A rule below the heads, as many cells in each line, and the columns aligned for those who read the file itself."""
    for text in (table().short(), table().full()):
        for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
            lines = block.splitlines()
            assert len({len(line) for line in lines}) == 1 and len({line.count("|") for line in lines}) == 1
            assert re.fullmatch(r"\|( -+ \|)+", lines[1])


def test_a_name_with_a_bar_is_one_cell() -> None:
    lines = cells(table([replace(ROW, model="a|b")]).short())
    assert lines[1][0] == "a\\|b" and len(lines[0]) == len(lines[1])


def test_a_table_without_a_summary_has_no_empty_one() -> None:
    assert "|" not in table(summary=()).short() and "|" in table(summary=()).full()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0"),
        (1e-17, "0.0"),
        (0.0000123, "1.23e-05"),
        (0.0001234, "0.000123"),
        (0.002134, "0.00213"),
        (0.0494, "0.0494"),
        (-0.0494, "-0.0494"),
        (0.9996, "1.00"),
        (1.234, "1.23"),
        (9.96, "9.96"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1234.5, "1234"),
        (math.inf, "inf"),
    ],
)
def test_numbers_as_they_are_shown(value: float, shown: str) -> None:
    row = replace(ROW, metric="error (px)", value=value, low=math.nan, high=math.nan)
    assert cells(table([row]).short())[1][-1] == shown


def test_every_unit_has_three_digits() -> None:
    """Distances of a few thousandths differ in a table, as those in millimetres do; JSON and CSV have all digits."""
    rows = [replace(ROW, model=name, metric="error (px)", value=value, low=value * 0.98, high=value * 1.03)
            for name, value in (("one", 0.002134), ("other", 0.002261), ("in mm", 2.134))]  # fmt: skip
    shown = [line[-1] for line in cells(table(rows).short())[1:]]
    assert shown == ["0.00213 (0.00209–0.00220)", "0.00226 (0.00222–0.00233)", "2.13 (2.09–2.20)"]


def test_files_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    other = Table("Pose", [], [replace(ROW, suite="pose", layer=None)], ["PCK@10px"])
    write_results(tmp_path / "new" / "folder", [table(), other], {"seed": 3, "views": {"samples": None}})
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["results.csv", "results.json", "results.md"]
    content = json.loads((folder / "results.json").read_text())
    assert content["settings"] == {"seed": 3, "views": {"samples": None}}
    assert [(one["title"], one["notes"]) for one in content["tables"]] == [
        ("Correspondence", ["Two rooms.", "And more."]),
        ("Pose", []),
    ]
    written = [*ROWS, *other.rows]
    from_json = [Row(**row) for one in content["tables"] for row in one["rows"]]
    assert from_json[0] == ROW and len(from_json) == len(written)
    assert (from_json[3].value, from_json[3].low, from_json[3].high) == (None, None, None), "no number"
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        from_csv = list(csv.DictReader(file))
    for row, read in zip(written, from_csv, strict=True):
        for key, value in asdict(row).items():
            missing = value is None or (isinstance(value, float) and math.isnan(value))
            assert read[key] == "" if missing else type(value)(read[key]) == value
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    assert markdown == "\n".join([table().short(), table().full(), other.short(), other.full()])


def test_no_setting_and_no_number_stops_results_from_being_written(tmp_path: Path) -> None:
    """After hours of measuring, that would be a pity."""
    settings = {"tolerance": math.inf, "sizes": (1, math.nan), "out": tmp_path, 7: {"deep": [True, None, 1.5]}}
    write_results(tmp_path, [table([replace(ROW, value=math.inf, high=math.inf)])], settings)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["settings"] == {
        "tolerance": "inf",
        "sizes": [1, "nan"],
        "out": str(tmp_path),
        "7": {"deep": [True, None, 1.5]},
    }
    (row,) = content["tables"][0]["rows"]
    assert (row["value"], row["low"], row["high"]) == (None, 0.401, None)


def test_a_write_that_fails_leaves_the_last_results(tmp_path: Path) -> None:
    write_results(tmp_path, [table()], {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Broken(Table):
        def short(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(tmp_path, [Broken("Broken", [], [], [])], {})
    assert (tmp_path / "results.md").read_bytes() == before["results.md"]
    write_results(tmp_path, [table()], {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before, "nothing is left beside"
