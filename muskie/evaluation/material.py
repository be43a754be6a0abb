"""What suites measure on: frames, how they are cropped and read, and a line that tells how far they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tqdm import tqdm

from muskie.data.index import SceneIndex
from muskie.errors import DataError
from muskie.evaluation.trained_on import TrainedFrames
from muskie.evaluation.views.angle_pairs import AnglePairs
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.posed_views import PosedViews, posed_batches
from muskie.evaluation.views.sample_geometry import check_places, check_samples
from muskie.evaluation.views.view_sets import ViewChoice, ViewSet

T = TypeVar("T")


@dataclass
class Material:
    """What all suites have in common.

    Attributes:
        index: the frames to measure on.
        train: frames of the same data that may be trained on, for probes; None: there are none.
        size: H and W of the pictures.
        views: how the views of multi-view suites are chosen.
        pairs: how those of two-view suites are.
        crop: see `read_posed`.
        batch: view sets of a forward pass.
        workers: processes that read ahead; 0: none.
        floors: also measure what needs no model.
        seed: of the bootstrap.
        progress: show a bar on a terminal.
        trained: what the backbones were trained on, by their names, so far as somebody knows.
        refuse: frames that are measured as held out and were trained on are an error, and not a note.
        unreadable: messages about view sets that were left out by the last `batches`, once each.
    """

    index: SceneIndex
    size: tuple[int, int]
    train: SceneIndex | None = None
    views: ViewChoice = field(default_factory=ViewChoice)
    pairs: PairChoice = field(default_factory=PairChoice)
    crop: str = "centre"
    batch: int = 4
    workers: int = 0
    floors: bool = True
    seed: int = 0
    progress: bool = False
    trained: Mapping[str, TrainedFrames] = field(default_factory=dict)
    refuse: bool = False
    unreadable: list[str] = field(default_factory=list)
    _read: set[int] = field(default_factory=set)
    _view_sets: list[ViewSet] | None = None
    _pair_sets: AnglePairs | None = None
    _checked: set[tuple[str, bool]] = field(default_factory=set)

    def view_sets(self, depth: bool = True) -> list[ViewSet]:
        """The samples of multi-view suites; chosen once.

        Args:
            depth: depth is needed, and not the cameras alone.

        Raises:
            DataError: there are none, or none with known depth; or, with `refuse`, a backbone was trained on some that count
                as held out.
        """
        if self._view_sets is None:
            chosen = self._choose(self.views, lambda: self.views.choose(self.index), depth)
            self._view_sets = self._not_trained_on(chosen)
        self._check_geometry(self._view_sets, self.views, depth)
        return self._view_sets

    def pair_sets(self, depth: bool = True) -> AnglePairs:
        """The pairs of two-view suites, chosen once; as `view_sets`."""
        if self._pair_sets is None:
            chosen = self._choose(self.pairs, lambda: self.pairs.pairs(self.index), depth)
            self._not_trained_on(chosen.sets)
            self._pair_sets = chosen
        self._check_geometry(self._pair_sets.sets, self.pairs, depth)
        return self._pair_sets

    def _choose(self, choice: ViewChoice, choose: Callable[[], T], depth: bool) -> T:
        try:
            return choose()
        except DataError:
            if choice.list is None:  # advice about views would not help where there is no geometry at all
                check_places(choice.among(self.index), self.size, depth)
            raise

    def _check_geometry(self, sets: Sequence[ViewSet], choice: ViewChoice, depth: bool) -> None:
        if (choice.section, depth) not in self._checked:
            check_samples(sets, self.size, depth)
            self._checked.add((choice.section, depth))

    def _not_trained_on(self, sets: list[ViewSet]) -> list[ViewSet]:
        if not self.refuse or self.index.part != "heldout":
            return sets
        frames = {identity for views in sets for identity in views.identities}
        for name, trained in self.trained.items():
            seen = trained.among(frames)
            if seen:
                raise DataError(
                    f"{name} was trained on {len(seen)} of the {len(frames)} frames that would be measured as held out, "
                    f"such as {min(seen)}. With part=all the table says how many it has seen; what its last training held "
                    f"out is measured without data= and holdout.*, unless an earlier one has seen that"
                )
        return sets

    @property
    def data(self) -> str:
        """What the data is called."""
        return "+".join(source.name for source in self.index.sources)

    def batches(self, sets: Sequence[ViewSet], what: str, depth: bool = True) -> Iterator[PosedViews]:
        """All sets, with a bar that is called `what`; `depth`: every frame must have some; see `posed_batches`."""
        self.unreadable, self._read = [], set()
        with tqdm(total=len(sets), desc=what, unit="set", disable=None if self.progress else True, file=sys.stderr) as bar:
            for views in posed_batches(sets, self.size, self.batch, self.workers, self.crop, depth):
                self.unreadable += [message for message in views.unreadable if message not in self.unreadable]
                self._read.update(views.numbers)
                yield views
                bar.update(len(views.numbers) + len(views.unreadable))

    def notes(self, sets: Sequence[ViewSet], choice: ViewChoice) -> list[str]:
        """What was measured on, in sentences; after `batches`."""
        part = {"heldout": "held-out frames", "train": "frames to train on", "all": "all frames"}[self.index.part]
        read = [sets[number] for number in sorted(self._read)]
        rooms = len({views.group for views in read})
        by = f"{rooms} rooms" if rooms > 1 else "samples, for there is one room alone"
        crop = ", cropped around the object" if self.crop == "object" else ""
        notes = [
            f"{self.data}, {part}: {len(sets)} samples of {choice.told(sets)}, {self.size[1]} x {self.size[0]} px{crop}. "
            f"In brackets, 95 % intervals by bootstrap over the {by}."
        ]
        frames = {identity for views in read for identity in views.identities}
        for name, trained in self.trained.items():
            if seen := len(trained.among(frames)):
                notes.append(f"{name} was trained on {seen} of these {len(frames)} frames.")
        unknown = [name for name, trained in self.trained.items() if not trained.all_known]
        if unknown:
            notes.append(f"Whether it was on others is not known of {', '.join(unknown)}.")
        if self.unreadable:
            notes.append(f"{len(self.unreadable)} samples could not be read, the first: {self.unreadable[0]}")
        return notes


def of_pixels(scale: int | None) -> str:
    """A sentence on what pixels are."""
    return "Pixels are those " + ("of the picture." if scale is None else f"of a picture whose shorter side has {scale}.")
