"""Which frames are looked at together: several views of a scene, chosen by a rule that a table can state."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from muskie.data.index import Place, SceneIndex
from muskie.data.scene import Camera, Scene, SceneSource
from muskie.errors import ConfigError, DataError
from muskie.streams import stream

ENDLESS = 64
"""Scenes, or sets, that are taken of scenes without end where nobody says how many."""


@dataclass(frozen=True)
class ViewSet:
    """Frames of one scene; the first is the one that queries lie in.

    Attributes:
        source, scene: where to read them.
        frames: their names.
    """

    source: SceneSource
    scene: Scene
    frames: tuple[str, ...]

    @property
    def group(self) -> str:
        """The room that is seen: what is resampled as one when an interval is drawn. Sources are told apart by their keys:
        two of one class may have one name."""
        key = self.source.config_key
        return f"{self.source.name if key == 'data' else key}/{self.scene.room or self.scene.name}"

    @property
    def identities(self) -> list[str]:
        """`SceneSource.identity` of its frames."""
        return [self.source.identity(self.scene, frame) for frame in self.frames]

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.source.name}/{self.scene.name} ({', '.join(self.frames)})"


def spaced(index: SceneIndex, views: int, distance: int, count: int, seed: int = 0) -> list[ViewSet]:
    """Frames at a stated distance: number 0, d, 2d, ... from a start that is drawn, over as many scenes as there are.

    Args:
        index: the places to choose from.
        views: frames of a set.
        distance: d, in frames of the source, >= 1.
        count: sets that are wanted; where the places have fewer, all they have. No set is given twice.
        seed: of the starts.

    Raises:
        DataError: no scene is long enough.
    """
    span = (views - 1) * distance + 1
    places = _spread(index, count, span)
    starts = [stream(seed, "starts", n).permutation(len(place.frames) - span + 1) for n, place in enumerate(places)]
    most = max((len(order) for order in starts), default=0)
    if not most:
        longest = max((len(place.frames) for source in index.sources for place in _of_each_length(index, source)), default=0)
        held_out = " held out" if index.part == "heldout" else ""
        nearer = f" or a smaller distance, at most {(longest - 1) // (views - 1)}" if longest >= views else ""
        raise DataError(
            f"{views} views at a distance of {distance} frames span {span} frames, and no scene has so many{held_out} "
            f"(the longest: {longest}); take fewer views{nearer}"
        )
    rounds = (
        _view_set(place, range(order[turn], order[turn] + span, distance))
        for turn in range(most)
        for place, order in zip(places, starts, strict=True)
        if turn < len(order)
    )
    return list(islice(rounds, count))


def _spread(index: SceneIndex, count: int, least: int = 1) -> list[Place]:
    """Up to `count` places of at least `least` frames, spread evenly over each source."""
    share = -(-count // len(index.sources))
    places = []
    for source in index.sources:
        numbers: Sequence[int] = range(index.places(source))
        if any(len(place.frames) < least for place in _of_each_length(index, source)):
            long = (n for n in numbers if len(index.place(source, n).frames) >= least)
            numbers = [] if source.uniform_length else list(long)
        places += [index.place(source, numbers[n]) for n in evenly(len(numbers), share)]
    return places


def _of_each_length(index: SceneIndex, source: SceneSource) -> Iterator[Place]:
    """All places; of a source that may be endless the first one, for all have its length."""
    count = index.places(source)
    return (index.place(source, number) for number in range(min(count, 1) if source.uniform_length else count))


def evenly(total: int, count: int) -> list[int]:
    """Up to `count` of the numbers 0 to total - 1, spread evenly from the first to the last."""
    return sorted({round(x) for x in np.linspace(0, total - 1, min(count, total))}) if total else []


def first_windows(index: SceneIndex, views: int, max_gap: int, endless: int = ENDLESS) -> list[ViewSet]:
    """Of every scene the first run of consecutive frames whose numbers are at most `max_gap` apart (the protocol on
    ScanNet of Muskie, arXiv 2511.18115: 8 views, gaps up to 35). Of a source that may be endless (`uniform_length`),
    `endless` scenes are looked at.

    Raises:
        DataError: no scene has one.
    """
    found = []
    for place in _all(index, endless):
        numbers = np.array([_number(frame, place) for frame in place.frames])
        wide = np.abs(np.diff(numbers)) > max_gap
        for start in range(len(numbers) - views + 1):
            if not wide[start : start + views - 1].any():
                found.append(_view_set(place, range(start, start + views)))
                break
    if not found:
        raise DataError(f"no scene has {views} consecutive frames with gaps of at most {max_gap}; allow wider gaps")
    return found


def nearest_rotations(index: SceneIndex, views: int, every: int, endless: int = ENDLESS) -> list[ViewSet]:
    """Every frame of a scene with those whose cameras are turned least against its own, of which every `every`-th set is
    kept (the protocol on NAVI of Muskie, arXiv 2511.18115: 8 views, every 20th). Frames without a camera are in none;
    `endless` as in `first_windows`.

    Raises:
        DataError: no scene has as many frames with a camera.
    """
    found = []
    for place in _all(index, endless):
        cameras = {frame: _camera(place, frame) for frame in place.frames}
        known = [number for number, frame in enumerate(place.frames) if cameras[frame] is not None]
        if len(known) < views:
            continue
        rotations = np.stack([cameras[place.frames[number]].cam2world[:3, :3] for number in known])  # type: ignore[union-attr]
        angles = rotation_angles(rotations[:, None], rotations[None])  # [N, N]
        np.fill_diagonal(angles, -1.0)  # the anchor comes first
        order = np.argsort(angles, axis=1, kind="stable")[:, :views]
        found += [_view_set(place, [known[n] for n in row]) for row in order]
    if not found:
        raise DataError(f"no scene has {views} frames with a camera")
    return found[::every]


def rotation_angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles in degrees, [...], between rotations [..., 3, 3]."""
    trace = np.einsum("...ij,...ij->...", one, other)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def _camera(place: Place, frame: str) -> Camera | None:
    try:
        return place.source.camera(place.scene, frame)
    except OSError:  # a lost pose, or a picture that cannot be read: a frame less to choose from
        return None


