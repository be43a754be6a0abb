"""Names of views as headings over pictures: short, and in letters that the font has."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from muskie.visualization.lettering import font, length
from muskie.visualization.page import LEAST


def headings(names: Sequence[str], width: int) -> list[str]:
    """Names so short that each takes one line over a picture `width` pixels wide.

    What all have behind their first dot is left out first, then the beginning of what is still too long. A name in a
    script that the font does not have becomes the number of its column.
    """
    letter = max(LEAST, round(len(names) * width / 80))  # as large as a page makes it, where it fits
    shown = [legible(name) or f"view {number}" for number, name in enumerate(names, 1)]
    too_long = max(length(name, letter) for name in shown) > width
    endings = {name.partition(".")[2] for name in shown}
    if too_long and len(endings) == 1 and all(name.partition(".")[0] for name in shown):
        shown = [name.partition(".")[0] for name in shown]
    return [_end_of(name, letter, width) for name in shown]


def legible(text: str) -> str:
    """Text in letters of Pillow's own font, accents left out; empty if there is a letter that it does not have."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    box = bytes(font(24).getmask("\uffff"))  # what stands for a letter that is missing
    known = all(letter == " " or (letter.isprintable() and bytes(font(24).getmask(letter)) != box) for letter in set(plain))
    return plain if known else ""


def _end_of(name: str, letter: int, width: int) -> str:
    if length(name, letter) <= width:
        return name
    start = len(name) - 1
    while start > 0 and length(f"...{name[start - 1 :]}", letter) <= width:
        start -= 1
    return f"...{name[start:]}"
