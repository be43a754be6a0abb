"""Headings: one line each, in letters that the font has."""

from __future__ import annotations

import pytest

from muskie.reconstruction.headings import headings, legible
from muskie.visualization.lettering import length
from muskie.visualization.page import LEAST


@pytest.mark.parametrize("width", [128, 320])
@pytest.mark.parametrize("count", [1, 8])
def test_each_takes_one_line(width: int, count: int) -> None:
    letter = max(LEAST, round(count * width / 80))
    for pattern in ("frame-{:06d}.color.jpg", "a folder/of mine/IMG_2024_{}.jpeg", "{}" + "W" * 80):
        shown = headings([pattern.format(number) for number in range(count)], width)
        assert all(0 < length(text, letter) <= width for text in shown)


def test_short_names_stay_and_long_ones_keep_what_tells_them_apart() -> None:
    assert headings(["0.jpg", "1.jpg"], 300) == ["0.jpg", "1.jpg"]
    frames = [f"frame-{number:06d}.color.jpg" for number in range(8)]
    assert headings(frames, 320) == [frame.split(".")[0] for frame in frames]
    assert headings(frames, 128)[3].endswith("03")


def test_scripts_that_the_font_does_not_have() -> None:
    assert headings(["日本.jpg", "a.jpg", "süd.jpg"], 300) == ["view 1", "a.jpg", "sud.jpg"]
    assert legible("Café à la crème") == "Cafe a la creme" and legible("ж") == "" and legible("a\x07b") == ""
    assert headings([b"caf\xe9.jpg".decode(errors="surrogateescape")], 300) == ["view 1"]
