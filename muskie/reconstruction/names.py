"""Names of views as names of files, and as text that can be printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

_LONGEST = 200
"""Bytes of a file's name, without what is put before and behind it: file systems allow 255."""


def file_stems(names: Sequence[str]) -> list[str]:
    """A file name without suffix for each view, all different: `a/b.jpg` becomes `a_b`; all with a number before them where
    some would fall together (also where a file system knows no capitals). None leads out of its folder."""
    stems = []
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        plain = str(path.with_suffix("") if path.name else path)
        clean = "".join(c if c.isalnum() or c in "-_. " else "_" for c in plain).strip("._ ")
        stems.append(clean.encode()[-_LONGEST:].decode(errors="ignore"))  # the end of a long name tells more
    lower = [stem.lower() for stem in stems]
    if len(set(lower)) == len(lower) and all(lower):
        return stems
    return [f"{number:04d}_{stem}" for number, stem in enumerate(stems)]


def printable(text: str) -> str:
    """Text that any output takes: `?` for bytes of a file's name that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()
