"""What a configuration trains on, without its model; that samples are those of a run, `test_visualize_data.py` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muskie.errors import ConfigError
from muskie.training.finetune import FINETUNING
from muskie.training.training_data import patch_size, settings_of, training_data

CONFIGS = Path(__file__).parents[2] / "configs"


def finetuning(*words: str) -> dict[str, Any]:
    return settings_of(words, CONFIGS, "ffrecon", FINETUNING)


def test_the_side_of_a_patch() -> None:
    assert patch_size(settings_of([], CONFIGS)) == 8, "muskie_tiny"
    assert patch_size(settings_of(["model=muskie_base"], CONFIGS)) == 16
    assert patch_size(settings_of(["model.patch_size=4"], CONFIGS)) == 4
    assert patch_size(finetuning("backbone=muskie_tiny")) == 8
    assert patch_size(finetuning("backbone={name: muskie_tiny, patch_size: 4, label: mine}")) == 4
    for size, side in ((224, 16), (518, 14), (40, 8), (30, 1)):  # of what would have to be loaded
        assert patch_size(finetuning("backbone=timm/some_vit", f"plan.sizes=[{size}]")) == side


def test_the_plan_is_that_of_the_run() -> None:
    data = training_data(settings_of(["trainer.steps=6", "plan.reuse=2", "seed=4", "data.scenes=10"], CONFIGS))
    assert (data.plan.steps, data.plan.loads, data.plan.seed, data.plan.patch_size) == (6, 3, 4, 8)
    assert data.index.part == "train" and data.index.places(data.sources[0]) == 8, "a fifth is held out"
    assert training_data(data.settings, steps=50).plan.steps == 50


def test_words_that_mean_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'plan\.sizes'"):
        settings_of(["plan.sises=[16]"], CONFIGS)
    with pytest.raises(ConfigError, match="is not a folder"):
        settings_of([], CONFIGS, more=tmp_path / "none")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("_target_: muskie.data.sources.synthetic.SyntheticRooms\nscenes: 3\n")
    assert settings_of(["data=mine"], CONFIGS, more=tmp_path)["data"]["scenes"] == 3
