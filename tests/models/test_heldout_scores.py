"""What a run measured is read back as it was written, and never stands beside other weights."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from muskie.errors import CheckpointError
from muskie.models.heldout_scores import FILE, HeldOutScores, read_scores, write_scores

SCORES = HeldOutScores(320, 32, 4, {"AUC@30": 0.044, "δ<1.25": 0.5}, {"AUC@30": 0.0, "δ<1.25": 0.4}, {"AUC@30": 0.132})


def test_they_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_scores(tmp_path) is None and read_scores(tmp_path / "nothing") is None
    write_scores(tmp_path / "run" / "model", SCORES)
    assert read_scores(tmp_path / "run" / "model") == SCORES
    assert [path.name for path in (tmp_path / "run" / "model").iterdir()] == [FILE], "nothing is left beside"
    told = json.loads((tmp_path / "run" / "model" / FILE).read_text(encoding="utf-8"))
    assert told["row"] == {"AUC@30": 0.132} and told["steps"] == 320


def test_what_could_not_be_measured_is_left_out(tmp_path: Path) -> None:
    """JSON, as other programs read it, has no NaN."""
    write_scores(tmp_path, replace(SCORES, model={"AUC@30": math.nan, "L1": math.inf, "AbsRel": 0.3}))
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert read_scores(tmp_path) == replace(SCORES, model={"AbsRel": 0.3})


@pytest.mark.parametrize(("steps", "stays"), [(None, False), (100, False), (320, True)])
def test_scores_of_other_weights_are_removed(tmp_path: Path, steps: int | None, stays: bool) -> None:
    """A run that was finished writes the same weights anew, and has not measured them again."""
    write_scores(tmp_path, SCORES)
    write_scores(tmp_path, None, steps)
    assert read_scores(tmp_path) == (SCORES if stays else None)
    (tmp_path / FILE).write_text("{")
    write_scores(tmp_path, None, 320)
    assert not (tmp_path / FILE).exists(), "nobody knows of which weights a broken file tells"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"steps": 1, "samples": 1, "views": 2, "model": 3, "trivial": {}, "row": {}}',
     '{"steps": 1, "samples": 1, "views": 2, "model": {"AUC@30": null}, "trivial": {}, "row": {}}'],
)  # fmt: skip
def test_a_broken_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"held_out\.json: cannot be read .*; remove it, and nothing is known"):
        read_scores(tmp_path)
