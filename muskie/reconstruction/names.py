"""Names of views as names of files, as lines and words of other programs' files, and as text that can be printed."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
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
    return stems if len(set(lower)) == len(lower) and all(lower) else _numbered(stems)


def as_lines(names: Sequence[str]) -> list[str]:
    """Names, all different, as a line or a text that ends with a zero byte can hold them: `_` for control characters and
    whatever else ends a line; all with a number before them where some would fall together. Any other name stays as it is,
    bytes that are no UTF-8 too."""
    return _without(names, _ends_a_line)


def as_words(names: Sequence[str]) -> list[str]:
    """As `as_lines`, with `_` for white space too: for text whose readers part words there."""
    return _without(names, lambda letter: letter.isspace() or _ends_a_line(letter))


def _ends_a_line(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp")


def _without(names: Sequence[str], breaks: Callable[[str], bool]) -> list[str]:
    whole = ["".join("_" if breaks(letter) else letter for letter in name) for name in names]
    return whole if len(set(whole)) == len(set(names)) else _numbered(whole)


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{number:04d}_{name}" for number, name in enumerate(names)]


def printable(text: str) -> str:
    """Text that any output takes: `?` for bytes of a file's name that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()
