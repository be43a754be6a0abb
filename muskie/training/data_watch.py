"""What a run says of its data while it trains: which frames it skips, and when that is too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from muskie.data.dataset import Views
from muskie.data.scene import SceneSource
from muskie.data.unusable import Ledger
from muskie.training.distributed import Ranks

TOLD = 3
"""Messages that a log line tells at most."""


class DataWatch:
    """Counts since this process began: a run that goes on begins anew.

    Args:
        sources: of the run.
        max_unusable: the largest share of a source's frames that may be skipped, in [0, 1].
        ranks: all of them ask at once.
    """

    def __init__(self, sources: Sequence[SceneSource], max_unusable: float, ranks: Ranks) -> None:
        self.sources, self.max_unusable, self.ranks = sources, max_unusable, ranks
        self.whole = Ledger()
        """Of all ranks, as of the last `read`."""
        self.news: list[str] = []
        """A few messages, of any rank, that were not told before the last `read`."""
        self._mine = Ledger()
        self._told: set[str] = set()
        self._new: dict[str, None] = {}

    @property
    def labels(self) -> list[str]:
        """Of the sources."""
        return [source.label for source in self.sources]

    def add(self, loaded: Iterable[Views]) -> None:
        """What was loaded for a step."""
        for views in loaded:
            self._mine.add(views.asked, views.unreadable)
            self._new |= {one.message: None for one in views.unreadable if one.message not in self._told}

    def read(self) -> dict[str, float]:
        """Skipped frames and shares, for the log.

        Raises:
            DataError: on all ranks, a source of which too much was skipped.
        """
        gathered = self.ranks.gather((self._mine, list(self._new)[:TOLD]))
        self.whole = Ledger.joined(ledger for ledger, _ in gathered)
        told = {message: None for _, new in gathered for message in new if message not in self._told}
        self.news = list(told)[:TOLD]
        self._told.update(self.news)
        self._new = {}
        self.whole.check(self.sources, self.max_unusable)
        shares = self.whole.scalars(self.labels) if len(self.sources) > 1 else {}
        return {
            "unreadable_images": self.whole.skipped.total(),
            **{f"unusable/{label}": share for label, share in shares.items()},
        }
