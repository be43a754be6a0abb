"""Positions of patches in other forms than Muskie's rotary one (`muskie.models.rope`): as DINOv3 and MuM turn them, and as
MAE adds them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from muskie.models.rope import RopeTable, rope_table

FORMS = ("steps", "axial", "added")
"""`steps`: rotary, by the number of the row and column (Muskie; CroCo v2). `axial`: rotary, by the place between -1 and 1
(DINOv3, MuM). `added`: sines and cosines added to the patches (MAE)."""


def axial_table(
    grid: tuple[int, int],
    prefix: int,
    head_dim: int,
    base: float = 100.0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    rounded_to: torch.dtype | None = None,
) -> RopeTable:
    """Rotary positions from -1 to 1 on each axis, whatever the size of the grid (DINOv3; MuM, arXiv 2511.17309).

    Patch (i, j) stands at ((i + .5) / h, (j + .5) / w), stretched to [-1, 1]; its angle of period p is 2 pi times place over
    p, with periods base^(2 m / (head_dim / 2)), m = 0 to head_dim / 4 - 1. Channels are laid out as `rotate` has them, so
    that published queries and keys, which have rows and columns in turn, are reordered when they are converted.

    Args:
        grid: patch rows and columns (h, w).
        prefix: tokens before the patches, which are not turned.
        head_dim: channels of a head, a multiple of 4.
        base: see above.
        dtype: of the result.
        rounded_to: compute all in this type, periods and places too, as weights were used that expect it (in bfloat16,
            sines are off by up to .03 on a grid of 28, and .06 on one of 140); None: in float32.

    Returns:
        A `RopeTable` of prefix + h·w tokens.
    """
    if head_dim % 4:
        raise ValueError(f"head_dim={head_dim}: axial RoPE needs a multiple of 4")
    h, w = grid
    quarter = head_dim // 4
    kind = rounded_to or torch.float32
    periods = (base ** (torch.arange(quarter, device=device, dtype=kind) * 2 / (head_dim / 2))).to(kind)
    rows, columns = (2 * (torch.arange(0.5, n, device=device, dtype=kind) / n) - 1 for n in (h, w))
    place = torch.stack([rows[:, None].expand(h, w), columns[None, :].expand(h, w)], dim=-1)  # [h, w, 2]
    angle = 2 * math.pi * place.reshape(h * w, 2, 1) / periods  # [L, 2, d/4]
    angle = torch.nn.functional.pad(angle, (0, 0, 0, 0, prefix, 0))
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return RopeTable(torch.stack([cos, cos], dim=2).flatten(1), torch.stack([-sin, sin], dim=2).flatten(1))


def added_positions(
    grid: tuple[int, int], width: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Sines and cosines of the column, then of the row, [h·w, width], which MAE adds to patches (He et al., CVPR 2022).

    Channel k of an axis has frequency 10000^(-k / (width / 4)); first all sines, then all cosines.

    Raises:
        ValueError: `width` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"width={width}: added positions need a multiple of 4")
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, device=device, dtype=torch.float64) / quarter)

    def axis(places: Tensor) -> Tensor:
        angle = places.flatten().double()[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    row, column = torch.meshgrid(torch.arange(grid[0], device=device), torch.arange(grid[1], device=device), indexing="ij")
    return torch.cat([axis(column), axis(row)], dim=1).to(dtype)


def table_of(
    form: str,
    grid: tuple[int, int],
    prefix: int,
    head_dim: int,
    base: float,
    device: torch.device,
    dtype: torch.dtype,
    rounded_to: torch.dtype | None = None,
) -> RopeTable:
    """The rotary table of a form; one that turns nothing for `added`."""
    if form == "axial":
        return axial_table(grid, prefix, head_dim, base, device, dtype, rounded_to)
    table = rope_table(grid, prefix, head_dim, base, device, dtype, rounded_to)
    if form == "added":
        return RopeTable(torch.ones_like(table.cos), torch.zeros_like(table.sin))
    return table
