"""A set of views that are looked at together, and the places that rules take them from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from muskie.data.index import Place, SceneIndex
from muskie.data.scene import Camera, Scene, SceneSource
from muskie.errors import DataError, did_you_mean

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
    def category(self) -> str | None:
        """What stands before the `/` in the scene's name: the category of CO3D, the room of 7-Scenes; None without one."""
        above, slash, _ = self.scene.name.partition("/")
        return f"{self.source.config_key}/{above}" if slash else None

    @property
    def identities(self) -> list[str]:
        """`SceneSource.identity` of its frames."""
        return [self.source.identity(self.scene, frame) for frame in self.frames]

    @property
    def name(self) -> str:
        """For messages."""
        shown = [*self.frames[:3], "...", self.frames[-1]] if len(self.frames) > 10 else self.frames
        return f"{self.source.name}/{self.scene.name} ({', '.join(shown)})"


class SomeScenes(SceneIndex):
    """The places of an index whose scenes are named.

    Args:
        index: all places.
        names: of the scenes, as `Scene.name` has them.
        key: what errors call the list of names.

    Raises:
        DataError: names that no source has among its places; all of them at once.
    """

    def __init__(self, index: SceneIndex, names: Sequence[str], key: str) -> None:
        vars(self).update(vars(index))
        self._index = index
        wanted, found = set(names), set()
        self._chosen: dict[int, list[int]] = {}
        known: list[str] = []
        for source in index.sources:
            numbers = self._chosen[id(source)] = []
            for number in range(index.places(source)):
                name = index.place(source, number).scene.name
                known += [name] if len(known) < 1000 else []
                if name in wanted:
                    numbers.append(number)
                    found.add(name)
        if missing := [name for name in names if name not in found]:
            raise DataError(
                f"{key} names {len(missing)} of {len(wanted)} scenes that are not in the data: {shown(missing)}"
                f"{did_you_mean(missing[0], known)}; {key}=null takes all scenes that are there, which is another protocol"
            )
        self.sources = [source for source in index.sources if self._chosen[id(source)]]

    def places(self, source: SceneSource) -> int:
        return len(self._chosen[id(source)])

    def place(self, source: SceneSource, number: int) -> Place:
        return self._index.place(source, self._chosen[id(source)][number])


def shown(names: Sequence[str], most: int = 5) -> str:
    """Names for a message, the first of many: `"a, b, ..."`."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def named_scenes(names: Sequence[str]) -> str:
    """Scenes that somebody named, for the notes of a table."""
    return f"{len(names)} named scene{'s' if len(names) > 1 else ''} ({shown(names, 20)})"


def evenly(total: int, count: int) -> list[int]:
    """Up to `count` of the numbers 0 to total - 1, spread evenly from the first to the last."""
    return sorted({round(x) for x in np.linspace(0, total - 1, min(count, total))}) if total else []


def of_each_length(index: SceneIndex, source: SceneSource) -> Iterator[Place]:
    """All places; of a source that may be endless the first one, for all have its length."""
    count = index.places(source)
    return (index.place(source, number) for number in range(min(count, 1) if source.uniform_length else count))


def spread(index: SceneIndex, count: int | None, least: int = 1) -> list[Place]:
    """Up to `count` places of at least `least` frames, in all: an even share of each source, spread evenly over it. A source
    that has fewer leaves its share unused. None: all, and of a source that may be endless `ENDLESS`."""
    long = [_of_length(index, source, least) for source in index.sources]
    if count is None:
        shares = [ENDLESS if source.uniform_length else len(n) for source, n in zip(index.sources, long, strict=True)]
    else:
        shares = _shares([len(numbers) for numbers in long], count)
    return [
        index.place(source, numbers[n])
        for source, numbers, share in zip(index.sources, long, shares, strict=True)
        for n in evenly(len(numbers), share)
    ]


class OneSource(SceneIndex):
    """The places of one source of an index."""

    def __init__(self, index: SceneIndex, source: SceneSource) -> None:
        vars(self).update(vars(index))
        self._index = index
        self.sources = [source]

    def places(self, source: SceneSource) -> int:
        return self._index.places(source)

    def place(self, source: SceneSource, number: int) -> Place:
        return self._index.place(source, number)


def of_each_source(
    index: SceneIndex, count: int | None, choose: Callable[[SceneIndex, int | None], Sequence[ViewSet]]
) -> list[ViewSet]:
    """Up to `count` sets in all: an even share of each source, however many scenes it has. A source that has fewer leaves
    its share unused.

    Args:
        index: all places.
        count: sets; None: all.
        choose: those of an index of one source, at most so many.

    Raises:
        DataError: no source has any; that of the first.
    """
    most = None if count is None else -(-count // len(index.sources))
    found: list[Sequence[ViewSet]] = []
    problems = []
    for source in index.sources:
        try:
            found.append(choose(index if len(index.sources) == 1 else OneSource(index, source), most))
        except DataError as error:
            problems.append(error)
            found.append([])
    if not any(found):
        raise problems[0]
    shares = [len(sets) for sets in found] if count is None else _shares([len(sets) for sets in found], count)
    return [views for sets, share in zip(found, shares, strict=True) for views in sets[:share]]


def _of_length(index: SceneIndex, source: SceneSource, least: int) -> Sequence[int]:
    """Numbers of the places of a source that have at least so many frames."""
    numbers = range(index.places(source))
    if all(len(place.frames) >= least for place in of_each_length(index, source)):
        return numbers
    return [] if source.uniform_length else [n for n in numbers if len(index.place(source, n).frames) >= least]


def _shares(there: Sequence[int], count: int) -> list[int]:
    """How many of `count` places each source gives that has so many: the even share, rounded up, and so in turn that there
    are no more than `count` in all."""
    most = -(-count // len(there))
    shares = [0] * len(there)
    for turn in range(most):
        for source, places in enumerate(there):
            if turn < places and sum(shares) < count:
                shares[source] += 1
    return shares


def all_places(index: SceneIndex, endless: int) -> Iterator[Place]:
    """All places; of a source that may be endless, `endless` of them."""
    for source in index.sources:
        total = index.places(source)
        for number in evenly(total, endless) if source.uniform_length else range(total):
            yield index.place(source, number)


def view_set(place: Place, numbers: Sequence[int]) -> ViewSet:
    """Frames of a place by their numbers."""
    return ViewSet(place.source, place.scene, tuple(place.frames[int(number)] for number in numbers))


def known_camera(place: Place, frame: str) -> Camera | None:
    """The camera of a frame; None also where it cannot be read: a frame less to choose from."""
    try:
        return place.source.camera(place.scene, frame)
    except OSError:
        return None
