"""The published command line, translated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published_lines import BASE, LARGE

from muskie.errors import ConfigError
from muskie.overrides import compose_config, read_overrides
from muskie.published_flags import translate
from muskie.training.settings import SECTIONS, read_settings

CONFIGS = Path(__file__).parents[1] / "configs"


def settings(*words: str) -> dict[str, Any]:
    """What a command line means in the end."""
    overrides = read_overrides(translate(words), CONFIGS, "pretrain", SECTIONS.names())
    return read_settings(compose_config(CONFIGS, "pretrain", overrides))


def test_without_a_published_flag_nothing_changes() -> None:
    words = ["-m", "model=muskie_base", "--cfg", "job", "trainer.steps=3"]
    assert translate(words) == words and translate([]) == []


@pytest.mark.parametrize(("line", "name", "batch", "checkpointing"), [(BASE, "base", 4, False), (LARGE, "large", 16, True)])
def test_the_published_lines(line: list[str], name: str, batch: int, checkpointing: bool) -> None:
    s = settings(*line)
    assert s["model"] == {"name": f"muskie_{name}"}
    assert s["output_dir"] == s["log_dir"] == f"output_dir/{name}"
    assert s["plan"]["sizes"] == [224, 384, 512] and s["plan"]["views"] == 8 and s["plan"]["reuse"] == 2
    assert s["plan"]["views_per_scene"] == [1, 2, 4, 8] and s["plan"]["window"] is None
    masks = s["masks"]
    assert (masks.modes, masks.ratios) == (("random", "rectangle", "ellipse"), (0.9, 0.75, 0.75))
    assert masks.references == "draw" and not masks.published
    trainer, optim = s["trainer"], s["optim"]
    assert (trainer.batch_size, trainer.checkpointing, trainer.accumulate) == (batch, checkpointing, 1)
    assert (trainer.steps, trainer.epochs, trainer.epoch_size, trainer.workers) == (None, 400, 100_000, 10)
    assert (optim.lr, optim.warmup_epochs, optim.weight_decay, optim.min_lr) == (2e-4, 2, 0.05, 0)
    assert (optim.beta1, optim.beta2) == (0.9, 0.95)
    # 8 GPUs: each load of 8 batches serves two steps.
    assert trainer.total_steps(8, 2) == 400 * (100_000 // (8 * batch)) * 2


def test_published_defaults() -> None:
    s = settings("--dynamic_batch")
    assert s["model"] == {"name": "muskie_base"} and s["output_dir"] == "./output_dir" and s["log_dir"] is None
    assert s["plan"]["sizes"] == [224] and s["seed"] == 0 and s["resume"] is None
    assert (s["masks"].modes, s["masks"].ratios) == (("random",), (0.9,))
    assert (s["trainer"].batch_size, s["trainer"].epochs, s["trainer"].epoch_size) == (64, 400, 100_000)
    assert (s["optim"].lr, s["optim"].base_lr, s["optim"].warmup_epochs) == (None, 1e-3, 2)
    assert settings("--epochs", "3")["plan"]["views_per_scene"] == [8]


@pytest.mark.parametrize(
    ("words", "section", "name", "value"),
    [
        ("--batch_size 3", "trainer", "batch_size", 3),
        ("--epochs 7", "trainer", "epochs", 7),
        ("--epoch_size 1_000", "trainer", "epoch_size", 1000),
        ("--accum_iter 4", "trainer", "accumulate", 4),
        ("--num_workers 0", "trainer", "workers", 0),
        ("--device cpu", "trainer", "device", "cpu"),
        ("--enable_checkpoint", "trainer", "checkpointing", True),
        ("--weight_decay .1", "optim", "weight_decay", 0.1),
        ("--lr 1e-5", "optim", "lr", 1e-5),
        ("--blr 5e-4", "optim", "base_lr", 5e-4),
        ("--min_lr 1e-6", "optim", "min_lr", 1e-6),
        ("--warmup_epochs 5", "optim", "warmup_epochs", 5),
        ("--num_ref 3", "masks", "references", 3),
        ("--num_ref -1", "masks", "references", "draw"),
        ("--mask_mode blob --mask_ratio 0.5", "masks", "modes", ("blob",)),
        ("--mask_mode random_walk blob --mask_ratio .5 .6", "masks", "ratios", (0.5, 0.6)),
        ("--model huge", "model", "name", "muskie_huge"),
        ("--model=small", "model", "name", "muskie_small"),
        ("--input_size_list 64 32", "plan", "sizes", [64, 32]),
        ("--input_size_list=64", "plan", "sizes", [64]),
        ("--seed 9", None, "seed", 9),
        ("--resume runs/a.pt", None, "resume", "runs/a.pt"),
        ("--output_dir lr=1/it's", None, "output_dir", "lr=1/it's"),
        ("--output_dir=a=b", None, "output_dir", "a=b"),
        ("--log_dir tb", None, "log_dir", "tb"),
    ],
)
def test_every_flag(words: str, section: str | None, name: str, value: Any) -> None:
    found = settings(*words.split())
    part = found[section] if section else found
    assert (part[name] if isinstance(part, dict) else getattr(part, name)) == value


@pytest.mark.parametrize("words", ["--norm_pix_loss", "--pin_mem", "--no_pin_mem", "--world_size 4", "--local_rank 0",
                                   "--dist_on_itp", "--dist_url env://"])  # fmt: skip
def test_flags_that_are_not_needed_are_said_to_be(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert translate([*words.split(), *BASE]) == translate(BASE)
    assert capsys.readouterr().err.startswith(f"note: {words.split()[0]} is not used: ")


def test_overrides_behind_the_flags_win() -> None:
    s = settings(*BASE, "trainer.batch_size=2", "model=muskie_tiny", "plan.sizes=[32]", "trainer.accumulate=3", "optim.lr=1")
    assert (s["trainer"].batch_size, s["trainer"].accumulate, s["optim"].lr) == (2, 3, 1.0)
    assert s["model"] == {"name": "muskie_tiny"} and s["plan"]["sizes"] == [32]
    assert settings("plan.reuse=1", *BASE, "--epochs", "3")["plan"]["reuse"] == 1
    assert settings(*BASE, "--epochs", "3")["trainer"].epochs == 3
    keys = [word.split("=")[0] for word in translate([*BASE, "model=muskie_tiny", "plan.sizes=[32]"])]
    assert len(keys) == len(set(keys))
    words = translate(["--mask_mode", "random", "blob", "-m", "seed=1,2", "--epochs", "2", "--cfg", "job"])
    assert words[-4:] == ["-m", "seed=1,2", "--cfg", "job"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epoch 3", "--epoch is unknown; did you mean '--epochs'"),
        ("--data folder", "--data is unknown. Settings have no dashes, e.g. data=folder"),
        ("--mask_modes random", "--mask_modes is unknown; did you mean '--mask_mode'"),
        ("--epochs 3 --multi-run", "--multi-run is unknown; did you mean '--multirun'"),
        ("-x", "-x is unknown"),
        ("--epochs many", "argument --epochs: invalid int value: 'many'"),
        ("--epochs", "argument --epochs: expected one argument"),
        ("--model giant", "argument --model: invalid choice: 'giant'"),
        ("--start_epoch 5", "--start_epoch 5: a run continues where its checkpoint ends; use --resume"),
        ("--mask_mode random blob", "masks.modes has 2 entries and masks.ratios has 1"),
        ("--num_ref 9 5", "cannot be read as key=value"),
    ],
)
def test_what_cannot_be_used(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(*words.split())
    assert message in str(raised.value)
