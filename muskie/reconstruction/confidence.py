"""Which points are worth showing: the surer ones, and none that hang between an object's edge and what lies behind it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from muskie.errors import ConfigError
from muskie.reconstruction.result import Reconstruction
from muskie.reconstruction.surface import grazing_angle

PERCENTILE = 25.0
"""Share of the points, in percent, that is left out by default: the least sure ones of all views together."""
EDGE = 4.0
"""Degrees: points whose surface seems to be seen at less than that lie on an edge of depth."""
_SAMPLE = 8_000_000
"""Values that a percentile is taken of, at most."""


def check_filters(percentile: float, edge: float) -> None:
    """Raises:
    ConfigError: a filter out of range.
    """
    if not 0 <= percentile < 100:
        raise ConfigError(f"confidence_percentile={percentile}: expected 0 (keep all) up to less than 100")
    if not 0 <= edge < 90:
        raise ConfigError(f"edge={edge}: expected 0 (keep all) up to less than 90, in degrees")


def kept_pixels(reconstruction: Reconstruction, percentile: float = PERCENTILE, edge: float = EDGE) -> Tensor:
    """bool [V, H, W]: valid points that pass both filters.

    Args:
        percentile: this share of all valid points, in percent, is left out, the least sure ones; 0: none.
        edge: points whose surface seems to be seen at less than these degrees are left out, see `grazing_angle`; 0: none.

    Raises:
        ConfigError: a filter out of range.
    """
    check_filters(percentile, edge)
    kept = reconstruction.valid
    values = reconstruction.confidence[kept]
    if percentile > 0 and values.numel():
        # Never above the greatest value: at least one point is kept, and all of them where all are equally sure.
        sample = values[:: -(-values.numel() // _SAMPLE)].float().cpu().numpy()
        threshold = float(np.percentile(sample, percentile, method="lower"))
        kept = kept & (reconstruction.confidence >= threshold)
    if edge > 0:
        for view, points in enumerate(reconstruction.local_points):
            if min(points.shape[:2]) > 1:
                kept[view] &= grazing_angle(points) >= edge
    return kept


def evenly(kept: Tensor, count: int | None) -> Tensor:
    """At most `count` of the pixels of bool [V, H, W], evenly spread over each picture; bool [V, H, W], always the same.

    Pixel (x, y) is taken where the fractional part of x / g + y / g² is small enough, g = 1.3247..., the plastic number:
    these lie about evenly at any density (the additive recurrence R2 of Roberts, 2018).
    """
    if count is None or int(kept.sum()) <= count:
        return kept
    picked = torch.zeros_like(kept)
    if count < 1:
        return picked
    height, width = kept.shape[1:]
    plastic = 1.32471795724474602596
    y, x = torch.arange(height, dtype=torch.float64)[:, None], torch.arange(width, dtype=torch.float64)
    pattern = x / plastic + y / plastic**2
    # View by view, so that hundreds of views take no more than 4 bytes a point.
    places = []
    for view, pixels in enumerate(kept):
        shift = view * 0.6180339887498949  # another pattern for each view
        places.append(((pattern + shift) % 1).float().to(kept.device)[pixels])
    place = torch.cat(places)
    limit = float(np.partition(place.cpu().numpy(), count - 1)[count - 1])
    taken = place <= limit
    taken &= taken.cumsum(0) <= count  # places that are equal
    picked[kept] = taken
    return picked
