"""The scripts in the repository's root, called as from a command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
Command = Callable[..., None]


def entry_point(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """What runs `<script>.py` in `folder` with the words it is called with; raises `SystemExit` where it would leave."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(REPOSITORY))
    module = importlib.import_module(script)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *words])
        module.main()

    return run


def made(folder: Path) -> set[str]:
    """What a command left behind, but for the logs that Hydra opens."""
    return {path.name for path in folder.iterdir()} - {"main.log", "train_ffrecon.log", "multirun"}
