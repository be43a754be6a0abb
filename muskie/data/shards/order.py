"""Which chunk of a set of shards comes when: a pure function, so that a run that goes on reads on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from muskie.streams import stream


class Turn(NamedTuple):
    """Whose turn it is.

    Attributes:
        reader: this stream, 0 <= reader < readers: one data worker of one rank.
        readers: all of them.
        number: how many samples it has taken before.
        batch: samples of a batch.
    """

    reader: int
    readers: int
    number: int
    batch: int


class ShardOrder:
    """Every epoch, the shards are shuffled and dealt to the readers, each of which reads its own from front to back; chunks
    were shuffled when they were packed. A chunk serves `samples` samples, which lie a batch apart.

    With fewer shards than readers, readers share shards, and each takes its chunks in turn.

    Args:
        counts: chunks of each shard.
        seed: of the shuffling.
        samples: how many samples each chunk serves.
    """

    def __init__(self, counts: Sequence[int], seed: int, samples: int) -> None:
        self.counts, self.seed, self.samples = tuple(counts), seed, samples

    def chunk(self, turn: Turn) -> tuple[int, int]:
        """Shard and place in it of the chunk whose turn it is."""
        block, within = divmod(turn.number, self.samples * turn.batch)
        number = block * turn.batch + within % turn.batch
        epoch = 0
        while True:
            route = _route(self.counts, self.seed, turn.reader, turn.readers, epoch)
            if number < route.length:
                break
            # All shards come in every epoch, but not all readers have as many chunks in each.
            number -= route.length
            epoch += 1
        leg = int(np.searchsorted(route.ends, number, side="right"))
        before = int(route.ends[leg - 1]) if leg else 0
        return route.shards[leg], route.first[leg] + (number - before) * route.step


class _Route(NamedTuple):
    """The shards that a reader reads in an epoch, the first place in each, the step to the next one, and after how many
    chunks each ends."""

    shards: list[int]
    first: list[int]
    step: int
    ends: np.ndarray

    @property
    def length(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0


@lru_cache(maxsize=64)
def _route(counts: tuple[int, ...], seed: int, reader: int, readers: int, epoch: int) -> _Route:
    order = stream(seed, "shards", epoch).permutation(len(counts)).tolist()
    if len(counts) >= readers:
        shards, first, step = order[reader::readers], None, 1
    else:
        # Reader r has shard r mod n, with the others that have it.
        mine = reader % len(counts)
        sharing = -(-(readers - mine) // len(counts))
        shards, first, step = [order[mine]], [reader // len(counts)], sharing
    first = first or [0] * len(shards)
    lengths = [len(range(start, counts[shard], step)) for shard, start in zip(shards, first, strict=True)]
    return _Route(shards, first, step, np.cumsum(lengths, dtype=np.int64))
