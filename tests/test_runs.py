"""Which run `auto` takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from muskie.models.model_kind import MASKED_VIEWS, RECONSTRUCTION
from muskie.runs import newest_run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(name: str, content: str, age: int) -> Path:
    """A run whose model was saved `age` seconds ago."""
    config = Path("outputs") / name / "model" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(content)
    when = 1_700_000_000 - age
    os.utime(config, (when, when))
    return Path("outputs") / name


def test_the_newest_of_its_kind() -> None:
    assert newest_run(RECONSTRUCTION) is None, "without a folder, too"
    saved("a", json.dumps({"kind": RECONSTRUCTION}), age=20)
    newest = saved("b", json.dumps({"kind": RECONSTRUCTION}), age=10)
    pretrained = saved("c", json.dumps({"encoder": {"width": 32}}), age=5)
    assert newest_run(RECONSTRUCTION) == newest, "the younger run is of the other kind"
    assert newest_run(MASKED_VIEWS) == pretrained


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": ["reconstruction"]}', '{"kind": "something else"}', ""])
def test_what_is_no_model_is_passed_over(content: str) -> None:
    older = saved("older", json.dumps({"kind": RECONSTRUCTION}), age=10)
    saved("broken", content, age=1)
    (Path("outputs") / "no-model").mkdir()
    assert newest_run(RECONSTRUCTION) == older
