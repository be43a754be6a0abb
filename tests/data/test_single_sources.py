"""Sources for single views alone: photographs that belong to no scene, as ImageNet's beside MuM's scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from numbered import Numbered

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import LoadSampler, ViewDataset
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import SceneLoader, build_sources
from muskie.data.mixture import ANY, SEVERAL, SINGLE
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset
from muskie.data.scene import SceneSource
from muskie.data.shards.order import Turn
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.data.turns import BatchLayout
from muskie.errors import ConfigError, DataError

ROOMS = "muskie.data.sources.synthetic.SyntheticRooms"


def single(source: SceneSource, weight: float = 1.0) -> SceneSource:
    source.single, source.weight = True, weight
    return source


def plan(**settings: Any) -> StepPlan:
    given = {"patch_size": 8, "steps": 200, "sizes": [16], "frames": 12, "view_range": (2, 4), "single": 0.4, **settings}
    return StepPlan(**given)


def drawn(sources: Sequence[SceneSource], steps: StepPlan, workers: int = 0, start: int = 0) -> list[list[str]]:
    """The places of every load."""
    layout = BatchLayout(12, scenes_of=steps.scenes)
    data = ViewDataset(SceneIndex(sources, "all", min_frames=steps.min_frames), steps, Augmentation(), layout=layout)
    with SceneLoader(data, LoadSampler(steps, 8, start=start), workers, pin=False) as loader:
        return [views.places for views in loader]


def names(places: Sequence[str]) -> Counter[str]:
    return Counter(place.split("/")[0] for place in places)


def test_single_views_are_of_them_and_all_others_are_not() -> None:
    steps = plan()
    photographs = [single(Numbered([1] * 50, name="rare")), single(Numbered([1] * 5, name="often"), weight=3)]
    loads = drawn([Numbered([6] * 9, name="rooms"), *photographs], steps)
    alone: Counter[str] = Counter()
    for load, places in enumerate(loads):
        if steps.loaded_views(load) == 1:
            alone += names(places)
        else:
            assert set(names(places)) == {"rooms"}
    total = sum(alone.values())
    assert set(alone) == {"rare", "often"} and total > 500
    assert abs(alone["often"] - 0.75 * total) < 4 * (0.75 * 0.25 * total) ** 0.5, "by their weights"


def test_without_such_sources_single_views_are_of_all() -> None:
    steps = plan()
    loads = drawn([Numbered([6] * 9, name="one"), Numbered([6] * 9, name="other")], steps)
    alone = sum((names(places) for load, places in enumerate(loads) if steps.loaded_views(load) == 1), Counter())
    assert set(alone) == {"one", "other"}


def test_a_single_view_of_a_range_is_not_of_the_share() -> None:
    """`view_range` may begin at one: such loads are of scenes, unless a share of single views is asked for."""
    steps = plan(view_range=(1, 2), single=0.0)
    assert {steps.loaded_views(load) for load in range(50)} == {1, 2}
    assert {steps.views_of(load) for load in range(50)} == {SEVERAL}
    both = plan(view_range=(1, 2), single=0.3, steps=1000)
    alone = [load for load in range(1000) if both.loaded_views(load) == 1]
    share = [load for load in alone if both.views_of(load) == SINGLE]
    assert 240 < len(share) < 360 and len(alone) - len(share) > 240, "the coin of the share, and that of the range"


@pytest.mark.parametrize("settings", [{"views": 1, "views_per_scene": (1,), "frames": None, "single": 0.0}, {"single": 1.0}])
def test_a_method_of_single_views_reads_all_sources(settings: dict[str, Any]) -> None:
    """MAE beside MuM on the same mixture."""
    steps = plan(**settings, steps=40)
    assert {steps.views_of(load) for load in range(40)} == {ANY} and steps.min_frames == 1
    sources = [Numbered([6] * 9, name="rooms"), single(Numbered([1] * 50, name="photographs"), weight=3)]
    steps.check_sources(sources)
    found = sum((names(places) for places in drawn(sources, steps)), Counter())
    total = sum(found.values())
    assert abs(found["photographs"] - 0.75 * total) < 4 * (0.75 * 0.25 * total) ** 0.5
    with pytest.raises(ConfigError, match=r"single=true: no load of this run is of single views"):
        plan(single=0.0).check_sources(sources)


def test_fine_tuning_draws_single_views_of_them_too() -> None:
    steps = plan(single=0.5, frames=4, view_range=(2, 2), steps=12)
    rooms, photographs = (SyntheticRooms(scenes=4, frames=count, image_size=16) for count in (4, 1))
    rooms.config_key, photographs.config_key = "data.sources.rooms", "data.sources.photographs"
    index = SceneIndex([rooms, single(photographs)], "all", min_frames=2)
    data = PosedDataset(index, steps, GeometryCrops())
    with SceneLoader(data, LoadSampler(steps, 8), 0, pin=False) as loader:
        for load, views in enumerate(loader):
            wanted = "photographs" if steps.views_of(load) == SINGLE else "rooms"
            assert set(views.sources) == {wanted} and views.images.shape[1] == (1 if wanted == "photographs" else 2)
    assert {steps.views_of(load) for load in range(12)} == {SINGLE, SEVERAL}


class Stream(Numbered):
    """One whose scene is the number of the turn."""

    streams = True

    def streamed(self, turn: Turn, seed: int) -> int:
        return turn.number


@pytest.mark.parametrize("workers", [0, 2])
def test_streams_of_single_views_skip_nothing_and_go_on(workers: int) -> None:
    steps = plan(steps=40)

    def sources() -> list[SceneSource]:
        return [Stream([4] * 9999, name="rooms"), single(Stream([1] * 9999, name="photographs"))]

    loads = drawn(sources(), steps, workers)
    assert drawn(sources(), steps, workers, start=17) == loads[17:]
    for name in ("rooms", "photographs"):
        for reader in range(max(workers, 1)):
            places = [place for load, found in enumerate(loads) if load % max(workers, 1) == reader for place in found]
            taken = [int(place.split("scene")[1]) for place in places if place.startswith(f"{name}/")]
            assert taken == list(range(len(taken))) and taken


def test_nothing_is_measured_on_them() -> None:
    sources = [Numbered([6] * 9, name="rooms"), single(Numbered([1] * 50, name="photographs"))]
    assert [source.name for source in SceneIndex(sources, "heldout", HoldOut(by="scenes"), 4).sources] == ["rooms"]
    train = SceneIndex(sources, "train", HoldOut(by="scenes"), 4)
    assert [train.places(source) for source in train.sources] == [7, 50] and train.short == [0, 0], "none is held out"
    frames = SceneIndex([Numbered([6] * 9), single(Numbered([5] * 4, name="photographs"))], "train", HoldOut(0.4), 2)
    assert [frames.images(source) for source in frames.sources] == [9 * 4, 4 * 5]
    assert len(frames.place(frames.sources[1], 2).frames) == 5


def test_short_scenes_of_others_are_still_told() -> None:
    sources = [Numbered([3] * 9, name="short"), single(Numbered([1], name="photographs"))]
    with pytest.raises(DataError, match=r"'short'.*fewer than 4 images.*plan\.view_range=\[2,3\]"):
        SceneIndex(sources, "train", HoldOut(share=0.0), 4, fewer=plan().fewer)


def test_mistakes_are_told() -> None:
    rooms = {"_target_": ROOMS, "scenes": 2, "frames": 4}
    found = build_sources({"sources": {"rooms": rooms, "photographs": {**rooms, "single": True}}})
    assert [source.single for source in found] == [False, True]
    with pytest.raises(ConfigError, match=r"data\.sources\.a\.single='yes': expected true"):
        build_sources({"sources": {"a": {**rooms, "single": "yes"}}})
    with pytest.raises(ConfigError, match="every source is for single views alone"):
        SceneIndex(build_sources({"sources": {"a": {**rooms, "single": True}}}), "all")
