"""What fine-tuning goes on from: its own checkpoint, that of another run, weights alone; and what does not fit it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tiny import same_bits, state
from tiny_recon import finetuning, finished

from muskie.errors import CheckpointError
from muskie.models.variants import create_model
from muskie.training import checkpoint
from muskie.training.distributed import Ranks
from muskie.training.report import introduction
from muskie.training.settings import saved_settings


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finished([f"output_dir={whole}", "trainer.keep_every=2"])
    again = finetuning([f"output_dir={parts}", f"resume={whole / 'checkpoints' / 'step-00000002.pt'}"])
    assert again.done == 2 and again.run()
    assert same_bits(state(whole / "checkpoints")["model"], state(parts / "checkpoints")["model"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Of networks that have weights of the same shapes."""
    finished([f"output_dir={tmp_path / 'run'}"])
    newest = tmp_path / "run" / "checkpoints" / "step-00000004.pt"
    state = checkpoint.load(newest)
    del state["network"]
    torch.save(state, tmp_path / "old.pt")
    heads, hooks = "backbone={name: muskie_tiny, width: 24, depth: 2, heads: 3}", "model.hooks=[0,1,1,2]"
    for start in (f"resume={newest}", f"init_from={newest}", f"init_from={tmp_path / 'run'}"):
        with pytest.raises(CheckpointError, match=r"backbone\.heads=2, this run 3; give the former"):
            finetuning([start, heads, f"output_dir={tmp_path / 'x'}"])
    for start in (f"resume={newest}", f"init_from={tmp_path / 'run'}", f"resume={tmp_path / 'old.pt'}"):
        with pytest.raises(CheckpointError, match=r"model\.hooks=\[0,0,1,2\], this run \[0,1,1,2\]"):
            finetuning([start, hooks, f"output_dir={tmp_path / 'x'}"])
    with pytest.raises(CheckpointError, match=r"model\.hooks=.*Or choose another output_dir"):
        finetuning([hooks, f"output_dir={tmp_path / 'run'}"])
    assert not (tmp_path / "x").exists()
    assert finetuning([f"resume={tmp_path / 'old.pt'}", "model.hooks=[0,0,1,-1]"]).done == 4, "the default, in other words"


def test_weights_of_a_checkpoint(tmp_path: Path) -> None:
    finished([f"output_dir={tmp_path / 'run'}", "trainer.keep_every=2"])
    early = tmp_path / "run" / "checkpoints" / "step-00000002.pt"
    run = finetuning([f"init_from={early}", f"output_dir={tmp_path / 'next'}"])
    assert run.done == 0 and same_bits(run.model.state_dict(), checkpoint.load(early)["model"])


def test_a_model_to_start_from_brings_its_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a newer pre-training run of another shape lies where `auto` looks."""
    monkeypatch.chdir(tmp_path)
    finished(["output_dir=run"])
    create_model("muskie_tiny", width=48, depth=2, heads=2).save_pretrained("outputs/newest/model")
    first = checkpoint.load(Path("run/checkpoints/step-00000004.pt"))
    for given in ("run", "run/checkpoints/step-00000004.pt"):
        run = finetuning(["backbone=auto", f"init_from={given}"])
        assert run.done == 0 and same_bits(run.model.state_dict(), first["model"])
        assert run.backbone_told == f"backbone: that of {given}" and run.past == first["past"] and run.name == "ffrecon-run"
    assert finetuning(["backbone=run", "init_from=run"]).name == "ffrecon-run", "as its config.yaml says it"
    finished(["backbone=auto", "init_from=run", "output_dir=next"])
    assert OmegaConf.load("next/config.yaml").backbone == "run"
    shutil.rmtree("run")
    assert finetuning(["backbone=auto", "output_dir=next", "trainer.steps=6"]).done == 4, "goes on without either"


def test_rates_of_layers_that_change_the_groups_are_refused(tmp_path: Path) -> None:
    finished([f"output_dir={tmp_path / 'run'}"])
    words = [f"resume={tmp_path / 'run'}", f"output_dir={tmp_path / 'next'}", "trainer.steps=6"]
    for word, message in {
        "optim.layer_decay=0.9": r"optim\.layer_decay=1\.0 and not 0\.9; set the rates",
        "optim.backbone_rate=0": r"optim\.backbone_rate=0\.5 and not 0\.0;",
        "optim.frozen_layers=1": r"optim\.frozen_layers=0 and not 1;",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            finetuning([*words, word])
    assert not (tmp_path / "next").exists()
    finished([*words, "optim.backbone_rate=0.3"])
    scales = {group["scale"] for group in state(tmp_path / "next")["optimizer"]["param_groups"]}
    assert scales == {0.3, 1.0}, "the same groups: the new rate counts"


def test_a_checkpoint_is_judged_by_the_settings_that_the_run_has_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: what checks it is given them."""
    finished([f"output_dir={tmp_path / 'run'}", "trainer.steps=2"])
    read: list[dict[str, Any]] = []

    def other(state: dict[str, Any]) -> dict[str, Any]:
        read.append(saved_settings(state))
        return {**read[-1], "optim": {**read[-1]["optim"], "frozen_layers": 2}}

    monkeypatch.setattr("muskie.training.run.saved_settings", other)
    with pytest.raises(CheckpointError, match=r"optim\.frozen_layers=2 and not 1;"):
        finetuning([f"output_dir={tmp_path / 'run'}", "optim.frozen_layers=1"])
    assert len(read) == 1 and read[0]["optim"]["frozen_layers"] == 0


