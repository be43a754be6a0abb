"""Text on a page: broken into lines that fit, measured, written. Pillow's own font, so that no machine draws another."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]

INK: Colour = (28, 30, 33)
FAINT: Colour = (96, 101, 108)
"""For second lines and captions: still 5.5 : 1 against the paper (WCAG asks 4.5 of small text)."""


class Line(NamedTuple):
    """One line of text, `size` pixels high from ascender to baseline."""

    text: str
    size: int
    colour: Colour


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, `size` in pixels."""
    return ImageFont.load_default(size)


def length(text: str, size: int) -> float:
    """The width of a line in pixels."""
    return font(size).getlength(text)


def set_lines(text: str, size: int, width: float, colour: Colour = INK) -> list[Line]:
    """Text in lines that are at most `width` pixels wide.

    It is broken at spaces, and inside a word only where the word alone is too wide. The first of its own lines is written as
    asked; those after a line break are smaller and fainter.
    """
    lines: list[Line] = []
    for number, part in enumerate(text.split("\n")):
        here, ink = (size, colour) if number == 0 else (smaller(size), FAINT)
        lines += [Line(line, here, ink) for line in _broken(part, here, width)]
    return lines


def smaller(size: int) -> int:
    """The size of captions beside text of `size`."""
    return max(12, round(0.86 * size))


def _broken(text: str, size: int, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if length(longer, size) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and length(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


def step(line: Line) -> int:
    """The height that a line takes, in pixels."""
    return round(1.32 * line.size)


def height(lines: list[Line]) -> int:
    """The height that lines under each other take, in pixels."""
    return sum(map(step, lines))


def write(pen: ImageDraw.ImageDraw, lines: list[Line], x: float, top: float, align: str = "left") -> None:
    """Writes lines under each other; x is their left end, centre or right end, as `align` says: left, centre, right."""
    anchor = {"left": "lm", "centre": "mm", "right": "rm"}[align]
    x = round(x)  # between pixels, letters blur
    for line in lines:
        pen.text((x, top + step(line) // 2), line.text, fill=line.colour, font=font(line.size), anchor=anchor)
        top += step(line)
