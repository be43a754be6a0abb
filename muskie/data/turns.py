"""Which scene a request gets: drawn from all, or, of sources that are read in a stream, the next one there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch.utils.data import get_worker_info

from muskie.data.index import Place, SceneIndex
from muskie.data.mixture import SEVERAL
from muskie.data.requests import Request
from muskie.data.scene import SceneSource
from muskie.data.shards.order import Turn


@dataclass(frozen=True)
class BatchLayout:
    """How requests are dealt to ranks, micro-batches and data workers.

    Attributes:
        batch_size: scenes of a rank's micro-batch, of the load that has most.
        groups: sizes of a load, each a batch of its own.
        accumulate: micro-batches of an optimiser step.
        rank, world: this process among all.
        scenes_of: scenes of a rank's micro-batch of a load, where that is not always `batch_size`.
    """

    batch_size: int
    groups: int = 1
    accumulate: int = 1
    rank: int = 0
    world: int = 1
    scenes_of: Callable[[int], int | None] | None = None

    def _scenes(self, load: int) -> int:
        return (self.scenes_of(load) if self.scenes_of is not None else None) or self.batch_size

    def turn(self, request: Request, workers: int) -> Turn:
        """Whose turn a request is: batches go to the data workers in turn."""
        scenes = self._scenes(request.load)
        micro, rest = divmod(request.sample, scenes * self.world)
        batch = (request.load * self.accumulate + micro) * self.groups + request.group
        reader = self.rank * workers + batch % workers
        number = batch // workers * self.batch_size + rest % scenes
        return Turn(reader, self.world * workers, number, self.batch_size)

    def request(self, turn: Turn, number: int, workers: int) -> Request | None:
        """The request that was sample `number` of a turn's reader: the inverse of `turn`; None: its load had fewer."""
        row, within = divmod(number, self.batch_size)
        batch = row * workers + turn.reader % workers
        rest, group = divmod(batch, self.groups)
        load, micro = divmod(rest, self.accumulate)
        scenes = self._scenes(load)
        return Request(load, group, (micro * self.world + self.rank) * scenes + within) if within < scenes else None


class Turns:
    """Places for requests.

    Args:
        index: of all places.
        seed: of the run.
        generator: the first draws of a request.
        layout: None: nothing is streamed.
        views: what a load is of, see `muskie.data.mixture`; None: scenes of several views.
    """

    def __init__(
        self,
        index: SceneIndex,
        seed: int,
        generator: Callable[[Request], np.random.Generator],
        layout: BatchLayout | None,
        views: Callable[[int], str] | None = None,
    ) -> None:
        self.index, self.seed, self.generator, self.layout = index, seed, generator, layout
        self.views = views or (lambda load: SEVERAL)
        self._reader = -1
        """Whose samples are counted in `_taken`, by the position of their source; so many of them: `_counted`."""
        self._counted, self._taken = 0, [0] * len(index.sources)

    def draw(self, rng: np.random.Generator, request: Request) -> Place:
        """The place of a request, with its own generator."""
        source = self.index.draw_source(rng, self.views(request.load))
        if self.layout is None or not source.streams:
            return self.index.draw_place(rng, source)
        worker = get_worker_info()
        workers = 1 if worker is None else worker.num_workers
        turn = self.layout.turn(request, workers)
        if len(self.index.sources) > 1 or self.layout.scenes_of is not None:
            turn = turn._replace(number=self._taken_before(source, turn, self.layout, workers))
        scene = source.scene(source.streamed(turn, self.seed))
        return Place(source, scene, scene.frames)

    def _taken_before(self, source: SceneSource, turn: Turn, layout: BatchLayout, workers: int) -> int:
        """How many earlier samples of this reader were of a source: what came before is drawn again, and remembered. Numbers
        of loads that had fewer scenes are left out, so that no stream skips anything."""
        if self._reader != turn.reader or self._counted > turn.number:
            self._reader, self._counted, self._taken = turn.reader, 0, [0] * len(self.index.sources)
        for number in range(self._counted, turn.number):
            request = layout.request(turn, number, workers)
            if request is not None:
                several = len(self.index.sources) > 1
                views = self.views(request.load)
                earlier = self.index.draw_source(self.generator(request), views) if several else source
                self._taken[self.index.sources.index(earlier)] += 1
        self._counted = turn.number
        return self._taken[self.index.sources.index(source)]
