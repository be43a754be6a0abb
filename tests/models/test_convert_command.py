"""The command tells which kind a published file is and makes of it what loads; other files are refused in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recon_reference import CAMERA, POINTS, geometry, official_reconstruction, second_names, tokens_of
from reference import official_state

import muskie

Run = Callable[..., str]


def saved(path: Path, weights: dict[str, Any]) -> Path:
    torch.save({"model": weights, "epoch": 59}, path)
    return path


@torch.no_grad()
def test_a_fine_tuned_file_becomes_the_published_network(tmp_path: Path, run: Run) -> None:
    state = official_reconstruction(width=16, depth=2, more=2)
    file, out, hooks = saved(tmp_path / "a.pth", {**state, **second_names(state)}), tmp_path / "out", [0, 1, 3, 2]
    told = run(file, out, "--heads", 2, "--exact-rope", "--hooks", *hooks)
    assert told.startswith(f"{file}: a fine-tuned (ffrecon) checkpoint of {len(state) + 18} weights\n")
    assert "0 missing, 0 unexpected, 0 wrong, 9 skipped, 18 aliases" in told
    assert all(key in told for key in state), "every key is told of"
    assert told.rstrip().endswith(f"load it by muskie.load_reconstruction_model({str(out)!r})")
    images = torch.rand(2, 3, 32, 64)
    found = muskie.load_reconstruction_model(out)(images[None])
    expected = geometry(state, tokens_of(state, images, 2, False, False), hooks, (2, 4))
    for ours, theirs in zip((found.local_points, found.confidence, found.cam2world), expected, strict=True):
        torch.testing.assert_close(ours[0].double(), theirs, atol=1e-5, rtol=1e-5)
    assert sorted(path.name for path in out.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "trained_on.yaml")
    ]
    assert "converted from a.pth" in (out / "README.md").read_text()


def test_a_pre_training_file_is_told_as_one(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    told = run(saved(tmp_path / "a.pth", official_state(width=16, depth=1)), out, "--heads", 2)
    assert "a pre-training checkpoint of 32 weights" in told and f"muskie.from_pretrained({str(out)!r})" in told
    assert muskie.from_pretrained(out).encoder.config.width == 16


def test_every_bad_key_of_a_fine_tuned_file_is_listed_and_nothing_written(tmp_path: Path, run: Run) -> None:
    state: dict[str, Any] = official_reconstruction(width=16, depth=1, more=1)
    del state[f"{CAMERA}fc_t.bias"]
    state |= {f"{CAMERA}more.weight": torch.zeros(1), f"{POINTS}head.4.bias": torch.zeros(3)}
    with pytest.raises(SystemExit) as left:
        run(saved(tmp_path / "a.pth", state), tmp_path / "out", "--heads", 2)
    told = str(left.value.code)
    assert told.startswith("error: ") and "a.pth is no complete fine-tuned Muskie checkpoint, nothing was written" in told
    assert f"missing: {CAMERA}fc_t.bias; unexpected: {CAMERA}more.weight; wrong: {POINTS}head.4.bias" in told
    assert not (tmp_path / "out").exists()


def foreign() -> dict[str, dict[str, Any]]:
    encoder = {"width": 16, "depth": 1, "heads": 2}
    return {
        "neither": {"conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)},
        "part": {key: value for key, value in official_reconstruction(16, 1, 1).items() if key.startswith("head.")},
        "ours": muskie.create_model("muskie_tiny", **encoder).state_dict(),
        "our reconstruction": {"backbone.encoder.registers": torch.zeros(1), "camera_head.mlp.0.bias": torch.zeros(1)},
        "hooks for pre-training": official_state(width=16, depth=1),
        "three hooks": official_reconstruction(width=16, depth=1, more=1),
    }


@pytest.mark.parametrize(
    ("kind", "words", "more"),
    [
        (
            "neither",
            r"no weights of a published model .*: of its 2 names \(conv1\.weight, fc\.bias, \.\.\.\) none",
            [],
        ),
        ("part", r"no encoder\.encoder\.patch_embed\.proj\.weight with four axes", []),
        ("ours", "in the layout of this framework already", []),
        ("our reconstruction", "in the layout of this framework already", []),
        ("hooks for pre-training", r"--hooks \[0, 1, 2, 3\]: .* is a pre-training checkpoint", ["--hooks", 0, 1, 2, 3]),
        ("three hooks", r"hooks=\[0, 0, 0\]: expected 4 numbers of -2 to 1", ["--hooks", 0, 0, 0]),
    ],
)
def test_other_files_and_settings(tmp_path: Path, run: Run, kind: str, words: str, more: list[object]) -> None:
    with pytest.raises(SystemExit, match=words):
        run(saved(tmp_path / "a.pth", foreign()[kind]), tmp_path / "out", "--heads", 2, *more)
    assert not (tmp_path / "out").exists()
