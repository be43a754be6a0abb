"""Published checkpoints become model folders, safely, and every key is accounted for."""

from __future__ import annotations

import argparse
import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from reference import official_state
from safetensors.torch import load_file
from torch import Tensor

import muskie
from muskie.errors import CheckpointError
from muskie.models.convert import check_folder, convert, names, read_published
from muskie.models.masked_view import MaskedViewModel

LAYOUTS = pytest.mark.parametrize("flat", [False, True], ids=["blocks", "flat"])


class Command:
    """A call that a pickle may ask for."""

    def __init__(self, function: Callable[..., Any], *arguments: str) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return self.call


def published(model: MaskedViewModel, flat: bool, prefix: str = "") -> dict[str, Tensor]:
    """The weights of a model of ours under their published names."""
    own, state = model.state_dict(), {}
    for old, new in names(model.encoder.config.depth, flat).items():
        lead = {"register_tokens": (1, 1), "mask_placeholder": (1, 1, 1)}.get(old, ())
        state[prefix + old] = own[new].reshape(*lead, *own[new].shape).clone()
    return state


def small(flat: bool = False) -> dict[str, Tensor]:
    return official_state(width=24, depth=1, flat=flat)


@LAYOUTS
@pytest.mark.parametrize("prefix", ["", "module."])
def test_round_trip(tmp_path: Path, run: Callable[..., str], flat: bool, prefix: str) -> None:
    model = muskie.create_model("muskie_small", depth=2, width=48, heads=4).eval()
    path, out = tmp_path / "official.pth", tmp_path / "out"
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4}]}
    arguments = argparse.Namespace(model="base", lr=2e-4, output_dir=Path("runs"), input_size_list=[224, 384])
    beside = {"optimizer": optimizer, "scaler": {"scale": 65536.0}, "epoch": 399, "args": arguments}
    torch.save({"model": published(model, flat, prefix), **beside}, path)
    report = run(path, out, "--heads", 4, "--exact-rope")
    assert report.count("\nconverted   ") == 8 + 24 * 2 and "0 missing, 0 unexpected, 0 wrong" in report
    loaded = muskie.from_pretrained(out)
    images, mask = torch.rand(1, 2, 3, 32, 48), torch.rand(1, 2, 2, 3) < 0.5
    with torch.no_grad():
        ours, theirs = model(images, mask), loaded(images, mask)
    assert torch.equal(ours.pixels, theirs.pixels) and torch.equal(ours.confidence, theirs.confidence)
    assert json.loads((out / "config.json").read_text())["encoder"]["rope_angles_in"] is None
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "trained_on.yaml",
    ]
    assert "apache" not in (out / "README.md").read_text()


@LAYOUTS
def test_fp16_and_hydra_config_beside(tmp_path: Path, run: Callable[..., str], flat: bool) -> None:
    state = {key: value.half() for key, value in small(flat).items()}
    config = OmegaConf.create(
        {"model": {"depth": 2, "hooks": [1, 2.5, "a", None, True]}, "lr": "${model.depth}", "p": Path("x")}
    )
    torch.save({"model": state, "args": config, "more": argparse.Namespace(config=config)}, tmp_path / "a.pth")
    report = run(tmp_path / "a.pth", tmp_path / "out", "--heads", 2)
    assert "blocks.0." in report and "[1, 1, 4, 24]" in report
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert torch.equal(weights["encoder.registers"], state["register_tokens"][0, 0].float())
    saved = json.loads((tmp_path / "out" / "config.json").read_text())["encoder"]
    assert saved["rope_angles_in"] == "float16" and saved["heads"] == 2 and saved["image_mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "keys"), [("muskie_small", 152), ("muskie_base", 152), ("muskie_large", 296), ("muskie_huge", 392)]
)
def test_published_sizes_are_recognised(monkeypatch: pytest.MonkeyPatch, name: str, keys: int) -> None:
    monkeypatch.setattr("muskie.models.masked_view.initialise", lambda *_: None)
    monkeypatch.setattr(torch.Tensor, "all", lambda tensor: True)  # meta tensors have no values to look at
    with torch.device("meta"):
        model = muskie.create_model(name)
        state = published(model, flat=False)
        converted, report = convert(state)
    assert len(state) == keys == len(report.converted) and report.variant == name
    assert converted.encoder.config.heads == model.encoder.config.heads
    report.check(name)


