"""Published fine-tuned checkpoints become models of ours that compute the same, and every key is accounted for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from recon_reference import BLOCKS, CAMERA, ENCODER, POINTS, geometry, official_reconstruction, second_names, tokens_of
from reference import official_state

from muskie.errors import CheckpointError
from muskie.models.convert_recon import convert, read_finetuned
from muskie.models.recon_load import load_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel

LAYOUTS = pytest.mark.parametrize("flat", [False, True], ids=["blocks", "flat"])


@LAYOUTS
@torch.no_grad()
def test_the_forward_pass_is_the_published_one(flat: bool) -> None:
    fp16, hooks = flat, [0, 1, 3, 2]
    state = official_reconstruction(width=16, depth=2, more=2, flat=flat)
    model, report = convert(state, heads=2, hooks=hooks, exact_rope=not fp16)
    report.check("state")
    images = torch.rand(2, 2, 3, 32, 64)
    found = model.eval()(images)
    for i in range(2):
        expected = geometry(state, tokens_of(state, images[i], 2, flat, fp16), hooks, (2, 4))
        for ours, theirs in zip((found.local_points, found.confidence, found.cam2world), expected, strict=True):
            assert theirs.std() > 0.05, "nothing to compare"
            torch.testing.assert_close(ours[i].double(), theirs, atol=1e-5, rtol=1e-5)


def test_every_number_of_the_reference_matters() -> None:
    """A reference that ignored a weight would prove nothing about it; what the report skips matters to none."""
    state = official_reconstruction(width=8, depth=1, more=1)
    _, report = convert(state, heads=2)
    images, hooks = torch.rand(2, 3, 32, 32), [0, 1, 0, 1]
    tokens = tokens_of(state, images, 2, False, False)
    found = geometry(state, tokens, hooks, (2, 2))
    for name in state:
        if name.startswith(ENCODER) and name not in report.skipped:
            continue  # that of the encoder is looked at where it is used for pre-training
        other = {**state, name: state[name] + 0.1 * torch.randn(state[name].shape)}
        now = tokens if name.startswith("head.") else tokens_of(other, images, 2, False, False)
        changed = geometry(other, now, hooks, (2, 2))
        difference = max((a - b).abs().max().item() for a, b in zip(found, changed, strict=True))
        assert (difference > 1e-5) == (name not in report.skipped), name


@LAYOUTS
def test_every_key_is_accounted_for(flat: bool) -> None:
    state = official_reconstruction(width=16, depth=2, more=1, flat=flat)
    more = second_names(state)
    assert len([key for key in {**state, **more} if key.startswith(POINTS)]) == 82, "as published"
    model, report = convert({**state, **more}, heads=2)
    report.check("state")
    dead = {ENCODER + key for key in ("mask_placeholder", "decoder_pred.weight", "decoder_pred.bias")}
    dead |= {f"{ENCODER}{'norm' if flat else 'decoder_norm'}.{kind}" for kind in ("weight", "bias")}
    unit = f"{POINTS}scratch.refinenet4.resConfUnit1.conv"
    dead |= {f"{unit}{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")}
    assert set(report.skipped) == dead and len(report.aliases) == len(more) == 18
    assert len(report.converted) + len(dead) == len(state)
    assert {new for _, new, _ in report.converted} == set(model.state_dict()), "every weight of ours is given"
    text = str(report)
    assert (
        all(key in text for key in {**state, **more}) and "0 missing, 0 unexpected, 0 wrong, 9 skipped, 18 aliases" in text
    )


def test_second_names_alone_will_do_and_must_agree_with_the_first() -> None:
    state = official_reconstruction(width=16, depth=1, more=1)
    more = second_names(state)
    expected = convert(state, heads=2)[0].state_dict()
    by_second = {k: v for k, v in state.items() if "postprocess" not in k and "_rn." not in k} | more
    model, report = convert(by_second, heads=2)
    report.check("state")
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    alias = f"{POINTS}act_postprocess.0.1.weight"
    _, report = convert({**state, alias: state[f"{POINTS}act_1_postprocess.1.weight"] + 1}, heads=2)
    assert report.wrong == [f"{alias} differs from {POINTS}act_1_postprocess.1.weight, of which it is another name"]


def test_every_bad_key_is_listed() -> None:
    state: dict[str, Any] = official_reconstruction(width=16, depth=1, more=1)
    del state[f"{CAMERA}fc_t.bias"], state[f"{BLOCKS}0.norm1.bias"]
    state[f"{CAMERA}more.weight"] = torch.zeros(1)
    state[f"{POINTS}head.4.bias"] = torch.zeros(3)
    state[f"{POINTS}act_1_postprocess.1.weight"] = torch.zeros(4, 4, 2, 2)
    state[f"{CAMERA}fc_rot.bias"] = torch.full((9,), torch.nan)
    state[f"{CAMERA}fc_rot.weight"] = torch.zeros(9, 16, dtype=torch.int64)
    report = convert(state, heads=2)[1]
    with pytest.raises(CheckpointError, match=r"a\.pth is no complete fine-tuned Muskie checkpoint") as error:
        report.check("a.pth")
    for words in (
        f"missing: {BLOCKS}0.norm1.bias, {CAMERA}fc_t.bias",
        f"unexpected: {CAMERA}more.weight",
        "head.4.bias has shape [3] instead of [4]",
        "act_1_postprocess.1.weight has shape [4, 4, 2, 2] instead of [4, 4, 4, 4]",
        "fc_rot.bias holds values that are not finite",
        "fc_rot.weight is torch.int64",
    ):
        assert words in str(error.value)


def test_a_depth_head_is_taken_along() -> None:
    state = official_reconstruction(width=16, depth=1, more=1)
    depth = official_reconstruction(width=16, depth=1, more=1, seed=5, head="head.depth_head.", outputs=2)
    state |= {key: value for key, value in depth.items() if key.startswith("head.depth_head.")}
    model, report = convert(state, heads=2)
    report.check("state")
    with torch.no_grad():
        assert model(torch.rand(1, 1, 3, 32, 32)).depth.shape == (1, 1, 32, 32)


@pytest.mark.parametrize("prefix", ["", "module."])
@torch.no_grad()
def test_read_converted_saved_and_loaded(tmp_path: Path, prefix: str) -> None:
    state = {prefix + key: value.half() for key, value in official_reconstruction(width=16, depth=1, more=2).items()}
    torch.save({"model": state, "epoch": 59, "args": argparse.Namespace(lr=4e-5)}, tmp_path / "a.pth")
    model, report = convert(read_finetuned(tmp_path / "a.pth"), heads=2)
    report.check("a.pth")
    model.save_pretrained(tmp_path / "model")
    loaded, images = load_reconstruction_model(tmp_path / "model"), torch.rand(1, 2, 3, 32, 32)
    assert torch.equal(loaded(images).points, model.eval()(images).points)
    assert loaded.backbone.rope_angles_in == "float16" and loaded.hooks == [0, 0, 1, 2]


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"model": official_state(16, 1)}, path)
    with pytest.raises(CheckpointError, match=r"no published reconstruction.*begin with encoder\.encoder"):
        read_finetuned(path)
    path.write_text("no checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        read_finetuned(path)
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_finetuned(tmp_path / "b.pth")
    state = official_reconstruction(width=16, depth=1, more=1)
    with pytest.raises(CheckpointError, match=r"may be incomplete.*--heads"):
        convert(state)
    with pytest.raises(CheckpointError, match=r"no .*layer1_rn\.weight with four axes"):
        convert({key: value for key, value in state.items() if "_rn" not in key})


@pytest.mark.parametrize(
    ("name", "more", "total"), [("muskie_large", 2, 563.9), ("muskie_large", 20, 1017.0), ("muskie_base", 2, 232.7)]
)
def test_sizes_and_layers_are_the_published_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, more: int, total: float
) -> None:
    """But for what is dead: final norm, head and placeholder of pre-training, and a unit of the coarsest fusion."""
    monkeypatch.setattr("muskie.models.reconstruction.initialise", lambda *_: None)  # the sizes are real, the memory is not
    monkeypatch.setattr("muskie.models.recon_backbone.initialise", lambda *_: None)
    width, depth, heads = {"muskie_large": (1024, 12, 16), "muskie_base": (768, 6, 12)}[name]
    with torch.device("meta"):
        model = ReconstructionModel(
            {"kind": "muskie", "width": width, "depth": depth, "heads": heads}, decoder_depth=more, published=True
        )
    dead = 3 * width + (width + 1) * 1536 + 2 * (9 * width + 1) * width
    extra = 15 * width // 4 + 3 * width // 2  # biases of each enlarged cell
    count = sum(parameter.numel() for parameter in model.parameters())
    assert (count + dead - extra) / 1e6 == pytest.approx(total, abs=0.5 if total > 1000 else 0.05)
    start = [3, 5, 8, 11] if name == "muskie_large" else [2, 3, 4, 5]
    assert model.hooks == [number + more for number in start]
