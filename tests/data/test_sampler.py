"""Which requests each rank makes."""

from __future__ import annotations

import pytest

from muskie.data.dataset import LoadSampler
from muskie.data.plan import StepPlan
from muskie.data.requests import Request

PLAN = StepPlan(patch_size=16, steps=7, reuse=2, sizes=[32, 64], views=4, views_per_scene=[4])


def batches(batch_size: int, **arguments: int) -> list[list[Request]]:
    sampler = LoadSampler(PLAN, batch_size, **arguments)
    found = list(sampler)
    assert len(sampler) == len(found)
    assert list(sampler) == found
    return found


def test_every_load_asks_for_every_size() -> None:
    found = batches(3)
    assert len(found) == 4 * 2  # loads x sizes
    assert found[0] == [Request(0, 0, 0), Request(0, 0, 1), Request(0, 0, 2)]
    assert [(batch[0].load, batch[0].group) for batch in found] == [(load, group) for load in range(4) for group in (0, 1)]
    assert all(len({(request.load, request.group) for request in batch}) == 1 for batch in found)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_ranks_share_the_samples_of_one_with_a_larger_batch(world: int, accumulate: int) -> None:
    alone = batches(2 * world * accumulate)
    shared = [batches(2, accumulate=accumulate, rank=rank, world=world) for rank in range(world)]
    assert all(len(ranked) == len(shared[0]) for ranked in shared)
    together: dict[tuple[int, int], list[int]] = {}
    for ranked in shared:
        for batch in ranked:
            together.setdefault((batch[0].load, batch[0].group), []).extend(request.sample for request in batch)
    assert {key: sorted(samples) for key, samples in together.items()} == {
        (batch[0].load, batch[0].group): [request.sample for request in batch] for batch in alone
    }
    # At the same time, all ranks are at the same load and size: their shapes agree.
    for at_once in zip(*shared, strict=True):
        assert len({(batch[0].load, batch[0].group) for batch in at_once}) == 1


def test_a_later_start_goes_on_exactly() -> None:
    whole = batches(2, accumulate=2, rank=1, world=2)
    for start in range(5):
        assert batches(2, accumulate=2, rank=1, world=2, start=start) == whole[start * 4 :]
