"""Nearest neighbours weighted by the ratio test: a match is the surer the farther its second best is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.errors import ConfigError


@dataclass
class Matches:
    """Locations of view 0 and what they are matched to.

    Attributes:
        sources, targets: int64 [B, N], numbers of locations of view 0 and of view 1.
        counted: bool [B, N]; False fills a batch up.
    """

    sources: Tensor
    targets: Tensor
    counted: Tensor


def ratio_matches(source: Tensor, target: Tensor, known: Tensor, allowed: Tensor, keep: int, memory: float = 0.5) -> Matches:
    """The surest matches of view 0's locations, each with the nearest of view 1 by cosine.

    The weight of a match is 1 - d1/d2, d1 <= d2 the distances (1 - cosine) of the two nearest; 0 where both are 0.

    Args:
        source: [B, C, S], features of view 0.
        target: [B, C, T], features of view 1, T >= 2.
        known: bool [B, S], the locations that are matched.
        allowed: bool [B, T], the locations that may be matched to; a pair with fewer than two has no matches.
        keep: matches of a pair, at most.
        memory: GiB of similarities at once.

    Returns:
        N = min(keep, S), the heaviest first; of equal ones that of the lower number.

    Raises:
        ConfigError: T < 2.
    """
    if target.shape[-1] < 2:
        raise ConfigError("the ratio test needs two locations to choose from, and the grid has one; take larger pictures")
    source, target = F.normalize(source, dim=1).transpose(1, 2), F.normalize(target, dim=1)
    together = max(int(memory * 2**30 / (4 * len(target) * target.shape[-1])), 1)
    nearest, weights = [], []
    for part in source.split(together, dim=1):
        cosine = (part @ target).masked_fill(~allowed[:, None], -torch.inf)
        best, where = cosine.topk(2, dim=-1)
        first, second = (1 - best).clamp(min=0).unbind(-1)
        nearest.append(where[..., 0])
        weights.append(torch.where(second > 0, 1 - first / second, 0))
    weight = torch.cat(weights, dim=1).masked_fill(~(known & (allowed.sum(1, keepdim=True) >= 2)), -torch.inf)
    order = weight.sort(dim=1, descending=True, stable=True).indices[:, :keep]
    return Matches(order, torch.cat(nearest, dim=1).gather(1, order), weight.gather(1, order) > -torch.inf)
