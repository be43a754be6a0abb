"""The attention page against its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.visualization.attention import EDGES, PALE, attention_page, steepest
from muskie.visualization.colours import viridis
from muskie.visualization.page import Page

VIEWS, SIDE, GRID = 3, 32, 4
QUERY = (2, 1)


def weights(seed: int = 0, total: float = 1.0) -> Tensor:
    values = np.random.default_rng(seed).exponential(size=(VIEWS, GRID, GRID))
    return torch.from_numpy(values / values.sum() * total)


def black() -> Tensor:
    return torch.zeros((VIEWS, 3, SIDE, SIDE), dtype=torch.uint8)


def cells(pictures: Tensor) -> Tensor:
    """The colour in the middle of every patch, [V, 3, h, w] in [0, 1]."""
    step = pictures.shape[-1] // GRID
    return pictures[..., step // 2 :: step, step // 2 :: step].double() / 255


def test_one_linear_scale_for_all_views(drawn: list[Page]) -> None:
    given = weights()
    attention_page(black(), given, QUERY)
    assert (cells(drawn[0].rows[1]) - viridis(given / given.max())).abs().max() < 0.005
    bar = (drawn[0].bars or [None, None])[1]
    assert bar is not None and (bar.low, bar.unit) == (0, " %") and bar.high == pytest.approx(100 * float(given.max()))


def test_every_patch_is_one_even_square(drawn: list[Page]) -> None:
    attention_page(black(), weights(), QUERY)
    heat = drawn[0].rows[1][1:]  # the views without the query
    step = heat.shape[-1] // GRID
    blocks = heat.unfold(-2, step, step).unfold(-2, step, step).flatten(-2)
    assert torch.equal(blocks.amin(-1), blocks.amax(-1))


@pytest.mark.parametrize("levels", [(0, 40), (60, 250), (215, 255)], ids=["dark", "contrast", "light"])
def test_colours_are_those_of_the_bar_but_on_the_edges_of_the_picture(drawn: list[Page], levels: tuple[int, int]) -> None:
    """A step between the columns 9 and 10 of every picture, however light: two columns of 32 at either side are steep."""
    images = torch.full((VIEWS, 3, SIDE, SIDE), levels[0], dtype=torch.uint8)
    images[..., 10:] = levels[1]
    given = weights()
    attention_page(images, given, QUERY)
    step = drawn[0].rows[1].shape[-1] // SIDE
    heat = drawn[0].rows[1][1:, :, ::step, ::step].double() / 255  # the views without the query
    colours = viridis(given / given.max())[1:].repeat_interleave(SIDE // GRID, -2).repeat_interleave(SIDE // GRID, -1)
    on_edge = (heat - colours).abs().amax(1) > 0.005
    assert on_edge[:, :, 9:11].all() and on_edge.any(0).any(0).nonzero().flatten().tolist() == [9, 10]
    assert (heat - ((1 - PALE) * colours + PALE))[..., 9:11].abs().max() < 0.005
    assert "pale lines are edges of the picture" in (drawn[0].note or "")


def test_the_steepest_edges_are_a_share_of_the_pixels(noise: Callable[..., Tensor]) -> None:
    found = steepest(noise(2, 3, 40, 50))
    assert found.shape == (2, 40, 50) and found.double().mean((1, 2)).tolist() == pytest.approx([EDGES] * 2, abs=3e-3)
    assert not steepest(torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)).any()
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    inside = (x - 25) ** 2 + (y - 20) ** 2 < 100
    ring = steepest((200 * inside).byte().expand(1, 3, -1, -1), 0.05)[0]
    radius = ((x - 25) ** 2 + (y - 20) ** 2).sqrt()[ring]
    assert len(radius) > 50 and radius.min() > 8 and radius.max() < 12, "around a disc of radius 10"


def test_the_query_is_outlined_in_view_0_alone(drawn: list[Page], noise: Callable[..., Tensor]) -> None:
    images = noise(VIEWS, 3, SIDE, SIDE)
    attention_page(images, weights(), QUERY)
    shown = drawn[0].rows[0]
    factor = shown.shape[-1] // SIDE
    changed = (shown != images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)).any(1)
    assert not changed[1:].any()
    rows, columns = changed[0].any(1).nonzero().flatten(), changed[0].any(0).nonzero().flatten()
    step = shown.shape[-1] // GRID
    top, left = QUERY[0] * step, QUERY[1] * step
    assert not changed[0, top : top + step, left : left + step].any(), "what is in it stays visible"
    assert (int(rows[0]), int(rows[-1])) == (top - 3, top + step + 2), "three pixels around it"
    assert (int(columns[0]), int(columns[-1])) == (left - 3, left + step + 2)


def test_shares_of_the_views_and_of_what_is_no_patch(drawn: list[Page]) -> None:
    named = {"block 0": weights(1), "block 1": weights(2, total=0.875)}
    attention_page(black(), named, QUERY, title="head 3")
    page = drawn[0]
    assert list(page.labels) == ["original", "block 0", "block 1\n12.5 % on registers"] and page.title == "head 3"
    for row, given in zip((page.captions or [])[1:], named.values(), strict=True):
        assert list(row or []) == [f"{100 * share:.1f} %" for share in given.numpy().sum((1, 2))]
    assert (page.captions or [[]])[0] is None


def test_grids_of_other_sizes(drawn: list[Page]) -> None:
    coarse = torch.full((VIEWS, 2, 2), 1 / 16)
    coarse[2, 1, 0] = 1 / 4
    attention_page(black(), {"fine": weights(), "coarse": coarse}, (1, 1))
    heat = drawn[0].rows[2]
    assert torch.equal(heat[2, :, -1, 0].double(), heat[2, :, 3 * heat.shape[2] // 4, 5].double())
    assert heat[2, 0, -1, 0] > heat[2, 0, 0, 0] + 100, "the patch at the lower left is yellow"


@pytest.mark.parametrize(
    ("given", "query", "message"),
    [
        (torch.zeros(2, 4, 4), QUERY, r"'attention' have shape \(2, 4, 4\); expected \[3, h, w\]"),
        (torch.zeros(3, 5, 4), QUERY, "32x32 pixels into patches"),
        (torch.full((3, 4, 4), -0.1), QUERY, "range from -0.1"),
        (torch.full((3, 4, 4), 0.5), QUERY, "a sum of 24; expected one query's attention"),
        (torch.full((3, 4, 4), torch.nan), QUERY, "range from nan"),
        (torch.zeros(3, 4, 4), (4, 0), r"query=\(4, 0\): expected \(row, column\) of a patch, row 0 to 3, column 0 to 3"),
    ],
)
def test_what_does_not_fit_is_an_error(given: Tensor, query: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_page(black(), given, query)
