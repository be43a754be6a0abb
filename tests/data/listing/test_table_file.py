"""The file of a table: it comes back as it was, or is refused in words, never half."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from muskie.data.listing import table_file
from muskie.data.listing.table import SceneTable
from muskie.data.listing.table_file import Unusable, read_arrays, read_table, write_arrays, write_table
from muskie.data.scene import Scene

SCENES = [Scene("a", ["0.png", "1.png"], numbers=np.eye(2, 3)), Scene("b", ["2.png"], room="r", numbers=np.ones((1, 3)))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_table(tmp_path / "new" / "table.safetensors", SceneTable.of(SCENES), {"problems": ["straße"]})
    return tmp_path / "new" / "table.safetensors"


def metadata(**values: object) -> dict[str, str]:
    return {"muskie": json.dumps(values)}


def test_a_table_comes_back(file: Path) -> None:
    table, noted = read_table(file)
    assert list(table) == SCENES and noted["problems"] == ["straße"]
    for scene, given in zip(table, SCENES, strict=True):
        assert scene.numbers is not None
        np.testing.assert_array_equal(scene.numbers, given.numbers)
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing is left beside"


def test_what_is_mapped_is_what_the_library_reads(file: Path) -> None:
    mapped, _ = read_arrays(file, ())
    read = load_file(file)
    assert mapped.keys() == read.keys()
    for name, array in read.items():
        assert mapped[name].dtype == array.dtype
        np.testing.assert_array_equal(mapped[name], array)


def test_a_table_outlives_the_file_that_replaces_it(file: Path) -> None:
    table, _ = read_table(file)
    write_table(file, SceneTable.of([Scene("other", ["x"])]), {})
    assert list(table) == SCENES and [scene.name for scene in read_table(file)[0]] == ["other"]


def test_a_file_cut_off_anywhere_is_refused(file: Path) -> None:
    whole, cut = file.read_bytes(), file.with_name("cut.safetensors")
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(Unusable, match="it is broken"):
            read_table(cut)
    cut.write_bytes(whole + b"\0")
    with pytest.raises(Unusable, match="it is broken"):
        read_table(cut)


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    with pytest.raises(FileNotFoundError):
        read_table(file)
    file.mkdir()
    with pytest.raises(Unusable):
        read_table(file)
    file.rmdir()
    arrays = SceneTable.of(SCENES).arrays
    for foreign in (None, {"format": "pt"}, {"muskie": "[1]"}, {"muskie": "3"}, metadata(made=1)):
        save_file(arrays, file, metadata=foreign)
        with pytest.raises(Unusable, match="it is another program's"):
            read_table(file)
    save_file(arrays, file, metadata={"muskie": "{"})
    with pytest.raises(Unusable, match="it is broken"):
        read_table(file)
    for content in (b"", b"\xff" * 100, json.dumps(metadata()).encode()):
        file.write_bytes(content)
        with pytest.raises(Unusable, match="it is broken"):
            read_table(file)


def test_other_versions_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "VERSION", table_file.VERSION + 1)
    with pytest.raises(Unusable, match=rf"it is of version {table_file.VERSION - 1}, and this is {table_file.VERSION}"):
        read_table(file)


def test_files_that_lack_something_are_refused(file: Path) -> None:
    arrays = SceneTable.of(SCENES).arrays
    for name in ("frames_ends", "rooms"):
        write_arrays(file, {key: array for key, array in arrays.items() if key != name}, {})
        with pytest.raises(Unusable, match=f"it lacks {name}$"):
            read_table(file)
    write_arrays(file, {**arrays, "numbers": np.ones((3, 3), np.float16)}, {})
    with pytest.raises(Unusable, match="numbers of another kind"):
        read_table(file)


def test_a_write_that_fails_leaves_what_was_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(table_file.os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_table(file, SceneTable.of([Scene("other", ["x"])]), {})
    assert list(read_table(file)[0]) == SCENES and [path.name for path in file.parent.iterdir()] == [file.name]
