"""Two processes fine-tune as one with the same global batch, and the first of them measures for both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import losses, metrics, same_bits, state, torchrun
from tiny_recon import finished
from torch import Tensor

VARIED = [
    "plan.sizes=[16,24]",
    "plan.views_per_scene=[1,2,4]",  # single views have no cameras to compare
    "plan.reuse=2",
    "trainer.accumulate=2",
    "trainer.steps=6",
    "trainer.eval_every=3",
    "trainer.picture_every=3",
    "evaluation.scenes=3",  # of two ranks, each would have another number
    "evaluation.batch=2",
    "holdout.share=0.5",
    "model.depth_head=true",
]

CASES = {
    "adamw": [*VARIED, "optim.name=adamw"],
    "muon": [*VARIED, "optim.name=muon"],
    "frozen": [*VARIED, "optim.name=adamw", "optim.backbone_rate=0", "trainer.checkpointing=true", "objective.confidence=0"],
}

UNSEEN = "camera_head.translation.bias"
"""Moves all cameras of a scene alike, which no relative pose shows: its gradient is rounding, of which AdamW makes steps."""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs by two ranks, of two scenes each."""
    folder = tmp_path_factory.mktemp("ranks")
    cases: list[dict[str, Any]] = [
        {"name": name, "task": "finetuning", "overrides": [*words, f"output_dir={folder / name}"]}
        for name, words in CASES.items()
    ]
    (folder / "cases.json").write_text(json.dumps(cases))
    done = torchrun(Path(__file__).with_name("ranked.py"), [str(folder / "cases.json"), str(folder)], folder)
    assert done.returncode == 0, done.stderr
    return folder


def farthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max((one[key] - other[key]).abs().max().item() for key in one.keys() - {UNSEEN})


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_are_one(name: str, together: Path, tmp_path: Path) -> None:
    """Losses, gradients, weights and what is measured, once for both. Muon computes in bfloat16: ten times the error."""
    alone = finished([*CASES[name], "trainer.batch_size=4", f"output_dir={tmp_path}"])
    near = 1e-4 if name == "muon" else 1e-5
    told = [json.loads((together / f"told-{rank}.json").read_text())[name] for rank in range(2)]
    assert told == ["True", "True"]
    assert losses(together / name)[0] == pytest.approx(losses(tmp_path)[0], abs=1e-6)
    ours, theirs = metrics(tmp_path), metrics(together / name)
    assert [line["step"] for line in ours] == [1, 2, 3, 3, 4, 5, 6, 6], "measured at 3 and 6"
    for line, other in zip(theirs, ours, strict=True):
        # A pixel or a pair of views may pass a threshold by a rounded bit.
        assert line == pytest.approx(other, abs=1e-3 if "heldout/AUC@30" in line else near)
    assert {"heldout/AUC@30", "heldout/L1", "heldout/AbsRel"} <= set(theirs[-1]) and "train/grad_norm" in theirs[0]
    assert alone.heldout.line().startswith("held out, 3 samples of 4 views")
    ranks = [torch.load(together / f"{name}-{rank}.pt") for rank in range(2)]
    assert same_bits(*ranks) and same_bits(ranks[0], state(together / name)["model"])
    assert farthest(ranks[0], state(tmp_path)["model"]) < 10 * near, "at most a tenth of a step, whose rate is 1e-3"
    assert (together / name / "reconstruction" / "scene.glb").is_file()
