"""Positions in the forms of DINOv3 and MuM, and of MAE: against their formulas, written here once more."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from muskie.models.positions import added_positions, axial_table, table_of
from muskie.models.rope import rope_table, rotate

GRIDS = pytest.mark.parametrize("grid", [(4, 4), (3, 5), (14, 14), (1, 6)], ids=str)


@pytest.mark.parametrize(("head_dim", "longest"), [(64, 74.99), (48, 68.13)])
def test_periods(head_dim: int, longest: float) -> None:
    """From 1.0 to 74.99 in heads of MuM's encoder, to 68.13 in those of its decoder: read off the angles of a wide grid."""
    w, quarter = 4001, head_dim // 4
    table = axial_table((1, w), 0, head_dim, dtype=torch.float64)
    cos, sin = table.cos[:, 2 * quarter : 3 * quarter], table.sin[:, 3 * quarter :]  # of columns
    angle = np.unwrap(np.arctan2(sin.numpy(), cos.numpy()), axis=0)
    periods = 2 * math.pi * (2 - 2 / w) / (angle[-1] - angle[0])  # places from -1 to 1
    assert periods[0] == pytest.approx(1.0, abs=1e-4) and periods[-1] == pytest.approx(longest, abs=5e-3)
    np.testing.assert_allclose(periods[1:] / periods[:-1], 100 ** (4 / head_dim), rtol=1e-4)


@GRIDS
@pytest.mark.parametrize("head_dim", [4, 48, 64])
def test_turned_tokens_are_those_of_complex_numbers(grid: tuple[int, int], head_dim: int) -> None:
    h, w = grid
    x = torch.randn(2 + h * w, 3, head_dim, dtype=torch.float64)
    turned = rotate(x, axial_table(grid, 2, head_dim, dtype=torch.float64))
    torch.testing.assert_close(turned[:2], x[:2], atol=0, rtol=0)
    quarter = head_dim // 4
    for i in range(h):
        for j in range(w):
            row, column = 2 * (i + 0.5) / h - 1, 2 * (j + 0.5) / w - 1
            for m in range(quarter):
                period = 100 ** (2 * m / (head_dim / 2))
                for first, place in ((m, row), (2 * quarter + m, column)):
                    pair = [first, first + quarter]
                    given, found = (t[2 + i * w + j, :, pair].numpy() for t in (x, turned))
                    expected = (given[:, 0] + 1j * given[:, 1]) * np.exp(2j * math.pi * place / period)
                    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], expected, atol=2e-6)


@GRIDS
def test_opposite_places_turn_the_opposite_way(grid: tuple[int, int]) -> None:
    table = axial_table(grid, 0, 64)
    torch.testing.assert_close(table.cos.flip(0), table.cos, atol=2e-6, rtol=0)
    torch.testing.assert_close(table.sin.flip(0), -table.sin, atol=2e-6, rtol=0)


def test_other_sizes_interpolate() -> None:
    """The middle of every second patch of a fine grid lies between those of a coarse one, and the outermost further out."""
    coarse, fine = (axial_table((1, n), 0, 4, dtype=torch.float64) for n in (5, 15))
    torch.testing.assert_close(fine.cos[1::3], coarse.cos, atol=1e-6, rtol=0)
    torch.testing.assert_close(fine.sin[1::3], coarse.sin, atol=1e-6, rtol=0)
    assert not torch.allclose(rope_table((1, 15), 0, 4).cos[1::3].double(), coarse.cos, atol=1e-3)


def test_prefix_tokens_are_not_turned() -> None:
    table = axial_table((2, 3), 4, 16)
    assert table.cos.shape == (10, 16) and (table.cos[:4] == 1).all() and (table.sin[:4] == 0).all()


@pytest.mark.parametrize(("side", "error"), [(28, 0.026), (140, 0.06)])
def test_rounded_tables_are_as_far_off_as_published_ones(side: int, error: float) -> None:
    """MuM's encoder was published with a table that is made in bfloat16, and is off by so much."""
    exact, rounded = (axial_table((side, side), 1, 64, rounded_to=to) for to in (None, torch.bfloat16))
    assert rounded.cos.dtype == torch.float32
    assert float((rounded.sin - exact.sin).abs().max()) == pytest.approx(error, rel=0.05)


@GRIDS
@pytest.mark.parametrize("width", [8, 48, 768])
def test_added_positions_are_maes(grid: tuple[int, int], width: int) -> None:
    found = added_positions(grid, width, dtype=torch.float64).numpy()
    h, w = grid
    omega = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    rows, columns = np.repeat(np.arange(h), w), np.tile(np.arange(w), h)
    parts = [function(np.outer(place, omega)) for place in (columns, rows) for function in (np.sin, np.cos)]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), atol=1e-9)


def test_the_tables_of_the_forms() -> None:
    arguments = ((3, 4), 1, 16, 100.0, torch.device("cpu"), torch.float32)
    for form, expected in (("steps", rope_table((3, 4), 1, 16)), ("axial", axial_table((3, 4), 1, 16))):
        assert all(map(torch.equal, table_of(form, *arguments), expected))
    nothing = table_of("added", *arguments)
    x = torch.randn(13, 2, 16)
    assert torch.equal(rotate(x, nothing), x)


def test_widths_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="head_dim=6: axial RoPE needs a multiple of 4"):
        axial_table((2, 2), 0, 6)
    with pytest.raises(ValueError, match="width=10: added positions need a multiple of 4"):
        added_positions((2, 2), 10)
