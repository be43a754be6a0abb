"""Mixtures in training: what each source costs, and what of it was skipped, in the log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict
from tiny import state, train

from muskie.errors import DataError
from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS
from muskie.training.window import Window

ONE = Ranks(0, 1, torch.device("cpu"))
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_the_mean_of_each_source_is_that_of_its_scenes() -> None:
    window = Window(ONE.device, ["a", "b", "never"])
    window.add({"loss": torch.tensor(1.0)})
    window.add_scenes(torch.tensor([1.0, 2.0, 6.0]), ["a", "b", "a"])
    window.add_scenes(torch.tensor([5.0]), ["a"])
    values = window.read(ONE, 0.1)
    assert values["loss_of/a"] == pytest.approx(4.0) and values["loss_of/b"] == pytest.approx(2.0)
    assert "loss_of/never" not in values, "nothing is known of it in this window"
    window.reset()
    window.add({"loss": torch.tensor(1.0)})
    window.add_scenes(torch.tensor([3.0]), ["never"])
    assert [key for key in window.read(ONE, 0.1) if key.startswith("loss_of")] == ["loss_of/never"]


def test_one_source_has_no_loss_of_its_own() -> None:
    window = Window(ONE.device, ["only"])
    window.add({"loss": torch.tensor(1.0)})
    window.add_scenes(torch.tensor([3.0]), ["only"])
    assert not any(key.startswith("loss_of") for key in window.read(ONE, 0.1))


def test_a_run_logs_the_loss_of_every_source(tiny: list[str], tmp_path: Path) -> None:
    typed = read_overrides([*tiny, "trainer.log_every=2", "trainer.batch_size=8"], CONFIGS, "pretrain", SECTIONS.names())
    config = compose_config(CONFIGS, "pretrain", typed)
    rooms = {"_target_": "muskie.data.sources.synthetic.SyntheticRooms", "scenes": 4, "frames": 12}
    with open_dict(config):
        config.data = {"sources": {"plain": rooms, "often": {**rooms, "seed": 1, "weight": 3}}}
        config.output_dir = str(tmp_path)
    assert Pretraining(config, ONE).run()
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in written if "train/loss" in line]
    assert len(logged) == 2
    for line in logged:
        assert 0 < line["train/loss_of/plain"] < 10 and 0 < line["train/loss_of/often"] < 10
        assert line["train/unusable/plain"] == line["train/unusable/often"] == line["train/unreadable_images"] == 0
    assert "weight: 3" in (tmp_path / "config.yaml").read_text()


def test_too_much_that_cannot_be_used_ends_the_run_and_is_saved(tiny: list[str], tmp_path: Path, image_root: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(image_root, root)
    for number in range(0, 16, 2):
        for scene in root.iterdir():
            (scene / f"{number:02d}.png").write_bytes(b"no picture")
    words = [word for word in tiny if not word.startswith(("data.root", "trainer.log_every"))]
    words += [f"data.root={root}", f"output_dir={tmp_path / 'run'}", "trainer.log_every=3", "trainer.steps=9"]
    with pytest.raises(DataError) as caught:
        train(words)
    told = str(caught.value)
    assert "source 'folder' (data, " in told and "more than max_unusable=0.05" in told and told.count(".png: ") == 10
    assert "The first ones:" in told and "scripts/index_scenes.py" in told
    assert state(tmp_path / "run" / "checkpoints")["step"] == 3, "and what was trained is saved"
    allowed = float(told.rsplit("max_unusable=", 1)[1])
    train([*words[:-3], f"output_dir={tmp_path / 'more'}", f"max_unusable={allowed}", "trainer.steps=3"])
    last = json.loads((tmp_path / "more" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["train/unreadable_images"] > 0
