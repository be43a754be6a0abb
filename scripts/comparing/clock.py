"""Equal time for every recipe: how long a step takes is measured first, and the run then has as many as fit.

Steps are counted and not the clock: learning rates fall to zero at the end of a run, so its length must be known at its
start. What it then took is told beside.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from comparing.recipes import Recipe
from muskie.errors import ConfigError

MAIN = Path(__file__).resolve().parents[2] / "main.py"

TRIAL_STEPS, TRIAL_LINES = 120, 12
"""Steps of a trial, and how many lines they are told in; the first half, in which code is compiled, is not counted."""


@dataclass(frozen=True)
class Trained:
    """What a run took.

    Attributes:
        steps: optimiser steps.
        expected: seconds of a step in the trial.
        seconds: of training, waiting for data included, and measures, pictures and checkpoints not.
        processor_seconds: of all its processes; None: its steps were trained by an earlier call.
        images_per_s: in all its seconds.
        waiting: share of the time in which training waited for data.
    """

    steps: int
    expected: float
    seconds: float
    processor_seconds: float | None
    images_per_s: float
    waiting: float


def trial(recipe: Recipe, folder: Path, seconds: float) -> float:
    """Seconds of a step, by a short run that is thrown away.

    Args:
        recipe: which.
        folder: of the recipe; the trial is kept, and not made again, in `trial.json`.
        seconds: that its run is to take.

    Raises:
        ConfigError: the run failed, or the folder holds one of other settings or of another length.
    """
    kept = folder / "trial.json"
    asked = {"words": list(recipe.words), "seconds": seconds, "steps": TRIAL_STEPS}
    if kept.is_file():
        known = json.loads(kept.read_text())
        expected = float(known.pop("seconds_per_step"))
        if known == asked:
            return expected
        told = f"{known['seconds'] / 60:g} min, {' '.join(known['words'])}"
        raise ConfigError(f"{folder} is of another comparison: {told}; give another --out")
    every = TRIAL_STEPS // TRIAL_LINES
    words = [f"trainer.steps={TRIAL_STEPS}", f"trainer.log_every={every}", "trainer.save_every=0", "trainer.eval_every=0"]
    run = folder / "trial"
    _run([*recipe.words, *words, f"output_dir={run}"], folder / "trial.log")
    lines = training_lines(run)
    expected = statistics.fmean(line["train/seconds_per_step"] for line in lines[len(lines) // 2 :])
    beside = kept.with_suffix(".part")
    beside.write_text(json.dumps({**asked, "seconds_per_step": expected}))
    beside.replace(kept)
    return expected


def train(recipe: Recipe, folder: Path, seconds: float) -> Trained:
    """Trains for about so many seconds; a run that was stopped goes on, and one that has ended is left as it is."""
    expected = trial(recipe, folder, seconds)
    steps = max(round(seconds / expected), 1)
    kept = folder / "trained.json"
    run = folder / "run"
    if not kept.is_file():
        begun = (run / "checkpoints").is_dir()
        before = _children()
        _run([*recipe.words, f"trainer.steps={steps}", f"output_dir={run}"], folder / "run.log")
        lines = training_lines(run)
        last = [line["step"] for line in lines]
        counts = [now - then for then, now in zip([0, *last], last, strict=False)]
        spent = [line["train/seconds_per_step"] * count for line, count in zip(lines, counts, strict=True)]
        images = sum(line["train/images_per_s"] * part for line, part in zip(lines, spent, strict=True))
        waited = sum(line["train/data_wait"] * part for line, part in zip(lines, spent, strict=True))
        processors = None if begun else _children() - before
        found = Trained(steps, expected, sum(spent), processors, images / sum(spent), waited / sum(spent))
        beside = kept.with_suffix(".part")
        beside.write_text(json.dumps(asdict(found)))
        beside.replace(kept)
    return Trained(**json.loads(kept.read_text()))


def training_lines(run: Path) -> list[dict[str, float]]:
    """The log lines of training of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "train/seconds_per_step" in line]


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _run(words: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    with log.open("a") as file:
        ended = subprocess.run([sys.executable, str(MAIN), *words], stdout=file, stderr=subprocess.STDOUT)
    if ended.returncode:
        last = "\n".join(log.read_text().strip().splitlines()[-5:])
        raise ConfigError(f"{log.parent.name} failed after {time.perf_counter() - begun:.0f} s; the end of {log}:\n{last}")
