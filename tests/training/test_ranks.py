"""Two processes train as one with the same global batch, and stop as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import losses, same_bits, state, torchrun, train
from torch import Tensor

SHAPES = [
    "plan.sizes=[16,32]",
    "plan.views_per_scene=[1,2,4]",
    "plan.reuse=2",
    "masks.modes=[rectangle,random]",
    "masks.ratios=[0.6,0.8]",
    "masks.references=draw",
    "masks.published=true",  # rectangles then hide unequal numbers of patches
    "trainer.accumulate=2",
    "trainer.steps=8",
]


MEASURED = {
    "plain": [],
    "measured": ["evaluation.every=1", "evaluation.at_end=true", "trainer.eval_every=1", "trainer.picture_every=1"],
    "failing": ["evaluation.every=1", "evaluation.suites=[fails.fails,correspondence]", "evaluation.at_end=true"],
}
"""What is measured while two ranks train on rooms."""


def on_rooms(command: list[str]) -> list[str]:
    """The same training on rendered rooms, of few steps."""
    samples = [f"evaluation.{key}" for key in ("sets=2", "views=3", "distance=2", "samples=2")]
    rooms = ["data=synthetic", "data.scenes=8", "data.frames=8", "trainer.steps=2"]
    return [*(word for word in command if not word.startswith(("data", "holdout"))), *rooms, *samples]


@pytest.fixture(scope="module")
def command(tiny: list[str]) -> list[str]:
    return [*tiny, *SHAPES]


@pytest.fixture(scope="module")
def together(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs by two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "regular").write_text("")
    bad = {"bad_rank": 1, "bad_step": 3}
    cases: list[dict[str, Any]] = [
        {"name": "good", "overrides": []},
        {"name": "bad", "overrides": [], **bad},
        {"name": "late", "overrides": ["trainer.log_every=8"], **bad},
        {"name": "regular/file", "overrides": []},
        {"name": "muon", "overrides": ["optim.name=muon"]},
    ]
    for case in cases:
        case["overrides"] = [*command, *case["overrides"]]
    cases += [{"name": name, "overrides": [*on_rooms(command), *more]} for name, more in MEASURED.items()]
    for case in cases:
        case["overrides"] += [f"output_dir={folder / case['name']}"]
        case["name"] = case["name"].replace("/", "-")
    (folder / "cases.json").write_text(json.dumps(cases))
    done = torchrun(Path(__file__).with_name("ranked.py"), [str(folder / "cases.json"), str(folder)], folder)
    assert done.returncode == 0, done.stderr
    return folder


def told(folder: Path, name: str) -> list[str]:
    return [json.loads((folder / f"told-{rank}.json").read_text())[name] for rank in range(2)]


def farthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max((one[key] - other[key]).abs().max().item() for key in one)


@pytest.fixture(scope="module")
def alone(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run by one rank with the same global batch."""
    folder = tmp_path_factory.mktemp("alone")
    more = ["trainer.batch_size=4", "trainer.save_every=1", "trainer.keep_every=1", f"output_dir={folder}"]
    train([*command, *more])
    return folder


def test_two_ranks_are_one(together: Path, alone: Path) -> None:
    assert told(together, "good") == ["True", "True"]
    assert losses(together / "good") == pytest.approx(losses(alone), abs=1e-5)
    assert len(losses(alone)) == 8
    ranks = [torch.load(together / f"good-{rank}.pt") for rank in range(2)]
    assert same_bits(*ranks)
    assert farthest(ranks[0], state(alone)["model"]) < 1e-5


def test_two_ranks_are_one_with_muon(together: Path, command: list[str], tmp_path: Path) -> None:
    """Muon computes in bfloat16: what a rounded bit changes is of its precision."""
    assert told(together, "muon") == ["True", "True"]
    train([*command, "optim.name=muon", "trainer.batch_size=4", f"output_dir={tmp_path}"])
    assert losses(together / "muon") == pytest.approx(losses(tmp_path), abs=1e-4)
    ranks = [torch.load(together / f"muon-{rank}.pt") for rank in range(2)]
    assert same_bits(*ranks)
    assert farthest(ranks[0], state(tmp_path)["model"]) < 1e-3


@pytest.mark.parametrize("name", ["bad", "late"])
def test_one_bad_rank_stops_both_before_the_step(name: str, together: Path, alone: Path) -> None:
    """Noticed at once, or only at the last log line: the weights are those of step 2."""
    errors = told(together, name)
    assert errors[0] == errors[1]
    assert errors[0].startswith("NonFiniteLoss: step 3: the loss is not finite; scenes: folder/scene")
    second, third = (state(alone / "checkpoints" / f"step-{step:08d}.pt")["model"] for step in (2, 3))
    assert farthest(second, third) > 1e-4
    for rank in range(2):
        assert farthest(torch.load(together / f"{name}-{rank}.pt"), second) < 1e-5
    assert not (together / name / "checkpoints").exists()


def test_an_error_of_the_first_rank_is_raised_on_all(together: Path) -> None:
    for error in told(together, "regular-file"):
        assert error.startswith("ConfigError: output_dir=") and "cannot be written (Not a directory)" in error


def test_what_the_first_rank_measures_changes_nothing(together: Path) -> None:
    """Gain, suites and pictures at every step; a suite that fails loses neither the run nor the other suite."""
    plain = torch.load(together / "plain-0.pt")
    for name in MEASURED:
        assert told(together, name) == ["True", "True"]
        for rank in range(2):
            assert same_bits(torch.load(together / f"{name}-{rank}.pt"), plain)
    tables = {name: together / name / "evaluation" / "step-00000002" / "results.json" for name in MEASURED}
    assert not tables["plain"].exists()
    read = {name: json.loads(file.read_text()) for name, file in tables.items() if file.exists()}
    assert [[table["title"] for table in content["tables"]] for content in read.values()] == [
        ["Multi-view correspondence"]
    ] * 2
    assert read["failing"]["settings"]["data"]["scenes"] == 8 and read["failing"]["settings"]["holdout"]["share"] == 0.2
    lines = [json.loads(line) for line in (together / "failing" / "metrics.jsonl").read_text().splitlines()]
    assert sum("heldout/correspondence_PCK@10px/scores" in line for line in lines) == 2
