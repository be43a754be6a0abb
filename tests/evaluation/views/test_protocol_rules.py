"""The rules of published evaluations of reconstruction, and scenes that are named, against brute force."""

from __future__ import annotations

import math

import pytest
from test_view_sets import Listed, everything, numbered

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.protocol_rules import nearby, random_frames, strided
from muskie.evaluation.views.view_set import SomeScenes
from muskie.evaluation.views.view_sets import ViewChoice


def posed(*lengths: int, lost: dict[tuple[int, int], float] | None = None, name: str = "listed") -> Listed:
    """Scenes of frames 0, 1, ..., all with a camera but those that are `lost`: NaN, or infinite where it cannot be read."""
    angles = [[(lost or {}).get((scene, n), float(n)) for n in range(length)] for scene, length in enumerate(lengths)]
    return Listed([[str(n) for n in range(length)] for length in lengths], name, angles=angles)


@pytest.mark.parametrize(("views", "distance"), [(None, 1), (None, 7), (90, 3), (2, 5), (4, 200)])
def test_strided_is_a_slice_of_every_scene(views: int | None, distance: int) -> None:
    lengths = (1000, 500, 201, 200, 8)
    sets = strided(everything(posed(*lengths)), views, distance, None)
    expected = [list(range(length))[::distance][:views] for length in lengths]
    expected = [frames for frames in expected if len(frames) > 1]
    assert [[int(frame) for frame in one.frames] for one in sets] == expected


def test_frames_without_a_camera_are_in_no_set() -> None:
    lost = {(0, 0): math.nan, (0, 10): math.inf, (0, 11): math.nan, (1, 5): math.nan}
    index = everything(posed(21, 10, lost=lost))
    assert [one.frames for one in strided(index, None, 5, None)] == [("5", "15", "20")], "the second scene has one alone"
    for sets in (random_frames(index, 9, None, 0), nearby(index, 5, 4, 1000, 0)):
        assert sets and not any(frame in one.frames for one in sets for frame in ("0", "10", "11") if "0" in one.scene.name)
    firsts = {one.frames[0] for one in nearby(index, 3, 4, 1000, 0) if one.scene.name == "scene0"}
    assert firsts == {str(n) for n in range(21)} - {"0", "10", "11"}


def test_random_frames_are_drawn_by_scene_alone() -> None:
    """Whatever else there is, a scene has the same draw; no frame comes twice; all frames come, in any place."""
    many = random_frames(everything(posed(*[60] * 40)), 10, None, seed=3)
    assert len(many) == 40 and all(len(set(one.frames)) == 10 for one in many)
    assert {frame for one in many for frame in one.frames} == {str(n) for n in range(60)}
    assert any(list(map(int, one.frames)) != sorted(map(int, one.frames)) for one in many)
    (alone,) = random_frames(SomeScenes(everything(posed(*[60] * 40)), ["scene7"], "views.scenes"), 10, None, seed=3)
    assert alone.frames == many[7].frames != many[8].frames
    assert random_frames(everything(posed(*[60] * 40)), 10, None, seed=4)[7].frames != alone.frames
    assert [one.frames for one in random_frames(everything(posed(60, name="other")), 10, None, 3)] != [many[0].frames]


def test_scenes_with_too_few_frames_have_no_draw() -> None:
    sets = random_frames(
        everything(posed(9, 10, 11, 12, lost={(2, 4): math.nan, (3, 0): math.nan, (3, 1): math.nan})), 10, None, 0
    )
    assert [one.scene.name for one in sets] == ["scene1", "scene2", "scene3"]
    with pytest.raises(DataError, match="no scene has 13 frames with a camera; take fewer views"):
        random_frames(everything(posed(12)), 13, None, 0)


def test_nearby_frames_are_within_reach() -> None:
    index = everything(posed(100, 30, 4))
    sets = nearby(index, 6, 8, 50, seed=1)
    assert len(sets) == 50 and {one.scene.name for one in sets} == {"scene0", "scene1"}
    offsets = set()
    for one in sets:
        first, *others = map(int, one.frames)
        assert len({first, *others}) == 6
        offsets |= {other - first for other in others}
    assert offsets == set(range(-8, 9)) - {0}
    assert len({(one.scene.name, one.frames[0]) for one in sets}) == 50, "no two have one first frame"
    assert sets == nearby(index, 6, 8, 50, seed=1) != nearby(index, 6, 8, 50, seed=2)
    assert len(nearby(index, 6, 8, 1000, seed=1)) == 130
    with pytest.raises(DataError, match="nowhere are 18 frames with a camera within 8 frames"):
        nearby(index, 18, 8, 10, seed=0)


