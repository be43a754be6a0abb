"""What of the data could not be used: skipped, counted for each source, and an error where it is so much that training
would be biased without anybody noticing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from muskie.data.scene import SceneSource
from muskie.errors import DataError

FIRST = 10
"""Files that an error names; fewer are no reason for one."""


class Unusable(NamedTuple):
    """Frames that were skipped.

    Attributes:
        source: the label of their source.
        message: which, and why.
        frames: how many.
        files: some of them, and why, where the message is of a whole scene.
    """

    source: str
    message: str
    frames: int = 1
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.message


@dataclass
class Ledger:
    """How many frames were asked for, and which of them could not be used, by the labels of sources.

    A frame that is skipped twice counts twice, as one that is used twice does: it is shares that bias.
    """

    asked: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    messages: dict[str, dict[str, None]] = field(default_factory=dict)
    """The first `FIRST` different ones of each source, in order."""

    def add(self, asked: Mapping[str, int], unusable: Iterable[Unusable]) -> None:
        """Frames that were asked for, by source, and those of them that were skipped."""
        self.asked.update(asked)
        for one in unusable:
            self.skipped[one.source] += one.frames
            kept = self.messages.setdefault(one.source, {})
            for message in one.files or (one.message,):
                if len(kept) < FIRST:
                    kept[message] = None

    @staticmethod
    def joined(ledgers: Iterable[Ledger]) -> Ledger:
        """Those of all ranks as one."""
        whole = Ledger()
        for ledger in ledgers:
            whole.asked.update(ledger.asked)
            whole.skipped.update(ledger.skipped)
            for source, messages in ledger.messages.items():
                kept = whole.messages.setdefault(source, {})
                kept.update(dict.fromkeys([one for one in messages if one not in kept][: FIRST - len(kept)]))
        return whole

    def scalars(self, labels: Sequence[str]) -> dict[str, float]:
        """The skipped share of what was asked of each source, by label."""
        return {label: self.skipped[label] / max(self.asked[label], 1) for label in labels}

    def check(self, sources: Sequence[SceneSource], most: float) -> None:
        """
        Raises:
            DataError: of a source, at least `FIRST` frames had to be skipped, and a share above `most` by more than two
                standard deviations of chance.
        """
        for source in sources:
            asked, skipped = self.asked[source.label], self.skipped[source.label]
            messages = list(self.messages.get(source.label, {}))
            if skipped >= FIRST and skipped > most * asked + 2 * (most * asked) ** 0.5:
                root = getattr(source, "root", None)
                where = f"{source.config_key}, {root}" if root is not None else source.config_key
                listed = "\n  ".join(messages)
                raise DataError(
                    f"source {source.label!r} ({where}): {skipped:,} of {asked:,} frames asked for cannot be used, more "
                    f"than max_unusable={most:g}; training on the rest may be biased. The first ones:\n  {listed}\n"
                    f"Mend or remove them (python scripts/index_scenes.py data=... --all finds all), or allow more: "
                    f"max_unusable={min(1.0, round(skipped / asked + 0.05, 2)):g}"
                )

    def __str__(self) -> str:
        """What was skipped, in a line; empty if nothing was."""
        told = [
            f"{skipped:,} of {self.asked[label]:,} frames of {label} ({skipped / self.asked[label]:.1%})"
            for label, skipped in self.skipped.items()
        ]
        return f"skipped as unusable: {', '.join(told)}" if told else ""
