"""Every key of a checkpoint of MuM, CroCo v2 or MAE is accounted for by its published name, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published_frames import HEADS, INNER_HEADS, WIDTH, fabricated, sines
from torch import Tensor

from muskie.errors import CheckpointError
from muskie.models.convert import read_published
from muskie.models.convert_frames import convert
from muskie.models.frame_layouts import Untold, names, shape_of
from muskie.models.published_file import CROCO, MAE, MUM
from muskie.models.variants import model_config

Run = Callable[..., str]


def refused(run: Run, tmp_path: Path, content: Any, *flags: object) -> str:
    """What it says of a file with this content."""
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(SystemExit) as left:
        run(tmp_path / "a.pth", tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()
    return str(left.value.code)


@pytest.mark.parametrize(
    ("method", "lost", "head"),
    [
        ("MuM", "decoder_global_blocks.1.mlp.fc2.bias", "decoder_pred.weight"),
        ("MuM", "rope_embed_decoder.periods", "mask_token"),
        ("CroCo v2", "dec_blocks.0.cross_attn.projk.weight", "prediction_head.bias"),
        ("CroCo v2", "dec_norm.bias", "dec_blocks.1.norm_y.weight"),
        ("MAE", "decoder_pos_embed", "decoder_blocks.1.attn.qkv.weight"),
        ("MAE", "cls_token", "decoder_pred.bias"),
    ],
)
def test_bad_keys_are_listed(tmp_path: Path, run: Run, method: str, lost: str, head: str) -> None:
    state: dict[str, Any] = fabricated(method)
    del state[lost]
    state |= {head: torch.zeros(7), "extra.bias": torch.zeros(1), "patch_embed.proj.bias": torch.full((WIDTH,), torch.nan)}
    told = refused(run, tmp_path, state, "--heads", HEADS, "--decoder-heads", INNER_HEADS)
    assert (
        f"is no complete {method} checkpoint, nothing was written (missing: {lost}; unexpected: extra.bias; wrong: " in told
    )
    assert f"{head} has shape [7] instead of [" in told and "patch_embed.proj.bias holds values that are not finite" in told


def test_a_block_left_out_in_the_middle_is_missing(tmp_path: Path, run: Run) -> None:
    state = {key: value for key, value in fabricated("MuM", depth=3).items() if not key.startswith("blocks.1.")}
    told = refused(run, tmp_path, state)
    assert told.count("blocks.1.") == 12 and "unexpected" not in told
    told = refused(run, tmp_path, {key: v for key, v in state.items() if "decoder_embed" not in key})
    assert "no decoder_embed.weight [decoder width, width]" in told


def meta(kind: str, inner: int, count: int) -> dict[str, Tensor]:
    """Tensors without values by published name: a large encoder, and a decoder of this width and so many blocks."""
    stack = {MUM: "decoder_frame_blocks", CROCO: "dec_blocks", MAE: "decoder_blocks"}[kind]
    blocks = "enc_blocks" if kind == CROCO else "blocks"
    state = dict.fromkeys(names(kind, 24, count), torch.empty(1, device="meta"))
    state["patch_embed.proj.weight"] = torch.empty(1024, 3, 16, 16, device="meta")
    state[f"{blocks}.0.mlp.fc1.weight"] = torch.empty(4096, 1024, device="meta")
    if count:
        state["decoder_embed.weight"] = torch.empty(inner, 1024, device="meta")
        state[f"{stack}.0.mlp.fc1.weight"] = torch.empty(4 * inner, inner, device="meta")
    return state


def test_published_sizes_are_recognised() -> None:
    """Counts of weights are those of MuM's released files: 294 and 446, with the periods."""
    assert len(names(MUM, 24, 0)) + 1 == 294 and len(names(MUM, 24, 6)) + 2 == 446
    for kind, inner, count, name, heads in (
        (MUM, 768, 6, "mum_vitl16_decoderb", 16),
        (CROCO, 768, 12, "croco_v2_vitl", 12),
        (MAE, 512, 8, "mae_vitl", 16),
    ):
        shape = shape_of(kind, meta(kind, inner, count), Untold())
        assert shape.variant == name and shape.decoder is not None
        assert (shape.encoder.heads, shape.decoder.heads) == (16, heads)
        assert shape.encoder.norm_eps == shape.decoder.norm_eps == 1e-6
        expected = model_config(name)
        for part, known in zip((shape.encoder, shape.decoder), expected, strict=True):
            same = {"norm_eps": 1e-6} | ({"mute_prefix": True} if kind == MUM and part is shape.decoder else {})
            assert part == replace(known, **same), "all else is the model of that name"
    small = shape_of(CROCO, meta(CROCO, 512, 8), Untold())
    assert small.variant == "other" and small.decoder is not None and small.decoder.heads == 16
    assert shape_of(MUM, meta(MUM, 0, 0), Untold()).variant == "mum_vitl16"
    assert shape_of(MAE, meta(MAE, 0, 0), Untold()).variant == "mae_vitl, encoder alone"


