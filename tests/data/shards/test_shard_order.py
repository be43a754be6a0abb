"""Which chunk comes when: every epoch all of them once, each reader forward through its shards."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from muskie.data.shards import order
from muskie.data.shards.order import ShardOrder, Turn

SHELVES = {"many": (5, 3, 4, 6, 1, 2, 7), "few": (9, 4), "one": (7,), "fewer chunks than readers": (2, 1)}


def chunks(shelf: ShardOrder, reader: int, readers: int, epoch: int) -> list[tuple[int, int]]:
    """What a reader reads in an epoch: of its samples those that come first of their chunk."""
    lengths = [shelf._route(reader, readers, number).length for number in range(epoch + 1)]
    numbers = range(sum(lengths[:-1]), sum(lengths))
    return [shelf.chunk(Turn(reader, readers, number * shelf.samples, 1)) for number in numbers]


@pytest.mark.parametrize("counts", SHELVES.values(), ids=SHELVES)
@pytest.mark.parametrize("readers", [1, 2, 3, 5])
@pytest.mark.parametrize("samples", [1, 3])
def test_every_epoch_has_each_chunk_once(counts: tuple[int, ...], readers: int, samples: int) -> None:
    shelf = ShardOrder(counts, 0, samples)
    everything = [(shard, place) for shard, count in enumerate(counts) for place in range(count)]
    for epoch in range(4):
        read = [chunk for reader in range(readers) for chunk in chunks(shelf, reader, readers, epoch)]
        assert sorted(read) == everything


@pytest.mark.parametrize("counts", SHELVES.values(), ids=SHELVES)
@pytest.mark.parametrize("readers", [1, 3, 5])
def test_each_shard_is_read_from_front_to_back_and_opened_once_an_epoch(counts: tuple[int, ...], readers: int) -> None:
    shelf = ShardOrder(counts, 0, 2)
    for reader in range(readers):
        for epoch in range(3):
            read = chunks(shelf, reader, readers, epoch)
            shards = [shard for shard, _ in read]
            opened = [shard for number, shard in enumerate(shards) if number == 0 or shards[number - 1] != shard]
            assert len(opened) == len(set(opened))
            for shard in opened:
                places = [place for at, place in read if at == shard]
                assert places == sorted(places)
                if len(counts) >= readers:
                    assert places == list(range(counts[shard]))


@pytest.mark.parametrize(("samples", "batch"), [(1, 1), (1, 4), (3, 2), (4, 5)])
def test_a_chunk_serves_so_many_samples_a_batch_apart(samples: int, batch: int) -> None:
    shelf, plain = ShardOrder((40, 40), 0, samples), ShardOrder((40, 40), 0, 1)
    drawn = [shelf.chunk(Turn(0, 1, number, batch)) for number in range(samples * batch * 3)]
    once = [plain.chunk(Turn(0, 1, number, 1)) for number in range(batch * 3)]
    for block in range(3):
        for repeat in range(samples):
            start = (block * samples + repeat) * batch
            assert drawn[start : start + batch] == once[block * batch : (block + 1) * batch]
    assert set(Counter(drawn).values()) == {samples}


def test_it_is_a_pure_function_of_the_turn_and_the_seed() -> None:
    counts, rng = (5, 3, 4, 6, 1, 2, 7), np.random.default_rng(0)
    turns = [Turn(int(rng.integers(3)), 3, int(rng.integers(2000)), 4) for _ in range(200)]
    shelf = ShardOrder(counts, 3, 2)
    read = [shelf.chunk(turn) for turn in turns]
    assert [ShardOrder(counts, 3, 2).chunk(turn) for turn in turns] == read
    assert [shelf.chunk(turn) for turn in turns[::-1]] == read[::-1]
    assert [ShardOrder(counts, 4, 2).chunk(turn) for turn in turns] != read


def test_epochs_and_readers_differ() -> None:
    shelf = ShardOrder([2] * 12, 0, 1)
    epochs = [chunks(shelf, 0, 2, epoch) for epoch in range(4)]
    assert len({tuple(read) for read in epochs}) == 4
    assert not set(chunks(shelf, 0, 2, 0)) & set(chunks(shelf, 1, 2, 0))


def test_a_reader_without_a_chunk_in_an_epoch_has_one_in_another() -> None:
    shelf = ShardOrder((2,), 0, 1)
    for reader in range(5):
        drawn = Counter(shelf.chunk(Turn(reader, 5, number, 1)) for number in range(40))
        assert set(drawn) == {(0, 0), (0, 1)} and max(drawn.values()) - min(drawn.values()) <= 1


def test_thousands_of_epochs_are_shuffled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run over few shards is long: what a turn costs must not grow with it."""
    drawn: list[int] = []
    real = order.stream

    def counted(seed: int, *key: object) -> np.random.Generator:
        drawn.append(1)
        return real(seed, *key)

    monkeypatch.setattr(order, "stream", counted)
    shelf = ShardOrder((2, 3), 0, 1)
    for number in range(5 * 500):
        shelf.chunk(Turn(0, 1, number, 1))
    assert len(drawn) == 500
