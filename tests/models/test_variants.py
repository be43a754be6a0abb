"""The named models: sizes, settings, errors in words, and saving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import muskie
from muskie.errors import CheckpointError, ConfigError
from muskie.models.variants import _variants, model_variant

PUBLISHED = {
    "muskie_small": 22_182_912,
    "muskie_base": 86_831_616,
    "muskie_large": 304_678_400,
    "muskie_huge": 632_638_976,
    "mum_vitb16": 111_655_680,
    "mum_vitl16": 303_099_904,
    "mum_vitl16_decoderb": 389_534_464,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_published_sizes(monkeypatch: pytest.MonkeyPatch, name: str, parameters: int) -> None:
    monkeypatch.setattr("muskie.models.masked_view.initialise", lambda *_: None)  # the sizes are real, the memory is not
    with torch.device("meta"):
        model = muskie.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == parameters


def linear(width_in: int, width: int) -> int:
    return width_in * width + width


def block(c: int) -> int:
    """Two norms, queries, keys and values, projection, and an MLP of four times the width."""
    return 2 * 2 * c + linear(c, 3 * c) + linear(c, c) + linear(c, 4 * c) + linear(4 * c, c)


def vit(c: int, depth: int, class_token: bool) -> int:
    return linear(768, c) + c * class_token + depth * block(c) + 2 * c


def decoder(c: int, d: int, blocks: int) -> int:
    """Embedding, mask token, blocks, norm and head."""
    return linear(c, d) + d + blocks + 2 * d + linear(d, 768)


def cross_block(d: int) -> int:
    return block(d) + 2 * 2 * d + 4 * linear(d, d)  # two norms and four projections more


COUNTED = {
    "mum_vitb16": vit(768, 12, True) + decoder(768, 512, 8 * block(512)),
    "mum_vitl16": vit(1024, 24, True),
    "mum_vitl16_decoderb": vit(1024, 24, True) + decoder(1024, 768, 12 * block(768)),
    "mum_vith16": vit(1280, 32, True) + decoder(1280, 1024, 24 * block(1024)),
    "croco_v2_vitb": vit(768, 12, False) + decoder(768, 768, 12 * cross_block(768)),
    "croco_v2_vitl": vit(1024, 24, False) + decoder(1024, 768, 12 * cross_block(768)),
    "mae_vitb": vit(768, 12, True) + decoder(768, 512, 8 * block(512)),
    "mae_vitl": vit(1024, 24, True) + decoder(1024, 512, 8 * block(512)),
}
"""Parameters of the other methods, by the shapes that their papers state."""

TENSORS = {"mum_vitl16": 294, "mum_vitl16_decoderb": 446}
"""Tensors of MuM's published files."""


