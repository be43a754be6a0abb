"""What a user is told of a model that its own run has found wanting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import muskie
from muskie.models.heldout_scores import FILE, HeldOutScores, write_scores
from muskie.models.recon_load import create_reconstruction_model
from muskie.reconstruction.known_model import pose_doubts

BAD = HeldOutScores(320, 32, 4, {"AUC@30": 0.0442, "L1": 0.7}, {"AUC@30": 0.0, "L1": 0.8}, {"AUC@30": 0.1318})


def test_poses_that_are_worse_than_cameras_in_a_row(tmp_path: Path) -> None:
    """Told with both numbers and the way out, whether the run or its model is named."""
    write_scores(tmp_path / "model", BAD)
    (note,) = pose_doubts(tmp_path)
    for part in ("cannot be relied on", "AUC@30", "0.044,", "0.132 ", "in a row", "32 samples of 4 views"):
        assert part in note
    section = note.split('"')[1]
    document = (Path(__file__).parents[2] / "docs" / "reconstruction.md").read_text(encoding="utf-8")
    assert "docs/reconstruction.md" in note and f"\n## {section}\n" in document
    (tmp_path / "model" / "config.json").write_text("{}")
    assert pose_doubts(str(tmp_path / "model")) == pose_doubts(tmp_path) == [note]


@pytest.mark.parametrize(
    "scores",
    [
        replace(BAD, model={"AUC@30": 0.1318}),
        replace(BAD, model={"AUC@30": 0.428}),
        replace(BAD, model={"L1": 0.7}, row={}),
        replace(BAD, model={"L1": 0.7}),
    ],
    ids=["as good", "better", "no poses measured", "no number"],
)
def test_no_doubt_without_a_reason(tmp_path: Path, scores: HeldOutScores) -> None:
    write_scores(tmp_path / "model", scores)
    assert pose_doubts(tmp_path) == []


def test_of_most_models_nothing_is_known(tmp_path: Path) -> None:
    assert pose_doubts("owner/name") == [] and pose_doubts(tmp_path) == []
    write_scores(tmp_path / "model", BAD)
    (tmp_path / "config.json").write_text("{}")
    assert pose_doubts(tmp_path) == [], "a folder of weights, in which another one lies"


def test_a_broken_file_does_not_stop_a_reconstruction(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / FILE).write_text("{")
    (note,) = pose_doubts(tmp_path)
    assert "held_out.json: cannot be read" in note


def test_the_note_is_one_of_the_result(tmp_path: Path) -> None:
    tiny = {"name": "muskie_tiny", "width": 32, "depth": 2, "heads": 2}
    model = create_reconstruction_model(tiny, decoder_depth=1, features=16)
    model.save_pretrained(tmp_path / "model")
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert not [note for note in muskie.reconstruct(images, tmp_path, 16).notes if "AUC" in note]
    write_scores(tmp_path / "model", BAD)
    (note,) = pose_doubts(tmp_path)
    assert note in muskie.reconstruct(images, tmp_path, 16).notes
    assert note not in muskie.reconstruct(images[:1], tmp_path, 16).notes, "one view has no relative pose"
    assert note not in muskie.reconstruct(images, model, 16).notes, "a model without a folder"
