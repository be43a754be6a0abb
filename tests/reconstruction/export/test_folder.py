"""The folder of a result: whole or as before, and nothing of anybody else's is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muskie.errors import ConfigError
from muskie.reconstruction.export.folder import check_output, replace_result, written_whole

Write = Callable[[Path], dict[str, Any]]


def writes(**files: str) -> Write:
    """Files by name, `__` for a folder's slash and `_DOT_` for a dot."""

    def write(beside: Path) -> dict[str, Any]:
        for name, text in files.items():
            path = beside / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return {"views": sorted(files)}

    return write


def tree(folder: Path) -> dict[str, str]:
    """Everything in a folder, hidden or not, folders too."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else "a folder" for path in folder.rglob("*")
    }


def test_a_new_result_and_its_replacement(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    files = replace_result(out, writes(a="1", depth__x="2", maps__deep__y="3"))
    assert [path.relative_to(out).as_posix() for path in files] == ["a", "depth/x", "maps/deep/y", "cameras.json"]
    told = json.loads((out / "cameras.json").read_text())
    assert told["complete"] is True and told["files"] == ["a", "depth/x", "maps/deep/y"] and len(told["views"]) == 3
    (out / "depth" / "my notes").write_text("mine")
    replace_result(out, writes(a="4", b="5"), overwrite=True)
    found = tree(out)
    del found["cameras.json"]
    assert found == {"a": "4", "b": "5", "depth": "a folder", "depth/my notes": "mine"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_the_earlier_result(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "out"

    def broken(beside: Path) -> dict[str, Any]:
        writes(a="new", c="new")(beside)
        raise error

    with pytest.raises(error):
        replace_result(out, broken)
    assert not out.exists(), "a folder that was not there is not there"
    replace_result(out, writes(a="1", depth__x="2"))
    before = tree(out)
    with pytest.raises(error):
        replace_result(out, broken, overwrite=True)
    assert tree(out) == before


@pytest.mark.parametrize("fails_at", range(7))
def test_whatever_stops_the_move_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    """Two files are moved aside, three in, and `cameras.json` is written before and after: each of these may fail."""
    out = tmp_path / "out"
    replace_result(out, writes(a="1", depth__x="2"))
    before, moved, replace = tree(out), [], Path.replace
    armed = [True]

    def move(self: Path, target: Path) -> Path:
        if armed[0] and (not self.name.endswith(".partial") or self.parent == out):  # not what is written beside
            moved.append(self)
            if len(moved) == fails_at + 1:
                armed[0] = False  # what is taken back, is
                raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", move)
    with pytest.raises(KeyboardInterrupt):
        replace_result(out, writes(a="3", b="4", maps__y="5"), overwrite=True)
    assert tree(out) == before


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    def full(beside: Path) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(ConfigError, match=r"cannot be written to '.*out': No space left on device"):
        replace_result(tmp_path / "out", full)
    assert not (tmp_path / "out").exists()


def test_what_a_killed_process_left_counts_for_nothing(tmp_path: Path) -> None:
    left = tmp_path / ".muskie-writing-abc" / "new"
    left.mkdir(parents=True)
    (left / "a").write_text("half")
    check_output(tmp_path)
    replace_result(tmp_path, writes(a="1"))
    assert set(tree(tmp_path)) == {"a", "cameras.json"}
    # Killed while files were moved: what there is of both results is known, and replaced.
    told = json.loads((tmp_path / "cameras.json").read_text()) | {"complete": False, "files": ["a", "b"]}
    (tmp_path / "cameras.json").write_text(json.dumps(told))
    (tmp_path / "b").write_text("of the other")
    replace_result(tmp_path, writes(c="1"), overwrite=True)
    assert set(tree(tmp_path)) == {"c", "cameras.json"}


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"not empty \(thesis.txt\), and holds no earlier reconstruction"):
            replace_result(tmp_path, writes(a="1"), overwrite)
    (tmp_path / "cameras.json").write_text('{"format": "another program", "files": ["thesis.txt"]}')
    for text in ("", "[]", "{}"):
        with pytest.raises(ConfigError, match="holds no earlier reconstruction"):
            check_output(tmp_path, overwrite=True)
        (tmp_path / "cameras.json").write_text(text)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_earlier_result_is_replaced_only_when_asked(tmp_path: Path) -> None:
    replace_result(tmp_path, writes(a="1"))
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"replace it with overwrite=True \(--overwrite\)"):
        replace_result(tmp_path, writes(a="2"))
    assert tree(tmp_path) == before


def test_a_file_of_somebody_else_beside_a_result_is_not_written_over(tmp_path: Path) -> None:
    replace_result(tmp_path, writes(a="1"))
    (tmp_path / "b").write_text("mine")
    before = tree(tmp_path)
    for files in ({"b": "2"}, {"b__c": "2"}):
        with pytest.raises(ConfigError, match=r"b' is not of the earlier reconstruction.*move it away"):
            replace_result(tmp_path, writes(**files), overwrite=True)
    assert tree(tmp_path) == before
    replace_result(tmp_path, writes(c="2"), overwrite=True)
    assert tree(tmp_path)["b"] == "mine" and "a" not in tree(tmp_path)


def test_a_list_of_files_cannot_reach_out_of_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    replace_result(out, writes(a="1"))
    (tmp_path / "outside").write_text("mine")
    told = json.loads((out / "cameras.json").read_text())
    told["files"] = ["../outside", str(tmp_path / "outside"), ".", "", 7]
    (out / "cameras.json").write_text(json.dumps(told))
    replace_result(out, writes(b="1"), overwrite=True)
    assert (tmp_path / "outside").read_text() == "mine" and (out / "b").read_text() == "1"


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b")
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"is a file|cannot be written to"):
            check_output(path)
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("whole")
    with pytest.raises(ValueError), written_whole(tmp_path / "a") as path:
        path.write_text("ha")
        raise ValueError
    assert tree(tmp_path) == {"a": "whole"}
