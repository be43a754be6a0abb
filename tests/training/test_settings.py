"""What the settings of a run say, written out, and which of them have no effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tiny import pretraining

from muskie.errors import ConfigError
from muskie.models.variants import model_config
from muskie.objectives.pixels import MaskedPixels
from muskie.training.optim import OptimConfig
from muskie.training.run_folder import changes
from muskie.training.settings import as_if_now, in_full, read_settings, without_effect
from muskie.training.trainer_config import TrainerConfig


def test_written_out_and_read_again_it_is_the_same_run(tiny: list[str], tmp_path: Path) -> None:
    words = [
        *tiny,
        "model.decoder.depth=1",
        "model.decoder.width=16",
        "model.decoder.heads=2",
        "plan.window={start:4,end:9}",
    ]
    run = pretraining([*words, f"output_dir={tmp_path}"])
    written = OmegaConf.create(run.settings_text)
    again = read_settings(written)  # type: ignore[arg-type]
    for section in ("augment", "objective", "optim", "trainer", "holdout", "evaluation"):
        assert again[section] == run.settings[section]
    assert vars(again["masks"]) == vars(run.settings["masks"])
    assert in_full(written) == run.settings_text  # type: ignore[arg-type]
    encoder, decoder = model_config(**{k: v for k, v in again["model"].items() if k != "init"})
    assert run.model.decoder is not None and decoder == run.model.decoder.config
    own = run.model.encoder.config
    assert {k: list(v) if isinstance(v, list | tuple) else v for k, v in vars(own).items()} == vars(encoder)
    assert OmegaConf.to_container(written.plan)["window"] == {"start": 4, "end": 9}


def test_roots_are_absolute(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    rooms = {"_target_": "muskie.data.sources.synthetic.SyntheticRooms"}
    for root, written in {
        "photos": str(tmp_path / "here" / "photos"),
        "~/here": str(tmp_path / "here"),
        "s3://bucket/photos": "s3://bucket/photos",
    }.items():
        node = {"_target_": "muskie.data.sources.folder.ImageFolders", "root": root}
        single = OmegaConf.create(in_full(OmegaConf.create({"data": node, "model": {"name": "muskie_tiny"}})))
        several = {"data": {"sources": {"mine": node, "rooms": rooms}}, "model": {"name": "muskie_tiny"}}
        assert single.data.root == OmegaConf.create(in_full(OmegaConf.create(several))).data.sources.mine.root == written


def test_roots_that_may_not_be_looked_at_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(root: str) -> str:
        node = {"_target_": "muskie.data.sources.folder.ImageFolders", "root": root}
        return OmegaConf.to_yaml(OmegaConf.create({"data": node, "model": {"name": "muskie_tiny"}}))

    for root in ("~nobody_of_this_name/photos", "x" * 5000, "nul\0l"):
        assert OmegaConf.create(as_if_now(settings(root))).data.root == root

    def forbidden(path: Path) -> bool:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "exists", forbidden)
    written = OmegaConf.create(as_if_now(settings("/locked/photos")))
    assert written.data.root == "/locked/photos" and "optim" in written


def test_what_only_the_code_says_is_there(tiny: list[str], tmp_path: Path) -> None:
    written = OmegaConf.create(pretraining([*tiny, f"output_dir={tmp_path}"]).settings_text)
    assert written.optim.beta2 == OptimConfig().beta2 and written.trainer.accumulate == 1
    assert written.model.width == 32 and written.model.mlp_ratio == 4.0 and written.model.decoder.depth == 0
    assert "seed" not in written.plan and "patch_size" not in written.plan
    assert written.data.name == "folder"


@dataclass(frozen=True)
class Power:
    p: float = 2.0


@dataclass(frozen=True)
class Called:
    function: Callable[[Any], Any] = max


class Norm(Enum):
    L1 = 1


@dataclass(frozen=True)
class Weighted(MaskedPixels):
    """An objective of one's own with defaults that YAML can say, and with some that it cannot."""

    weights: list[float] = field(default_factory=lambda: [1.0, 2.0])
    power: Power = Power()
    reduce: Callable[[Any], Any] = max
    called: Called = Called()
    pairs: dict[Any, int] = field(default_factory=lambda: {(1, 2): 3})
    names: Sequence[str] = ("a", "${b}", "???")
    norm: Norm = Norm.L1


