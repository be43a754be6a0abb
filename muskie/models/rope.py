"""Two-dimensional rotary position embedding (RoPE) on the patch grid, in the axial form of Muskie (arXiv 2511.18115).

The first half of a head's channels turns with the row, the second half with the column. Prefix tokens (registers) sit at
position 0 and are not turned; patch (y, x) sits at (y + 1, x + 1), the same in every view. Tables are made once per
forward pass, on the device, and shared by all blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RopeTable(NamedTuple):
    """For every token and channel, as they stand in `rotate`: what multiplies the channel itself (the cosine) and the
    channel that it is paired with (the sine, negative for the first of a pair). Each [T, d]."""

    cos: Tensor
    sin: Tensor

    def tile(self, views: int) -> RopeTable:
        """The table of `views` copies of the same tokens one after the other, [views·T, d]."""
        return RopeTable(self.cos.repeat(views, 1), self.sin.repeat(views, 1))

    def inverse(self) -> RopeTable:
        """The table that turns back."""
        return RopeTable(self.cos, -self.sin)


def rope_table(
    grid: tuple[int, int],
    prefix: int,
    head_dim: int,
    base: float = 100.0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    angles_in: torch.dtype | None = None,
) -> RopeTable:
    """The table of one view.

    Args:
        grid: patch rows and columns (h, w).
        prefix: number of tokens before the patches; they get angle 0.
        head_dim: channels of an attention head, a multiple of 4.
        base: angle of frequency k is position · base^(−k / (head_dim / 4)).
        dtype: of the result.
        angles_in: round the angles to this type before taking cosine and sine. The published code rounds them to the
            type of the tokens (fp16 in training: errors up to 4.9e-3); its weights expect that. None: exact.

    Returns:
        A `RopeTable` of T = prefix + h·w tokens.
    """
    if head_dim % 4:
        raise ValueError(f"head_dim={head_dim}: axial RoPE needs a multiple of 4")
    h, w = grid
    quarter = head_dim // 4
    frequency = base ** (-torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
    rows = torch.arange(1, h + 1, device=device, dtype=torch.float32)
    columns = torch.arange(1, w + 1, device=device, dtype=torch.float32)
    position = torch.stack([rows[:, None].expand(h, w), columns[None, :].expand(h, w)], dim=-1)  # [h, w, 2]
    angle = position.reshape(h * w, 2, 1) * frequency  # [L, 2, d/4]
    angle = torch.nn.functional.pad(angle, (0, 0, 0, 0, prefix, 0))
    if angles_in is not None:
        angle = angle.to(angles_in)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return RopeTable(torch.stack([cos, cos], dim=2).flatten(1), torch.stack([-sin, sin], dim=2).flatten(1))


def rotate(x: Tensor, table: RopeTable) -> Tensor:
    """Turns the channel pairs of every token by its angles.

    Args:
        x: [..., T, heads, d] with channels [row first half | row second half | column first half | column second half].
        table: of the same T tokens, [T, d], or of each sequence [N, T, d].

    Returns:
        [..., T, heads, d]. Inner products of turned queries and keys depend on the difference of positions alone.
    """
    partner = x.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)  # first and second halves change places
    # Whole heads at once and not quarter by quarter: on CPUs, such short runs of channels are slow. A flip and not a
    # concatenation of quarters: the compiler then reads in another order instead of writing the partners to memory.
    return torch.addcmul(x * table.cos.unsqueeze(-2), partner, table.sin.unsqueeze(-2))
