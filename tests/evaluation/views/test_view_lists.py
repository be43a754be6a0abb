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
from muskie.evaluation.views.list_files import read_list, write_list
from muskie.evaluation.views.pair_choice import PairChoice
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
    assert "stairs/seq-01 (the first in sample 9, counted from 0); " in message
    assert ", ... (the first in sample 1, counted from 0). Are" in message


def test_another_part_of_the_data(root: Path, tmp_path: Path) -> None:
    sets = ViewChoice("strided", None, distance=1, samples=None).choose(whole(SevenScenes(root)))
    write_list(tmp_path / "list.json", sets, {})
    choice = ViewChoice(list=str(tmp_path / "list.json"))
    with pytest.raises(
        DataError,
        match=r"6 of 12 frames are not among the held-out frames .* sample 0, .*outputs/RUN freeze=FILE\..*part=all",
    ):
        choice.choose(SceneIndex([SevenScenes(root)], "heldout", HoldOut(0.5)))
    with pytest.raises(DataError, match=r"6 of 12 frames are not among the training frames (?!.*freeze=).*part=all"):
        choice.choose(SceneIndex([SevenScenes(root)], "train", HoldOut(0.5)))
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
        DataError, match=r"is of 'sevenscenes', 'noise', and the data has no 'noise' \(it is 'sevenscenes'\), as sample 2, "
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


@pytest.mark.parametrize("sizes", [(None, 32), (32, None), (32, 40), ((32, 40), (40, 32))])
def test_rooms_rendered_at_another_size_are_others(sizes: tuple[object, object], tmp_path: Path) -> None:
    """Of another shape, a picture shows more or less of the room."""
    then, now = (whole(SyntheticRooms(scenes=4, frames=8, image_size=size)) for size in sizes)  # type: ignore[arg-type]
    write_list(tmp_path / "list.json", ViewChoice("spaced", 2, distance=1, samples=3).choose(then), {})
    choice = ViewChoice(list=str(tmp_path / "list.json"))
    assert len(choice.choose(then)) == 3
    with pytest.raises(
        DataError, match=r"other 'synthetic' scenes: data\.image_size=.* \(the list: .*\); give the settings"
    ):
        choice.choose(now)


def test_an_argument_that_a_list_leaves_out_is_not_known(tmp_path: Path) -> None:
    sample = ["synthetic", "room-000001", ["000000", "000001"]]
    told = {"scenes": 4, "frames": 8, "seed": 0}
    file = by_hand(tmp_path / "list.json", [sample], generated={"synthetic": told})
    rooms = whole(SyntheticRooms(scenes=4, frames=8))
    with pytest.raises(DataError, match=r"scenes: data\.image_size=None \(the list: not said\); give"):
        ViewChoice(list=file).choose(rooms)
    file = by_hand(tmp_path / "list.json", [sample], generated={"synthetic": {**told, "image_size": None}})
    assert len(ViewChoice(list=file).choose(rooms)) == 1


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
        ViewChoice("nearby", list=file).choose(whole(SevenScenes(root)))


def test_a_setting_at_its_default_is_one_that_was_given(root: Path, tmp_path: Path) -> None:
    """Whoever types `views.views=8` beside a list of 3 views means it, though 8 is what nobody need type."""
    drawn = ViewChoice("nearby", 3, reach=2, samples=None, seed=5, scenes=["chess/seq-03"])
    write_list(tmp_path / "list.json", drawn.choose(whole(SevenScenes(root))), drawn.plain())
    file = str(tmp_path / "list.json")
    ViewChoice(list=file).check_given([])
    ViewChoice("nearby", 3, reach=2, samples=None, list=file).check_given(["rule", "views", "reach", "samples", "list"])
    told = {"rule": "spaced", "views": 8, "reach": 64, "samples": 64, "seed": 0, "scenes": None}
    with pytest.raises(ConfigError) as error:
        ViewChoice(list=file).check_given(told)
    lines = str(error.value).splitlines()
    assert len(lines) == len(told)
    for line, (name, value) in zip(lines, told.items(), strict=True):
        was = drawn.plain()[name]
        assert line.startswith(f"views.{name}={value}: '{file}' was drawn with {name}={was}, and a list is used as it is")
    with pytest.raises(ConfigError, match=r"views\.distance=4: .* with rule=nearby, which does not go by distance"):
        ViewChoice(list=file).check_given(["distance"])
    by_hand(tmp_path / "little.json", [["sevenscenes", "chess/seq-03", ["a", "b"]]], rule={"views": 2})
    ViewChoice(list=str(tmp_path / "little.json")).check_given(["distance"])  # nobody says what it was drawn by
    with pytest.raises(ConfigError, match=r"views\.views=8: .* with views=2"):
        ViewChoice(list=str(tmp_path / "little.json")).check_given(["distance", "views"])


