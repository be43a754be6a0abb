"""Shared by the tests of models."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """The same random tensors in every run, whatever other tests draw."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`scripts/convert_checkpoint.py` with these arguments; what it printed. It ends by `SystemExit` where it fails."""
    script = Path(__file__).parents[2] / "scripts" / "convert_checkpoint.py"

    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [script.name, *map(str, arguments)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def timm() -> None:
    pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
