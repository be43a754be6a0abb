"""The weights of reconstruction models: taken from a backbone, saved, loaded, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_recon import SMALL, VIT, lively, needs_timm, outputs, small

import muskie
from muskie.errors import CheckpointError
from muskie.models.model_kind import MASKED_VIEWS, RECONSTRUCTION, check_kind
from muskie.models.recon_load import create_reconstruction_model, load_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel


@pytest.mark.parametrize("given", ["model", "folder", "run", "name"])
@torch.no_grad()
def test_weights_of_a_backbone_are_kept(tmp_path: Path, given: str) -> None:
    pretrained = muskie.create_model(**SMALL, qk_norm=True, seed=3)
    if given != "name":
        for parameter in pretrained.parameters():
            parameter.add_(0.1)
    pretrained.save_pretrained(tmp_path / "model")
    named: Any = {**SMALL, "qk_norm": True, "seed": 3}
    spec = {"model": pretrained, "folder": str(tmp_path / "model"), "run": str(tmp_path), "name": named}[given]
    before = torch.get_rng_state()
    model = create_reconstruction_model(spec, decoder_depth=1, seed=7)
    assert torch.equal(before, torch.get_rng_state())
    own, weights = model.backbone.encoder.state_dict(), pretrained.encoder.state_dict()
    assert weights.keys() - own.keys() == {"placeholder"}
    assert all(torch.equal(weight, weights[name]) for name, weight in own.items())
    images = torch.rand(1, 2, 3, 8, 12)
    assert torch.equal(model.backbone.layers(images, []).last[:, :, 4:], pretrained.forward_features(images).patches)
    assert not torch.equal(model.untrained().state_dict()["backbone.encoder.registers"], own["registers"])


def test_fresh_weights_are_those_of_the_named_initialisation() -> None:
    model = create_reconstruction_model(SMALL, init="mimetic", seed=2)
    expected = muskie.create_model(**SMALL, init="mimetic", seed=2).encoder.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.backbone.encoder.state_dict().items())
    assert (model.decoder.state_dict()["blocks.0.global_block.attn.qkv.bias"] == 0).all(), "as of mimetic attention"


@needs_timm
@torch.no_grad()
def test_weights_of_a_vit_are_kept() -> None:
    spec = {"name": "timm/test_vit", "pretrained": False, "img_size": 32, "patch_size": 8, "seed": 4}
    model = create_reconstruction_model(spec, seed=1)
    expected = ReconstructionModel(VIT, seed=4).backbone.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.backbone.state_dict().items())
    assert model.backbone.config() == VIT


@pytest.mark.parametrize("kind", ["ours", "timm", "published"])
@torch.no_grad()
def test_saved_and_loaded_is_the_same_model(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "timm":
        request.getfixturevalue("timm")
    settings: dict[str, Any] = {"backbone": VIT} if kind == "timm" else {"published": kind == "published"}
    model, images = lively(small(**settings, features=6, hooks=[0, 1, 2, -1])).float(), torch.rand(1, 2, 3, 16, 24)
    model.save_pretrained(tmp_path / "model", model_card_kwargs={"title": "kitchen-1"})
    for given in (tmp_path / "model", str(tmp_path)):  # a model's folder, a run's
        loaded = load_reconstruction_model(given)
        assert not loaded.training and outputs(loaded(images)).keys() == outputs(model(images)).keys()
        assert all(torch.equal(value, outputs(model(images))[name]) for name, value in outputs(loaded(images)).items())
    loaded.save_pretrained(tmp_path / "again")
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("model", "again")]
    assert configs[0] == configs[1] and configs[0]["kind"] == "reconstruction" and configs[0]["features"] == 6
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1
    card = (tmp_path / "model" / "README.md").read_text()
    assert "# kitchen-1" in card and "load_reconstruction_model(" in card and "license" not in card
    assert ReconstructionModel.from_pretrained(tmp_path / "model").hooks == loaded.hooks  # the hub's own way


def test_the_hubs_own_way_refuses_weights_that_are_not_complete(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if k != "camera_head.translation.bias"}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"camera_head\.translation\.bias"):
        ReconstructionModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("load", [load_reconstruction_model, ReconstructionModel.from_pretrained], ids=["ours", "the hub's"])
def test_weights_that_do_not_fit_are_named_where_that_is_allowed(load: Any, tmp_path: Path) -> None:
    """And the others are taken."""
    model = lively(small()).float()
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {k: v for k, v in weights.items() if k != "camera_head.translation.bias"}
    save_file({**kept, "extra.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"camera_head\.translation\.bias"):
        load(tmp_path)
    with pytest.warns(UserWarning) as told:
        found = load(tmp_path, strict=False).state_dict()
    (line,) = [str(warning.message) for warning in told if "does not fit the model" in str(warning.message)]
    assert "1 missing, which keep fresh values: camera_head.translation.bias; 1 unexpected" in line
    assert "extra.weight" in line
    assert all(torch.equal(found[name], value) for name, value in kept.items())


def test_models_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    muskie.create_model(**SMALL).save_pretrained(tmp_path / "pretrained")
    with pytest.raises(
        CheckpointError, match=r"pretrained is a pre-training model.*no geometry: fine-tune it by train_ffrecon"
    ):
        load_reconstruction_model(tmp_path / "pretrained")
    small().save_pretrained(tmp_path / "reconstruction")
    with pytest.raises(CheckpointError, match="reconstruction"):
        muskie.from_pretrained(tmp_path / "reconstruction")
    config = json.loads((tmp_path / "reconstruction" / "config.json").read_text())
    with pytest.raises(CheckpointError, match="x is a reconstruction model and no pre-training model"):
        check_kind(config, MASKED_VIEWS, "x")
    check_kind(config, RECONSTRUCTION, "x")
    check_kind({"encoder": {}}, MASKED_VIEWS, "x")


def test_broken_folders_are_told(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    sound = (tmp_path / "config.json").read_text()
    for text in ("{", "[]", '{"width": 3}', sound.replace('"width": 32', '"width": "x"')):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"config\.json or .* is broken.*anew by save_pretrained \(\w+: ."):
            load_reconstruction_model(tmp_path)
    (tmp_path / "config.json").write_text(sound.replace('"decoder_depth": 2', '"decoder_depth": 1'))
    with pytest.raises(CheckpointError, match=r"config\.json cannot be used: model\.hooks=\[0, 1, 2, 3\]"):
        load_reconstruction_model(tmp_path)
    (tmp_path / "config.json").write_text(sound.replace('"decoder_depth": 2', '"decoder_depth": 3'))
    with pytest.raises(CheckpointError, match=r"decoder\.blocks\.2"):
        load_reconstruction_model(tmp_path)
    (tmp_path / "config.json").write_text(sound)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="is broken"):
        load_reconstruction_model(tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        load_reconstruction_model(tmp_path)


def test_a_model_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    model.save_pretrained(tmp_path / "cache")
    asked: list[Any] = []

    def download(name: str, **settings: Any) -> str:
        asked.append((name, settings.get("revision")))
        return str(tmp_path / "cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    loaded = load_reconstruction_model("somebody/kitchen", revision="v2")
    assert asked == [("somebody/kitchen", "v2")] and loaded.hooks == model.hooks
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(CheckpointError, match=r"somebody/kitchen: neither a folder here nor .* \(OSError: offline\)"):
        load_reconstruction_model("somebody/kitchen")
