"""The model of a run in its folder: `model/`, which `from_pretrained` and its like read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muskie.history import Entry
from muskie.history import write as write_history
from muskie.training.run_folder import Start

MODEL = "model"


def write_model(model: Any, run: Path, past: Sequence[Entry], result: str, steps: int | None = None) -> None:
    """Writes weights, card, and what they were trained on; `config.json` comes last.

    Args:
        model: has `save_pretrained`.
        run: the folder of the run, whose name is the title of the card.
        past: all that the weights were trained on.
        result: a sentence on what came of it, for the card.
        steps: of a run that was finished already; a card that tells of as many may hold the measure, and stays.
    """
    folder = run / MODEL
    card = folder / "README.md"
    # The hub's library leaves a card that is there.
    if card.is_file() and not (steps is not None and f", {steps} steps" in card.read_text()):
        card.unlink()
    # First what they were trained on: weights that know too much of it harm nobody.
    write_history(folder, past)
    model.save_pretrained(folder, model_card_kwargs={"title": run.name, "result": result})


def model_is_older(start: Start) -> bool:
    """Whether a run that is at its end was killed before it had written its model."""
    path, folder = start.checkpoint, start.folder
    if path is None or folder is None or not start.in_own_folder:
        return False
    written = folder / MODEL / "config.json"
    return not written.exists() or written.stat().st_mtime < path.stat().st_mtime