def _all(index: SceneIndex, endless: int) -> Iterator[Place]:
    for source in index.sources:
        total = index.places(source)
        for number in evenly(total, endless) if source.uniform_length else range(total):
            yield index.place(source, number)


def _view_set(place: Place, numbers: Sequence[int]) -> ViewSet:
    return ViewSet(place.source, place.scene, tuple(place.frames[int(number)] for number in numbers))


def _number(frame: str, place: Place) -> int:
    digits = re.findall(r"\d+", frame)
    if not digits:
        raise DataError(f"{place.name}: frame {frame!r} has no number, and its distance to others cannot be told")
    return int(digits[-1])


CHOICES: dict[str, Callable[..., list[ViewSet]]] = {
    "spaced": spaced,
    "first_windows": first_windows,
    "nearest_rotations": nearest_rotations,
}


@dataclass(frozen=True)
class ViewChoice:
    """How views are chosen.

    Attributes:
        rule: `"spaced"`, `"first_windows"` or `"nearest_rotations"`: the functions of this name here.
        views: frames of a set, the one with the queries included.
        distance: frames between neighbours, for `spaced`.
        max_gap: between frame numbers, for `first_windows`.
        every: which sets are kept, for `nearest_rotations`.
        samples: sets at most, spread evenly; None: all (of `spaced`, and of scenes without end, 64).
        seed: of what is drawn.
    """

    section: ClassVar[str] = "views"
    rules: ClassVar[tuple[str, ...]] = tuple(CHOICES)

    rule: str = "spaced"
    views: int = 8
    distance: int = 4
    max_gap: int = 35
    every: int = 20
    samples: int | None = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rule not in self.rules:
            raise ConfigError(f"{self.section}.rule={self.rule!r}: expected one of {', '.join(map(repr, self.rules))}")
        for name, least in (("views", 2), ("distance", 1), ("max_gap", 1), ("every", 1), ("samples", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{self.section}.{name}={value}: expected at least {least}")

    def choose(self, index: SceneIndex) -> list[ViewSet]:
        """The sets, in a fixed order.

        Raises:
            DataError: the scenes have none.
        """
        try:
            return self._chosen(index)
        except DataError as error:
            keys = ("views", *{"spaced": ("distance",), "first_windows": ("max_gap",)}.get(self.rule, ()))
            now = ", ".join(f"{self.section}.{key}={getattr(self, key)}" for key in keys)
            raise DataError(f"{error} (now {now})") from error

    def _chosen(self, index: SceneIndex) -> list[ViewSet]:
        most = self.samples or ENDLESS
        if self.rule == "spaced":
            return spaced(index, self.views, self.distance, most, self.seed)
        if self.rule == "first_windows":
            found = first_windows(index, self.views, self.max_gap, most)
        else:
            found = nearest_rotations(index, self.views, self.every, most)
        return [found[n] for n in evenly(len(found), self.samples or len(found))]

    def __str__(self) -> str:
        how = {
            "spaced": f"{self.distance} frames apart",
            "first_windows": f"the first of each scene with gaps of at most {self.max_gap} frames",
            "nearest_rotations": f"nearest rotations, every {self.every}th set",
        }
        return f"{self.views} views, {how[self.rule]}"
