"""Batches that are counted in images: the number of views of a scene is drawn for each load, the same on all ranks."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numbered import Numbered, numbers

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import LoadSampler, ViewDataset, Views
from muskie.data.index import SceneIndex
from muskie.data.loading import SceneLoader
from muskie.data.plan import StepPlan
from muskie.data.requests import Request
from muskie.data.shards.order import Turn
from muskie.data.turns import BatchLayout
from muskie.errors import ConfigError
from muskie.masking import MaskPolicy
from muskie.models.variants import create_model
from muskie.objectives.pixels import MaskedPixels
from muskie.training.tasks import MaskedViewTask
from muskie.training.trainer_config import TrainerConfig

MUM: dict[str, Any] = {"patch_size": 8, "steps": 4000, "sizes": [16], "frames": 96, "view_range": (2, 24)}


def plan(**settings: Any) -> StepPlan:
    return StepPlan(**{**MUM, **settings})


def small(**settings: Any) -> StepPlan:
    return plan(**{"steps": 24, "frames": 12, "view_range": (2, 5), "single": 0.25, **settings})


def test_the_number_of_views_is_drawn_uniformly() -> None:
    steps = plan()
    drawn = Counter(steps.load(load)[0].views for load in range(4000))
    assert sorted(drawn) == list(range(2, 25)) == steps.counts
    expected = 4000 / 23
    chi2 = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert chi2 < 48.3, "of 22 degrees of freedom, chance has it in 999 of 1000 draws"


@pytest.mark.parametrize("single", [0.1, 0.5])
def test_a_share_of_the_loads_is_of_single_views(single: float) -> None:
    steps = plan(single=single)
    drawn = np.array([steps.loaded_views(load) for load in range(4000)])
    assert abs((drawn == 1).mean() - single) < 4 * (single * (1 - single) / 4000) ** 0.5
    assert abs(drawn[drawn > 1].mean() - 13) < 0.5, "the others are as ever"
    assert steps.counts == [1, *range(2, 25)]
    assert plan(single=1.0).counts == [1] and {plan(single=1.0).loaded_views(load) for load in range(50)} == {1}


def test_as_many_scenes_as_fit() -> None:
    steps = plan(single=0.1)
    for load in range(300):
        (shape,) = steps.load(load)
        assert shape.scenes is not None and shape.scenes == steps.scenes(load)
        assert shape.scenes * shape.views <= 96 < (shape.scenes + 1) * shape.views


def test_a_step_has_the_views_of_its_load_whatever_the_size() -> None:
    steps = plan(sizes=[16, 32], reuse=3)
    for step in range(60):
        views = {shape.views for shape in steps.load(step // 3)}
        assert views == {steps.views_in(step, 0)} == {steps.views_in(step, 1)}
        orders = steps.permutations(step, 1, [4, 5])
        assert orders.shape == (2, *views) and (np.sort(orders) == np.arange(*views)).all()


def test_draws_depend_on_seed_and_number_alone() -> None:
    first, second, other = small(seed=5), small(seed=5), small(seed=6)
    backwards = [second.load(load) for load in reversed(range(24))]
    assert [first.load(load) for load in range(24)] == backwards[::-1]
    assert [first.load(load) for load in range(24)] != [other.load(load) for load in range(24)]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_ranks_have_equal_shapes_and_other_samples(world: int, accumulate: int) -> None:
    steps = small(sizes=[16, 32])
    ranks = [list(LoadSampler(steps, 99, accumulate, rank, world)) for rank in range(world)]
    assert len({len(found) for found in ranks}) == 1 and len(ranks[0]) == 24 * accumulate * 2
    together: dict[tuple[int, int], list[int]] = {}
    for at_once in zip(*ranks, strict=True):
        assert len({(len(batch), batch[0].load, batch[0].group) for batch in at_once}) == 1
        for batch in at_once:
            assert len(batch) == steps.scenes(batch[0].load), "trainer.batch_size says nothing here"
            together.setdefault((batch[0].load, batch[0].group), []).extend(request.sample for request in batch)
    for (load, _), samples in together.items():
        scenes = steps.scenes(load)
        assert scenes is not None and sorted(samples) == list(range(scenes * world * accumulate)), "each once"


def test_a_later_start_goes_on_exactly() -> None:
    steps = small(sizes=[16, 32])
    whole = list(LoadSampler(steps, 8, 2, 1, 2))
    for start in range(24):
        sampler = LoadSampler(steps, 8, 2, 1, 2, start)
        assert list(sampler) == whole[start * 4 :] and len(sampler) == len(whole) - start * 4


def loaded(workers: int, start: int = 0, rank: int = 0, world: int = 1) -> list[Views]:
    steps = small(sizes=[16, 24], window=8)
    data = ViewDataset(SceneIndex([Numbered([9] * 7)], "all"), steps, Augmentation())
    with SceneLoader(data, LoadSampler(steps, 8, 1, rank, world, start), workers, pin=False) as loader:
        return list(loader)


def test_data_workers_and_a_later_start_change_nothing() -> None:
    alone = loaded(0)
    for other in (loaded(2), [*alone[:10], *loaded(2, start=5)]):
        assert len(other) == len(alone)
        for one, same in zip(alone, other, strict=True):
            assert torch.equal(one.images, same.images) and one.places == same.places
    shapes = {tuple(views.images.shape[:2]) for views in alone}
    assert shapes == {(12, 1), (6, 2), (4, 3), (3, 4), (2, 5)}
    for views in alone:
        for scene in numbers(views.images):
            assert len(set(map(tuple, scene))) == len(scene), "no view twice"


def test_two_ranks_read_what_one_with_twice_the_batch_would() -> None:
    steps = small(frames=24, view_range=(2, 4))
    data = ViewDataset(SceneIndex([Numbered([9] * 7)], "all"), small(view_range=(2, 4)), Augmentation())
    together = ViewDataset(SceneIndex([Numbered([9] * 7)], "all"), steps, Augmentation())
    ranks = [list(LoadSampler(data.plan, 8, 1, rank, 2)) for rank in range(2)]
    for whole, *halves in zip(LoadSampler(steps, 8), *ranks, strict=True):
        assert whole == [request for half in halves for request in half]
        assert all(torch.equal(together[request].images, data[request].images) for request in whole)


LAYOUTS = [
    BatchLayout(12, groups, accumulate, rank, world, small().scenes)
    for groups, accumulate, (rank, world) in product((1, 2), (1, 3), ((0, 1), (0, 2), (1, 2)))
]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda one: f"{one.groups}-{one.accumulate}-{one.rank}/{one.world}")
def test_turn_and_request_are_inverse(layout: BatchLayout, workers: int) -> None:
    steps = small(sizes=[16, 24][: layout.groups])
    taken: dict[int, list[int]] = {}
    for batch in LoadSampler(steps, 8, layout.accumulate, layout.rank, layout.world):
        for request in batch:
            turn = layout.turn(request, workers)
            assert layout.request(turn, turn.number, workers) == request
            taken.setdefault(turn.reader, []).append(turn.number)
    for reader, found in taken.items():
        assert found == sorted(set(found)), "every reader goes forward"
        missing = set(range(found[-1])) - set(found)
        turn = Turn(reader, layout.world * workers, 0, 12)
        assert missing and all(layout.request(turn, number, workers) is None for number in missing)


class Told(Numbered):
    """A stream whose scene is the number of the turn."""

    streams = True

    def __init__(self, name: str) -> None:
        super().__init__([5] * 100_000, name=name, size=(8, 8))

    def streamed(self, turn: Turn, seed: int) -> int:
        return turn.number


def streamed(start: int, workers: int, several: bool) -> list[list[str]]:
    steps = small(steps=32)
    sources = [Told("one"), Numbered([5] * 9, name="plain"), Told("other")] if several else [Told("one")]
    layout = BatchLayout(12, scenes_of=steps.scenes)
    data = ViewDataset(SceneIndex(sources, "all"), steps, Augmentation(), layout=layout)
    with SceneLoader(data, LoadSampler(steps, 8, start=start), workers, pin=False) as loader:
        return [views.places for views in loader]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("several", [False, True])
def test_streams_go_on_where_they_were_and_skip_nothing(workers: int, several: bool) -> None:
    whole = streamed(0, workers, several)
    for start in (1, 21):
        assert streamed(start, workers, several) == whole[start:]
    for name, reader in product(("one", "other")[: 1 + several], range(max(workers, 1))):
        places = [place for load, found in enumerate(whole) if load % max(workers, 1) == reader for place in found]
        taken = [int(place.split("scene")[1]) for place in places if place.startswith(f"{name}/")]
        assert taken == list(range(len(taken))) and len(taken) > 5


def test_masks_are_uniform_on_every_view() -> None:
    """Three quarters of every view, each patch as often, no view like another."""
    steps = small(sizes=[32], steps=200)
    model = create_model("mum_vitb16", width=8, depth=1, heads=2, patch_size=8, decoder={"width": 8, "depth": 1, "heads": 2})
    task = MaskedViewTask(model, MaskPolicy(["random"], [0.75], 0), MaskedPixels(), steps)
    hidden, views_seen = torch.zeros(16), 0
    for step in range(200):
        scenes, views = steps.scenes(step), steps.loaded_views(step)
        assert scenes is not None
        images = torch.zeros(scenes, views, 3, 32, 32, dtype=torch.uint8)
        samples = list(range(scenes))
        batch = task.prepare(Views(images, samples, [""] * scenes, [""] * scenes, Counter(), []), step, 0)
        assert batch.images.shape == images.shape and batch.mask.shape == (scenes, views, 4, 4)
        flat = batch.mask.flatten(2)
        assert (flat.sum(-1) == 12).all()
        hidden += flat.sum((0, 1))
        views_seen += scenes * views
        assert len(batch.places) == scenes and task.images(batch) == scenes * views
        if step == 0:
            assert len({tuple(row) for row in flat.flatten(0, 1).tolist()}) > 0.8 * scenes * views
    assert ((hidden / views_seen - 0.75).abs() < 4 * (0.75 * 0.25 / views_seen) ** 0.5).all()


def test_scenes_must_have_the_views_that_are_read() -> None:
    assert small().min_frames == 5 and small(single=1.0).min_frames == 1 and small(repeat_views=True).min_frames == 1
    several = StepPlan(patch_size=8, steps=1, sizes=[16], views=8, views_per_scene=[2, 4])
    assert several.min_frames == 8 and several.counts == [2, 4], "eight are read, and dealt into scenes of fewer"


def test_images_count_in_schedules() -> None:
    assert TrainerConfig(batch_size=None).batch(96) == 96 and TrainerConfig(batch_size=8).batch() == 8
    assert TrainerConfig(batch_size=None, epoch_size=960).steps_per_epoch(2, 3, 96) == 5 * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"view_range": (2, 97)}, r"plan\.view_range=\[2, 97\]: .*1 to plan\.frames=96"),
        ({"view_range": (0, 4)}, r"plan\.view_range=\[0, 4\]"),
        ({"view_range": (5, 4)}, r"plan\.view_range=\[5, 4\]"),
        ({"view_range": (5,)}, r"plan\.view_range=\[5\]"),
        ({"frames": 0}, r"plan\.frames=0"),
        ({"single": 1.5}, r"plan\.single=1\.5: expected a share"),
        ({"frames": None, "single": 0.1}, r"plan\.single=0\.1: it needs plan\.frames, e\.g\. plan\.frames=96"),
    ],
)
def test_impossible_settings_are_told_with_the_way_out(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(**settings)


def test_whole_views_that_leave_none_to_mask_are_told_before_training() -> None:
    model = create_model("mum_vitb16", width=8, depth=1, heads=2, patch_size=8, decoder={"width": 8, "depth": 1, "heads": 2})
    with pytest.raises(ConfigError, match=r"masks\.references is 3: no view is left to mask in steps of 2, 3 views"):
        MaskedViewTask(model, MaskPolicy(references=3), MaskedPixels(), small())
    with pytest.raises(ConfigError, match=r"masks\.ratios holds 0\.0; .*above 0 and below 1"):
        MaskPolicy(ratios=[0.0])


def test_requests_of_a_load_have_its_shape() -> None:
    steps = small()
    data = ViewDataset(SceneIndex([Numbered([9] * 7)], "all"), steps, Augmentation())
    for load in range(6):
        assert data[Request(load, 0, 0)].images.shape[1] == steps.loaded_views(load)