def test_heads_that_shapes_do_not_tell(tmp_path: Path, run: Run) -> None:
    state = fabricated("CroCo v2", depth=1, decoder=1)
    assert "no published model has width 32 and 1 blocks in this part" in refused(run, tmp_path, state)
    assert "give --decoder-heads" in refused(run, tmp_path, state, "--heads", 2)
    assert "--heads 5: width 32; width over heads" in refused(run, tmp_path, state, "--heads", 5)
    told = {"enc_num_heads": HEADS, "dec_num_heads": INNER_HEADS, "pos_embed": "RoPE50", "img_size": [224, 224]}
    model, report = convert(CROCO, state, beside={"croco_kwargs": told})
    report.check("test")
    assert (model.encoder.config.heads, model.encoder.config.rope_base) == (HEADS, 50)
    assert model.decoder is not None and (model.decoder.config.heads, model.decoder.config.rope_base) == (INNER_HEADS, 50)
    assert "--heads 4: croco_kwargs of the file has enc_num_heads=2" in refused(
        run, tmp_path, {"model": state, "croco_kwargs": told}, "--heads", 4
    )
    first = {"model": state, "croco_kwargs": {**told, "pos_embed": "cosine"}}
    assert "pos_embed='cosine'; CroCo v2 has RoPE100, v1 is not read" in refused(run, tmp_path, first)
    assert "rope_embed.periods has shape [4] instead of [8]" in refused(
        run, tmp_path, fabricated("MuM", decoder=0), "--heads", 1
    )


def positions(kind: str) -> Tensor:
    right = sines(4, WIDTH).float()
    return {
        "learned": torch.cat([right[:1], right[1:] + 0.01 * torch.randn_like(right[1:])]),
        "class token": torch.cat([torch.full((1, WIDTH), 0.5), right[1:]]),
        "rows first": torch.cat([right[:1], right[1:].unflatten(0, (4, 4)).transpose(0, 1).flatten(0, 1)]),
        "oblong": right[:13],
        "no class token": right[1:],
    }[kind][None]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("learned", "pos_embed differs from the fixed sines and cosines by up to 0.0"),
        ("class token", "pos_embed adds up to 0.5 to the class token, MAE nothing"),
        ("rows first", "pos_embed has the sines and cosines of rows before those of columns"),
        ("oblong", "pos_embed has shape [1, 13, 32] instead of [1, 10, 32] (the patches of a square image)"),
        ("no class token", "pos_embed has shape [1, 16, 32] instead of [1, 17, 32]"),
    ],
)
def test_positions_of_mae_are_compared(tmp_path: Path, run: Run, kind: str, words: str) -> None:
    state = {**fabricated("MAE", decoder=0), "pos_embed": positions(kind)}
    assert words in refused(run, tmp_path, state, "--heads", HEADS)


def test_fixed_values_may_be_rounded_and_periods_are_compared(tmp_path: Path, run: Run) -> None:
    for method, kind in (("MAE", MAE), ("MuM", MUM)):
        for dtype in (torch.float16, torch.bfloat16):
            state = {key: value.to(dtype) for key, value in fabricated(method).items()}
            convert(kind, state, Untold(HEADS, INNER_HEADS))[1].check("test")
    state = fabricated("MuM", decoder=0)
    state["rope_embed.periods"] = state["rope_embed.periods"] * 1.01
    assert "rope_embed.periods differs from periods of base 100 by 0.01 of them" in refused(run, tmp_path, state)


class Command:
    """A call that a pickle may ask for."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return (print, ("unpickled",))


def test_other_files_and_flags(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    mum = fabricated("MuM", depth=1, decoder=0)
    told = refused(run, tmp_path, {"model": mum, "args": Command()})
    assert "print, which is not read: unpickling may run any code" in told and "unpickled" not in capsys.readouterr().out
    assert "--hooks [0, 1, 2, 3]" in refused(run, tmp_path, mum, "--hooks", 0, 1, 2, 3)
    assert "--eps 0.0: expected more than 0" in refused(run, tmp_path, mum, "--eps", 0)
    assert "MAE has no rotary positions" in refused(run, tmp_path, fabricated("MAE", 1, 0), "--rope-in", "float16")
    del mum["rope_embed.periods"]
    assert "none tells MuM (rope_embed." in refused(run, tmp_path, mum)
    muskie_weights = {"register_tokens": torch.zeros(1, 1, 4, 16), "patch_embed.proj.weight": torch.zeros(16, 3, 16, 16)}
    assert "--eps 1e-06" in refused(run, tmp_path, muskie_weights, "--eps", 1e-6)
    torch.save(fabricated("CroCo v2"), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"is a published CroCo v2 checkpoint\. One of Muskie's pre-training"):
        read_published(tmp_path / "a.pth")
