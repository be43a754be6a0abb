"""Small pre-training runs, in this process and in others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muskie.overrides import compose_config, read_overrides
from muskie.training import checkpoint
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS

REPOSITORY = Path(__file__).parents[2]
ONE = Ranks(0, 1, torch.device("cpu"))

VARIED = [
    "plan.sizes=[16,24]",
    "plan.aspect_ratios=['1:1','4:3']",
    "plan.views_per_scene=[1,2,4]",
    "plan.reuse=2",
    "masks.modes=[random,rectangle]",
    "masks.ratios=[0.9,0.75]",
    "masks.references=draw",
    "trainer.accumulate=2",
    "trainer.steps=8",
]
"""Everything that differs from step to step."""


def pretraining(overrides: Sequence[str], ranks: Ranks = ONE) -> Pretraining:
    """A run, built from a command line."""
    typed = read_overrides(overrides, REPOSITORY / "configs", "pretrain", SECTIONS.names())
    return Pretraining(compose_config(REPOSITORY / "configs", "pretrain", typed), ranks)


def train(overrides: Sequence[str], ranks: Ranks = ONE) -> Pretraining:
    """The same, run to its end."""
    run = pretraining(overrides, ranks)
    assert run.run()
    return run


def spoil(run: Pretraining, step: int) -> None:
    """The first batch of a step gets a loss of NaN, and its first scene an infinite error. The gradient stays as it was."""
    loss, prepare, bad = run.task.loss, run.task.prepare, [False]

    def spoilt_prepare(views: Any, at: int, group: int) -> Any:
        bad[0] = at + 1 == step and group == 0
        return prepare(views, at, group)

    def spoilt_loss(*arguments: Any) -> Any:
        result = loss(*arguments)
        if bad[0]:
            result.loss = result.loss + torch.nan
            result.scenes[0] = torch.inf
        return result

    run.task.prepare, run.task.loss = spoilt_prepare, spoilt_loss  # type: ignore[method-assign]


def state(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a run."""
    return checkpoint.load(folder)


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl`, without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("train/images_per_s", "train/seconds_per_step", "train/data_wait")}
        for line in lines
    ]


def losses(folder: Path) -> list[float]:
    return [line["train/loss"] for line in metrics(folder) if "train/loss" in line]


def environment(**more: str) -> dict[str, str]:
    """Of a process of its own: one thread, and no word of the ranks or the terminal of this one."""
    kept = {
        k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    }
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **more}


def process(script: Path | str, arguments: Sequence[str], cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python script to its end."""
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=120)


def torchrun(script: Path | str, arguments: Sequence[str], cwd: Path, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    """Runs a Python script in several processes of this machine."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--rdzv_backend", "c10d"]
    command = [sys.executable, *launcher, "--rdzv_endpoint", "127.0.0.1:0", str(script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120)
