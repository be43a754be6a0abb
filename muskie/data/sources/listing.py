"""What a data set's folder holds, and which of it was asked for: pictures, scenes, splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from muskie.data.images import IMAGE_SUFFIXES
from muskie.data.sources.natural import natural_key, naturally
from muskie.errors import ConfigError, DataError, did_you_mean


def pictures(folder: Path) -> list[str]:
    """The names of a folder's pictures in natural order, one of a picture stored as several formats; none without it."""
    if not folder.is_dir():
        return []
    by_stem = {}
    for name in sorted(
        entry.name for entry in os.scandir(folder)
    ):  # text alone: a `Path` for each of millions takes minutes
        stem, dot, suffix = name.rpartition(".")
        if dot + suffix.lower() in IMAGE_SUFFIXES and name[0] != ".":
            by_stem[stem] = name
    return naturally(by_stem.values())


def chosen(found: Iterable[str], wanted: Sequence[str] | None, root: str | Path, what: str) -> list[str]:
    """Those of the names `found` that are `wanted`, all where that is None or empty, in natural order.

    Args:
        root, what: for messages: `data.root` as given, and what the names are, e.g. `"scenes"`.

    Raises:
        DataError: a wanted one is not there; nothing is said where nothing was found at all.
    """
    ordered = sorted(found, key=natural_key)
    if not wanted or not ordered:
        return ordered
    if missing := [name for name in wanted if name not in ordered]:
        hint = did_you_mean(missing[0], ordered) or f"; the first ones: {', '.join(map(repr, ordered[:5]))}"
        raise DataError(f"data.root={str(root)!r}: no {missing[0]!r} among the {len(ordered)} {what} found there{hint}")
    return [name for name in ordered if name in wanted]


def stated(split: str | None, allowed: Sequence[str]) -> str:
    """The split, for sources that have no default: one taken by mistake is trained on, or measured, for nothing.

    Raises:
        ConfigError: there is none, or it is not allowed.
    """
    options = ", ".join(map(repr, allowed))
    if split is None:
        raise ConfigError(f"data.split must be given: one of {options}")
    if split not in allowed:
        raise ConfigError(f"data.split={split!r}: expected one of {options}")
    return split
