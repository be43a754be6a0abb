"""What was skipped is counted by source, and too much of it is an error in words."""

from __future__ import annotations

import pytest
from numbered import Numbered

from muskie.data.unusable import FIRST, Ledger, Unusable
from muskie.errors import DataError


def source(label: str = "numbered") -> Numbered:
    made = Numbered([4], name=label)
    made.config_key = f"data.sources.{label}"
    return made


def broken(label: str, *numbers: int) -> list[Unusable]:
    return [Unusable(label, f"{label}/{number}: broken") for number in numbers]


def test_frames_are_counted_by_source() -> None:
    ledger = Ledger()
    ledger.add({"a": 10, "b": 4}, broken("a", 0, 1))
    ledger.add({"a": 10}, [Unusable("a", "a scene of three", 3)])
    assert ledger.scalars(["a", "b", "c"]) == {"a": 5 / 20, "b": 0, "c": 0}
    assert str(ledger) == "skipped as unusable: 5 of 20 frames of a (25.0%)" and str(Ledger()) == ""
    assert list(ledger.messages["a"]) == ["a/0: broken", "a/1: broken", "a scene of three"]


def test_a_message_is_an_unusable_in_words() -> None:
    assert str(Unusable("a", "a/0: broken")) == "a/0: broken" and Unusable("a", "b").frames == 1


def test_more_than_the_share_allowed_is_an_error() -> None:
    """By more than chance, two standard deviations: of 100 frames, 10 at a tenth, and 6.3."""
    for skipped, fails in ((16, False), (17, True)):
        ledger = Ledger()
        ledger.add({"numbered": 100}, broken("numbered", *range(skipped)))
        if fails:
            with pytest.raises(DataError, match=r"17 of 100 frames asked for cannot be used, more than max_unusable=0\.1"):
                ledger.check([source()], 0.1)
        else:
            ledger.check([source()], 0.1)
    ledger.check([source()], 1.0)


def test_the_error_names_source_files_and_the_way_out() -> None:
    ledger, made = Ledger(), source()
    made.root = "/data/x"  # type: ignore[attr-defined]
    ledger.add({"numbered": 40}, broken("numbered", *range(12)))
    with pytest.raises(DataError) as told:
        ledger.check([source("other"), made], 0.05)
    message = str(told.value)
    assert message.startswith("source 'numbered' (data.sources.numbered, /data/x): 12 of 40 frames")
    assert all(f"  numbered/{number}: broken\n" in message for number in range(FIRST)) and "numbered/10:" not in message
    assert "python scripts/index_scenes.py data=... --all" in message
    allowed = float(message.rpartition("max_unusable=")[2])
    ledger.check([made], allowed)


def test_few_frames_are_no_reason_to_end() -> None:
    ledger = Ledger()
    ledger.add({"numbered": FIRST}, broken("numbered", *range(FIRST - 1)))
    ledger.check([source()], 0.05)
    ledger.add({"numbered": 1}, broken("numbered", FIRST))
    with pytest.raises(DataError):
        ledger.check([source()], 0.05)


def test_the_files_of_whole_scenes_are_named() -> None:
    """A few scenes of many frames each are as much as many frames, and it is files that somebody can mend."""
    ledger = Ledger()
    for scene in range(2):
        files = tuple(f"s{scene}/{number}: no pose" for number in range(8))
        ledger.add({"numbered": 50}, [Unusable("numbered", f"s{scene}: passed over", 48, files)])
    with pytest.raises(DataError, match="96 of 100 frames") as told:
        ledger.check([source()], 0.05)
    assert str(told.value).count(": no pose") == FIRST and "passed over" not in str(told.value)


def test_each_source_counts_for_itself() -> None:
    ledger = Ledger()
    ledger.add({"bad": 20, "good": 10_000}, broken("bad", *range(20)))
    with pytest.raises(DataError, match="source 'bad'"):
        ledger.check([source("good"), source("bad")], 0.5)
    ledger.check([source("good")], 0.0)


def test_ledgers_of_ranks_are_joined() -> None:
    """Each has met other frames, and some the others have met too: all different ones count."""
    ranks = []
    for numbers in (range(6), range(8), range(4, 10)):
        ranks.append(Ledger())
        ranks[-1].add({"numbered": 10}, broken("numbered", *numbers))
    ranks[0].add({"other": 1}, [])
    whole = Ledger.joined(ranks)
    assert whole.asked == {"numbered": 30, "other": 1} and whole.skipped == {"numbered": 20}
    assert list(whole.messages["numbered"]) == [f"numbered/{number}: broken" for number in range(10)]
    with pytest.raises(DataError):
        whole.check([source()], 0.3)
    assert len(ranks[0].messages["numbered"]) == 6, "theirs are as they were"
    assert len(Ledger.joined([whole, *ranks]).messages["numbered"]) == FIRST