def test_a_list_is_read_once(root: Path, tmp_path: Path) -> None:
    """What is measured is what the hash is of, also where somebody writes to the file meanwhile."""
    names = [f"frame-{n:06d}.color.png" for n in range(4)]
    file = by_hand(tmp_path / "list.json", [["sevenscenes", "chess/seq-03", names[:2]]], note="the first two frames")
    choice = ViewChoice(list=file)
    choice.check_given([])
    digest = hashlib.sha256((tmp_path / "list.json").read_bytes()).hexdigest()
    by_hand(tmp_path / "list.json", [["sevenscenes", "chess/seq-05", names[2:]]])
    found = choice.choose(whole(SevenScenes(root)))
    assert keys(found) == [("chess/seq-03", tuple(names[:2]))] and choice.listed.sha256 == digest
    told = f'2 views as listed in list.json (sha256 {digest[:12]}, its note: "the first two frames")'
    assert choice.told(found) == told


def test_what_a_list_says_of_its_scenes(root: Path, tmp_path: Path) -> None:
    drawn = ViewChoice("random", 3, samples=None, scenes=list(SEQUENCES[:2]))
    sets = drawn.choose(whole(SevenScenes(root)))
    write_list(tmp_path / "list.json", sets, drawn.plain())
    of = "2 named scenes (chess/seq-03, chess/seq-05)"
    assert str(ViewChoice(list=str(tmp_path / "list.json"))).endswith(f"drawn by rule random, views 3, seed 0, {of})")
    assert drawn.told(sets) == f"3 views, drawn from each scene (seed 0), of {of}"
    many = ViewChoice("strided", None, scenes=[f"s{n}" for n in range(30)])
    assert many.told(sets).endswith(", of 30 named scenes (" + ", ".join(f"s{n}" for n in range(20)) + ", ...)")


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


def a_list(samples: str, more: str = "") -> bytes:
    return f'{{"format": "muskie views", "version": 1, {more}"samples": {samples}}}'.encode()


SOUND = '["a", "b", ["c", "d"]]'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "Expecting"),
        (b"[" * 100_000, "recursion"),
        (b"[]", 'expected {"format": "muskie views", ...}'),
        (b'{"format": "muskie views", "version": 2}', "version 2: this code reads version 1"),
        (a_list("[]"), "samples is []; expected a list of [source, scene,"),
        (a_list("5"), "samples is 5; expected a list of"),
        (a_list('{"a": 1}'), 'samples is {"a": 1}; expected a list of'),
        (b'{"format": "muskie views", "version": 1}', "samples is null; expected a list of"),
        (a_list('[["a", "b", ["c"]]]'), 'sample 0 (counted from 0) is ["a", "b", ["c"]]; expected [source, scene, [frame,'),
        (a_list(f'[{SOUND}, ["a", "b", ["c", 2]]]'), 'sample 1 (counted from 0) is ["a", "b", ["c", 2]]; expected'),
        (a_list(f'[{SOUND}, ["a", "b", "cd"]]'), "sample 1 (counted from 0) is"),
        (
            a_list(f'[{SOUND}, {SOUND}, ["a", "b", ["c", "d", "c"]]]'),
            "sample 2 (counted from 0), a/b, has frame 'c' more than",
        ),
        (a_list(f"[{SOUND}, 5]"), "sample 1 (counted from 0) is 5; expected"),
        (a_list(f"[{SOUND}]", '"rule": 3, '), "rule is 3; expected a mapping"),
        (a_list(f"[{SOUND}]", '"generated": ["a"], '), 'generated is ["a"]; expected a mapping'),
        (a_list(f"[{SOUND}]", '"generated": {"a": 3}, '), "generated.a is 3; expected a mapping"),
        (a_list(f"[{SOUND}]", '"note": 3, '), "note is 3; expected a text"),
        (a_list(f"[{SOUND}]").replace(b"c", "é".encode("latin-1")), "is no UTF-8"),
    ],
)
def test_a_file_that_is_no_list(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.json").write_bytes(content)
    with pytest.raises(DataError) as error:
        read_list(str(tmp_path / "list.json"), "views.list")
    told = str(error.value)
    assert told.startswith(f"views.list='{tmp_path / 'list.json'}' is no list of views: ") and message in told
    assert told.endswith("mend it by hand, or have freeze=FILE write one")


def test_a_file_that_is_not_there_or_there_already(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"views\.list='nowhere\.json' cannot be read \(No such file or directory\)"):
        read_list("nowhere.json", "views.list")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is there already, and a frozen list is not written anew"):
        write_list(tmp_path / "file", [], {})
    with pytest.raises(ConfigError, match="cannot be written"):
        write_list(tmp_path / "file" / "list.json", [], {})
