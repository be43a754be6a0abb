"""Frozen samples: written and read they are the same, wherever the data lies; what is missing is counted and named."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from miniatures import write_sevenscenes
from pictured import Noise

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.sources.sevenscenes import SevenScenes
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.view_lists import read_list, write_list
from muskie.evaluation.views.view_sets import ViewChoice, ViewSet

SEQUENCES = ("chess/seq-03", "chess/seq-05", "fire/seq-03")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_sevenscenes(folder, SEQUENCES, range(4))
    return folder


def whole(*sources: object) -> SceneIndex:
    return SceneIndex(sources, "all")  # type: ignore[arg-type]


def keys(sets: list[ViewSet]) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.scene.name, one.frames) for one in sets]


def by_hand(file: Path, samples: list[object], **more: object) -> str:
    file.write_text(json.dumps({"format": "muskie views", "version": 1, "samples": samples, **more}))
    return str(file)


def test_written_and_read_are_the_same_wherever_the_data_lies(root: Path, tmp_path: Path) -> None:
    choice = ViewChoice("random", 3, samples=None, seed=5)
    sets = choice.choose(whole(SevenScenes(root)))
    write_list(tmp_path / "new" / "list.json", sets, choice.plain())
    shutil.copytree(root, tmp_path / "elsewhere")
    listed = ViewChoice(list=str(tmp_path / "new" / "list.json"))
    found = listed.choose(whole(SevenScenes(tmp_path / "elsewhere")))
    assert keys(found) == keys(sets) and len(found) == 3
    assert found[0].source.root == (tmp_path / "elsewhere").resolve()  # type: ignore[attr-defined]
    text = (tmp_path / "new" / "list.json").read_text()
    assert str(root) not in text and len(text.splitlines()) == 10, "a sample a line"
    told = read_list(str(tmp_path / "new" / "list.json"), "views.list")
    assert told.rule == {"rule": "random", "views": 3, "samples": None, "seed": 5, "scenes": None}
    assert told.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert str(told) == f"as listed in list.json (sha256 {told.sha256[:12]}, drawn by rule random, views 3, seed 5)"
    assert listed.told(found) == f"3 views {told}"


def test_frames_are_used_in_the_listed_order_and_number(root: Path, tmp_path: Path) -> None:
    names = [f"frame-{n:06d}.color.png" for n in range(4)]
    samples = [["sevenscenes", "fire/seq-03", names[::-1]], ["sevenscenes", "chess/seq-03", [names[2], names[0]]]] * 40
    file = by_hand(tmp_path / "list.json", samples, rule=None)
    choice = ViewChoice(list=file, samples=2, views=5)
    found = choice.choose(whole(SevenScenes(root)))
    assert keys(found) == [(scene, tuple(frames)) for _, scene, frames in samples], "nobody says how it was drawn: all of it"
    assert choice.told(found).startswith("2 to 4 views as listed in list.json (sha256 ")


def test_all_that_is_missing_is_counted_and_the_first_are_named(root: Path, tmp_path: Path) -> None:
    names = [f"frame-{n:06d}.color.png" for n in range(9)]
    samples = [
        ["sevenscenes", scene, names[k : k + 3]]
        for scene in (*SEQUENCES, "pumpkin/seq-01", "stairs/seq-01")
        for k in (0, 3, 6)
    ]
    file = by_hand(tmp_path / "list.json", samples)
    with pytest.raises(DataError) as error:
        ViewChoice(list=file).choose(whole(SevenScenes(root)))
    message = str(error.value)
    assert message.startswith(f"views.list='{file}': 2 of 5 scenes are not in the data: sevenscenes/pumpkin/seq-01, sevens")
    lost = "15 of 45 frames are not in the data: sevenscenes/chess/seq-03: frame-000004.color.png, sevenscenes/chess/seq-03"
    assert lost in message and message.count(".color.png") == 5 and "..." in message and "data.root" in message


def test_another_part_of_the_data(root: Path, tmp_path: Path) -> None:
    sets = ViewChoice("strided", None, distance=1, samples=None).choose(whole(SevenScenes(root)))
    write_list(tmp_path / "list.json", sets, {})
    choice = ViewChoice(list=str(tmp_path / "list.json"))
    with pytest.raises(DataError, match=r"6 of 12 frames are not among the held-out frames of the data: .*part=all"):
        choice.choose(SceneIndex([SevenScenes(root)], "heldout", HoldOut(0.5)))
    only = SceneIndex([SevenScenes(root)], "heldout", HoldOut(0.5))
    write_list(tmp_path / "held.json", ViewChoice("strided", None, distance=1).choose(only), {})
    assert len(ViewChoice(list=str(tmp_path / "held.json")).choose(only)) == 3


def test_several_sources_are_told_apart_by_name(root: Path, tmp_path: Path) -> None:
    both = whole(SevenScenes(root), Noise([5], name="noise"))
    sets = ViewChoice("spaced", 2, distance=1, samples=4).choose(both)
    write_list(tmp_path / "list.json", sets, {})
    choice = ViewChoice(list=str(tmp_path / "list.json"))
    assert keys(choice.choose(whole(Noise([5], name="noise"), SevenScenes(root)))) == keys(sets)
    with pytest.raises(
        DataError, match=r"is of 'sevenscenes', 'noise', and the data has no 'noise' \(it is 'sevenscenes'\)"
    ):
        choice.choose(whole(SevenScenes(root)))
    twice = whole(SevenScenes(root), SevenScenes(root), Noise([5], name="noise"))
    with pytest.raises(DataError, match="two sources are called 'sevenscenes'"):
        choice.choose(twice)
    with pytest.raises(DataError, match="two sources are called 'sevenscenes'"):
        write_list(tmp_path / "twice.json", ViewChoice("spaced", 2, distance=1, samples=9).choose(twice), {})


def test_rendered_rooms_of_another_seed_are_others(tmp_path: Path) -> None:
    """Their scenes and frames have the same names."""
    rooms = {"scenes": 20, "frames": 8, "seed": 3}
    sets = ViewChoice("spaced", 2, distance=1, samples=3).choose(whole(SyntheticRooms(**rooms)))
    write_list(tmp_path / "list.json", sets, {})
    choice = ViewChoice(list=str(tmp_path / "list.json"))
    assert keys(choice.choose(whole(SyntheticRooms(**rooms)))) == keys(sets)
    with pytest.raises(DataError, match=r"other 'synthetic' scenes: data\.seed=4 \(the list: 3\)"):
        choice.choose(whole(SyntheticRooms(**{**rooms, "seed": 4})))
    with pytest.raises(DataError, match=r"data\.frames=9 \(the list: 8\), data\.seed=0 \(the list: 3\)"):
        choice.choose(whole(SyntheticRooms(scenes=20, frames=9)))


def test_a_setting_that_the_list_was_not_drawn_by(root: Path, tmp_path: Path) -> None:
    drawn = ViewChoice("random", 3, samples=None, seed=5)
    write_list(tmp_path / "list.json", drawn.choose(whole(SevenScenes(root))), drawn.plain())
    file = str(tmp_path / "list.json")
    for same in (ViewChoice(list=file), ViewChoice("random", 3, samples=None, seed=5, list=file)):
        assert len(same.choose(whole(SevenScenes(root)))) == 3
    with pytest.raises(ConfigError) as error:
        ViewChoice("random", 4, samples=None, seed=6, list=file).choose(whole(SevenScenes(root)))
    assert f"views.views=4: '{file}' was drawn with views=3" in str(error.value) and "leave views.seed out" in str(
        error.value
    )
    with pytest.raises(ConfigError, match=r"views\.rule=nearby: .* was drawn with rule=random"):
        ViewChoice("nearby", list=file).listed()


def test_pairs_are_listed_as_views_are(root: Path, tmp_path: Path) -> None:
    index = whole(SevenScenes(root))
    chosen = PairChoice("by_angle", samples=8, bins=[0, 90], overlap=0)
    sets = chosen.pairs(index).sets
    write_list(tmp_path / "pairs.json", sets, chosen.plain())
    listed = PairChoice(list=str(tmp_path / "pairs.json"))
    assert keys(listed.pairs(index).sets) == keys(sets) and len(sets) == 8
    assert json.loads((tmp_path / "pairs.json").read_text())["rule"]["bins"] == [0, 90]
    assert str(listed).startswith("2 views as listed in pairs.json")
    write_list(tmp_path / "views.json", ViewChoice("random", 3).choose(index), {})
    with pytest.raises(DataError, match=r"3 of 3 samples are no pairs, such as sevenscenes/chess"):
        PairChoice(list=str(tmp_path / "views.json")).pairs(index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no list of views"),
        ("[]", 'expected {"format": "muskie views", ...}'),
        ('{"format": "muskie views", "version": 2}', "version 2: this code reads version 1"),
        ('{"format": "muskie views", "version": 1, "samples": []}', "samples is empty"),
        (
            '{"format": "muskie views", "version": 1, "samples": [["a", "b", ["c"]]]}',
            "sample 0 is .*expected .source, scene",
        ),
        ('{"format": "muskie views", "version": 1, "samples": [["a", "b", ["c", 2]]]}', "sample 0 is"),
        ('{"format": "muskie views", "version": 1, "rule": 3, "samples": [["a", "b", ["c", "d"]]]}', "rule and generated"),
    ],
)
def test_a_file_that_is_no_list(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_list(str(tmp_path / "list.json"), "views.list")


def test_a_file_that_is_not_there_or_there_already(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"views\.list='nowhere\.json' cannot be read \(No such file or directory\)"):
        read_list("nowhere.json", "views.list")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is there already, and a frozen list is not written anew"):
        write_list(tmp_path / "file", [], {})
    with pytest.raises(ConfigError, match="cannot be written"):
        write_list(tmp_path / "file" / "list.json", [], {})
