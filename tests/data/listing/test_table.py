"""Scenes as flat arrays: what goes in comes out."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from muskie.data.listing.table import FrameNames, SceneTable, Texts
from muskie.data.scene import Scene

ODD = ["", "a", "", "straße/日本 \n\t", os.fsdecode(b"\xff\x80.png"), "é", "\U0001f600"]

SCENES = [
    Scene("room/one", ["0.png", "10.png"], room="room"),
    Scene("", [os.fsdecode(b"\xfe.jpg")]),
    Scene("zwei drei\n", ["ü.png", "", "c"], room="room"),
]


def frames(scene: Scene) -> Sequence[str]:
    return list(scene.frames)


def test_texts_come_back() -> None:
    texts = Texts.of(ODD)
    assert [texts[number] for number in range(len(texts))] == ODD
    assert len(Texts.of([])) == 0


def test_scenes_come_back() -> None:
    table = SceneTable.of(SCENES)
    assert len(table) == 3 and table.frames == 6 and table.lengths.tolist() == [2, 1, 3]
    for found, given in zip(table, SCENES, strict=True):
        assert (found.name, found.room, frames(found)) == (given.name, given.room, list(given.frames))
        assert found == given and found.numbers is None
    assert table[-1].name == "zwei drei\n" and [scene.name for scene in table[1:]] == ["", "zwei drei\n"]
    with pytest.raises(IndexError):
        table[3]


def test_no_scenes_are_a_table_too() -> None:
    table = SceneTable.of([])
    assert len(table) == table.frames == 0 and list(table) == []


def test_numbers_are_those_of_each_frame() -> None:
    given = [
        Scene("a", ["0", "1"], numbers=np.array([[1, 2], [3, 4.5]])),
        Scene("b", ["0"], numbers=np.array([[5, np.nan]])),
    ]
    table = SceneTable.of(given)
    for scene, expected in zip(table, given, strict=True):
        assert scene.numbers is not None and scene.numbers.dtype == np.float64
        np.testing.assert_array_equal(scene.numbers, expected.numbers)
    with pytest.raises(ValueError, match="3 frames, and numbers of 1 of them"):
        SceneTable.of([Scene("a", ["0", "1"]), given[1]])


def test_names_of_frames_are_a_sequence() -> None:
    found = SceneTable.of(SCENES)[2].frames
    assert isinstance(found, FrameNames)
    assert found == ["ü.png", "", "c"] and found != ["ü.png", ""] and found != ["ü.png", "", "d"] and found != "abc"
    assert found[-1] == "c" and found[1:] == ["", "c"] and found[::-1] == ["c", "", "ü.png"] and "c" in found
    assert found[1:].numbers == range(4, 6) and found[1:][0] == ""
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(TypeError):
        hash(found)


def test_names_travel_without_their_table() -> None:
    many = SceneTable.of([Scene(str(number), [f"{number}-{frame}" for frame in range(100)]) for number in range(100)])
    sent = pickle.dumps(many[7].frames[:3])
    assert pickle.loads(sent) == ["7-0", "7-1", "7-2"] and len(sent) < 200


@pytest.mark.parametrize(
    "other",
    [
        [Scene("a", ["1", "12"]), Scene("b", ["3"])],
        [Scene("a", ["11", "2"]), Scene("b", ["4"])],
        [Scene("a", ["11", "2", "3"])],
        [Scene("ab", ["11", "2"]), Scene("", ["3"])],
        [Scene("a", ["11"]), Scene("b", ["2", "3"])],
    ],
)
def test_digests_tell_tables_apart(other: list[Scene]) -> None:
    table = SceneTable.of([Scene("a", ["11", "2"]), Scene("b", ["3"])])
    assert table.digest() == SceneTable.of(list(table)).digest() != SceneTable.of(other).digest()
