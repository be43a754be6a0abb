"""The published fine-tuning command lines, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muskie.errors import ConfigError
from muskie.overrides import compose_config, read_overrides
from muskie.published_keys import translate
from muskie.training.finetune import FINETUNING
from muskie.training.settings import read_settings

CONFIGS = Path(__file__).parents[1] / "configs"

SHORT = (
    "model_name=muskie_large model.decoder_depth=2 train.batch_size=2 train.optimizer.warmup_epochs=2 "
    "train.optimizer.lr=4e-5 paths.output_dir=./output_dir/ffrecon/muskie_large_4layers/"
)
LONG = (
    "train.epochs=200 enable_checkpoint=True model_name=muskie_large model.decoder_depth=20 train.batch_size=4 "
    "train.optimizer.warmup_epochs=2 train.optimizer.lr=4e-5 paths.output_dir=./output_dir/ffrecon/muskie_large_40layers/"
)


def settings(line: str) -> dict[str, Any]:
    words = read_overrides(translate(line.split()), CONFIGS, "ffrecon", FINETUNING.sections.names())
    return read_settings(compose_config(CONFIGS, "ffrecon", words), FINETUNING)


def test_the_two_published_commands() -> None:
    short, long = settings(SHORT), settings(LONG)
    for found, depth, batch, epochs, folder in ((short, 2, 2, 60, "4layers"), (long, 20, 4, 200, "40layers")):
        trainer, optim = found["trainer"], found["optim"]
        assert found["backbone"] == "muskie_large" and found["model"]["decoder_depth"] == depth
        assert (trainer.batch_size, trainer.epochs, trainer.steps) == (batch, epochs, None)
        assert (optim.lr, optim.warmup_epochs, optim.weight_decay, optim.name) == (4e-5, 2, 0.05, "adamw")
        assert found["output_dir"] == f"./output_dir/ffrecon/muskie_large_{folder}/"
        assert found["plan"]["sizes"] == [224] and found["plan"]["views"] == 8
        assert found["seed"] == 0
    assert long["trainer"].checkpointing and not short["trainer"].checkpointing
    assert short["trainer"].total_steps(8, 1) == 60 * (45000 // (2 * 8))


def test_ours_may_stand_among_them_and_come_after() -> None:
    found = settings(f"{SHORT} trainer.steps=3 model_name=muskie_tiny data=synthetic plan.sizes=[32]")
    assert found["trainer"].steps == 3 and found["backbone"] == "muskie_tiny" and found["plan"]["sizes"] == [32]


def test_words_without_a_published_key_come_back() -> None:
    words = ["backbone=muskie_tiny", "trainer.steps=3", "--cfg", "job"]
    assert translate(words) == words
    assert settings("backbone=muskie_tiny")["trainer"].batch_size == 4


def test_further_keys(capsys: pytest.CaptureFixture[str]) -> None:
    line = "train.resume= train.accum_iter=2 train.start_epoch=0 model.head.enable_depth=True model.head.enable_point=True"
    found = settings(f"{line} model.loss.train_conf=False data.num_workers=3 data.pin_mem=true system.seed=7")
    assert found["resume"] is None and found["trainer"].accumulate == 2 and found["model"]["depth_head"] is True
    assert found["objective"].confidence == 0 and found["trainer"].workers == 3 and found["seed"] == 7
    assert "data.pin_mem=true is not used: the device decides" in capsys.readouterr().err
    assert settings("train.resume=out/checkpoint-latest.pth")["resume"] == "out/checkpoint-latest.pth"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.bach_size=2", "train.bach_size is unknown; did you mean 'train.batch_size'"),
        ("train.optimizer.momentum=2", "train.optimizer.momentum is unknown"),
        ("train.start_epoch=3", "use train.resume="),
        ("model.head.enable_camera=False", "leave it out"),
        ("recipe=published train.epochs=2", "these stand for a whole recipe"),
        ("model.decoder_dept=2", "did you mean 'model.decoder_depth'"),
    ],
)
def test_mistakes(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings(word)
    assert message in str(error.value)
