"""Rotary positions: the laws that they are used for, and the published arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muskie.models.attention import Attention
from muskie.models.rope import RopeTable, rope_table, rotate

HEAD_DIMS = pytest.mark.parametrize("head_dim", [4, 12, 64, 80])


def turned(vector: Tensor, table: RopeTable) -> Tensor:
    """One vector [d] at every token of the table, [T, d]."""
    tokens = vector.expand(len(table.cos), 1, -1)
    return rotate(tokens, table)[:, 0]


@HEAD_DIMS
def test_inner_products_depend_on_the_difference_of_positions_alone(head_dim: int) -> None:
    h, w = 6, 7
    table = rope_table((h, w), 0, head_dim, dtype=torch.float64)
    q, k = torch.randn(2, head_dim, dtype=torch.float64)
    products = (turned(q, table) @ turned(k, table).T).reshape(h, w, h, w)
    for dy, dx in [(0, 0), (1, 0), (0, 1), (3, 2)]:
        same = torch.stack([products[y, x, y + dy, x + dx] for y in range(h - dy) for x in range(w - dx)])
        torch.testing.assert_close(same, same[:1].expand_as(same), atol=1e-5, rtol=0)
    assert (products[0, 0, 1, 0] - products[0, 0, 0, 1]).abs() > 1e-3, "rows and columns turn other channels"
    assert (products[0, 1, 0, 0] - products[0, 0, 0, 1]).abs() > 1e-3, "the difference has a sign"


@HEAD_DIMS
def test_norms_are_kept_and_registers_not_turned(head_dim: int) -> None:
    prefix = 3
    table = rope_table((4, 5), prefix, head_dim)
    x = torch.randn(2, prefix + 20, 6, head_dim)
    y = rotate(x, table)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(y[:, :prefix], x[:, :prefix])
    assert ((y[:, prefix:] - x[:, prefix:]).abs().amax((0, 2, 3)) > 1e-2).all(), "the first patch is at (1, 1), not 0"
    torch.testing.assert_close(rotate(y, table.inverse()), x)


@HEAD_DIMS
def test_it_is_multiplication_by_a_complex_number(head_dim: int) -> None:
    (h, w), quarter = (3, 4), head_dim // 4
    x = torch.randn(2 + h * w, 1, head_dim)
    y = rotate(x, rope_table((h, w), 2, head_dim, base=50.0))[:, 0]
    positions = torch.tensor([(0, 0)] * 2 + [(row + 1, column + 1) for row in range(h) for column in range(w)])
    frequencies = torch.tensor([50.0 ** (-k / quarter) for k in range(quarter)])
    for axis in range(2):
        start = axis * 2 * quarter
        first, second = slice(start, start + quarter), slice(start + quarter, start + 2 * quarter)
        angles = positions[:, axis, None] * frequencies
        z = torch.complex(x[:, 0, first], x[:, 0, second]) * torch.polar(torch.ones_like(angles), angles)
        torch.testing.assert_close(y[:, first], z.real, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(y[:, second], z.imag, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "published_error"), [(torch.float16, 4.9e-3), (torch.bfloat16, 5.7e-2)])
def test_rounded_angles_err_as_published(dtype: torch.dtype, published_error: float) -> None:
    """Largest error of the published tables at positions up to 32."""
    exact, rounded = rope_table((32, 32), 4, 64), rope_table((32, 32), 4, 64, angles_in=dtype)
    error = max((a - b).abs().max().item() for a, b in zip(exact, rounded, strict=True))
    assert error == pytest.approx(published_error, rel=0.2)
    assert rounded.cos.dtype == torch.float32


def test_views_share_positions() -> None:
    table = rope_table((2, 3), 1, 8)
    tiled = table.tile(3)
    assert tiled.cos.shape == (3 * 7, 8)
    for view in range(3):
        assert torch.equal(tiled.sin[view * 7 : view * 7 + 7], table.sin)


def test_rotated_values_know_where_they_come_from() -> None:
    """Moving all tokens by the same step changes nothing; moving one against the others does."""
    torch.manual_seed(0)
    attention = Attention(32, 2, rotate_values=True)
    plain = Attention(32, 2)
    plain.load_state_dict(attention.state_dict())
    table = rope_table((5, 5), 0, 16)
    x = torch.randn(1, 4, 32)

    def at(module: Attention, *places: int) -> Tensor:
        index = torch.tensor(places)
        return module(x, RopeTable(table.cos[index], table.sin[index]))

    with torch.no_grad():
        torch.testing.assert_close(at(attention, 0, 1, 5, 6), at(attention, 12, 13, 17, 18), atol=1e-5, rtol=1e-5)
        assert (at(attention, 0, 1, 5, 6) - at(attention, 0, 1, 5, 8)).abs().max() > 1e-3
        assert (at(attention, 0, 1, 5, 6) - at(plain, 0, 1, 5, 6)).abs().max() > 1e-3
        # A token that attends to one at its own place gets its value as it is.
        torch.testing.assert_close(at(attention, 3, 3, 3, 3), at(plain, 3, 3, 3, 3), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("width", "heads"), [(32, 3), (24, 4), (6, 1)])
def test_heads_that_do_not_divide_are_refused(width: int, heads: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Attention(width, heads)
    with pytest.raises(ValueError, match="multiple of 4"):
        rope_table((2, 2), 0, 6)
