"""Random streams depend on their key alone."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch

from muskie.streams import stream


def test_the_same_key_gives_the_same_numbers_whatever_else_is_drawn() -> None:
    first = stream(3, "views", 7, 1).random(100)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    torch.manual_seed(1)
    stream(3, "order", 7).random(5)
    np.testing.assert_array_equal(stream(3, "views", 7, 1).random(100), first)


def test_global_generators_are_left_alone() -> None:
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    stream(0, "scene", 1).permutation(10)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_no_process_machine_or_release_draws_anything_else() -> None:
    raw = stream(5, "mask", 2, 9).bit_generator.random_raw(3).tolist()
    assert raw == [2111669830867924654, 14015446811610685685, 6184031014394810398]


def test_every_part_of_a_key_counts_and_so_does_its_place() -> None:
    keys: list[tuple[int | str, ...]] = [(), (0,), (0, 0), (1,), ("views",), ("view",), ("1",), (1, 2), (2, 1)]
    keys += [("views", 1), (1, "views"), ("views", 1, 0), ("views", 10)]
    draws = {(seed, key): tuple(stream(seed, *key).integers(2**32, size=4)) for seed in (0, 1) for key in keys}
    assert len(set(draws.values())) == len(draws)


def test_streams_of_neighbouring_keys_are_uncorrelated() -> None:
    draws = np.stack([stream(0, "noise", step).standard_normal(4000) for step in range(8)])
    for a, b in itertools.combinations(range(8), 2):
        assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 0.08
    # The first numbers of many streams are themselves uniform.
    first = np.sort([stream(0, "noise", step).random() for step in range(2000)])
    assert np.abs(first - (np.arange(2000) + 0.5) / 2000).max() < 0.04


def test_numpy_integers_are_integers() -> None:
    assert stream(np.int64(4), "a", np.int32(2)).random() == stream(4, "a", 2).random()  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [(-1,), (0, -3)])
def test_negative_numbers_are_refused(key: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        stream(*key)
