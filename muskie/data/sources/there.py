"""Which of the files that a list names are there, and where a frame stands in its scene."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from muskie.data.scene import Scene
from muskie.data.sources.natural import natural_key


def there(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of some files, by their paths below a folder, that are there, in their order.

    Every folder is listed once: to ask for each of a million files takes a network's disk half an hour.
    """
    listed: dict[str, set[str]] = {}
    found = []
    for name in names:
        parent, _, file = name.rpartition("/")
        if parent not in listed:
            try:
                listed[parent] = set(os.listdir(folder / parent))  # noqa: PTH208  # `iterdir` makes a `Path` of each
            except (FileNotFoundError, NotADirectoryError):
                listed[parent] = set()
        if file in listed[parent]:
            found.append(name)
    return found


def lacking(named: int, found: int, first: str) -> str:
    """Says that files are missing, for `problems`."""
    return f"{named - found} of the {named} pictures that it names are not there, and left out; the first: {first}"


def place_of(scene: Scene, frame: str) -> int:
    """Where a frame stands in a scene whose frames are in natural order. None of the others is looked at but a few."""
    place = bisect_left(scene.frames, natural_key(frame), key=natural_key)
    if place == len(scene.frames) or scene.frames[place] != frame:
        raise KeyError(f"{scene.name}: no frame {frame!r}")
    return place
