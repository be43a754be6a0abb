"""Looks at many frames as a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from muskie.data.listing.look import Look

FIRST = 10
"""Frames that are named of each thing that is wrong."""

SIZES = 5
"""Most frequent sizes of pictures that are told."""


class Thinned:
    """Every n-th of some values, however many come: n is doubled whenever more than `most` are kept."""

    def __init__(self, most: int = 8192) -> None:
        self.most, self.step, self.count = most, 1, 0
        self.values: list[Any] = []

    def add(self, value: Any) -> None:
        """The next one; None is none."""
        if value is None:
            return
        if self.count % self.step == 0:
            self.values.append(value)
            if len(self.values) > self.most:
                self.values = self.values[::2]
                self.step *= 2
        self.count += 1

    def percentiles(self, *levels: float) -> list[float] | None:
        """Of all numbers in them; None: there are none."""
        return np.percentile(np.asarray(self.values), levels).tolist() if self.values else None


def summary(looks: Iterable[Look]) -> dict[str, Any]:
    """What frames are like, fit for JSON: numbers of frames, and

    - `sizes`: the most frequent ones of those that can be read, `[width, height, share]`;
    - `unreadable`, `wrong`: `count`, and the `first` ones in words (pictures; depth, cameras and masks);
    - `depth`, `camera`, `mask`: shares of the readable frames that have it; depth that is known nowhere is none;
    - `depth_known`: mean share of known pixels, of the frames with a depth map;
    - `depth_range`: 5, 50 and 95 % of the known depth, every frame counting alike;
    - `focal`, `focal_of_width`: least, median and largest horizontal focal length, in pixels, and as a share of the width;
    - `disagreement`: median over `compared` frames of `Look.disagreement`.

    What was not found is None. Of more than 8192 frames, distributions are those of a part, evenly spread.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    first: dict[str, list[str]] = {"unreadable": [], "wrong": []}
    kept = {name: Thinned() for name in ("known", "depths", "pixels", "widths", "disagreement")}
    for look in looks:
        counts["frames"] += 1
        for kind, why in (("unreadable", look.unreadable), ("wrong", look.wrong)):
            if why:
                counts[kind] += 1
                if len(first[kind]) < FIRST:
                    first[kind].append(f"{look.name}: {why}")
        if look.size is None:
            continue
        sizes[look.size] += 1
        counts["depth"] += look.depths is not None
        counts["camera"] += look.camera
        counts["mask"] += look.mask
        pixels, width = look.focal or (None, None)
        values = (look.known, look.depths, pixels, width, look.disagreement)
        for name, value in zip(kept, values, strict=True):
            kept[name].add(value)
    readable = sizes.total()
    middle = kept["disagreement"].percentiles(50)
    return {
        "frames": counts["frames"],
        "sizes": [[*size, count / readable] for size, count in sizes.most_common(SIZES)],
        "other_sizes": max(0, len(sizes) - SIZES),
        **{kind: {"count": counts[kind], "first": named} for kind, named in first.items()},
        **{name: counts[name] / readable if readable else None for name in ("depth", "camera", "mask")},
        "depth_known": float(np.mean(kept["known"].values)) if kept["known"].values else None,
        "depth_range": kept["depths"].percentiles(5, 50, 95),
        "focal": kept["pixels"].percentiles(0, 50, 100),
        "focal_of_width": kept["widths"].percentiles(0, 50, 100),
        "disagreement": middle[0] if middle else None,
        "compared": kept["disagreement"].count,
    }
