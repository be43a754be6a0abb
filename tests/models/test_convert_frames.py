"""Published checkpoints of MuM, CroCo v2 and MAE compute, once converted, what their published forward passes compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_frames import HEADS, INNER_HEADS, PATCH, WIDTH, Published, axial, fabricated, periods
from torch import Tensor

import muskie
from muskie.models.convert_frames import convert
from muskie.models.patches import unpatchify
from muskie.models.published_file import MUM
from muskie.models.rope import rotate

Run = Callable[..., str]

FLAGS = {
    "MuM": [],
    "CroCo v2": ["--heads", HEADS, "--decoder-heads", INNER_HEADS],
    "MAE": ["--heads", HEADS, "--decoder-heads", INNER_HEADS],
}
"""Of sizes that were not published. MuM's rotary periods tell the heads."""


def images_and_mask(method: str) -> tuple[Tensor, Tensor]:
    """Views in [0, 1], and as many hidden patches in each; of CroCo the first is whole. MAE's are square."""
    views = {"MuM": 3, "CroCo v2": 2, "MAE": 1}[method]
    h, w = (4, 4) if method == "MAE" else (4, 6)
    mask = torch.rand(views, h * w).argsort(1) < (3 * h * w) // 4
    if method == "CroCo v2":
        mask[0] = False
    return torch.rand(views, 3, PATCH * h, PATCH * w), mask.view(views, h, w)


def stored(state: dict[str, Any], form: str) -> dict[str, Any]:
    """As files hold them: flat, as training writes them, or of parallel training."""
    if form == "training":
        return {"model": state, "optimizer": {"state": {}, "param_groups": []}, "step": 3, "scaler": {"scale": 65536.0}}
    return {f"module.{key}": value for key, value in state.items()} if form == "module" else state


