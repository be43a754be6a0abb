"""Whether results can be written is known before there are any, and asking leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from muskie.errors import ConfigError
from muskie.evaluation.output import make_out, out_problems, unwritable


def test_a_folder_that_has_yet_to_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("new", "new/one/below", str(tmp_path / "new")):
        assert unwritable(Path(given)) == "" and out_problems(given, Path("evaluations")) == []
    assert out_problems(None, Path("evaluations")) == []
    assert list(tmp_path.iterdir()) == []
    assert make_out("new/one", Path("evaluations")) == Path("new/one") and (tmp_path / "new" / "one").is_dir()
    assert make_out(None, tmp_path / "evaluations").parent == tmp_path / "evaluations"


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        assert unwritable(folder) == f"{tmp_path / 'file'} is no folder"
        told = f"out='{folder}' cannot be written ({tmp_path / 'file'} is no folder); give another one"
        assert out_problems(str(folder), tmp_path) == out_problems(None, folder) == [told]
        with pytest.raises(ConfigError, match="cannot be written"):
            make_out(str(folder), tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_is_closed(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert unwritable(tmp_path / "closed" / "new") == f"no permission to write to {tmp_path / 'closed'}"


def test_earlier_results_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("")
    (told,) = out_problems(str(tmp_path), tmp_path)
    assert told == f"out='{tmp_path}' holds the results of an earlier evaluation; give another one"
    assert out_problems(None, tmp_path) == [], "there a new folder is made"
