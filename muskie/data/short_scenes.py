"""What to tell somebody whose scenes have too few images: only settings with which there are enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np


def kept_frames(count: int | np.ndarray, share: float) -> np.ndarray:
    """How many of a scene's `count` frames are trained on where its last `share` is held out, int64 [...] as `count`."""
    return np.rint(np.asarray(count) * (1 - share)).astype(np.int64)


@dataclass(frozen=True)
class Division:
    """How the scenes of one source are divided.

    Attributes:
        lengths: images of each scene.
        needs: the fewest images of a scene that each part needs, by `"train"` and `"heldout"`, or `"all"`.
        share: held out.
        by_scenes: whole scenes are held out, and not the last frames of each.
    """

    lengths: Sequence[int]
    needs: Mapping[str, int]
    share: float
    by_scenes: bool

    @property
    def suffices(self) -> bool:
        """Whether every scene has enough images, whichever part it falls to."""
        return bool(self.lengths) and all(self._suffices(count) for count in self.lengths)

    def _suffices(self, count: int) -> bool:
        train = max(self.needs.get("train", 0), self.needs.get("all", 0))
        if not self.share:
            return count >= train
        heldout = self.needs.get("heldout", 0)
        if self.by_scenes and len(self.lengths) > 1:
            return count >= max(train, heldout)
        kept = int(kept_frames(count, self.share))
        return kept >= train and count - kept >= heldout

    def with_views(self, views: int) -> Division:
        """The same, trained on by so many views at a time."""
        return replace(self, needs={name: views if name != "heldout" else n for name, n in self.needs.items()})

    def enough(self) -> int:
        """The fewest images a scene must have."""
        low, high = 0, 1
        while not self._suffices(high) and high < 2**40:
            low, high = high, 2 * high
        while high - low > 1:  # more images never leave fewer to a part
            middle = (low + high) // 2
            low, high = (low, middle) if self._suffices(middle) else (middle, high)
        return high


def fewer_views(views: int) -> str:
    """The settings by which scenes have so many views, where no plan says them."""
    return f"plan.views={views} plan.views_per_scene=[{views}]"


def ways_out(
    division: Division,
    part: str,
    leave_out: str | None,
    others: Sequence[Division] = (),
    fewer: Callable[[int], str] = fewer_views,
) -> str:
    """Sentences on what helps: first what concerns this source alone, then settings that count for all.

    Args:
        division: one that does not suffice.
        part: the part that was found too short, `"train"`, `"heldout"` or `"all"`.
        leave_out: the key by which the source leaves short scenes out, if it can.
        others: those of the other sources, for which settings that count for all must suffice as well.
        fewer: the settings by which scenes have no more than so many views.
    """

    def helps(change: Callable[[Division], Division]) -> bool:
        return all(change(one).suffices for one in (division, *others))

    enough, shortest = division.enough(), min(division.lengths)
    ways = [f"Give every scene {enough} images or more"]
    left = replace(division, lengths=[count for count in division.lengths if count >= enough])
    if leave_out and left.suffices:
        ways.append(f"leave short scenes out: {leave_out}={enough}")
    views = shortest if part == "all" else int(kept_frames(shortest, division.share))
    if views > 2 and part != "heldout" and helps(lambda one: one.with_views(views)):
        ways.append(f"train on fewer at a time: {fewer(views)}")
    if part != "all":
        ways += _other_divisions(division, shortest, helps, fewer)
    return "; or ".join(ways)


def _other_divisions(
    division: Division, shortest: int, helps: Callable[[Callable[[Division], Division]], bool], fewer: Callable[[int], str]
) -> list[str]:
    ways = []
    several = not division.by_scenes and len(division.lengths) > 1
    if several and helps(partial(replace, by_scenes=True)):
        ways.append("hold whole scenes out: holdout.by=scenes")
    for share in (percent / 100 for percent in range(5, 55, 5) if percent / 100 > division.share):
        if helps(partial(replace, share=share)):
            ways.append(f"hold more out: holdout.share={share:g}")
            break
    nothing = "hold nothing out and measure no cross-view gain: holdout.share=0"
    if helps(partial(replace, share=0.0)):
        ways.append(nothing)
    elif shortest > 2 and helps(lambda one: replace(one, share=0.0).with_views(shortest)):
        ways.append(f"{nothing} {fewer(shortest)}")
    return ways
