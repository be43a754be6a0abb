"""How a match is read out of features: the patch of another view whose feature is nearest to that of a query.

A match is the *centre* of its patch. The published code returns the corner, which costs half a patch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

METRICS = ("cosine", "l2")


def sample(features: Tensor, positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Features at positions between patch centres, bilinear; beyond the outermost centres, those of the border.

    Args:
        features: [B, C, h, w] of one view.
        positions: [B, Q, 2], (x, y) in pixels of the picture.
        size: H and W of the picture.

    Returns:
        [B, Q, C].
    """
    extent = positions.new_tensor([size[1], size[0]])
    grid = (2 * positions / extent - 1).to(features.dtype)
    found = F.grid_sample(features, grid[:, :, None], padding_mode="border", align_corners=False)  # [B, C, Q, 1]
    return found.squeeze(-1).transpose(1, 2)


def similarity(queries: Tensor, keys: Tensor, metric: str = "cosine") -> Tensor:
    """How near features are: cosine, or the negative squared Euclidean distance but for a constant of each query.

    Args:
        queries: [B, Q, C].
        keys: [B, C, L] of one view.

    Returns:
        [B, Q, L], higher = nearer.
    """
    if metric == "cosine":
        return F.normalize(queries, dim=-1) @ F.normalize(keys, dim=1)
    mean = keys.mean(-1, keepdim=True)  # what all features have in common changes no distance, but would cost digits
    keys = keys - mean
    return 2 * ((queries - mean.transpose(1, 2)) @ keys) - keys.square().sum(1, keepdim=True)


def nearest_patches(queries: Tensor, features: Tensor, metric: str = "cosine") -> Tensor:
    """The patch of every view that is nearest to each query.

    Args:
        queries: [B, Q, C].
        features: [B, V, C, h, w].
        metric: `"cosine"` or `"l2"`.

    Returns:
        int64 [B, V, Q], numbers of patches in 0 .. h·w - 1.
    """
    # View by view: all views at once would need V times the memory, and be no faster.
    return torch.stack([similarity(queries, keys.flatten(2), metric).argmax(-1) for keys in features.unbind(1)], dim=1)


def patch_centres(patches: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Numbers of patches int64 [...] on a grid (h, w) over a picture of `size` (H, W) -> float64 [..., 2], (x, y)."""
    row, column = (patches // grid[1]).double(), (patches % grid[1]).double()
    return torch.stack([(column + 0.5) * (size[1] / grid[1]), (row + 0.5) * (size[0] / grid[0])], dim=-1)


def nearest_centres(positions: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The centres of the patches that positions [..., 2] lie in: what a perfect matcher of patches would answer."""
    step = positions.new_tensor([size[1] / grid[1], size[0] / grid[0]])
    last = positions.new_tensor([grid[1] - 1, grid[0] - 1])
    cell = torch.minimum((positions / step).floor().clamp(min=0), last)
    return (cell + 0.5) * step
