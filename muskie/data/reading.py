"""Reading the frames of a place: those that can be read, at the detail that is needed, the last ones kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from muskie.data.crops import Crop
from muskie.data.images import decode
from muskie.data.index import Place
from muskie.data.scene import Frame
from muskie.errors import DataError

PATIENCE = 48
"""Frames of a scene that cannot be used, after which no more of it are read."""


class FrameReader:
    """Reads frames, keeping the decoded images of the last ones.

    Args:
        cache_mb: memory for decoded images, of each data worker. A small data set then is decoded once.
    """

    def __init__(self, cache_mb: int = 0) -> None:
        self.limit = cache_mb * 2**20
        self._kept: OrderedDict[tuple[int, str, str, int], Frame] = OrderedDict()
        self._size = 0

    def read(self, place: Place, frame: str, at_least: int) -> Frame:
        """As `SceneSource.read`, images alone."""
        # Not the source's name: two sources may share one.
        key = (id(place.source), place.scene.name, frame, at_least)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        result = place.source.read(place.scene, frame, at_least=at_least)
        # A source may hand over an image that Pillow has only opened: whatever is wrong with it is told here.
        try:
            result = replace(result, image=decode(result.image))
        except OSError as error:
            raise OSError(f"{place.name}/{frame}: {error}") from error
        if self.limit:
            self._kept[key] = result
            self._size += _bytes(result)
            while self._size > self.limit:
                self._size -= _bytes(self._kept.popitem(last=False)[1])
        return result


def _bytes(frame: Frame) -> int:
    return 3 * frame.image.width * frame.image.height


def read_views(
    reader: FrameReader, place: Place, order: Sequence[int], views: int, at_least: int
) -> tuple[list[Frame], list[str]]:
    """The first `views` readable frames of `order`, and the messages of the unreadable ones before them.

    Raises:
        DataError: the place has fewer readable frames; the message names it.
    """
    read, unreadable = read_some(reader, place, order, views, at_least)
    if len(read) < views:
        raise DataError(f"{too_few(place, len(read), unreadable, views)}. Repair or remove the scene")
    return [frame for frame, _ in read], unreadable


def read_some(
    reader: FrameReader,
    place: Place,
    order: Sequence[int],
    views: int,
    at_least: int,
    part_of: Callable[[str], Crop] = lambda name: Crop(),
) -> tuple[list[tuple[Frame, Crop]], list[str]]:
    """As `read_views`, but gives what it has where there are fewer, and with each frame the part to look at.

    Args:
        part_of: that part, by the frame's name; `at_least` pixels are then kept of its shorter side. It may raise `OSError`:
            the frame is unreadable.
    """
    read: list[tuple[Frame, Crop]] = []
    unreadable: list[str] = []
    for number in order:
        name = place.frames[number]
        try:
            part = part_of(name)
            detail = round(at_least / min(part.right - part.left, part.bottom - part.top))
            read.append((reader.read(place, name, detail), part))
        except (OSError, DataError) as error:  # of one frame or its scene: others can be read
            unreadable.append(str(error))
        if len(read) == views or len(unreadable) == PATIENCE:
            break
    return read, unreadable


def too_few(place: Place, read: int, unreadable: Sequence[str], views: int) -> str:
    """What to tell of a place of which so many frames could be read, in words."""
    return (
        f"scene {place.name}: only {read} of the {read + len(unreadable)} images looked at can be read, {views} are needed. "
        f"First failure: {unreadable[0] if unreadable else 'none'}"
    )
