"""Which chunk of a set of shards comes when: a pure function, so that a run that goes on reads on where it was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
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
        counts: chunks of each shard, at least 1.
        seed: of the shuffling.
        samples: how many samples each chunk serves.
    """

    def __init__(self, counts: Sequence[int], seed: int, samples: int) -> None:
        assert counts and min(counts) > 0
        self.counts, self.seed, self.samples = list(counts), seed, samples
        self._ends: dict[tuple[int, int], list[int]] = {}
        """Of a reader of so many: how many chunks it has read after each epoch. Remembered, for there may be thousands."""
        self._last: tuple[tuple[int, int, int], _Route] | None = None

    def chunk(self, turn: Turn) -> tuple[int, int]:
        """Shard and place in it of the chunk whose turn it is."""
        block, within = divmod(turn.number, self.samples * turn.batch)
        number = block * turn.batch + within % turn.batch
        # All shards come in every epoch, but not all readers have as many chunks in each.
        ends = self._ends.setdefault((turn.reader, turn.readers), [])
        while not ends or ends[-1] <= number:
            ends.append((ends[-1] if ends else 0) + self._route(turn.reader, turn.readers, len(ends)).length)
        epoch = bisect_right(ends, number)
        route = self._route(turn.reader, turn.readers, epoch)
        number -= ends[epoch - 1] if epoch else 0
        leg = int(np.searchsorted(route.ends, number, side="right"))
        before = int(route.ends[leg - 1]) if leg else 0
        return route.shards[leg], route.first + (number - before) * route.step

    def _route(self, reader: int, readers: int, epoch: int) -> _Route:
        key = (reader, readers, epoch)
        if self._last is None or self._last[0] != key:
            self._last = key, self._drawn(*key)
        return self._last[1]

    def _drawn(self, reader: int, readers: int, epoch: int) -> _Route:
        order = stream(self.seed, "shards", epoch).permutation(len(self.counts)).tolist()
        if len(order) >= readers:
            return _Route.through(self.counts, order[reader::readers], 0, 1)
        # Seat s has shard s mod n, with the others that have it. A seat may find no chunk left: all take it in turn.
        first, mine = divmod((reader + epoch) % readers, len(order))
        sharing = -(-(readers - mine) // len(order))
        return _Route.through(self.counts, [order[mine]], first, sharing)


class _Route(NamedTuple):
    """The shards that a reader reads in an epoch, the first place in each, the step to the next one, and after how many
    chunks each ends."""

    shards: list[int]
    first: int
    step: int
    ends: np.ndarray

    @property
    def length(self) -> int:
        return int(self.ends[-1])

    @staticmethod
    def through(counts: Sequence[int], shards: list[int], first: int, step: int) -> _Route:
        lengths = [len(range(first, counts[shard], step)) for shard in shards]
        return _Route(shards, first, step, np.cumsum(lengths, dtype=np.int64))
