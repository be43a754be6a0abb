"""Brightness and contrast of patches: taken out of what is predicted (MAE, CroCo, MuM), and lent by visible patches."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6
"""Added to the variance of a patch, so that a patch of one colour is finite."""


def without_patch_statistics(patches: Tensor) -> Tensor:
    """Patches [..., 3·p·p] without the mean and standard deviation of their values, whose variance is unbiased (MuM, arXiv
    2511.17309, as MAE): predicting zero costs just below 1 on average."""
    mean, deviation = _statistics(patches)
    return (patches - mean) / deviation


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    mean = patches.mean(-1, keepdim=True)
    return mean, (patches.var(-1, keepdim=True) + EPSILON).sqrt()


def visible_statistics(patches: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every patch, of hidden ones guessed by the visible ones of their view: weighted by one
    over the fourth power of the distance. A view without visible patches gets the mean of those of its scene; a scene
    without any, 0 and 1.

    Args:
        patches: [B, V, L, 3·p·p].
        mask: bool [B, V, h, w], True = hidden; on the same device.

    Returns:
        Both [B, V, L, 1].
    """
    h, w = mask.shape[-2:]
    visible = ~mask.flatten(2)  # [B, V, L]
    own = torch.cat(_statistics(patches), dim=-1) * visible.unsqueeze(-1)  # [B, V, L, 2]
    place = torch.cartesian_prod(torch.arange(h), torch.arange(w)).to(patches)  # [L, 2]
    weights = torch.cdist(place, place).pow(2).clamp(min=0.25).pow(-2)  # [L, L]; a visible patch is nearest to itself
    total = (visible.to(patches) @ weights).unsqueeze(-1)  # [B, V, L, 1]
    guessed = (own.transpose(-1, -2) @ weights).transpose(-1, -2) / total.clamp(min=1e-12)
    count = visible.sum((1, 2)).to(patches).view(-1, 1, 1, 1)
    neutral = torch.tensor([0.0, 1.0]).to(patches)
    of_scene = torch.where(count > 0, own.sum((1, 2), keepdim=True) / count.clamp(min=1), neutral)
    guessed = torch.where(total > 0, guessed, of_scene)
    mean, deviation = torch.where(visible.unsqueeze(-1), own, guessed).split(1, dim=-1)
    return mean, deviation
