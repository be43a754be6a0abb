"""What suites measure on: frames, how they are cropped and read, and a line that tells how far they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from muskie.data.index import SceneIndex
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.posed_views import PosedViews, posed_batches
from muskie.evaluation.views.view_sets import ViewChoice, ViewSet


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
        progress: show a bar.
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
    unreadable: list[str] = field(default_factory=list)

    @property
    def data(self) -> str:
        """What the data is called."""
        return "+".join(source.name for source in self.index.sources)

    def batches(self, sets: Sequence[ViewSet], what: str) -> Iterator[PosedViews]:
        """All sets, with a bar that is called `what`; see `posed_batches`."""
        self.unreadable = []
        with tqdm(total=len(sets), desc=what, unit="set", disable=not self.progress, file=sys.stderr) as bar:
            for views in posed_batches(sets, self.size, self.batch, self.workers, self.crop):
                self.unreadable += [message for message in views.unreadable if message not in self.unreadable]
                yield views
                bar.update(len(views.numbers) + len(views.unreadable))

    def notes(self, sets: Sequence[ViewSet], choice: ViewChoice) -> list[str]:
        """What was measured on, in sentences."""
        part = {"heldout": "held-out frames", "train": "frames to train on", "all": "all frames"}[self.index.part]
        rooms = len({views.group for views in sets})
        by = f"{rooms} rooms" if rooms > 1 else "samples, for there is one room alone"
        crop = ", cropped around the object" if self.crop == "object" else ""
        notes = [
            f"{self.data}, {part}: {len(sets)} samples of {choice}, {self.size[1]} x {self.size[0]} px{crop}. "
            f"In brackets, 95 % intervals by bootstrap over the {by}."
        ]
        if self.unreadable:
            notes.append(f"{len(self.unreadable)} samples could not be read, the first: {self.unreadable[0]}")
        return notes


def of_pixels(scale: int | None) -> str:
    """A sentence on what pixels are."""
    return "Pixels are those " + ("of the picture." if scale is None else f"of a picture whose shorter side has {scale}.")
