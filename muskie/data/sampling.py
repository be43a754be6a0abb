"""Which frames of a scene are seen together: view sampling, written once for all sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from muskie.data.covisibility import neighbours
from muskie.data.index import Place
from muskie.data.plan import LoadShape


def choose_views(rng: np.random.Generator, place: Place, shape: LoadShape) -> list[int]:
    """All frame numbers of a place in the order in which to try them, of which the first readable `shape.views` are taken;
    `shape.sampling` says how. A place of fewer frames than views gives them again, if `shape.repeat` allows it."""
    order = _BY_NAME[shape.sampling](rng, place, shape)
    # As often as it takes if a single one of them can be read.
    return order * shape.views if shape.repeat and len(order) < shape.views else order


def draw_frames(rng: np.random.Generator, frames: int, views: int, window: int, stride: int) -> list[int]:
    """`views` of a random window first, then its other frames, then those outside of it, nearest first.

    Args:
        rng: of this sample.
        frames: how many the place has.
        views: how many are wanted; the window is widened to hold at least as many.
        window: frames of the window, counted at `stride`; cut to what the place has.
        stride: cut to what still leaves `views` frames.
    """
    stride = max(1, min(stride, (frames - 1) // max(views - 1, 1)))
    span = min((max(window, views) - 1) * stride + 1, (frames - 1) // stride * stride + 1)
    start = int(rng.integers(frames - span + 1))
    inside = start + stride * rng.permutation((span - 1) // stride + 1)
    centre = start + span / 2
    outside = sorted(set(range(frames)) - set(inside.tolist()), key=lambda number: abs(number - centre))
    return [*inside.tolist(), *outside]


def _window(rng: np.random.Generator, place: Place, shape: LoadShape) -> list[int]:
    window = place.source.window if shape.window is None else shape.window
    return draw_frames(rng, len(place.frames), shape.views, window, shape.stride)


def _random(rng: np.random.Generator, place: Place, shape: LoadShape) -> list[int]:
    return rng.permutation(len(place.frames)).tolist()


def _covisible(rng: np.random.Generator, place: Place, shape: LoadShape) -> list[int]:
    """A frame, then those that show a share of what it shows within `shape.overlap`, at random; then those that show more,
    the least first; then those that show less, the most first."""
    count = len(place.frames)
    anchor = int(rng.integers(count))
    overlap = neighbours(place, anchor)  # [frames of the place]
    low, high = shape.overlap
    outside = np.where(overlap < low, 2 - overlap, (overlap - high).clip(min=0))
    others = [number for number in rng.permutation(count).tolist() if number != anchor]
    return [anchor, *sorted(others, key=lambda number: outside[number])]


_BY_NAME: Mapping[str, Callable[[np.random.Generator, Place, LoadShape], list[int]]] = {
    "window": _window,
    "random": _random,
    "covisible": _covisible,
}
