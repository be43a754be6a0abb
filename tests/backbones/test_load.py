"""From what somebody names to a backbone, and what is said where that cannot be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import muskie
from muskie.backbones import load as loading
from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import Spec, load_backbone, load_backbones, ours
from muskie.errors import CheckpointError, ConfigError
from muskie.models.masked_view import MaskedViewModel

SHAPE: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks the hub is told that there is none."""

    def nobody(name: str, **settings: object) -> None:
        raise OSError(f"asked the hub for {name}")

    monkeypatch.setattr(MaskedViewModel, "from_pretrained", nobody)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: weights in `model`, trained a little from those of seed 7."""
    model = muskie.create_model("muskie_tiny", seed=7, **SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    model.save_pretrained(tmp_path / "kitchen" / "model")
    return tmp_path / "kitchen"


def weights(backbone: FrozenBackbone) -> dict[str, Tensor]:
    assert isinstance(backbone.model, nn.Module)
    return backbone.model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in other)


def test_a_run(run: Path) -> None:
    backbone = load_backbone(str(run))
    start = muskie.create_model("muskie_tiny", seed=7, **SHAPE).state_dict()
    assert backbone.name == "kitchen" and backbone.depth == 2 and backbone.patch_size == 8
    assert same(weights(backbone), {name: weight + 0.1 for name, weight in start.items()})
    fresh = backbone.before_training()
    assert fresh is not None and fresh.name == "kitchen, untrained" and same(weights(fresh), start)


@pytest.mark.parametrize("typed", ["{}", "{}/", "{}/model", "{}/model/", "{}/../kitchen"])
def test_a_run_is_called_by_its_folder(run: Path, typed: str) -> None:
    assert load_backbone(typed.format(run)).name == "kitchen"
    assert load_backbone(Path(typed.format(run))).name == "kitchen"


def test_a_run_at_home_and_below(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(run.parent))
    monkeypatch.chdir(run.parent)
    assert load_backbone("~/kitchen").name == load_backbone("kitchen").name == "kitchen"
    monkeypatch.chdir(run)
    assert load_backbone("model").name == load_backbone(".").name == "kitchen"


def test_a_folder_of_weights(tmp_path: Path) -> None:
    model = muskie.create_model("muskie_tiny", **SHAPE)
    model.save_pretrained(tmp_path / "weights")
    backbone = load_backbone({"name": str(tmp_path / "weights"), "label": "mine"}, dtype=torch.bfloat16)
    assert backbone.name == "mine" and backbone.dtype == torch.bfloat16 and same(weights(backbone), model.state_dict())


def test_a_model_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    model = muskie.create_model("muskie_tiny", **SHAPE)
    monkeypatch.setattr(MaskedViewModel, "from_pretrained", lambda name, **settings: {"somebody/model": model}[name])
    assert load_backbone("somebody/model").name == "somebody/model"


def test_a_model_of_ours_is_untrained() -> None:
    backbone = load_backbone("muskie_tiny", seed=4)
    assert backbone.name == "muskie_tiny, untrained" and backbone.depth == 4 and backbone.before_training() is None
    assert same(weights(backbone), muskie.create_model("muskie_tiny", seed=4).state_dict())
    wider = load_backbone({"name": "muskie_tiny", "label": "wide", "seed": 9, "pretrained": False, **SHAPE}, seed=4)
    assert wider.name == "wide" and same(weights(wider), muskie.create_model("muskie_tiny", seed=9, **SHAPE).state_dict())


def test_a_folder_goes_before_a_model_of_the_same_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    run.rename("muskie_tiny")
    assert load_backbone("muskie_tiny").depth == 2


def test_a_vit_of_timm() -> None:
    timm = pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
    backbone = load_backbone({"name": "timm/test_vit", "pretrained": False, "patch_size": 8, "seed": 3})
    assert backbone.name == "timm/test_vit, untrained" and backbone.patch_size == 8 and backbone.before_training() is None
    again = load_backbone({"name": "timm/test_vit", "pretrained": False, "patch_size": 8, "label": "small"}, seed=3)
    assert again.name == "small, untrained" and same(weights(again), weights(backbone))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain = timm.create_model("test_vit", patch_size=8, dynamic_img_size=True)
    assert same({name.removeprefix("vit."): w for name, w in weights(backbone).items()}, plain.state_dict())


def test_a_trained_vit_of_timm_can_be_had_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm", reason="timm is an optional extra: pip install 'muskie[eval]'")
    make, asked = timm.create_model, []

    def create(name: str, pretrained: bool, **arguments: object) -> nn.Module:
        asked.append(pretrained)
        return make(name, pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", create)
    backbone = load_backbone({"name": "timm/test_vit", "patch_size": 8})
    fresh = backbone.before_training()
    assert backbone.name == "timm/test_vit" and fresh is not None and fresh.name == "timm/test_vit, untrained"
    assert fresh.patch_size == 8 and asked == [True, False]


@pytest.mark.parametrize("label", [224, "a | b"])
def test_a_label_is_text(label: object) -> None:
    assert load_backbone({"name": "muskie_tiny", "label": label, **SHAPE}).name == str(label)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"label": "mine"}, "name must be given"),
        ({"name": 3}, "name must be given"),
        ("", "name must be given"),
        ("muskie_tini", r"'muskie_tini' is no folder here and no model of ours; did you mean 'muskie_tiny'"),
        ("vit_small_patch16_224", r"A ViT of timm is called timm/NAME"),
        ({"name": "muskie_tiny", "widht": 96}, r"model.widht is unknown; did you mean 'model.width'"),
        ({"name": "muskie_tiny", "width": "wide"}, r"backbone muskie_tiny with .*'width': 'wide'"),
        ({"name": "muskie_tiny", "pretrained": True}, r"muskie_tiny: pretrained=true, and it has no published weights"),
        ("~nobody_at_all/run", "no such home folder"),
    ],
)
def test_settings_that_cannot_be(spec: Spec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_backbone(spec)


@pytest.mark.parametrize("key", ["width", "seed", "pretrained"])
def test_a_model_with_weights_is_as_it_is(run: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{run}: {key} cannot be set, for it has weights"):
        load_backbone({"name": str(run), key: 1})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("somebody/model", r"somebody/model: neither a folder here .*asked the hub for somebody/model"),
        ("./not/there", "there is no such folder"),
        ("/not/there", "/not/there: there is no such folder; give a run"),
    ],
)
def test_weights_that_are_not_there(spec: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_backbone(spec)


def test_everything_that_cannot_be_loaded_is_told_at_once(run: Path) -> None:
    with pytest.raises(ConfigError) as told:
        load_backbones([str(run), "muskie_tini", "/not/there", str(run)], CPU)
    lines = str(told.value).splitlines()
    assert len(lines) == 3
    assert "muskie_tini" in lines[0] and "/not/there" in lines[1] and "two backbones are called 'kitchen'" in lines[2]


def test_several(run: Path) -> None:
    small = {"name": "muskie_tiny", "label": "small", **SHAPE}
    found = load_backbones([str(run), small, {"name": str(run), "label": "again"}], CPU, torch.bfloat16)
    assert [backbone.name for backbone in found] == ["kitchen", "small", "again"]
    assert {backbone.dtype for backbone in found} == {torch.bfloat16}


def test_two_lines_of_a_table_never_have_one_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even those of a backbone and of another one before training: their numbers would be added up."""
    with pytest.raises(ConfigError, match="two backbones are called 'kitchen, untrained'"):
        load_backbones([str(run), {"name": "muskie_tiny", "label": "kitchen, untrained", **SHAPE}], CPU)
    fresh = ours(muskie.create_model("muskie_tiny", **SHAPE), "mine")
    monkeypatch.setattr(loading, "load_backbone", lambda spec, device, dtype: fresh)
    with pytest.raises(ConfigError, match=re.escape("called 'mine'; give each a label: {name: ..., label: ...}")):
        load_backbones(["one", "other"], CPU)