def test_every_bad_key_is_listed_and_nothing_written(tmp_path: Path, run: Callable[..., str]) -> None:
    state: dict[str, Any] = small()
    del state["blocks.0.norm3.bias"], state["mask_placeholder"]
    state |= {"cls_token": torch.zeros(1), "blocks.0.attn_extra": torch.zeros(1)}
    state["decoder_pred.bias"] = torch.zeros(7)
    state["blocks.0.norm1.weight"] = torch.full((24,), torch.nan)
    state["decoder_norm.bias"] = torch.zeros(24, dtype=torch.int64)
    torch.save({"model": state}, tmp_path / "a.pth")
    with pytest.raises(SystemExit) as error:
        run(tmp_path / "a.pth", tmp_path / "out", "--heads", 2)
    message = str(error.value)
    for key in (
        "blocks.0.norm3.bias",
        "mask_placeholder",
        "cls_token",
        "blocks.0.attn_extra",
        "decoder_norm.bias is torch.int64",
    ):
        assert key in message
    assert "decoder_pred.bias has shape [7] instead of [1536]" in message and "norm1.weight holds values" in message
    assert not (tmp_path / "out").exists()


def test_a_cut_or_gapped_stack_is_noticed() -> None:
    state = official_state(width=24, depth=3)
    gapped = {key: value for key, value in state.items() if not key.startswith("blocks.1.")}
    _, report = convert(gapped, heads=2)
    assert any(key.startswith("blocks.1.") for key in report.missing) and len(report.unexpected) == 24
    with pytest.raises(CheckpointError, match=r"may be incomplete.*--heads"):
        convert(state)
    headless = {key: value for key, value in state.items() if not key.startswith("blocks.")}
    with pytest.raises(CheckpointError, match="depth 0"):
        convert(headless, heads=2)
    odd = {key: value for key, value in official_state(24, 2, flat=True).items() if not key.startswith("blocks.3.")}
    assert len(convert(odd, heads=2)[1].missing) == 12
    with pytest.raises(CheckpointError, match="multiple of 4"):
        convert(state, heads=5)


def test_a_foreign_class_is_named_and_nothing_runs(tmp_path: Path) -> None:
    path, witness = tmp_path / "a.pth", tmp_path / "witness"
    torch.save({"model": small(), "when": datetime.date(2025, 1, 1)}, path)
    with pytest.raises(CheckpointError, match=r"datetime\.date"):
        read_published(path)
    for args in (Command(os.system, f"touch {witness}"), argparse.Namespace(a=Command(os.system, f"touch {witness}"))):
        torch.save({"model": small(), "args": args}, path)
        with pytest.raises(CheckpointError, match=r"\.system"):
            read_published(path)
    assert not witness.exists()


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    cases: list[tuple[Any, str]] = [
        ({"model": {f"encoder.encoder.{key}": value for key, value in small().items()}}, "reconstruction .ffrecon."),
        ({"model": muskie.create_model("muskie_tiny", depth=1).state_dict()}, "already"),
        ({"format": "muskie-checkpoint-1", "step": 3, "model": {"x": torch.zeros(1)}}, "resume= or init_from="),
        ({"model": {}}, "no weights"),
        (torch.zeros(3), "no weights"),
    ]
    for content, words in cases:
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=words):
            read_published(path)
    with pytest.raises(CheckpointError, match="not the weights"):
        convert({"cls_token": torch.zeros(1)})
    whole = tmp_path / "whole.pth"
    torch.save({"model": small()}, whole)
    path.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_published(path)
    path.write_bytes(b"<html>quota exceeded</html>")
    with pytest.raises(CheckpointError, match="cannot be read") as error:
        read_published(path)
    assert "weights_only" not in str(error.value)
    with pytest.raises(CheckpointError, match="no such file"):
        read_published(tmp_path / "none.pth")


def test_old_file_format_and_bare_state_dicts_are_read(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert read_published(tmp_path / "a.pth").keys() == small().keys()


def test_a_folder_with_files_is_kept_unless_told(tmp_path: Path, run: Callable[..., str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    check_folder(out)
    torch.save({"model": small()}, tmp_path / "a.pth")
    (out / "config.json").write_text("mine")
    with pytest.raises(SystemExit, match="not empty"):
        run(tmp_path / "a.pth", out, "--heads", 2)
    assert (out / "config.json").read_text() == "mine"
    run(tmp_path / "a.pth", out, "--heads", 2, "--overwrite")
    assert muskie.from_pretrained(out).encoder.config.width == 24
    with pytest.raises(CheckpointError, match="is a file"):
        check_folder(tmp_path / "a.pth", overwrite=True)
