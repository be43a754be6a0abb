"""What is trained on and what is held out: disjoint, complete, drawn evenly."""

from __future__ import annotations

import dataclasses
import pickle
import re
from collections import Counter

import numpy as np
import pytest
from numbered import Numbered

from muskie.data.index import HoldOut, Place, SceneIndex
from muskie.data.scene import Scene, SceneSource
from muskie.errors import ConfigError, DataError


def all_places(index: SceneIndex) -> list[Place]:
    return [index.place(source, number) for source in index.sources for number in range(index.places(source))]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("by", ["frames", "scenes"])
def test_the_parts_are_disjoint_and_complete(share: float, by: str) -> None:
    sources = [Numbered([12, 7, 30, 2], name="a"), Numbered([5, 9], name="b")]
    parts = {part: SceneIndex(sources, part, HoldOut(share, by), min_frames=0) for part in ("train", "heldout")}
    whole = SceneIndex(sources, "all")
    frames = {
        part: [(place.name, frame) for place in all_places(index) for frame in place.frames]
        for part, index in [*parts.items(), ("all", whole)]
    }
    assert not set(frames["train"]) & set(frames["heldout"])
    assert sorted(frames["train"] + frames["heldout"]) == sorted(frames["all"])
    assert len(frames["all"]) == 65 and len(set(frames["all"])) == 65
    if by == "scenes":
        names = {part: {place.name for place in all_places(index)} for part, index in parts.items()}
        assert not names["train"] & names["heldout"] and all(names.values())


