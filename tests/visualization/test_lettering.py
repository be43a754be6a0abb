"""Text fits where it is put, and no letter of it is lost."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from muskie.visualization.lettering import FAINT, INK, height, length, set_lines, smaller, step, write


def words(rng: np.random.Generator) -> str:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz.,(=)0123456789WM%"))
    return " ".join("".join(rng.choice(letters, rng.integers(1, 18))) for _ in range(rng.integers(1, 9)))


@pytest.mark.parametrize("seed", range(30))
def test_lines_fit_and_hold_every_letter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text, size, width = words(rng), int(rng.integers(12, 30)), int(rng.integers(60, 300))
    lines = set_lines(text, size, width)
    assert all(length(line.text, line.size) <= width for line in lines)
    assert "".join(line.text for line in lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) <= 2 * length(text, size) / width + 2, "lines are filled"


def test_words_stay_whole_where_they_fit() -> None:
    assert [line.text for line in set_lines("view 2, hidden .90", 14, 70)] == ["view 2,", "hidden .90"]
    assert [line.text for line in set_lines("view 2, hidden .90", 14, 500)] == ["view 2, hidden .90"]
    assert set_lines("", 14, 100) == []


def test_what_follows_a_line_break_is_smaller_and_fainter() -> None:
    first, second = set_lines("block 3\n40 % of variance", 20, 300)
    assert (first.text, first.size, first.colour) == ("block 3", 20, INK)
    assert (second.text, second.size, second.colour) == ("40 % of variance", smaller(20), FAINT)
    assert smaller(20) < 20


@pytest.mark.parametrize("align", ["left", "centre", "right"])
def test_text_lies_where_it_is_put(align: str) -> None:
    wide = length("HHHHHH", 20)
    lines = [line._replace(colour=(255, 255, 255)) for line in set_lines("HHHHHH HHHHHH", 20, wide + 1)]
    image = Image.new("RGB", (300, 100))
    write(ImageDraw.Draw(image), lines, 150, 10, align)
    ink = np.array(image).max(-1) > 60
    columns, rows = ink.any(0).nonzero()[0], ink.any(1).nonzero()[0]
    left = {"left": 150, "centre": 150 - wide / 2, "right": 150 - wide}[align]
    assert abs(columns[0] - left) <= 3 and abs(columns[-1] - (left + wide)) <= 3
    assert rows[0] >= 10 and rows[-1] < 10 + height(lines)
    assert 1 < np.diff(rows).max() < step(lines[0]), "two lines, apart"