def test_choices_are_their_rules() -> None:
    index = everything(posed(20, 30, 40))
    assert ViewChoice("strided", None, distance=4, samples=None).choose(index) == strided(index, None, 4, None)
    assert ViewChoice("strided", 3, distance=4, samples=2).choose(index) == strided(index, 3, 4, 2)
    assert [one.scene.name for one in strided(index, 3, 4, 2)] == ["scene0", "scene2"]
    assert ViewChoice("random", 5, samples=None, seed=7).choose(index) == random_frames(index, 5, None, 7)
    assert ViewChoice("nearby", 5, reach=3, samples=9, seed=7).choose(index) == nearby(index, 5, 3, 9, 7)
    endless = everything(SyntheticRooms(frames=8))
    assert len(ViewChoice("strided", None, distance=4, samples=None).choose(endless)) == 64
    with pytest.raises(DataError, match=r"take a smaller distance \(now views\.distance=50\)"):
        ViewChoice("strided", None, distance=50).choose(index)
    with pytest.raises(DataError, match=r"\(now views\.views=8, views\.reach=3\)"):
        ViewChoice("nearby", 8, reach=3).choose(index)


@pytest.mark.parametrize(
    ("lengths", "count", "expected"),
    [
        (((9, 9, 9), (9, 9, 9)), 3, (2, 1)),
        (((9, 9), (9, 9), (9, 9)), 4, (2, 1, 1)),
        (((9, 9), (9, 9), (9, 9)), 2, (1, 1, 0)),
        (((9,), (9, 9, 9, 9)), 6, (1, 3)),  # what the first leaves is not given to the second: of both alike
        (((2, 2), (9, 9), (9,)), 1, (0, 1, 0)),  # the first has no scene that is long enough
        (((9, 9), (9, 9)), None, (2, 2)),
    ],
)
def test_samples_are_counted_over_all_sources(
    lengths: tuple[tuple[int, ...], ...], count: int | None, expected: tuple[int, ...]
) -> None:
    index = everything(*(posed(*scenes, name=f"source{number}") for number, scenes in enumerate(lengths)))
    for choice in (ViewChoice("random", 5, samples=count), ViewChoice("strided", None, distance=4, samples=count)):
        sets = choice.choose(index)
        assert tuple(sum(one.source.name == f"source{n}" for one in sets) for n in range(len(lengths))) == expected


@pytest.mark.parametrize("rule", ["spaced", "nearby", "first_windows", "nearest_rotations"])
def test_a_source_of_few_long_scenes_has_its_share(rule: str) -> None:
    """Beside one of many short ones: half of all samples, or all it has."""
    index = everything(posed(40, 40, name="long"), posed(*[10] * 30, name="short"))
    choice = ViewChoice(rule, 3, distance=2, samples=25, max_gap=1, every=1)
    sets = choice.choose(index)
    has = 2 if rule == "first_windows" else 13
    assert [sum(one.source.name == name for one in sets) for name in ("long", "short")] == [has, min(13, 25 - has)]
    assert len({(one.scene.name, one.frames) for one in sets if one.source.name == "long"}) == has
    alone = everything(posed(40, 40, name="long"))
    with pytest.raises(DataError):
        ViewChoice(rule, 41, distance=1, samples=4).choose(index)
    fits = ViewChoice(rule, 12, distance=1, samples=8, max_gap=1, every=1)  # the short scenes have none
    assert {one.source.name for one in fits.choose(index)} == {"long"}
    assert len(fits.choose(index)) <= len(fits.choose(alone))


def test_what_notes_tell() -> None:
    index = everything(posed(20, 30))
    choice = ViewChoice("strided", None, distance=10, samples=None)
    assert choice.told(choice.choose(index)) == "2 to 3 views, 10 frames apart, from the first frame of each scene"
    choice = ViewChoice("random", 5, seed=7)
    assert choice.told(choice.choose(index)) == "5 views, drawn from each scene (seed 7)"
    assert str(ViewChoice("nearby", 5)) == "5 views, drawn within 64 frames of the first (seed 0)"


def test_scenes_that_are_named() -> None:
    sources = numbered(9, 9, 9, name="one"), numbered(9, 9, name="other")
    index = SceneIndex(sources, "heldout", HoldOut(0.5))
    sets = ViewChoice("spaced", 2, distance=1, samples=100, scenes=["scene2"]).choose(index)
    assert {(one.source.name, one.scene.name) for one in sets} == {("one", "scene2")}
    assert {frame for one in sets for frame in one.frames} <= {str(n) for n in range(4, 9)}, "held out, as without names"
    both = ViewChoice("spaced", 2, distance=1, scenes=("scene1",)).choose(index)
    assert {one.source.name for one in both} == {"one", "other"}
    with pytest.raises(
        DataError, match=r"views\.scenes names 2 of 3 scenes that are not in the data: scene7, hall; did you"
    ):
        ViewChoice(scenes=["scene7", "scene1", "hall"]).choose(index)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views": None}, "views.views=null: only rule=strided takes all views"),
        ({"rule": "nearby", "reach": 0}, "views.reach=0: expected at least 1"),
        ({"scenes": []}, r"views.scenes=\[\] leaves nothing"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViewChoice(**settings)  # type: ignore[arg-type]