@pytest.mark.parametrize("name", COUNTED)
def test_sizes_of_other_methods(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert PUBLISHED.get(name, COUNTED[name]) == COUNTED[name]
    monkeypatch.setattr("muskie.models.masked_view.initialise", lambda *_: None)
    with torch.device("meta"):
        model = muskie.create_model(name)
    assert sum(p.numel() for p in model.parameters()) == COUNTED[name]
    assert model.patch_size == 16 and not model.confidence and model.patch_norm
    heads = model.encoder.config.heads
    assert model.encoder.config.width // heads == (80 if name == "mum_vith16" else 64)
    if name in TENSORS:  # published files hold the periods of the rotary positions of each part, too
        assert len(model.state_dict()) + 1 + (model.decoder is not None) == TENSORS[name]


@pytest.mark.parametrize("name", muskie.list_models())
def test_every_variant_runs(name: str) -> None:
    alone = name == "mum_vitl16"
    has_decoder = bool(_variants[name]().get("decoder")) and not alone
    model = muskie.create_model(name, depth=1, **({"decoder": {"depth": 1}} if has_decoder else {}))
    p = model.patch_size
    images, mask = torch.zeros(1, 2, 3, p, 2 * p, dtype=torch.uint8), torch.tensor([[[[True, False]], [[False, True]]]])
    assert model.forward_features(images).patches.shape == (1, 2, 2, model.encoder.config.width)
    if alone:
        assert model.head is None
        return
    prediction = model(images, mask, hidden_only=True)
    assert prediction.pixels.shape == (2, 3 * p * p) and prediction.pixels.isfinite().all()


def test_names() -> None:
    assert muskie.list_models() == sorted(muskie.list_models()) and {"muskie_tiny", *PUBLISHED} <= set(muskie.list_models())


def test_a_variant_from_elsewhere() -> None:
    @model_variant
    def somebodys_model() -> dict[str, Any]:
        return {"width": 16, "depth": 1, "heads": 1, "patch_size": 2, "decoder": {"depth": 1, "width": 8, "heads": 2}}

    try:
        assert "somebodys_model" in muskie.list_models()
        model = muskie.create_model("somebodys_model", registers=0)
        assert model.decoder is not None and model.decoder.config.width == 8
        assert model.forward_features(torch.rand(1, 1, 3, 4, 6)).registers.shape == (1, 1, 0, 16)
    finally:
        del _variants["somebodys_model"]


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        ("muskie_bse", {}, "'muskie_bse' is unknown; did you mean 'muskie_base'"),
        ("muskie_tiny", {"patchsize": 8}, "model.patchsize is unknown; did you mean 'model.patch_size'"),
        ("muskie_tiny", {"decoder": {"dept": 2}}, "model.decoder.dept is unknown; did you mean 'model.decoder.depth'"),
        ("muskie_tiny", {"decoder": 2}, r"model.decoder=2: expected a mapping such as decoder.depth=2"),
        ("muskie_tiny", {"init": "mimetics", "depth": 1}, "init='mimetics' is unknown; did you mean 'mimetic'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name: str, overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        muskie.create_model(name, **overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"patch_size": 4, "decoder": {"depth": 2, "width": 32, "heads": 2}},
        {"image_mean": (0.485, 0.456, 0.406), "image_std": [0.229, 0.224, 0.225], "rope_angles_in": "float16"},
        {"qk_norm": True, "rotate_values": True, "registers": 1, "init": "mimetic", "seed": 3},
        {"confidence": False, "patch_norm": True, "decoder": {"kind": "cross", "depth": 1, "width": 32, "heads": 2}},
        {"decoder": {"depth": 1, "width": 32, "heads": 2, "positions": "axial", "norm_eps": 1e-3, "mute_prefix": True}},
    ],
    ids=["plain", "decoder", "colours", "options", "cross", "axial"],
)
@torch.no_grad()
def test_saved_and_loaded_is_the_same_model(tmp_path: Path, overrides: dict[str, Any]) -> None:
    model = muskie.create_model("muskie_tiny", depth=2, width=48, heads=2, **overrides).eval()
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "model")
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert len(modes) == 1, "whoever may read the configuration may read the weights"
    loaded = muskie.from_pretrained(tmp_path / "model")
    assert not loaded.training
    p = model.patch_size
    images, mask = torch.rand(1, 2, 3, 2 * p, 3 * p), torch.rand(1, 2, 2, 3) < 0.5
    assert torch.equal(model(images, mask).pixels, loaded(images, mask).pixels)
    assert torch.equal(model.reconstruct(images, mask)[0], loaded.reconstruct(images, mask)[0])
    loaded.save_pretrained(tmp_path / "again")
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("model", "again")]
    assert configs[0] == configs[1]
    encoder = configs[0]["encoder"]
    assert encoder["patch_size"] == p and encoder["rope_base"] == 100.0, "defaults are written out"
    assert encoder["image_mean"] == list(overrides.get("image_mean", (0.5, 0.5, 0.5)))
    assert encoder["image_std"] == list(overrides.get("image_std", (0.5, 0.5, 0.5)))
    assert configs[0]["decoder"]["depth"] == overrides.get("decoder", {}).get("depth", 0)


def test_what_was_saved_before_there_were_kinds_is_the_same_model(tmp_path: Path) -> None:
    """The `config.json` of then; and parameters in their order, by which checkpoints keep the state of the optimiser."""
    encoder = {"depth": 1, "heads": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "mlp_ratio": 2.0, "patch_size": 8,
               "qk_norm": False, "registers": 2, "rope_angles_in": None, "rope_base": 50.0, "rotate_values": True,
               "width": 32}  # fmt: skip
    decoder = {"depth": 1, "heads": 2, "mlp_ratio": 2.0, "qk_norm": True, "rotate_values": False, "width": 16}
    model = muskie.create_model("muskie_tiny", **{**encoder, "decoder": decoder, "seed": 3})
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"encoder": encoder, "decoder": decoder, "init": "torch", "seed": 3}))
    loaded = muskie.from_pretrained(tmp_path)
    assert loaded.encoder.config == model.encoder.config and loaded.decoder is not None
    assert loaded.decoder.config.rope_base == 50.0 and loaded.decoder.config.positions == "steps"
    assert loaded.confidence and not loaded.patch_norm
    parts = [name.split(".")[:2] for name, _ in loaded.named_parameters()]
    order = ["encoder.registers", "encoder.placeholder", "encoder.patch_embed", "encoder.blocks", "encoder.norm",
             "decoder.embed", "decoder.blocks", "decoder.norm", "head.weight", "head.bias"]  # fmt: skip
    assert list(dict.fromkeys(".".join(part) for part in parts)) == order
    images, mask = torch.rand(1, 2, 3, 16, 24), torch.rand(1, 2, 2, 3) < 0.5
    assert torch.equal(loaded(images, mask).pixels, model.eval()(images, mask).pixels)


