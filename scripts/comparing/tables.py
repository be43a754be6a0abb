"""What a comparison tells: a table of what recipes took, one a source of what they reached, and the numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comparing.clock import Trained
from comparing.measures import ALL_MASKED, METRIC, Measured
from comparing.recipes import Recipe
from muskie.errors import ConfigError
from muskie.evaluation.cross_view_gain import Gain
from muskie.evaluation.results import Row

Cells = Sequence[Sequence[str]]


def told(recipes: Sequence[Recipe], trained: Mapping[str, Trained], measured: Sequence[Measured]) -> str:
    """The tables in Markdown."""
    parts = ["## What they took", "", *_lines(_cost(recipes, trained)), ""]
    for source in measured:
        hidden = f"{100 * ALL_MASKED:.0f} %"
        note = (
            f"Gain: with two whole references; and with {hidden} of every view hidden; the contrast of patches, which some "
            "do not predict, does not count. A model of single views has a gain of 0, whatever it has learned. "
            f"{METRIC}, in pixels of a picture of 512: by the read-out of each that is best on frames that were trained on."
        )
        notes = [*(source.table.notes if source.table else [source.note]), note]
        parts += [f"## Held out: {source.label}", "", " ".join(notes), "", *_lines(_scores(source)), ""]
    return "\n".join(parts)


def _cost(recipes: Sequence[Recipe], trained: Mapping[str, Trained]) -> Cells:
    heads = ["recipe", "encoder", "parameters", "steps", "images a step", "minutes", "processor minutes", "images/s"]
    rows = [[*heads, "waiting for data"]]
    for recipe in recipes:
        took = trained[recipe.name]
        images = took.images_per_s * took.seconds / took.steps
        processors = "–" if took.processor_seconds is None else f"{took.processor_seconds / 60:.1f}"
        sizes = [f"{recipe.encoder_parameters:,}", f"{recipe.parameters:,}", f"{took.steps:,}", f"{images:.0f}"]
        times = [f"{took.seconds / 60:.1f}", processors, f"{took.images_per_s:.0f}", f"{100 * took.waiting:.0f} %"]
        rows.append([recipe.name, *sizes, *times])
    return rows


def _scores(source: Measured) -> Cells:
    rows = [["recipe", "gain", "gain, all views masked", METRIC, "read from", "untrained"]]
    for name, score in source.scores.items():
        pck = ["–"] * 3
        if score.pck is not None:
            where = score.pck.readout + ("" if score.pck.layer is None else f", layer {score.pck.layer}")
            pck = [_share(score.pck), where, "–" if score.untrained is None else f"{100 * score.untrained.value:.1f} %"]
        rows.append([name, _gain(score.gain), _gain(score.all_masked), *pck])
    return rows + [[row.model, "–", "–", _share(row), "–", "–"] for row in source.floors]


def _gain(gain: Gain) -> str:
    value, low, high = (f"{number + 0.0:.3f}" for number in (gain.gain, gain.low, gain.high))
    return f"{value} ({low}–{high})".replace("-0.000", "0.000")


def _share(row: Row) -> str:
    return f"{100 * row.value:.1f} % ({100 * row.low:.1f}–{100 * row.high:.1f})"


def _lines(cells: Cells) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells]
    return [lines[0], f"| {' | '.join('-' * width for width in widths)} |", *lines[1:]]


def check_names(folder: Path, names: Sequence[str]) -> None:
    """See that no recipe is lost of a comparison that the folder holds.

    Raises:
        ConfigError: it holds one that is not named.
    """
    known = folder / "comparison.json"
    lost = sorted(set(json.loads(known.read_text(encoding="utf-8"))) - set(names)) if known.is_file() else []
    if lost:
        raise ConfigError(f"{folder} holds a comparison of {', '.join(lost)} too; name them as well, or give another --out")


def write(
    folder: Path, recipes: Sequence[Recipe], trained: Mapping[str, Trained], measured: Sequence[Measured], text: str
) -> None:
    """Writes `comparison.md` and `comparison.json`, each beside and then renamed."""
    found: dict[str, Any] = {}
    for recipe in recipes:
        scores = {source.label: asdict(source.scores[recipe.name]) for source in measured}
        sizes = {"parameters": recipe.parameters, "encoder_parameters": recipe.encoder_parameters}
        found[recipe.name] = {"words": recipe.words, **sizes, **asdict(trained[recipe.name]), "heldout": scores}
    full = "\n".join([text, *(f"# {one.label}\n\n{one.table.full()}" for one in measured if one.table)])
    for name, content in (("comparison.json", json.dumps(found, indent=1)), ("comparison.md", full)):
        beside = folder / f"{name}.part"
        beside.write_text(content, encoding="utf-8")
        beside.replace(folder / name)
