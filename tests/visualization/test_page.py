"""Pictures land where the layout says, whole and alone, and no text is cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from muskie.visualization.colours import ColourBar, viridis
from muskie.visualization.page import PAPER, Page, page

LONG = "a long text that has to be broken into lines and-a-word-that-is-far-too-long-for-any-column"


def colours(rows: int, columns: int, size: tuple[int, int] = (128, 128)) -> list[Tensor]:
    """Plain pictures, each of a colour of its own: (row, column, 7)."""
    pictures = torch.zeros((rows, columns, 3, *size), dtype=torch.uint8)
    pictures[:, :, 0] = torch.arange(rows)[:, None, None, None]
    pictures[:, :, 1] = torch.arange(columns)[:, None, None]
    pictures[:, :, 2] = 7
    return list(pictures)


def box(mask: Tensor) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is True in [H, W]."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def picture_box(drawn: Tensor, row: int, column: int) -> tuple[int, int, int, int]:
    wanted = torch.tensor([row, column, 7], dtype=torch.uint8)[:, None, None]
    return box((drawn == wanted).all(0))


def ink(drawn: Tensor) -> Tensor:
    """Where a page is not paper, bool [height, width]."""
    return (drawn != torch.tensor(PAPER, dtype=torch.uint8)[:, None, None]).any(0)


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"columns": ["view 0, whole", "view 1, hidden .90", LONG], "title": LONG, "note": LONG + LONG},
        {"captions": [["a", LONG, ""], None], "bars": [None, ColourBar(0.001, 0.999, " %")]},
    ],
    ids=["bare", "headings", "captions"],
)
@pytest.mark.parametrize("labels", [["", ""], ["original", f"{LONG}\n{LONG}"]], ids=["unlabelled", "labelled"])
def test_pictures_are_whole_and_apart_and_nothing_is_cut_off(labels: Sequence[str], texts: dict[str, Any]) -> None:
    rows = colours(2, 3)
    drawn = page(rows, labels, **texts)
    layout = Page(rows, labels, **texts).layout
    assert drawn.dtype == torch.uint8 and drawn.shape == (3, layout.height, layout.width)
    for row in range(2):
        for column in range(3):
            expected = (layout.tops[row], layout.lefts[column], 128, 128)
            assert picture_box(drawn, row, column) == expected
    edge = ink(drawn)
    edge[6:-6, 6:-6] = False
    assert not edge.any(), "a margin all around"


@pytest.mark.parametrize(("count", "size"), [(24, (128, 128)), (12, (128, 128)), (8, (192, 192)), (4, (224, 224))])
def test_headings_take_two_lines_at_most(count: int, size: tuple[int, int]) -> None:
    """Of wide pages too, whose letters are large."""
    headings = [f"view {n}, hidden .90\nsample 12" for n in range(count)]
    captions = [f"median error {n}.5 px\n{n} of 100 visible" for n in range(count)]
    whole = Page(colours(1, count, size), ["original"], headings, captions=[captions])
    assert max(len(lines) for lines in [*whole._texts.columns, *whole._texts.captions[0]]) <= 3, (
        "their own two, and one more"
    )
    assert 14 <= whole.letter <= max(14, count * size[1] / 80 + 1)
    bare = Page(colours(1, count, size), ["original"], ["a"] * count)
    assert bare.letter == max(14, round(count * size[1] / 80)), "as large as the page lets it"


def test_every_text_is_written_in_its_place() -> None:
    rows, labels = colours(2, 2), ["first", "second\nmore"]
    bar = ColourBar(0, 1)
    whole = Page(rows, labels, ["left", "right"], "title", captions=[["", "under"], None], bars=[None, bar], note="note")
    drawn, layout = ink(whole.draw()), whole.layout
    for top, left in [(top, left) for top in layout.tops for left in layout.lefts]:
        drawn[top : top + 128, left : left + 128] = False
    (upper, lower), (left, right) = layout.tops, layout.lefts
    places = {
        "title": (slice(0, layout.headings), slice(left, None)),
        "left heading": (slice(layout.headings, upper), slice(left, left + 128)),
        "right heading": (slice(layout.headings, upper), slice(right, right + 128)),
        "first label": (slice(upper, upper + 128), slice(0, left)),
        "second label": (slice(lower, lower + 128), slice(0, left)),
        "caption": (slice(upper + 128, lower), slice(right, right + 128)),
        "note": (slice(layout.note, None), slice(left, None)),
    }
    for name, place in places.items():
        assert drawn[place].any(), f"{name} is written"
        drawn[place] = False
    assert not drawn.any(), "and nothing elsewhere"


def test_labels_stand_beside_the_middle_of_their_rows() -> None:
    whole = Page(colours(2, 2), ["original", "reconstruction\n+ visible"])
    drawn = ink(whole.draw())[:, : whole.layout.lefts[0]]
    for top in whole.layout.tops:
        upper, _, high, _ = box(drawn[top : top + 128])
        assert abs(upper + high / 2 - 64) < 8


def test_a_label_higher_than_its_row_pushes_the_next_row_down() -> None:
    labels = ["word " * 40, "next"]
    whole = Page(colours(2, 2), labels)
    drawn, layout = whole.draw(), whole.layout
    assert layout.tops[1] - layout.tops[0] > 200
    gutter = ink(drawn)[:, : layout.lefts[0]]
    assert not gutter[layout.tops[1] - 3 : layout.tops[1]].any(), "the labels do not touch"
    assert picture_box(drawn, 1, 1) == (layout.tops[1], layout.lefts[1], 128, 128)


def test_a_wide_gap_between_groups() -> None:
    lefts = Page(colours(1, 6), ["row"], group=2).layout.lefts
    gaps = [right - left - 128 for left, right in pairwise(lefts)]
    assert gaps[0] == gaps[2] == gaps[4] and gaps[1] == gaps[3] and gaps[1] >= 4 * gaps[0]
    even = Page(colours(1, 6), ["row"]).layout.lefts
    assert {right - left - 128 for left, right in pairwise(even)} == {gaps[0]}


def test_rows_of_any_size_become_those_of_the_first(noise: Callable[..., Tensor]) -> None:
    small, large = noise(2, 3, 16, 32, seed=1), noise(2, 3, 4, 8, seed=2)
    whole = Page([small, large], ["", ""])
    drawn, layout = whole.draw(), whole.layout
    assert whole.shown == (128, 256)
    for row, (pictures, factor) in enumerate([(small, 8), (large, 32)]):
        for column in range(2):
            cut = drawn[:, layout.tops[row] :, layout.lefts[column] :][:, :128, :256]
            assert torch.equal(cut[:, ::factor, ::factor], pictures[column])
            assert torch.equal(cut[:, factor - 1 :: factor, factor - 1 :: factor], pictures[column])


def test_a_size_asked_for() -> None:
    assert picture_box(page(colours(1, 2, (64, 64)), ["row"], size=(50, 90)), 0, 1)[2:] == (50, 90)


def test_a_bar_shows_its_colours_from_low_to_high() -> None:
    whole = Page(colours(1, 1), ["row"], bars=[ColourBar(2, 3)])
    gutter = whole.draw()[:, :, : whole.layout.gutter].double() / 255
    ends = viridis(torch.tensor([[0.0, 1.0]]))[:, 0].double()  # [3, 2]
    places = [box((gutter - ends[:, end, None, None]).abs().amax(0) < 0.01) for end in (0, 1)]
    assert places[0][0] == places[1][0] and places[0][1] + 60 < places[1][1], "dark at the left, bright at the right"


def test_text_grows_with_the_page() -> None:
    assert Page(colours(1, 4), [""]).letter == 14
    assert Page(colours(1, 8, (224, 224)), [""]).letter > 20
    assert Page(colours(1, 8, (512, 512)), [""]).layout.width <= 1792 + 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": []}, "rows of pictures are none"),
        ({"rows": [torch.zeros(2, 3, 8, 8)]}, r"float32 \(2, 3, 8, 8\); expected torch.uint8 \[N, 3, H, W\]"),
        ({"rows": [*colours(1, 2), *colours(1, 3)], "labels": ["", ""]}, "with one N"),
        ({"labels": ["a", "b"]}, "2 labels for 1 rows"),
        ({"columns": ["a"]}, "1 columns for 2 pictures"),
        ({"captions": [["a"]]}, "1 captions of a row for 2 pictures"),
        ({"bars": []}, "0 bars for 1 rows"),
    ],
)
def test_what_does_not_fit_is_an_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        page(**{"rows": colours(1, 2), "labels": ["row"], **change})