def test_incomplete_folders_are_refused(tmp_path: Path) -> None:
    muskie.create_model("muskie_tiny", depth=1, width=24, heads=2).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({key: value for key, value in weights.items() if key != "encoder.placeholder"}, file)
    with pytest.raises(CheckpointError, match=r"encoder\.placeholder"):
        muskie.from_pretrained(tmp_path)
    save_file({**weights, "more": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="more"):
        muskie.from_pretrained(str(tmp_path))
    save_file({**weights, "head.bias": torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match=r"head\.bias"):
        muskie.from_pretrained(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors; give a run"):
        muskie.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"there is no such folder"):
        muskie.from_pretrained(str(tmp_path / "none"))


def test_the_folder_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="the run has not ended"):
        muskie.from_pretrained(tmp_path)
    model = muskie.create_model("muskie_tiny", depth=1, width=24, heads=2)
    model.save_pretrained(tmp_path / "model")
    for given in (tmp_path, str(tmp_path), tmp_path / "model", f"~/{tmp_path.name}", f"~/{tmp_path.name}/model"):
        loaded = muskie.from_pretrained(given)
        assert not loaded.training
        assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in model.state_dict().items())
    assert capsys.readouterr().out == ""


def test_the_model_card_shows_how_to_load_it(tmp_path: Path) -> None:
    model = muskie.create_model("muskie_tiny", depth=1, width=24, heads=2)
    model.save_pretrained(tmp_path / "plain")
    model.save_pretrained(tmp_path / "run", model_card_kwargs={"title": "kitchen-1", "result": "Gain 0.5."})
    plain, of_a_run = ((tmp_path / name / "README.md").read_text() for name in ("plain", "run"))
    assert "# A muskie model" in plain and "# kitchen-1" in of_a_run and "Gain 0.5." in of_a_run
    for card in (plain, of_a_run):
        assert "muskie.from_pretrained(" in card and "arxiv.org/abs/2511.18115" in card
        assert "More Information Needed" not in card and "license" not in card, "weights are their makers'"


def test_broken_folders_and_unknown_names_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    muskie.create_model("muskie_tiny", depth=1, width=24, heads=2).save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    sound = config.read_text()
    for text in ("{", '{"width": 3}', "[]", sound.replace('"width": 24', '"width": "x"')):
        config.write_text(text)
        with pytest.raises(CheckpointError, match=r"config\.json or .* is broken.*anew by save_pretrained \(\w+: ."):
            muskie.from_pretrained(tmp_path)
    config.write_text(sound)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is broken.*\(SafetensorError: ."):
        muskie.from_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"is a model without weights: muskie\.create_model\('muskie_tiny'\) makes a new one"
    ):
        muskie.from_pretrained("muskie_tiny")
    for path in ("runs/no/such/model", "./run", "../run"):
        with pytest.raises(CheckpointError, match="there is no such folder"):
            muskie.from_pretrained(path)
    with pytest.raises(CheckpointError, match="neither a folder here nor a model that the Hugging Face hub gives"):
        muskie.from_pretrained("no such/name")


def test_a_slip_in_the_name_of_a_run_is_not_asked_of_the_hub_and_told_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        muskie.create_model("muskie_tiny", depth=1, width=24, heads=2).save_pretrained(tmp_path / "outputs" / name / "model")
    (tmp_path / "outputs" / "stopped").mkdir()
    asked: list[object] = []
    monkeypatch.setattr("muskie.models.masked_view.MaskedViewModel.from_pretrained", lambda *a, **k: asked.append(a))
    with pytest.raises(CheckpointError, match=r"outputs/secnd: there is no such folder.*outputs holds second, first$"):
        muskie.from_pretrained("outputs/secnd")
    with pytest.raises(CheckpointError, match=r"outputs: no config\.json.*; outputs holds first, second$"):
        muskie.from_pretrained("outputs")
    assert not asked
    muskie.from_pretrained("outputz/second")  # an owner on the hub
    assert asked == [("outputz/second",)]
