"""What a run says of the frames that it skips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from muskie.data.dataset import Views
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.data.unusable import Unusable
from muskie.errors import DataError
from muskie.training.data_watch import TOLD, DataWatch
from muskie.training.distributed import Ranks

CPU = torch.device("cpu")


@dataclass(frozen=True)
class OneOf(Ranks):
    """One of several ranks; what the others hold is said."""

    others: Sequence[DataWatch] = ()

    def gather(self, value: Any) -> list[Any]:
        return [value, *((other._mine, list(other._new)[:TOLD]) for other in self.others)]


def rooms(*labels: str) -> list[SyntheticRooms]:
    made = [SyntheticRooms(scenes=1) for _ in labels]
    for source, label in zip(made, labels, strict=True):
        source.config_key = f"data.sources.{label}"
    return made


def loaded(label: str, asked: int, *broken: int) -> Views:
    skipped = [Unusable(label, f"{label}/{number}: broken") for number in broken]
    return Views(torch.zeros(1, 1, 3, 8, 8, dtype=torch.uint8), [0], ["place"], [label], Counter({label: asked}), skipped)


def watch(*labels: str, most: float = 0.5, others: Sequence[DataWatch] = ()) -> DataWatch:
    return DataWatch(rooms(*labels), most, OneOf(0, 1, CPU, others))


def test_skipped_frames_and_shares_are_counted_from_the_start() -> None:
    seen = watch("a", "b")
    assert seen.read() == {"unreadable_images": 0, "unusable/a": 0, "unusable/b": 0}
    seen.add([loaded("a", 8, 0, 1), loaded("b", 4)])
    assert seen.read() == {"unreadable_images": 2, "unusable/a": 0.25, "unusable/b": 0}
    seen.add([loaded("a", 8), loaded("b", 4, 5)])
    assert seen.read() == {"unreadable_images": 3, "unusable/a": 2 / 16, "unusable/b": 1 / 8} and seen.labels == ["a", "b"]
    assert str(seen.whole) == "skipped as unusable: 2 of 16 frames of a (12.5%), 1 of 8 frames of b (12.5%)"


def test_one_source_has_no_shares_of_its_own() -> None:
    seen = watch("a")
    seen.add([loaded("a", 8, 3)])
    assert seen.read() == {"unreadable_images": 1}


def test_all_ranks_count_and_all_fail() -> None:
    """None has skipped enough by itself."""
    parts = [watch("a", most=0.5) for _ in range(2)]
    parts[0].add([loaded("a", 10, *range(6))])
    parts[1].add([loaded("a", 10, *range(4, 10))])
    for part in parts:
        part.read()
    for one, other in (parts, reversed(parts)):
        one.ranks, one.max_unusable = OneOf(0, 1, CPU, [other]), 0.25
        with pytest.raises(
            DataError, match=r"source 'a'.*: 12 of 20 frames asked for cannot be used, more than max_unusable=0\.25"
        ):
            one.read()
        assert one.whole.skipped["a"] == 12


def test_messages_are_told_once_and_few_at_a_time() -> None:
    seen = watch("a", most=1.0)

    def news() -> list[str]:
        seen.read()
        return seen.news

    assert news() == []
    seen.add([loaded("a", 9, *range(5))])
    assert news() == [f"a/{number}: broken" for number in range(TOLD)] and news() == []
    seen.add([loaded("a", 9, 0, 1, 7, 7), loaded("a", 9, 4)])
    assert news() == ["a/7: broken", "a/4: broken"], "what was not told before still can be"
    seen.add([loaded("a", 9, *range(TOLD))])
    assert news() == []


def test_messages_of_other_ranks_are_told_too() -> None:
    one, other = watch("a", most=1.0), watch("a", most=1.0)
    one.add([loaded("a", 9, 0)])
    other.add([loaded("a", 9, 0, 5)])
    one.ranks = OneOf(0, 1, CPU, [other])
    one.read()
    assert one.news == ["a/0: broken", "a/5: broken"]
