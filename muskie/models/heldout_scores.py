"""What a run measured of its reconstruction model on held-out scenes: kept beside the weights, so that whoever uses them can
be told where they are of little worth."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from muskie.errors import CheckpointError

FILE = "held_out.json"
"""Beside `model.safetensors`: the fields of `HeldOutScores`. Models that no run of ours has measured have none."""
_MEANS = ("model", "trivial", "row")
"""The fields that hold means."""


@dataclass(frozen=True)
class HeldOutScores:
    """Means over held-out samples, metric -> number, e.g. `"AUC@30"` -> 0.428; all are finite.

    Attributes:
        steps: optimiser steps after which the weights were measured, the end of their run.
        samples, views: how many samples, of how many views each.
        model: of the weights.
        trivial: of a wall before every camera, all cameras at one place.
        row: of cameras in a row: poses alone.
    """

    steps: int
    samples: int
    views: int
    model: Mapping[str, float]
    trivial: Mapping[str, float] = field(default_factory=dict)
    row: Mapping[str, float] = field(default_factory=dict)


def read_scores(folder: Path) -> HeldOutScores | None:
    """What was measured of the weights of a folder; None: it does not say.

    Raises:
        CheckpointError: the file that says is broken.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        steps, samples, views = (int(told[name]) for name in ("steps", "samples", "views"))
        means = [_finite({str(key): float(value) for key, value in told[name].items()}) for name in _MEANS]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{file}: cannot be read ({type(error).__name__}: {error}); remove it, and nothing is known of how good the "
            "model is"
        ) from error
    return HeldOutScores(steps, samples, views, *means)


def write_scores(folder: Path, scores: HeldOutScores | None, steps: int | None = None) -> None:
    """Keeps what was measured of the weights that are about to be written to a folder, which is made if missing.

    Args:
        folder: of the model.
        scores: None: these weights were not measured, and what the file says of earlier ones is removed.
        steps: of weights that a run which was finished already writes anew: what was measured after as many stays.
    """
    file = folder / FILE
    if scores is None:
        if steps is None or _measured_after(folder) != steps:
            file.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = asdict(scores) | {name: _finite(getattr(scores, name)) for name in _MEANS}
    beside = folder / f".{FILE}.part"
    beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(file)


def _measured_after(folder: Path) -> int | None:
    try:
        scores = read_scores(folder)
    except CheckpointError:
        return None
    return scores.steps if scores else None


def _finite(means: Mapping[str, float]) -> dict[str, float]:
    """Without what JSON has no number for: where nothing could be measured."""
    return {name: value for name, value in means.items() if math.isfinite(value)}