class Lighter(Weighted):
    """No dataclass itself: its own `__init__` says what the defaults are."""

    def __init__(self, weights: list[float] | None = None) -> None:
        super().__init__()


def test_defaults_that_yaml_cannot_say_are_left_out(tiny: list[str], tmp_path: Path) -> None:
    run = pretraining([*tiny, "objective._target_=test_settings.Weighted", f"output_dir={tmp_path}"])
    written = OmegaConf.create(run.settings_text)
    plain = {"floor": 0.1, "weights": [1.0, 2.0], "power": {"p": 2.0}}
    assert plain.items() <= OmegaConf.to_container(written.objective).items()
    assert not {"reduce", "called", "pairs", "names", "norm"} & set(written.objective)
    assert in_full(written) == run.settings_text  # type: ignore[arg-type]
    assert run.run()


def test_defaults_are_those_of_the_class_that_is_named(tiny: list[str], tmp_path: Path) -> None:
    run = pretraining([*tiny, "objective._target_=test_settings.Lighter", f"output_dir={tmp_path}"])
    assert OmegaConf.create(run.settings_text).objective == {"_target_": "test_settings.Lighter", "weights": None}


def test_several_sources_are_written_out_each(tiny: list[str], image_root: Path, tmp_path: Path) -> None:
    config = OmegaConf.create(pretraining([*tiny, f"output_dir={tmp_path}"]).settings_text)
    folder = {"_target_": "muskie.data.sources.folder.ImageFolders", "root": str(image_root)}
    config.data = {"sources": {"mine": folder, "rooms": {"_target_": "muskie.data.sources.synthetic.SyntheticRooms"}}}
    text = in_full(config)  # type: ignore[arg-type]
    written = OmegaConf.create(text)
    assert written.data.sources.mine == {**folder, "name": "folder", "min_images": 1}
    assert written.data.sources.rooms.frames == 64 and in_full(written) == text  # type: ignore[arg-type]
    assert read_settings(written)["data"] == OmegaConf.to_container(written.data)  # type: ignore[arg-type]


def test_a_setting_that_has_come_since_has_not_changed(tiny: list[str], tmp_path: Path) -> None:
    text = pretraining([*tiny, f"output_dir={tmp_path}"]).settings_text
    old = OmegaConf.create(text)
    del old["trainer"]["accumulate"], old["augment"]["distortion"]
    assert changes(as_if_now(OmegaConf.to_yaml(old)), text) == []
    old["trainer"]["gone"] = 3
    assert "trainer.gone 3 -> (not given)" in changes(as_if_now(OmegaConf.to_yaml(old)), text)
    old["objective"]["_target_"] = "nowhere.Objective"
    assert "trainer.accumulate (not given) -> 1" in changes(as_if_now(OmegaConf.to_yaml(old)), text)


@pytest.mark.parametrize(
    ("trainer", "optim", "lines"),
    [
        ({"steps": 3}, {"lr": 1e-3}, []),
        ({"epochs": 2.0, "epoch_size": 50}, {"base_lr": 0.5}, []),
        ({"steps": 3, "epochs": 2.0}, {}, ["trainer.steps=3 goes before trainer.epochs=2.0"]),
        ({"steps": 3, "epoch_size": 50}, {}, ["trainer.steps=3 goes before trainer.epoch_size=50"]),
        ({"steps": 3, "epoch_size": 50}, {"warmup_epochs": 1.0}, []),
        ({}, {"warmup_epochs": 1.0, "warmup": 0.3}, ["optim.warmup_epochs=1.0 goes before optim.warmup=0.3"]),
        ({}, {"lr": 1e-3, "base_lr": 0.5}, ["optim.lr=0.001 goes before optim.base_lr=0.5"]),
    ],
)
def test_settings_that_others_overrule_are_told(trainer: dict, optim: dict, lines: list[str]) -> None:
    found = without_effect(TrainerConfig(**trainer), OptimConfig(**optim))
    assert [line.split(";")[0] for line in found] == lines


def test_checkpoints_that_would_never_be_kept_are_refused() -> None:
    TrainerConfig(save_every=100, keep_every=300)
    for save_every, keep_every in ((200, 300), (0, 300), (400, 300)):
        with pytest.raises(ConfigError, match=f"keep_every={keep_every}: expected a multiple of trainer.save_every"):
            TrainerConfig(save_every=save_every, keep_every=keep_every)
