"""How a dense flow is read out of two feature maps: a patch of view 1 for each of view 0, then a position for each pixel.

As in the linear-probe protocol of MuM (arXiv 2511.17309, RoMa's before it), with one choice of our own: what is upsampled is
the displacement of each patch, not its position. Between patch centres both are the same; beyond the outermost centres a
position would stand still, which is wrong even where nothing has moved, while a displacement stays right under translation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.evaluation.readout import patch_centres
from muskie.geometry import pixel_centres

FLOWS = ("neighbours", "argmax")
"""`"argmax"`: the centre of the best patch; `"neighbours"` (published): the mean, weighted by softmax, of its centre and of
those of the 4 patches beside it."""

_BESIDE = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0))  # row, column; itself first


def correlation(source: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Features [..., C, L] and [..., C, L'] -> cosine over temperature, [..., L, L']: the logits of each patch's match."""
    return F.normalize(source, dim=-2).transpose(-1, -2) @ F.normalize(target, dim=-2) / temperature


def matched_positions(logits: Tensor, grid: tuple[int, int], size: tuple[int, int], flow: str = "neighbours") -> Tensor:
    """Where the matches lie.

    Args:
        logits: [..., L, h·w], from `correlation`.
        grid: (h, w) of view 1.
        size: H and W of the picture.
        flow: see `FLOWS`.

    Returns:
        float64 [..., L, 2], (x, y) in pixels of view 1.
    """
    best = logits.argmax(-1)
    if flow == "argmax":
        return patch_centres(best, grid, size)
    steps = torch.tensor(_BESIDE, device=logits.device)
    row, column = (best // grid[1])[..., None] + steps[:, 0], (best % grid[1])[..., None] + steps[:, 1]  # [..., L, 5]
    there = (row >= 0) & (row < grid[0]) & (column >= 0) & (column < grid[1])
    patches = torch.where(there, row * grid[1] + column, best[..., None])
    weights = torch.where(there, logits.gather(-1, patches), -torch.inf).double().softmax(-1)
    return (weights[..., None] * patch_centres(patches, grid, size)).sum(-2)


def upsampled(
    positions: Tensor, grid: tuple[int, int], size: tuple[int, int], known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """From patches to pixels of view 0, bilinear between the centres of patches.

    Args:
        positions: float64 [..., h·w, 2], (x, y) in pixels of view 1.
        grid: (h, w) of view 0.
        size: H and W of the picture.
        known: bool [..., h·w], the patches that are used; None: all.

    Returns:
        float64 [..., H, W, 2], and bool [..., H, W]: False where none of the patches around is used.
    """
    batch = positions.shape[:-2]
    home = patch_centres(torch.arange(grid[0] * grid[1], device=positions.device), grid, size)
    weight = torch.ones_like(positions[..., 0]) if known is None else known.double()
    parts = torch.cat([(positions - home) * weight[..., None], weight[..., None]], dim=-1)
    maps = parts.reshape(-1, *grid, 3).permute(0, 3, 1, 2)  # [N, 3, h, w]
    fine = F.interpolate(maps, size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    fine = fine.reshape(*batch, *size, 3)
    found = fine[..., 2] > 1e-9
    return fine[..., :2] / fine[..., 2:].clamp(min=1e-9) + pixel_centres(*size, fine), found


def dense_flow(source: Tensor, target: Tensor, size: tuple[int, int], temperature: float, flow: str) -> Tensor:
    """Where each pixel of view 0 is found in view 1, float64 [..., H, W, 2], from features [..., C, h, w] of both."""
    grid = (source.shape[-2], source.shape[-1])
    logits = correlation(source.flatten(-2), target.flatten(-2), temperature)
    there = matched_positions(logits, (target.shape[-2], target.shape[-1]), size, flow)
    return upsampled(there, grid, size)[0]