def test_the_last_frames_of_every_scene_are_held_out() -> None:
    source = Numbered([10, 20])
    train = SceneIndex([source], "train", HoldOut(0.2))
    heldout = SceneIndex([source], "heldout", HoldOut(0.2))
    for number, count in enumerate((10, 20)):
        names = list(source.scene(number).frames)
        assert list(train.place(source, number).frames) == names[: count * 4 // 5]
        assert list(heldout.place(source, number).frames) == names[count * 4 // 5 :]
        assert list(train.place(source, number).scene.frames) == names


def test_the_last_scenes_of_every_source_are_held_out_whole() -> None:
    source = Numbered([6] * 10)
    train, heldout = (SceneIndex([source], part, HoldOut(0.3, "scenes")) for part in ("train", "heldout"))
    assert [place.scene.name for place in all_places(train)] == [f"scene{k}" for k in range(7)]
    assert [place.scene.name for place in all_places(heldout)] == ["scene7", "scene8", "scene9"]
    assert all(len(place.frames) == 6 for place in all_places(heldout))


class Rooms(Numbered):
    """Scenes of these rooms."""

    def __init__(self, rooms: str) -> None:
        super().__init__([6] * len(rooms))
        self.rooms = rooms

    def scene(self, index: int) -> Scene:
        return dataclasses.replace(super().scene(index), room=self.rooms[index])


@pytest.mark.parametrize(
    ("rooms", "share", "kept"),
    [
        ("aabbcc", 0.3, 4),
        ("aabbcc", 0.5, 2),
        ("aabbcc", 0.1, 4),
        ("aaaabc", 0.4, 4),
        ("abbcccc", 0.5, 3),
        ("aaaaa", 0.2, 4),
        ("abbbbbbcc", 0.4, 7),
    ],
)
def test_no_room_is_on_both_sides(rooms: str, share: float, kept: int) -> None:
    source = Rooms(rooms)
    train, heldout = (SceneIndex([source], part, HoldOut(share, "scenes")) for part in ("train", "heldout"))
    names = [f"scene{number}" for number in range(len(rooms))]
    assert [place.scene.name for place in all_places(train)] == names[:kept]
    assert [place.scene.name for place in all_places(heldout)] == names[kept:]


def test_a_source_of_one_scene_holds_out_its_last_frames() -> None:
    alone, several = Numbered([50], name="alone"), Numbered([6] * 5, name="several")
    train, heldout = (SceneIndex([alone, several], part, HoldOut(0.2, "scenes")) for part in ("train", "heldout"))
    assert [len(place.frames) for place in all_places(train)] == [40, 6, 6, 6, 6]
    assert [len(place.frames) for place in all_places(heldout)] == [10, 6]
    assert heldout.place(alone, 0).frames[0] == "40" and heldout.place(several, 0).scene.name == "scene4"


def test_a_copy_of_the_index_knows_the_same_places() -> None:
    """Data workers that are started anew, as on macOS, get theirs by pickling."""
    index = SceneIndex([Numbered([9, 9, 9], name="a"), Numbered([9, 9], name="b")], "heldout", HoldOut(0.3, "scenes"))
    copy = pickle.loads(pickle.dumps(index))
    names, same = ([place.name for place in all_places(one)] for one in (index, copy))
    assert names == same == ["a/scene2", "b/scene1"]


def test_nothing_is_held_out_without_a_share() -> None:
    source = Numbered([4, 4])
    train = SceneIndex([source], "train", HoldOut(0))
    assert [len(place.frames) for place in all_places(train)] == [4, 4]
    with pytest.raises(ConfigError, match=r"holdout\.share=0"):
        SceneIndex([source], "heldout", HoldOut(0))


def test_names_say_source_and_scene() -> None:
    index = SceneIndex([Numbered([3], name="mine")], "all")
    assert index.place(index.sources[0], 0).name == "mine/scene0"


def test_short_scenes_are_named_with_their_counts() -> None:
    source = Numbered([20, 5, 20, 6], name="mine")
    with pytest.raises(DataError) as caught:
        SceneIndex([source], "train", HoldOut(0.5), min_frames=8)
    message = str(caught.value)
    assert "'mine'" in message and "2 of 4 scenes have fewer than 8 images to train on" in message
    assert "scene1 (2)" in message and "scene3 (3)" in message and "scene0" not in message
    with pytest.raises(DataError, match=r"3 of 4 scenes have fewer than 10 images held out: .* Give"):
        SceneIndex([Numbered([18, 18, 20, 18])], "heldout", HoldOut(0.5), min_frames=10)
    many = Numbered([2] * 9)
    with pytest.raises(DataError, match=r"9 of 9 .* in all: scene0 \(2\).*scene4 \(2\) and 4 more"):
        SceneIndex([many], "all", min_frames=3)
    SceneIndex([many], "all", min_frames=2)


class Choosy(Numbered):
    """Leaves out scenes of few images."""

    def __init__(self, lengths: list[int], min_images: int = 1) -> None:
        super().__init__([length for length in lengths if length >= min_images])


def build(source: SceneSource, holdout: HoldOut, views: int) -> None:
    """Both parts, as a run does."""
    needs = {"train": views, "heldout": 4}
    for part in needs if holdout.share else ("train",):
        SceneIndex([source], part, holdout, needs[part], needs)


def advice(lengths: list[int], holdout: HoldOut, views: int) -> list[str]:
    """The ways out that an error names; none if there is no error."""
    try:
        build(Choosy(lengths), holdout, views)
    except DataError as error:
        return str(error).split(". ", 1)[1].split("; or ")
    return []


@pytest.mark.parametrize("seed", range(60))
def test_every_advice_about_short_scenes_helps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, rng.choice([5, 12, 40]), rng.integers(1, 6)).tolist()
    holdout = HoldOut(float(rng.choice([0, 0.01, 0.2, 0.37, 0.5, 0.9])), str(rng.choice(["frames", "scenes"])))
    views = int(rng.choice([2, 4, 8]))
    ways = advice(lengths, holdout, views)
    assert not ways or ways[0].startswith("Give every scene")
    for way in ways:
        settings = dict(re.findall(r"([a-z_.]+)=([\w.]+)", way))
        enough = int(found[0]) if (found := re.findall(r"Give every scene (\d+)", way)) else 0
        source = Choosy([max(length, enough) for length in lengths], int(settings.get("data.min_images", 1)))
        other = HoldOut(float(settings.get("holdout.share", holdout.share)), settings.get("holdout.by", holdout.by))
        build(source, other, int(settings.get("plan.views", views)))
        if enough > 1 and (holdout.by == "frames" or len(lengths) == 1):  # by scenes, the part of a scene decides
            assert advice([length if length >= enough else enough - 1 for length in lengths], holdout, views)


def test_advice_about_short_scenes_fits_the_data() -> None:
    frames, scenes = HoldOut(0.2), HoldOut(0.2, "scenes")
    photographs = "; ".join(advice([4], frames, 4))
    assert "Give every scene 18 images or more" in photographs and "holdout.share=0" in photographs
    assert "min_images" not in photographs and "holdout.by" not in photographs, "there is one scene"
    assert "holdout.share=0 plan.views=3 plan.views_per_scene=[3]" in "; ".join(advice([3], frames, 4))
    several = "; ".join(advice([30, 10, 3], frames, 4))
    assert "data.min_images=18" in several and "holdout.by" not in several, "the last scene is too short as a whole"
    assert "holdout.by=scenes" in "; ".join(advice([30, 10, 6], frames, 4))
    assert "holdout.by" not in "; ".join(advice([30, 3, 3], scenes, 4)), "it is set already"
    assert "hold more out: holdout.share=0.15" in "; ".join(advice([30], HoldOut(0.02, "scenes"), 8))
    with pytest.raises(DataError) as caught:
        SceneIndex([Numbered([4, 4])], "heldout", frames, 4)
    assert "min_images" not in str(caught.value), "the class has no such argument"


def test_advice_for_all_sources_suffices_for_all() -> None:
    def ways(*lengths: list[int]) -> str:
        needs = {"train": 8, "heldout": 4}
        sources: list[SceneSource] = [Choosy(part) for part in lengths]
        for number, source in enumerate(sources):
            source.config_key = f"data.sources.part{number}"
        with pytest.raises(DataError) as caught:
            SceneIndex(sources, "heldout", HoldOut(0.2), 4, needs)
        return str(caught.value)

    assert "holdout.share=0.3" in ways([12]) and "holdout.share=0.3" in ways([12], [13])
    assert "holdout.share=0.3" not in ways([12], [10]), "of ten, eight are needed for training"
    assert "data.sources.part0.min_images=18" in ways([12, 30], [30])
    assert "data.sources.part1.min_images=18" in ways([30], [12, 30])


def test_counting() -> None:
    source = Numbered([10, 20, 30])
    for part, expected in (("train", 8 + 16 + 24), ("heldout", 2 + 4 + 6)):
        assert SceneIndex([source], part, HoldOut(0.2)).images(source) == expected
    even = Numbered([10] * 7)
    even.uniform_length = True
    for by, part, expected in (
        ("frames", "train", 56),
        ("frames", "heldout", 14),
        ("scenes", "train", 60),
        ("scenes", "all", 70),
    ):
        assert SceneIndex([even], part, HoldOut(0.2 if part != "all" else 0.0, by)).images(even) == expected
    with pytest.raises(DataError, match=r"7 of 7 scenes have fewer than 3 images held out: scene0 \(2\) and 6 more\. "):
        SceneIndex([even], "heldout", HoldOut(0.2), 3)


def test_a_source_is_told_by_its_root() -> None:
    source = Numbered([2], name="folder")
    source.root = "/photos/one"  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"^source 'folder' \(/photos/one\): 1 of 1 scenes"):
        SceneIndex([source], "all", min_frames=3)


