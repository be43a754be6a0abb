"""How requests are dealt to readers: every data worker is one, and its samples are numbered one after the other."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from numbered import Numbered
from torch.utils.data import get_worker_info

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import LoadSampler, ViewDataset, Views
from muskie.data.index import SceneIndex
from muskie.data.loading import SceneLoader
from muskie.data.plan import StepPlan
from muskie.data.requests import Request
from muskie.data.shards.order import Turn
from muskie.data.turns import BatchLayout

LAYOUTS = [
    BatchLayout(batch, groups, accumulate, rank, world)
    for batch, groups, accumulate, (rank, world) in product((1, 3), (1, 2), (1, 3), ((0, 1), (0, 2), (1, 2)))
]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_turn_and_request_are_inverse(layout: BatchLayout, workers: int) -> None:
    numbers: dict[int, list[int]] = {}
    plan = StepPlan(patch_size=8, steps=6, sizes=[16, 24][: layout.groups], views=4, views_per_scene=[4])
    for batch in LoadSampler(plan, layout.batch_size, layout.accumulate, layout.rank, layout.world):
        for request in batch:
            turn = layout.turn(request, workers)
            assert layout.request(turn, turn.number, workers) == request
            assert turn.readers == layout.world * workers and turn.batch == layout.batch_size
            numbers.setdefault(turn.reader, []).append(turn.number)
    assert set(numbers) <= set(range(layout.rank * workers, (layout.rank + 1) * workers))
    for found in numbers.values():
        assert found == list(range(len(found)))


class Streamed(Numbered):
    """Notes which process asks for which turn: as the number of the scene, that of the worker, the reader and the number."""

    streams = True

    def __init__(self) -> None:
        super().__init__([4] * 100_000, size=(8, 8))

    def streamed(self, turn: Turn, seed: int) -> int:
        worker = get_worker_info()
        return ((0 if worker is None else worker.id) * 10 + turn.reader) * 1000 + turn.number


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("start", [0, 1, 2, 5])
def test_each_process_serves_one_reader_in_order_wherever_a_run_begins(workers: int, start: int) -> None:
    plan = StepPlan(patch_size=8, steps=12, sizes=[16, 24], views=4, views_per_scene=[4])
    layout = BatchLayout(batch_size=2, groups=2, accumulate=1)
    data = ViewDataset(SceneIndex([Streamed()], "all"), plan, Augmentation(), layout=layout)
    with SceneLoader(data, LoadSampler(plan, 2, start=start), workers, pin=False) as loader:
        places = [int(place.removeprefix("numbered/scene")) for views in loader for place in views.places]
    readers, numbers = {}, {}
    for place in places:
        process, reader, number = place // 10_000, place // 1000 % 10, place % 1000
        assert readers.setdefault(process, reader) == reader, "one reader of its own"
        numbers.setdefault(reader, []).append(number)
    assert sorted(readers.values()) == list(range(max(workers, 1)))
    for reader, found in numbers.items():
        before = [layout.turn(Request(load, group, 0), max(workers, 1)) for load in range(start) for group in range(2)]
        first = 2 * sum(turn.reader == reader for turn in before)
        assert found == list(range(first, first + len(found)))


class Told(Streamed):
    """Its scene is the number of the turn."""

    def streamed(self, turn: Turn, seed: int) -> int:
        return turn.number


def mixture(start: int, workers: int) -> list[tuple[int, str]]:
    """Which worker's batch it was, and the places, from a load on."""
    sources = [Told(), Numbered([4] * 9, name="plain"), Told()]
    for source, weight in zip(sources, (3.0, 1.0, 2.0), strict=True):
        source.weight = weight
    sources[2].name = "other"
    plan = StepPlan(patch_size=8, steps=30, sizes=[16], views=4, views_per_scene=[4])
    data = ViewDataset(SceneIndex(sources, "all"), plan, Augmentation(), layout=BatchLayout(2))
    with SceneLoader(data, LoadSampler(plan, 2, start=start), workers, pin=False) as loader:
        batches: list[Views] = list(loader)
    return [((start + k) % max(workers, 1), place) for k, views in enumerate(batches) for place in views.places]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_streams_of_a_mixture_are_counted_each_for_itself(workers: int) -> None:
    drawn = mixture(0, workers)
    for name, reader in product(("numbered", "other"), range(max(workers, 1))):
        numbers = [int(place.split("scene")[1]) for at, place in drawn if at == reader and place.startswith(f"{name}/")]
        assert numbers == list(range(len(numbers))) and len(numbers) > 5
    assert sum(place.startswith("plain/") for _, place in drawn) > 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [1, 7, 20])
def test_a_mixture_goes_on_where_it_was(workers: int, start: int) -> None:
    assert mixture(start, workers) == mixture(0, workers)[2 * start :]


def test_what_is_not_streamed_is_drawn_as_ever(tmp_path: Path) -> None:
    """With a layout or without."""
    plan = StepPlan(patch_size=8, steps=4, sizes=[16], views=4, views_per_scene=[4])
    plain, dealt = (
        ViewDataset(SceneIndex([Numbered([6] * 5)], "all"), plan, Augmentation(), layout=layout)
        for layout in (None, BatchLayout(2))
    )
    for batch in LoadSampler(plan, 2):
        for request in batch:
            assert torch.equal(plain[request].images, dealt[request].images)
