"""The page that all pictures are set on: rows of pictures, their labels at the left, one column a view.

The paper is opaque and nearly white, with a margin, so that a page reads on light and on dark ground alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from muskie.visualization.colours import ColourBar, to_bytes, viridis
from muskie.visualization.lettering import FAINT, Line, height, length, set_lines, smaller, write
from muskie.visualization.sizes import resized, shown_size, to_tensor

PAPER = (251, 251, 250)
LABELS = (8, 14)
"""Width of a row's label, in heights of a letter, at which it is broken into lines; the second one if it takes that to keep
a word whole."""
LEAST = 14
"""Pixels of a letter."""
SPACE = 3
"""Pixels between a picture and its caption."""
BAR, BAR_WIDTH = 2, 7
"""Height and width of a colour bar with its numbers, in heights of a letter."""


class _Texts(NamedTuple):
    """Everything that is written, broken into lines; captions by row and column."""

    title: list[Line]
    columns: list[list[Line]]
    labels: list[list[Line]]
    captions: list[list[list[Line]]]
    note: list[Line]


@dataclass(frozen=True)
class Layout:
    """Where things lie on a page, in its pixels.

    Attributes:
        height, width: of the page.
        tops, lefts: of the pictures of each row and of each column.
        title, headings, note: the tops of these texts.
        gutter: the right end of the labels.
    """

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    title: int
    headings: int
    note: int
    gutter: int


@dataclass(frozen=True)
class Page:
    """Rows of pictures with texts around them; `page` draws one in a single call.

    Attributes:
        rows: of pictures, each uint8 [N, 3, H, W] (sizes may differ from row to row).
        labels: one a row; what follows a line break is written smaller and fainter, as in all texts here.
        columns: N headings, such as the views' names; None: none.
        title: above everything.
        group: a wide gap follows every so many pictures, such as the views of a sample; 0: none does.
        captions: for each row, N texts under its pictures, or None.
        bars: for each row, the meaning of its colours, drawn under its label, or None.
        note: below everything.
        size: (height, width) of every picture on the page; None: `shown_size` of the first row's.
    """

    rows: Sequence[Tensor]
    labels: Sequence[str]
    columns: Sequence[str] | None = None
    title: str | None = None
    group: int = 0
    captions: Sequence[Sequence[str] | None] | None = None
    bars: Sequence[ColourBar | None] | None = None
    note: str | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        count = len(self.rows[0]) if self.rows else 0
        if not count or any(r.dtype != torch.uint8 or r.ndim != 4 or r.shape[:2] != (count, 3) for r in self.rows):
            found = ", ".join(f"{row.dtype} {tuple(row.shape)}" for row in self.rows) or "none"
            raise ValueError(f"rows of pictures are {found}; expected torch.uint8 [N, 3, H, W] with one N > 0 for all")
        per_row = {"labels": self.labels, "captions": self.captions, "bars": self.bars}
        for name, given in per_row.items():
            if given is not None and len(given) != len(self.rows):
                raise ValueError(f"{len(given)} {name} for {len(self.rows)} rows of pictures; give one for each")
        for name, texts in [("columns", self.columns), *(("captions of a row", row) for row in self.captions or [])]:
            if texts is not None and len(texts) != count:
                raise ValueError(f"{len(texts)} {name} for {count} pictures side by side; give one for each")

    @cached_property
    def shown(self) -> tuple[int, int]:
        """The size (height, width) of every picture on the page."""
        height, width = self.rows[0].shape[-2:]
        return self.size or shown_size(height, width, len(self.rows[0]))

    @cached_property
    def letter(self) -> int:
        """The size of the text in pixels; it grows with the page, and so stays legible where the page is shown smaller. It
        does so only as far as no heading or caption takes more than one line over its own."""
        width = self.shown[1]
        headings, captions = list(self.columns or []), [text for row in self.captions or [] for text in row or []]

        def fits(letter: int) -> bool:
            lines = [len(set_lines(text, letter, width)) - text.count("\n") for text in headings]
            lines += [len(set_lines(text, smaller(letter), width)) - text.count("\n") for text in captions]
            return max(lines, default=0) <= 2

        most = max(LEAST, round(len(self.rows[0]) * width / 80))
        return next((letter for letter in range(most, LEAST, -1) if fits(letter)), LEAST)

    @cached_property
    def _texts(self) -> _Texts:
        letter, width = self.letter, self.shown[1]
        across = len(self.rows[0]) * width
        least, most = (part * letter for part in LABELS)
        words = [length(word, letter) for label in self.labels for word in label.split()]
        beside = min(max([least, *words]), most)
        return _Texts(
            set_lines(self.title or "", round(1.2 * letter), across),
            [set_lines(text, letter, width) for text in self.columns or []],
            [set_lines(text, letter, beside) for text in self.labels],
            [
                [set_lines(text, smaller(letter), width, FAINT) for text in row or []]
                for row in self.captions or self.rows[:0]
            ],
            set_lines(self.note or "", smaller(letter), across, FAINT),
        )

    @cached_property
    def layout(self) -> Layout:
        """Where things lie."""
        letter, texts, count = self.letter, self._texts, len(self.rows[0])
        gap = max(4, letter // 3)
        wide = max((length(line.text, line.size) for lines in texts.labels for line in lines), default=0)
        gutter = letter + round(max(wide, BAR_WIDTH * letter if any(self.bars or ()) else 0))
        between = [0 if i == 0 else 2 * letter if self.group and i % self.group == 0 else gap for i in range(count)]
        first = gutter + (letter if gutter > letter else 0)
        lefts = tuple(first + i * self.shown[1] + space for i, space in enumerate(accumulate(between)))

        title = letter
        headings = title + height(texts.title) + (letter // 2 if texts.title else 0)
        y = headings + max(map(height, texts.columns), default=0) + (gap if texts.columns else 0)
        tops = []
        for row in range(len(self.rows)):
            tops.append(y)
            beside = height(texts.labels[row]) + (BAR * letter if self.bars and self.bars[row] else 0)
            below = max(map(height, texts.captions[row]), default=0) if texts.captions else 0
            y += max(self.shown[0] + (below + SPACE if below else 0), beside) + gap
        bottom = y + height(texts.note) + (0 if texts.note else -gap) + letter
        return Layout(bottom, lefts[-1] + self.shown[1] + letter, tuple(tops), lefts, title, headings, y, gutter)

    def draw(self) -> Tensor:
        """The page, uint8 [3, height, width]."""
        layout, texts, letter = self.layout, self._texts, self.letter
        canvas = Image.new("RGB", (layout.width, layout.height), PAPER)
        pen = ImageDraw.Draw(canvas)
        high, wide = self.shown
        write(pen, texts.title, layout.lefts[0], layout.title)
        write(pen, texts.note, layout.lefts[0], layout.note)
        lowest = max(map(height, texts.columns), default=0)
        for left, lines in zip(layout.lefts, texts.columns, strict=False):
            write(pen, lines, left + wide / 2, layout.headings + lowest - height(lines), "centre")
        for row, top in enumerate(layout.tops):
            bar = self.bars[row] if self.bars else None
            beside = height(texts.labels[row]) + (BAR * letter if bar else 0)
            y = top + max(0, high - beside) // 2
            write(pen, texts.labels[row], layout.gutter, y, "right")
            if bar:
                _draw_bar(canvas, bar, layout.gutter, y + height(texts.labels[row]), letter)
            for left, lines in zip(layout.lefts, texts.captions[row] if texts.captions else [], strict=False):
                write(pen, lines, left + wide / 2, top + high + SPACE, "centre")
        drawn = to_tensor(canvas)
        for pictures, top in zip(self.rows, layout.tops, strict=True):
            for picture, left in zip(resized(pictures.cpu(), self.shown), layout.lefts, strict=True):
                drawn[:, top : top + high, left : left + wide] = picture
        return drawn


def _draw_bar(canvas: Image.Image, bar: ColourBar, right: int, top: int, letter: int) -> None:
    """The colours from low to high, and the two numbers under their ends."""
    width, high = BAR_WIDTH * letter, round(0.6 * letter)
    ramp = to_bytes(viridis(torch.linspace(0, 1, width).expand(high, width)))
    left, y = right - width, top + letter // 3
    canvas.paste(Image.fromarray(ramp.permute(1, 2, 0).contiguous().numpy()), (left, y))
    pen = ImageDraw.Draw(canvas)
    for text, x, align in zip(bar.ends(), (left, right), ("left", "right"), strict=True):
        write(pen, [Line(text, smaller(letter), FAINT)], x, y + high + 1, align)


def page(
    rows: Sequence[Tensor],
    labels: Sequence[str],
    columns: Sequence[str] | None = None,
    title: str | None = None,
    **more: Any,
) -> Tensor:
    """Draws rows of pictures on a page, uint8 [3, height, width]; the arguments are the attributes of `Page`.

    Raises:
        ValueError: pictures that are not uint8 [N, 3, H, W] with one N, or texts of another number.
    """
    return Page(rows, labels, columns, title, **more).draw()
