"""The rules by which views are chosen, against brute force."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.view_sets import (
    ViewChoice,
    ViewSet,
    evenly,
    first_windows,
    nearest_rotations,
    rotation_angles,
    spaced,
)
from muskie.streams import stream


class Listed(SceneSource):
    """Scenes that are only listed.

    Args:
        scenes: the frames of each.
        name: of the source.
        rooms: what each scene shows.
        angles: of each scene, degrees by which the camera of each frame is turned about one axis; NaN: it has no camera,
            infinite: it cannot be read.
    """

    def __init__(
        self,
        scenes: Sequence[Sequence[str]],
        name: str = "listed",
        rooms: Sequence[str] | None = None,
        angles: Sequence[Sequence[float]] = (),
    ) -> None:
        self.scenes, self.name, self.rooms, self.angles = scenes, name, rooms, angles

    def __len__(self) -> int:
        return len(self.scenes)

    def scene(self, index: int) -> Scene:
        return Scene(f"scene{index}", self.scenes[index], self.rooms[index] if self.rooms else None)

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        raise AssertionError("no picture is opened")

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        number = int(scene.name.removeprefix("scene"))
        angle = self.angles[number][list(self.scenes[number]).index(frame)]
        if math.isinf(angle):
            raise OSError("lost")
        pose = np.eye(4)
        pose[:3, :3] = turned(np.array([1.0, 2.0, -2.0]) / 3, angle)
        return None if math.isnan(angle) else Camera(np.eye(3), pose)


def turned(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rodrigues' formula."""
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.radians(0 if math.isnan(degrees) else degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def numbered(*lengths: int, name: str = "listed") -> Listed:
    return Listed([[str(frame) for frame in range(length)] for length in lengths], name)


def everything(*sources: SceneSource) -> SceneIndex:
    return SceneIndex(sources, "all")


def key(views: ViewSet) -> tuple[str, str, tuple[str, ...]]:
    return views.source.name, views.scene.name, views.frames


@pytest.mark.parametrize(("views", "distance"), [(2, 1), (2, 7), (3, 2), (8, 1), (5, 3)])
def test_spaced_gives_every_run_of_frames_once(views: int, distance: int) -> None:
    lengths = (20, 3, 11, 14)
    sets = spaced(everything(numbered(*lengths)), views, distance, count=10_000)
    possible = {
        ("listed", f"scene{scene}", tuple(str(start + n * distance) for n in range(views)))
        for scene, length in enumerate(lengths)
        for start in range(length)
        if start + (views - 1) * distance < length
    }
    assert len(sets) == len(possible) and {key(one) for one in sets} == possible


def test_spaced_takes_from_all_sources_alike_and_all_scenes_of_each() -> None:
    index = everything(numbered(30, 30, name="a"), numbered(*[30] * 50, name="b"))
    sets = spaced(index, 4, 2, count=12)
    of_source = Counter(one.source.name for one in sets)
    of_scene = Counter((one.source.name, one.scene.name) for one in sets)
    assert len(sets) == 12 and of_scene["a", "scene0"] == of_scene["a", "scene1"] == 3
    assert of_source["b"] == 6 and max(count for (name, _), count in of_scene.items() if name == "b") == 1
    numbers = sorted({int(one.scene.name.removeprefix("scene")) for one in sets if one.source.name == "b"})
    assert numbers == sorted({round(49 * n / 5) for n in range(6)}), "from the first scene to the last"


def test_spaced_starts_are_drawn_and_depend_on_the_seed_alone() -> None:
    index = everything(numbered(200, 200))
    sets = spaced(index, 2, 3, count=40, seed=1)
    assert sets == spaced(index, 2, 3, count=40, seed=1)
    assert sets != spaced(index, 2, 3, count=40, seed=2)
    assert [key(one) for one in sets[:10]] == [key(one) for one in spaced(index, 2, 3, count=10, seed=1)]
    starts = [int(one.frames[0]) for one in sets if one.scene.name == "scene0"]
    assert len(set(starts)) == 20 and np.std(starts) > 30, "all over the scene"


@pytest.mark.parametrize("count", [1, 2, 100])
def test_spaced_passes_over_scenes_that_are_too_short(count: int) -> None:
    """Whichever they are, and however few sets are wanted."""
    sets = spaced(everything(numbered(3, 2, 9, 4, 10, 1)), 3, 4, count=count)
    assert sets and {one.scene.name for one in sets} <= {"scene2", "scene4"} and len(sets) == min(count, 3)


def test_spaced_says_what_would_do() -> None:
    index = everything(numbered(3, 12), numbered(5, name="other"))
    with pytest.raises(DataError, match=r"5 views at a distance of 3 frames span 13 .*longest: 12\).* at most 2$"):
        spaced(index, 5, 3, count=1)
    assert spaced(index, 5, 2, count=1)
    with pytest.raises(DataError, match=r"take fewer views$"):
        spaced(index, 13, 1, count=1)
    with pytest.raises(DataError, match="the longest: 4"):
        spaced(everything(SyntheticRooms(frames=4)), 3, 2, count=2)


def test_only_frames_of_the_part_are_looked_at() -> None:
    source = numbered(20, 10)
    index = SceneIndex([source], "heldout", HoldOut(0.5))
    frames = {(one.scene.name, frame) for one in spaced(index, 2, 1, count=100) for frame in one.frames}
    assert frames == {("scene0", str(n)) for n in range(10, 20)} | {("scene1", str(n)) for n in range(5, 10)}
    with pytest.raises(DataError, match="no scene has so many held out"):
        spaced(index, 11, 1, count=1)


def by_hand(frames: Sequence[str], views: int, gap: int) -> tuple[str, ...] | None:
    for start in range(len(frames)):
        window = frames[start : start + views]
        if len(window) == views and all(abs(int(a[1:]) - int(b[1:])) <= gap for a, b in pairwise(window)):
            return tuple(window)
    return None


def test_first_windows_against_brute_force() -> None:
    rng = stream(0, "frames")
    scenes = [[f"f{n}" for n in np.cumsum(rng.integers(1, 60, size=rng.integers(1, 30)))] for _ in range(60)]
    scenes.append(["f500", "f3", "f4", "f5", "f6"])  # a jump back is a gap too
    for views, gap in ((2, 5), (4, 35), (8, 45)):
        sets = first_windows(everything(Listed(scenes)), views, gap)
        expected = [(f"scene{n}", found) for n, frames in enumerate(scenes) if (found := by_hand(frames, views, gap))]
        assert [(one.scene.name, one.frames) for one in sets] == expected
        assert 0 < len(expected) < len(scenes)


def test_first_windows_counts_the_last_number_of_a_name() -> None:
    frames = ["take1/0001.color", "take90/0030.color", "take91/0500.color"]
    (only,) = first_windows(everything(Listed([frames])), 2, 35)
    assert only.frames == tuple(frames[:2])
    with pytest.raises(DataError, match=r"listed/scene0: frame 'one' has no number"):
        first_windows(everything(Listed([["one", "two"]])), 2, 35)


def test_first_windows_that_nowhere_are() -> None:
    with pytest.raises(DataError, match="no scene has 3 consecutive frames with gaps of at most 4; allow wider gaps"):
        first_windows(everything(Listed([["0", "5", "10"], ["1", "2"]])), 3, 4)


def test_rotation_angles_of_rotations_about_any_axis() -> None:
    rng = stream(0, "axes")
    axes = rng.normal(size=(20, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    start = turned(np.array([0.0, 0.6, 0.8]), 77)
    for angle in (0, 1e-3, 1, 60, 179, 180):
        others = np.stack([start @ turned(axis, angle) for axis in axes])
        assert rotation_angles(start, others) == pytest.approx(angle, abs=1e-5)


def test_nearest_rotations_against_brute_force() -> None:
    """Cameras turned about one axis: how far they are turned against each other is the difference of two numbers."""
    rng = stream(0, "angles")
    angles = [rng.uniform(0, 170, size=12).tolist(), rng.uniform(0, 170, size=3).tolist(), rng.uniform(0, 90, 9).tolist()]
    angles[0][4] = angles[2][0] = math.nan
    angles[0][7] = math.inf
    source = Listed([[f"{n:03d}" for n in range(len(scene))] for scene in angles], angles=angles)
    sets = nearest_rotations(everything(source), views=4, every=1)
    expected = []
    for number, scene in enumerate(angles):
        known = [n for n, angle in enumerate(scene) if math.isfinite(angle)]
        for anchor in known if len(known) >= 4 else []:
            others = sorted((n for n in known if n != anchor), key=lambda n: abs(scene[n] - scene[anchor]))
            expected.append((f"scene{number}", tuple(f"{n:03d}" for n in [anchor, *others[:3]])))
    assert [(one.scene.name, one.frames) for one in sets] == expected and len(expected) == 10 + 8
    kept = nearest_rotations(everything(source), views=4, every=5)
    assert kept == sets[::5]


def test_the_anchor_is_first_where_another_camera_is_the_same() -> None:
    source = Listed([["a", "b", "c"]], angles=[[0, 0, 0]])
    assert [one.frames[0] for one in nearest_rotations(everything(source), 2, 1)] == ["a", "b", "c"]


def test_nearest_rotations_without_cameras() -> None:
    source = Listed([["a", "b", "c"]], angles=[[math.nan, 3, math.inf]])
    with pytest.raises(DataError, match="no scene has 2 frames with a camera"):
        nearest_rotations(everything(source), 2, 1)


@pytest.mark.parametrize("rule", ["spaced", "first_windows", "nearest_rotations"])
def test_of_endless_scenes_only_so_many_are_looked_at(rule: str) -> None:
    """A million rooms: looking at each would take days."""
    sets = ViewChoice(rule, views=2, every=1, samples=3).choose(everything(SyntheticRooms(frames=8)))
    scenes = [int(one.scene.name.removeprefix("room-")) for one in sets]
    assert len(sets) == len(set(map(key, sets))) == 3 and scenes[0] == 0 and scenes[-1] > 600_000


def test_of_scenes_that_have_an_end_all_are_looked_at() -> None:
    angles = [[0.0, 1.0, 2.0]] * 100
    index = everything(Listed([["0", "1", "2"]] * 100, angles=angles))
    assert len(ViewChoice("first_windows", views=2, samples=None).choose(index)) == 100
    assert len(ViewChoice("nearest_rotations", views=2, every=1, samples=None).choose(index)) == 300
    assert len(ViewChoice("spaced", views=2, distance=1, samples=None).choose(index)) == 64
    some = ViewChoice("first_windows", views=2, samples=4).choose(index)
    assert [one.scene.name for one in some] == ["scene0", "scene33", "scene66", "scene99"]


def test_choices_are_their_rules() -> None:
    source = Listed([[str(n) for n in range(12)]] * 3, angles=[list(range(12))] * 3)
    index = everything(source)
    assert ViewChoice("spaced", 3, distance=2, samples=9, seed=5).choose(index) == spaced(index, 3, 2, 9, seed=5)
    assert ViewChoice("first_windows", 3, max_gap=1).choose(index) == first_windows(index, 3, 1)
    assert ViewChoice("nearest_rotations", 3, every=4).choose(index) == nearest_rotations(index, 3, 4)
    assert ViewChoice("nearest_rotations", 3, every=1, samples=1).choose(index)[0].frames[0] == "0"
    assert all(len(one.frames) == 2 for one in PairChoice().choose(index))


def test_numbers_are_spread_evenly() -> None:
    for total in range(30):
        for count in range(1, 40):
            chosen = evenly(total, count)
            assert len(chosen) == min(total, count) and chosen == sorted(set(chosen))
            if len(chosen) > 1:
                assert (chosen[0], chosen[-1]) == (0, total - 1)
                assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 2


def test_a_group_is_a_room() -> None:
    source = Listed([["0", "1"]] * 3, rooms=["kitchen", "kitchen", "hall"])
    sets = spaced(everything(source, numbered(2, name="other")), 2, 1, count=10)
    assert sorted(one.group for one in sets) == ["listed/hall", "listed/kitchen", "listed/kitchen", "other/scene0"]
    assert sets[0].name == "listed/scene0 (0, 1)"
    alike = [numbered(2), numbered(2)]
    for source, key in zip(alike, ("data.sources.one", "data.sources.other"), strict=True):
        source.config_key = key
    assert len({one.group for one in spaced(everything(*alike), 2, 1, count=10)}) == 2, "of one name, and yet two data sets"


@pytest.mark.parametrize(
    ("choice", "settings", "message"),
    [
        (ViewChoice, {"rule": "nearest"}, "views.rule='nearest': expected one of 'spaced', 'first_windows'"),
        (ViewChoice, {"views": 1}, "views.views=1: expected at least 2"),
        (ViewChoice, {"distance": 0}, "views.distance=0: expected at least 1"),
        (ViewChoice, {"samples": 0}, "views.samples=0"),
        (ViewChoice, {"every": 0}, "views.every=0"),
        (ViewChoice, {"max_gap": 0}, "views.max_gap=0"),
        (ViewChoice, {"seed": -1}, "views.seed=-1: expected at least 0"),
        (PairChoice, {"distance": 0}, "pairs.distance=0"),
        (PairChoice, {"views": 3}, "pairs.views=3: a pair has 2"),
    ],
)
def test_settings_out_of_range(choice: type[ViewChoice], settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choice(**settings)  # type: ignore[arg-type]
