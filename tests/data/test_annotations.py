"""Sequences named by annotation files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from layouts import annotations
from layouts.annotations import annotate
from PIL import Image
from walk import shoot
from written import names

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.sources.annotations import AnnotatedSequences
from muskie.errors import DataError


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / path)


def listing(source: AnnotatedSequences) -> dict[str, list[str]]:
    return {scene.name: list(scene.frames) for scene in map(source.scene, range(len(source)))}


def test_pictures_are_those_of_the_file(tmp_path: Path) -> None:
    shots = [shoot(number, *annotations.SIZE) for number in (3, 1)]
    source = AnnotatedSequences(**annotations.write(tmp_path, shots))
    assert listing(source) == {"0001/0": ["0001/images/0.png", "0001/images/1.png"]} and source.problems == []
    scene = source.scene(0)
    for name, shot in zip(scene.frames, shots, strict=True):
        frame = source.read(scene, name, geometry=True)
        np.testing.assert_array_equal(frame.image, shot.rgb)
        assert frame.camera is None and frame.depth is None and source.camera(scene, name) is None
        assert source.file(scene, name) == (tmp_path / "pictures" / name).resolve()


def test_sequences_of_a_scene_are_of_one_room_side_by_side(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    put(pictures, "a/3.png", "a/1.png", "a/2.png", "b/1.png")
    scenes = {"10": [["b/1.png"]], "2": [["a/3.png", "a/1.png", "a/3.png"], ["a/2.png", "b/1.png"]]}
    annotate(tmp_path / "all" / "train.jgz", scenes)
    (tmp_path / "all" / "extra.json").write_text(json.dumps({"2": [[{"filepath": "a/1.png", "score": {"x": 1}}]]}))
    (tmp_path / "all" / "notes.txt").write_text("x")
    source = AnnotatedSequences(pictures, tmp_path / "all")
    assert listing(source) == {
        "extra/2/0": ["a/1.png"],
        "train/2/0": ["a/3.png", "a/1.png"],  # in the file's order, each once
        "train/2/1": ["a/2.png", "b/1.png"],
        "train/10/0": ["b/1.png"],
    }
    assert [source.scene(number).room for number in range(4)] == ["2", "2", "2", "10"]
    held_out = SceneIndex([source], "heldout", HoldOut(share=0.25, by="scenes"))
    assert [held_out.place(source, number).scene.name for number in range(held_out.places(source))] == ["train/10/0"]
    assert names(AnnotatedSequences(pictures, tmp_path / "all", min_images=2)) == ["train/2/0", "train/2/1"]


def test_the_window_covers_every_sequence(tmp_path: Path) -> None:
    paths = [f"{number}.png" for number in range(60)]
    put(tmp_path, *paths)
    annotate(tmp_path / "a.json.gz", {"s": [paths, paths[:40]]})
    assert AnnotatedSequences(tmp_path, tmp_path / "a.json.gz").window == 60  # of which all views are drawn alike
    annotate(tmp_path / "b.jgz", {"s": [paths[:40]]})
    again = [AnnotatedSequences(tmp_path, tmp_path / "b.jgz") for _ in range(2)]
    assert [source.window for source in again] == [40, 40]


def test_pictures_that_are_not_there_are_left_out_and_told(tmp_path: Path) -> None:
    put(tmp_path / "pictures", "a/1.png", "a/2.png")
    annotate(tmp_path / "a.jgz", {"s": [["a/1.png", "a/9.png", "z/1.png"], ["z/1.png"], ["a/2.png"]]})
    source = AnnotatedSequences(tmp_path / "pictures", tmp_path / "a.jgz")
    assert listing(source) == {"s/0": ["a/1.png"], "s/2": ["a/2.png"]}
    assert source.problems == ["a.jgz: 2 of the 4 pictures that it names are not there, and left out; the first: a/9.png"]
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"a\.jgz: none of its 4 pictures is there, e\.g\. .*other/a/1\.png; data\.root is"):
        AnnotatedSequences(tmp_path / "other", tmp_path / "a.jgz")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b",
        b"\x1f\x8bnonsense",
        b"[1, 2]",
        b'{"s": 1}',
        b'{"s": [{"filepath": "a"}]}',
        b'{"s": [[1]]}',
        b'{"s": [[{"path": "a"}]]}',
        b'{"s": [[{"filepath": ["a"]}]]}',
        b'{"s": [[',
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jgz").write_bytes(content)
    with pytest.raises(DataError, match=r"first: a\.jgz: .*a\.jgz: .*expected JSON, packed by gzip or not: scene -> list"):
        AnnotatedSequences(tmp_path, tmp_path / "a.jgz")


def test_a_file_cut_off_is_left_out_beside_a_sound_one(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    for name in ("one", "two"):
        annotate(tmp_path / "all" / f"{name}.jgz", {"s": [["1.png"]]})
    whole = (tmp_path / "all" / "one.jgz").read_bytes()
    (tmp_path / "all" / "one.jgz").write_bytes(whole[:-9])
    source = AnnotatedSequences(tmp_path, tmp_path / "all")
    assert names(source) == ["two/s/0"] and re.match(r"one\.jgz: .*cannot be read", source.problems[0])


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root=.*does not exist; give a folder with the pictures that data\.annot"):
        AnnotatedSequences(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match=r"data\.annotations='.*nowhere' does not exist; give a file, or a folder of files"):
        AnnotatedSequences(tmp_path, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data\.annotations='.*' holds no \.jgz, \.json\.gz, \.json file; expected JSON"):
        AnnotatedSequences(tmp_path, tmp_path)
    annotate(tmp_path / "a.jgz", {})
    with pytest.raises(DataError, match=r"no sequence found in data\.annotations=.*a\.jgz'; expected JSON"):
        AnnotatedSequences(tmp_path, tmp_path / "a.jgz")