def test_tiny_shares_are_answered() -> None:
    with pytest.raises(DataError, match=r"Give every scene 3[45]\d{7} images"):
        SceneIndex([Numbered([9])], "heldout", HoldOut(1e-8), 4)


def test_sources_of_even_length_are_not_counted() -> None:
    class Endless(Numbered):
        uniform_length = True

        def scene(self, index: int) -> Scene:
            assert index == 0, "only the first scene may be looked at"
            return super().scene(index)

    SceneIndex([Endless([8] * 1000)], "train", min_frames=4)
    with pytest.raises(DataError, match="fewer than 9"):
        SceneIndex([Endless([8] * 1000)], "train", HoldOut(0), min_frames=9)


def test_impossible_settings_are_told() -> None:
    for arguments in ({"share": 1.0}, {"share": -0.1}, {"by": "images"}):
        with pytest.raises(ConfigError, match=r"holdout\.(share|by)="):
            HoldOut(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no source"):
        SceneIndex([], "train")


def test_draws_are_even_over_sources_and_then_over_scenes() -> None:
    sources: list[SceneSource] = [Numbered([4], name="small"), Numbered([4] * 5, name="large")]
    index, rng = SceneIndex(sources, "all"), np.random.default_rng(0)
    counts = Counter(index.draw(rng).name for _ in range(6000))
    expected = {"small/scene0": 3000} | {f"large/scene{k}": 600 for k in range(5)}
    assert counts.keys() == expected.keys()
    for name, count in expected.items():
        assert abs(counts[name] - count) < 4 * (count * (1 - count / 6000)) ** 0.5
