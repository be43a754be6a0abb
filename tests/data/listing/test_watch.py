"""Whether folders and files have changed."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from muskie.data.listing.watch import TICK, WATCHED, changed, some, times

OLD = 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "in", tmp_path / "file", tmp_path):
        os.utime(path, (OLD, OLD))
    return tmp_path


def test_times_are_those_of_the_files(folder: Path) -> None:
    assert times([folder / "in", folder / "file", folder / "none", folder / "in"]) == {
        str(folder / "file"): OLD * 10**9,
        str(folder / "in"): OLD * 10**9,
        str(folder / "none"): -1,
    }


def test_nothing_has_changed(folder: Path) -> None:
    assert changed(times([folder, folder / "in", folder / "file", folder / "none"]), time.time_ns()) is None


def test_what_has_changed_is_named(folder: Path) -> None:
    known, now = times([folder / "in", folder / "file", folder / "none"]), time.time_ns()
    (folder / "in" / "new.png").write_text("")
    assert changed(known, now) == f"{folder / 'in'} has changed"
    os.utime(folder / "in", (OLD, OLD))
    assert changed(known, now) is None
    os.utime(folder / "file", ns=(0, OLD * 10**9 - 1))
    assert changed(known, now) == f"{folder / 'file'} has changed", "an older one that took its place too"
    (folder / "file").unlink()
    assert changed(known, now) == f"{folder / 'file'} is gone"
    (folder / "file").write_text("")
    os.utime(folder / "file", (OLD, OLD))
    (folder / "none").write_text("")
    assert changed(known, now) == f"{folder / 'none'} has changed"


def test_what_changed_just_before_is_not_trusted(folder: Path) -> None:
    known, then = times([folder]), OLD * 10**9
    assert changed(known, then + TICK) is None
    for made in (then + TICK - 1, then, then - TICK):
        assert changed(known, made) == f"{folder} changed just before it was made"


def test_of_many_some_are_watched() -> None:
    paths = [Path(str(number)) for number in range(10 * WATCHED)]
    found = [int(str(path)) for path in some(paths)]
    assert len(found) == WATCHED == len(set(found)) and found[0] == 0 and found[-1] == len(paths) - 1
    assert {later - earlier for earlier, later in pairwise(found)} == {10, 11}
    assert some(paths[:WATCHED]) == paths[:WATCHED] and some([]) == []
