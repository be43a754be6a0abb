"""Values of pixels as colours, with one range for all views of a scene."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from muskie.visualization.colours import ColourBar, to_bytes

NOTHING = (214, 214, 212)
"""The colour where there is no point."""
_SHOWN = (2.0, 98.0)
"""Percentiles of all views that get the ends of the colours; what lies beyond has the colour of the end."""
SPAN = "2nd to 98th percentile"
"""The same in words."""
_SAMPLE = 4_000_000


def colour_bar(values: Tensor, valid: Tensor) -> ColourBar:
    """The colours for values [V, H, W]: one range for all views, so that they compare."""
    known = values[valid]
    if not known.numel():
        return ColourBar(0.0, 0.0)
    sample = known[:: -(-known.numel() // _SAMPLE)].float().cpu().numpy()
    low, high = np.percentile(sample, _SHOWN)
    return ColourBar(float(low), float(high))


def coloured(values: Tensor, valid: Tensor, bar: ColourBar) -> Tensor:
    """Values [..., H, W] as pictures uint8 [..., 3, H, W]; grey where bool [..., H, W] is False."""
    nothing = torch.tensor(NOTHING, dtype=torch.uint8, device=values.device)[:, None, None]
    return torch.where(valid[..., None, :, :], to_bytes(bar.colours(torch.where(valid, values, 0).float())), nothing)
