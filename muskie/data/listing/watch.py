"""Whether folders and files are still as they were when something was made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

WATCHED = 512
"""How many folders are looked at; of more, so many, evenly spread: a network's disk takes a millisecond for each."""

TICK = 2_000_000_000
"""Nanoseconds within which a file system may give two changes the same time."""


def times(paths: Iterable[Path]) -> dict[str, int]:
    """When each was last changed, in nanoseconds (-1: it is not there); of a folder, when something was added to it or
    taken away."""
    return {str(path): _changed(path) for path in some(sorted(set(paths)))}


def folders_in(folder: Path, most: int = 32) -> list[Path]:
    """A folder, there or not, and those in it, at most so many: something may be put into any of them."""
    found = [folder]
    for path, inside, _ in os.walk(folder):
        found += [Path(path) / name for name in inside]
        if len(found) >= most:
            break
    return found[:most]


def some(paths: Sequence[Path]) -> list[Path]:
    """At most `WATCHED` of them, evenly spread, the first and the last among them."""
    if len(paths) <= WATCHED:
        return list(paths)
    return [paths[number] for number in np.linspace(0, len(paths) - 1, WATCHED).round().astype(int)]


def changed(known: Mapping[str, int], made: int) -> str | None:
    """What has changed, in words; None: nothing.

    Args:
        known: as `times` gave it.
        made: when something was made of them, in nanoseconds. What had changed just before may have changed again since.
    """
    for path, time in known.items():
        now = _changed(Path(path))
        if now != time:
            return f"{path} {'is gone' if now < 0 else 'has changed'}"
        if made - TICK < time <= made + TICK:  # not one from the future, by another clock
            return f"{path} changed just before it was made"
    return None


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1
