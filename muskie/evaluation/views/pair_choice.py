"""How pairs of views are chosen for two-view suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from muskie.data.index import SceneIndex
from muskie.data.sources.pairs import PairList
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.angle_pairs import SCANNET_BINS, AnglePairs, edge_problems, pairs_by_angle
from muskie.evaluation.views.view_sets import ViewChoice, ViewSet, ViewSets, evenly

BY_ANGLE, LISTED = "by_angle", "listed"


@dataclass(frozen=True)
class PairChoice(ViewChoice):
    """How pairs are chosen: as `ViewChoice`, of two views, and by two rules more.

    Attributes:
        rule: also `"by_angle"`: as many pairs of each bin of viewpoint angle (`muskie.evaluation.views.angle_pairs`); and
            `"listed"`: those of a list of pairs (`data=pairs`, `muskie.data.sources.pairs`).
        views: 2.
        bins: edges of the bins of `by_angle`, rising, in degrees; `samples` are divided among them.
        overlap: of `by_angle`: the least share of the first view that the second sees, in [0, 1].
    """

    section: ClassVar[str] = "pairs"
    rules: ClassVar[Mapping[str, Sequence[str]]] = {
        **ViewChoice.rules,
        BY_ANGLE: ("views", "samples", "seed", "bins", "overlap"),
        LISTED: ("views", "samples"),
    }

    views: int = 2
    bins: Sequence[float] = SCANNET_BINS
    overlap: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = edge_problems("pairs.bins", self.bins)
        if self.views != 2:
            problems.append(f"pairs.views={self.views}: a pair has 2; of multi-view suites, set views.views")
        if not 0 <= self.overlap <= 1:
            problems.append(f"pairs.overlap={self.overlap}: expected a share in [0, 1]")
        if self.rule == BY_ANGLE and self.samples is not None and self.samples < len(self.bins) - 1:
            problems.append(
                f"pairs.samples={self.samples}: by_angle divides them among {len(self.bins) - 1} bins, one at least"
            )
        if problems:
            raise ConfigError("\n".join(problems))

    def pairs(self, index: SceneIndex) -> AnglePairs:
        """The pairs in a fixed order, and notes on what there was too little of.

        Raises:
            DataError: there are none.
        """
        if self.list is not None:
            return AnglePairs(self._two(self.choose(index)), [])
        if self.rule == BY_ANGLE:
            bins = len(self.bins) - 1
            count = 64 if self.samples is None else self.samples // bins
            return pairs_by_angle(self.among(index), self.bins, count, self.seed, overlap=self.overlap)
        if self.rule == LISTED:
            index = self.among(index)
            lists = [source for source in index.sources if isinstance(source, PairList)]
            listed = [views for source in lists for views in listed_pairs(source, index)]
            if not listed:
                raise DataError("pairs.rule=listed takes the pairs of a list: data=pairs data.root=PATH data.pairs=FILE")
            return AnglePairs([listed[n] for n in evenly(len(listed), self.samples or len(listed))], [])
        return AnglePairs(self.choose(index), [])

    def _two(self, sets: ViewSets) -> ViewSets:
        if longer := [number for number, views in enumerate(sets) if len(views.frames) != 2]:
            raise DataError(
                f"pairs.list={self.list!r}: {len(longer)} of {len(sets)} samples are no pairs, such as "
                f"{sets[longer[0]].name} (sample {longer[0]}, counted from 0); views.list= takes them"
            )
        return sets

    def __str__(self) -> str:
        if self.list is None and self.rule == BY_ANGLE:
            return f"2 views by viewpoint angle, overlap {self.overlap:g}{self._named()}"
        return f"2 views as listed{self._named()}" if self.list is None and self.rule == LISTED else super().__str__()


def listed_pairs(source: PairList, index: SceneIndex | None = None) -> list[ViewSet]:
    """The pairs of a list, in its order: all, or those of an index, of whose places they then have both pictures."""
    if index is None:
        return [ViewSet(source, scene, tuple(scene.frames)) for scene in map(source.scene, range(len(source)))]
    places = (index.place(source, number) for number in range(index.places(source)))
    return [ViewSet(source, place.scene, tuple(place.frames)) for place in places if len(place.frames) == 2]
