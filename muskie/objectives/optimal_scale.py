"""The scale that brings predicted points of a scene nearest to the true ones: exact, robust, and without a draw.

Alignment by a weighted L1 distance is the ROE alignment of MoGe (arXiv 2410.19115), used by π³ (arXiv 2507.13347).
"""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.alignment import l1_scale

GRAIN = 1024
"""Steps into which the distance of two chosen points is divided."""
GOLDEN = 633
"""About GRAIN times the golden ratio, and coprime to it: its multiples fall evenly into these steps."""


@torch.no_grad()
def optimal_scale(points: Tensor, target: Tensor, weights: Tensor, samples: int = 4096) -> Tensor:
    """The s with the least sum of weights · |s · points - target| over all coordinates of a scene.

    The best is a weighted median of the ratios of coordinates, found by sorting. No gradient; no waiting for the device.

    Args:
        points, target: [B, V, H, W, 3].
        weights: [B, V, H, W], 0 or more; points of weight 0 do not count, and may be anything.
        samples: of scenes that have more points, about this many and never more are looked at, see `spread`.

    Returns:
        [B], above 0. 1 where no point counts, or where the best is not above 0 (points behind their cameras), which
        would turn the scene inside out or make it vanish.
    """
    index, chosen = spread((weights > 0).flatten(2), samples)
    weight = torch.where(chosen, weights.flatten(1).gather(1, index), 0)
    place = index[..., None].expand(-1, -1, 3)
    ratio_of = [x.flatten(1, 3).gather(1, place).flatten(1) for x in (points, target)]
    weight = weight[..., None].expand(-1, -1, 3).flatten(1)
    # Half of the weight is found by adding up: in float32, the order of the views could be seen in the result.
    exact = points.dtype if points.device.type == "mps" else torch.float64
    scale = l1_scale(ratio_of[0].to(exact), ratio_of[1].to(exact), weight.to(exact)).to(points.dtype)
    return torch.where((scale > 0) & scale.isfinite(), scale, 1)


def spread(valid: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Chooses at most `samples` of the valid points of each scene, evenly over its views and over each view.

    Every view gives its share, so that the order of the views changes nothing. In each, the points are dealt into runs of
    equal length, and one of each is chosen. Where in its run goes by the golden ratio: with one step for all, a step as
    wide as the picture would choose one column.

    Args:
        valid: bool [B, V, N].

    Returns:
        int64 [B, S], places among the V·N points, and bool [B, S], which of them are chosen points (the first ones); S is
        the lesser of `samples` and V·N. All valid points are chosen, once each, where there are no more than S.
    """
    slots = min(samples, valid[0].numel())
    counts = valid.sum(-1)  # [B, V]
    total = counts.sum(-1, keepdim=True).clamp(min=slots)
    quota = counts * slots // total
    ends = quota.cumsum(-1)
    slot = torch.arange(slots, device=valid.device).repeat(len(valid), 1)
    view = torch.searchsorted(ends, slot, right=True).clamp(max=valid.shape[1] - 1)
    run = slot - (ends - quota).gather(1, view)  # which run of its view
    rank = (run * GRAIN + run * GOLDEN % GRAIN) * total // (slots * GRAIN)  # which valid point of its view
    before = (counts.cumsum(-1) - counts).gather(1, view)
    index = torch.searchsorted(valid.flatten(1).cumsum(-1), before + rank + 1)
    return index.clamp(max=valid[0].numel() - 1), slot < ends[:, -1:]