def test_the_published_name_of_a_checkpoint(tmp_path: Path) -> None:
    finished([f"output_dir={tmp_path / 'run'}"])
    again = finetuning(
        [f"output_dir={tmp_path / 'next'}", f"resume={tmp_path / 'run' / 'checkpoint-latest.pth'}", "trainer.steps=6"]
    )
    assert again.done == 4 and again.start.checkpoint == tmp_path / "run" / "checkpoints" / "step-00000004.pt"


def test_a_run_keeps_the_backbone_that_auto_has_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a newer run nor the loss of the old one changes a run that goes on."""
    monkeypatch.chdir(tmp_path)

    def pretrained(name: str, width: int = 24, heads: int = 2) -> None:
        model = create_model("muskie_tiny", width=width, depth=2, heads=heads)
        model.save_pretrained(Path("outputs") / name / "model")

    pretrained("first")
    words = ["backbone=auto", "output_dir=run"]
    finished(words)
    assert OmegaConf.load("run/config.yaml").backbone == "outputs/first"
    pretrained("second", heads=3)
    old = state(Path("run"))
    del old["network"]
    torch.save(old, "old.pt")
    assert finetuning(["backbone=auto", "resume=old.pt"]).name == "ffrecon-first", "of a checkpoint without the network"
    shutil.rmtree("outputs/first")
    for shape in ({"width": 32}, {"heads": 3}):
        pretrained("second", **shape)
        run = finetuning([*words, "trainer.steps=6"])
        assert run.done == 4 and run.name == "ffrecon-first" and run.model.network() == state(Path("run"))["network"]
        assert run.notes == ["backbone: outputs/first, as the run was begun"]
        assert not [line for line in introduction(run) if "changed" in line and "backbone" in line]
    assert run.run() and OmegaConf.load("run/config.yaml").backbone == "outputs/first"
    again = finetuning(["backbone=outputs/first", "output_dir=run"])
    assert again.done == 6, "by its name as well, though it is not there any more"


def test_the_first_rank_finds_the_backbone_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run may end while the ranks look for the newest one."""
    monkeypatch.chdir(tmp_path)
    for name in ("here", "there"):
        create_model("muskie_tiny", width=24, depth=2, heads=2).save_pretrained(Path("outputs") / name / "model")

    def first(ranks: Ranks, action: Callable[[], Any]) -> Any:
        found = action()
        return ("outputs/there", "of the first rank") if "newest" in str(found) else found

    os.utime("outputs/there/model/config.json", (1, 1))
    assert finetuning(["backbone=auto"]).name == "ffrecon-here"
    monkeypatch.setattr(Ranks, "first", first)
    run = finetuning(["backbone=auto"])
    assert run.name == "ffrecon-there" and "backbone: outputs/there\n" in run.settings_text
