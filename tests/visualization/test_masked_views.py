"""The page of masked views against images, mask and prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.visualization.colours import viridis
from muskie.visualization.masked_views import GREY, fill_in, hide, masked_view_page, view_headings
from muskie.visualization.page import Page

VIEWS, SIDE, GRID = 3, 16, 4
FACTOR = 128 // SIDE
LABELS = ["original", "masked", "reconstruction\nall patches", "reconstruction\n+ visible", "confidence\n+ visible"]

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def inputs(noise: Callable[..., Tensor]) -> Inputs:
    """Images, mask (view 0 whole, view 2 all hidden), pixels, confidence from .2 to .6 on hidden patches, .9 elsewhere."""
    rng = np.random.default_rng(1)
    mask = torch.from_numpy(rng.random((VIEWS, GRID, GRID)) < 0.5)
    mask[0], mask[2] = False, True
    covered = at_pixels(mask)[:, None]
    ramp = torch.linspace(0.2, 0.6, int(covered.sum()))
    confidence = torch.full((VIEWS, 1, SIDE, SIDE), 0.9)
    confidence[covered] = ramp
    pixels = torch.from_numpy(rng.random((VIEWS, 3, SIDE, SIDE), dtype=np.float32))
    return noise(VIEWS, 3, SIDE, SIDE), mask, pixels, confidence.expand(-1, 3, -1, -1)


def at_pixels(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.kron(mask.numpy(), np.ones((1, SIDE // GRID, SIDE // GRID), dtype=bool)))


def rows_of(page: Page, picture: Tensor) -> Tensor:
    """The pictures of a drawn page at the images' own resolution, [rows, V, 3, SIDE, SIDE]."""
    layout, (high, wide) = page.layout, page.shown
    cut = [[picture[:, top : top + high, left : left + wide] for left in layout.lefts] for top in layout.tops]
    return torch.stack([torch.stack(row) for row in cut])[..., ::FACTOR, ::FACTOR]


def test_the_five_rows(inputs: Inputs, drawn: list[Page]) -> None:
    images, mask, pixels, confidence = inputs
    picture = masked_view_page(images, mask, pixels, confidence)
    rows = rows_of(drawn[0], picture)
    covered = at_pixels(mask)[:, None].expand_as(images)
    predicted = (pixels.double() * 255).round().to(torch.uint8)
    assert list(drawn[0].labels) == LABELS
    assert torch.equal(rows[0], images)
    assert (rows[1][covered] == GREY).all() and torch.equal(rows[1][~covered], images[~covered])
    assert torch.equal(rows[2], predicted)
    assert torch.equal(rows[3][covered], predicted[covered]) and torch.equal(rows[3][~covered], images[~covered])
    colours = rows[4].double() / 255
    expected = viridis((confidence[:, 0] - 0.2) / 0.4).double()
    assert (colours - expected)[covered].abs().max() < 0.01
    seen = colours.movedim(1, -1)[~at_pixels(mask)]
    assert torch.equal(seen.amin(-1), seen.amax(-1)) and seen.min() > 0.5, "what was seen is grey and pale"


def test_the_range_of_the_confidence_is_printed(inputs: Inputs, drawn: list[Page]) -> None:
    images, mask, pixels, confidence = inputs
    pictures = [masked_view_page(images, mask, pixels, c) for c in (confidence, 0.97 + confidence / 100)]
    first, second = (rows_of(page, picture)[4].int() for page, picture in zip(drawn, pictures, strict=True))
    assert (first - second).abs().max() <= 1, "the same colours, but for rounding"
    left = drawn[0].layout.gutter
    assert not torch.equal(*(picture[:, :, :left] for picture in pictures)), "and other numbers"
    ends = [[bar.ends() for bar in page.bars or [] if bar] for page in drawn]
    assert ends == [[("0.200", "0.600")], [("0.97200", "0.97600")]]
    captions = (drawn[0].captions or [])[4] or []
    means = [confidence[view, 0][at_pixels(mask)[view]].mean() for view in (1, 2)]
    assert list(captions) == ["", f"mean {means[0]:.3f}", f"mean {means[1]:.3f}"]


def test_without_confidence(inputs: Inputs, drawn: list[Page]) -> None:
    masked_view_page(*inputs[:3], title="before training")
    assert list(drawn[0].labels) == LABELS[:4] and drawn[0].title == "before training"


def test_nothing_hidden(inputs: Inputs, drawn: list[Page]) -> None:
    images, mask, pixels, confidence = inputs
    picture = masked_view_page(images, mask & False, pixels, confidence)
    rows = rows_of(drawn[0], picture)
    assert torch.equal(rows[1], images) and torch.equal(rows[3], images)
    assert not any(drawn[0].bars or ())


def test_a_model_that_has_broken_down_is_seen(inputs: Inputs, drawn: list[Page]) -> None:
    images, mask, pixels, confidence = inputs
    broken = confidence.clone()
    pixels[2], broken[2] = torch.nan, torch.nan
    picture = masked_view_page(images, mask, pixels, broken)
    rows = rows_of(drawn[0], picture)
    magenta = torch.tensor([255, 0, 255], dtype=torch.uint8)[:, None, None].expand(3, SIDE, SIDE)
    assert all(torch.equal(rows[row, 2], magenta) for row in (2, 3, 4))
    assert [bar.ends()[0] for bar in drawn[0].bars or [] if bar] == ["0.200"], "the range is that of the others"


def test_headings() -> None:
    mask = torch.zeros((3, 10, 10), dtype=torch.bool)
    mask[1, :9], mask[2] = True, True
    assert view_headings(mask) == ["view 0, whole", "view 1, hidden .90", "view 2, hidden 1.00"]
    assert view_headings(mask[1:], first=6) == ["view 6, hidden .90", "view 7, hidden 1.00"]


def test_hide_and_fill_in_are_each_others_complement(inputs: Inputs) -> None:
    images, mask, _, _ = inputs
    assert torch.equal(fill_in(hide(images, mask), mask, images.double() / 255), images)
    assert torch.equal(fill_in(images, mask, torch.full(images.shape, GREY / 255)), hide(images, mask))


def test_a_mask_that_does_not_fit(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="5x5 patches does not divide pictures of 16x16"):
        masked_view_page(inputs[0], torch.zeros((VIEWS, 5, 5), dtype=torch.bool), inputs[2])
