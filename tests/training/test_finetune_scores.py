"""What a fine-tuning run keeps beside its weights of how good they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_recon import finetuning, finished

from muskie.models.heldout_scores import FILE, read_scores
from muskie.training.recon_heldout import ReconstructionHeldOut


def test_the_last_measure_is_kept_in_numbers(tmp_path: Path) -> None:
    run = finished([f"output_dir={tmp_path}", "trainer.eval_every=2"])
    scores = read_scores(tmp_path / "model")
    assert scores is not None and (scores.steps, scores.samples, scores.views) == (4, 2, 4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (last,) = (line for line in lines if line["step"] == 4 and "heldout/AUC@30" in line)
    for name in ("AUC@30", "L1", "AbsRel"):
        assert scores.model[name] == pytest.approx(last[f"heldout/{name}"], rel=1e-6)
        assert scores.trivial[name] == run.heldout.means[f"trivial {name}"]
    assert scores.row["AUC@30"] == run.heldout.means["in a row AUC@30"] and "L1" not in scores.row
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"AUC@30 {scores.model['AUC@30']:.3f} (trivial 0.000, in a row {scores.row['AUC@30']:.3f})" in card


def test_weights_that_were_not_measured_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those of an earlier step, where a run is stopped while it measures its last, nor those of an earlier end."""
    words = [f"output_dir={tmp_path}", "trainer.eval_every=2"]

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ReconstructionHeldOut, "write_cloud", stopped)
        with pytest.raises(KeyboardInterrupt):
            finetuning(words).run()
    assert (tmp_path / "model" / "config.json").is_file() and read_scores(tmp_path / "model") is None
    assert "Held out" not in (tmp_path / "model" / "README.md").read_text()
    longer = [*words, "trainer.steps=5"]
    finished(longer)
    before = (tmp_path / "model" / FILE).read_text()
    (tmp_path / "model" / "config.json").unlink()  # as if the run had been killed before
    assert finetuning(longer).run()
    assert (tmp_path / "model" / FILE).read_text() == before, "of the same weights"
    finished([*words, "trainer.steps=6", "holdout.share=0"])
    assert read_scores(tmp_path / "model") is None