def picture(values: Tensor, h: int, w: int) -> Tensor:
    """Published values [V, L, p·p·3] of a view's patches to its picture, pixel by pixel."""
    p, out = PATCH, torch.zeros(len(values), 3, h * PATCH, w * PATCH, dtype=values.dtype)
    for place in range(h * w):
        y, x = p * (place // w), p * (place % w)
        for i in range(p * p):
            out[:, :, y + i // p, x + i % p] = values[:, place, 3 * i : 3 * i + 3]
    return out


@pytest.mark.parametrize("form", ["flat", "training", "module"])
@pytest.mark.parametrize("method", ["MuM", "CroCo v2", "MAE"])
@torch.no_grad()
def test_features_and_pictures(tmp_path: Path, run: Run, method: str, form: str) -> None:
    state = fabricated(method)
    file, out = tmp_path / "published.pth", tmp_path / "out"
    torch.save(stored(state, form), file)
    told = run(file, out, *FLAGS[method])
    fixed = sum(key.endswith(("periods", "pos_embed")) for key in state)
    assert told.startswith(f"{file}: a {method} checkpoint of {len(state)} weights\n")
    assert f"{len(state) - fixed} converted, 0 missing, 0 unexpected, 0 wrong, {fixed} fixed" in told
    assert all(f" {key} " in told for key in state), "every key is told of"
    assert f"authors of {method} (arXiv" in (out / "README.md").read_text()
    model = muskie.from_pretrained(out).double()
    images, mask = images_and_mask(method)
    published = Published(method, state, eps=1e-6)
    everything = torch.arange(mask[0].numel())
    expected = torch.stack([published.encode(image, everything) for image in images])
    prefix = expected.shape[1] - len(everything)
    features = model.forward_features(images.double())
    torch.testing.assert_close(features["x_norm_patchtokens"], expected[:, prefix:], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(features.registers, expected[:, :prefix], atol=1e-6, rtol=1e-6)
    said = torch.stack(published.predict(images, mask))
    ours = model(images[None].double(), mask[None]).pixels
    seen = unpatchify(ours[0], tuple(mask.shape[1:]))[-len(said) :]
    torch.testing.assert_close(seen, picture(said, *mask.shape[1:]).float(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("method", ["MuM", "CroCo v2", "MAE"])
@torch.no_grad()
def test_encoders_alone(tmp_path: Path, run: Run, method: str) -> None:
    state = fabricated(method, decoder=0)
    torch.save({"model": state}, tmp_path / "a.pth")
    flags = [*FLAGS[method][:2], *([] if method == "MAE" else ["--exact-rope"])]
    assert "no decoder" in run(tmp_path / "a.pth", tmp_path / "out", *flags)
    model = muskie.from_pretrained(tmp_path / "out").double()
    images, mask = images_and_mask(method)
    published = Published(method, state, eps=1e-5 if method == "MuM" else 1e-6)
    everything = torch.arange(mask[0].numel())
    expected = torch.stack([published.encode(image, everything) for image in images])
    found = model.forward_features(images.double()).patches
    torch.testing.assert_close(found, expected[:, expected.shape[1] - len(everything) :], atol=1e-6, rtol=1e-6)
    assert model.decoder is None and model.head is None


@torch.no_grad()
def test_attention_logits_of_mum_are_the_published_ones() -> None:
    state = fabricated("MuM")
    model, report = convert(MUM, state)
    report.check("test")
    model = model.double()
    encoder, decoder = model.encoder, model.decoder
    assert decoder is not None
    grid, x = (3, 5), torch.randn(1 + 15, WIDTH).double()
    for name, block, table, heads in [
        ("blocks.1", encoder.blocks[1], encoder.table(grid), HEADS),
        ("decoder_frame_blocks.1", decoder.blocks[1].frame_block, decoder.table(grid, 1), INNER_HEADS),
        ("decoder_global_blocks.0", decoder.blocks[0].global_block, decoder.table(grid, 1), INNER_HEADS),
    ]:
        tokens = x[:, : block.attn.proj.in_features]
        q, k, _ = block.attn.qkv(tokens).unflatten(-1, (3, heads, -1)).unbind(1)
        ours = torch.einsum("qhd,khd->hqk", rotate(q, table), rotate(k, table))
        weight, bias = (state[f"{name}.attn.qkv.{part}"].double() for part in ("weight", "bias"))
        q_there, k_there, _ = (tokens @ weight.T + bias).unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3)
        turns = axial(*grid, periods(q.shape[-1]), "kept")
        torch.testing.assert_close(ours, turns(q_there) @ turns(k_there).transpose(1, 2), atol=1e-5, rtol=1e-6)
        assert not torch.allclose(q.transpose(0, 1), q_there), "channels were reordered"


@pytest.mark.parametrize(
    ("decoder", "flags", "expected"),
    [
        (0, [], ("bfloat16", 1e-5)),
        (0, ["--rope-in", "float32", "--eps", "1e-6"], (None, 1e-6)),
        (0, ["--exact-rope"], (None, 1e-5)),
        (2, [], (None, 1e-6)),
        (2, ["--rope-in", "bfloat16", "--eps", "1e-5"], ("bfloat16", 1e-5)),
    ],
)
def test_numerics_are_kept_in_the_configuration(
    tmp_path: Path, run: Run, decoder: int, flags: list[str], expected: tuple[str | None, float]
) -> None:
    torch.save(fabricated("MuM", depth=1, decoder=decoder), tmp_path / "a.pth")
    run(tmp_path / "a.pth", tmp_path / "out", *flags)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    encoder = config["encoder"]
    assert (encoder["rope_in"], encoder["norm_eps"]) == expected
    assert encoder["image_mean"] == [0.485, 0.456, 0.406] and encoder["image_std"] == [0.229, 0.224, 0.225]
    assert config["patch_norm"] is True and config["confidence"] is False
    if decoder:
        assert config["decoder"]["mute_prefix"] is True and config["decoder"]["norm_eps"] == expected[1]
