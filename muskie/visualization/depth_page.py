"""Depth as a model sees it, beside what was measured, as one page."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.visualization.colours import ColourBar, to_bytes
from muskie.visualization.page import page

PAPER = 251 / 255
"""What is not known has the colour of the page."""


def depth_page(
    images: Tensor, truth: Tensor | None, depth: Tensor, confidence: Tensor | None = None, title: str | None = None
) -> Tensor:
    """One column a view: the picture, true depth, predicted depth in the same colours, confidence.

    The prediction is shown at the scale that makes its median the true one, over all views together.

    Args:
        images: uint8 [V, 3, H, W].
        truth: [V, H, W], metres, 0 = unknown; None: not known, and left out.
        depth: [V, H, W], of any scale.
        confidence: [V, H, W] in (1, inf); None: left out.
        title: above the page.

    Returns:
        uint8 [3, height, width].
    """
    rows, labels = [images], ["picture"]
    bars: list[ColourBar | None] = [None]
    depth = depth.float()
    unit = ""
    if truth is not None and bool((truth > 0).any()):
        known = truth > 0
        median = depth[known].median()
        depth = depth * (truth[known].median() / median if median > 0 else 1.0)
        low, high = torch.quantile(_some(truth[known].float()), torch.tensor([0.02, 0.98])).tolist()
        bar, unit = ColourBar(low, high, " m"), " m"
        shown = torch.where(known[:, None], bar.colours(truth.float()), torch.tensor(PAPER))
        rows, labels, bars = [*rows, to_bytes(shown)], [*labels, "true depth"], [*bars, bar]
    else:
        low, high = torch.quantile(_some(depth.flatten()), torch.tensor([0.02, 0.98])).tolist()
    bar = ColourBar(low, high, unit)
    rows, labels, bars = [*rows, to_bytes(bar.colours(depth))], [*labels, "predicted depth"], [*bars, bar]
    if confidence is not None:
        surer = confidence.float().log()
        low, high = torch.quantile(_some(surer.flatten()), torch.tensor([0.02, 0.98])).exp().tolist()
        told = ColourBar(low, high)
        rows, labels, bars = [*rows, to_bytes(told.colours(confidence.float()))], [*labels, "confidence"], [*bars, told]
    columns = [f"view {number}" for number in range(len(images))]
    note = "Predicted depth at the scale that makes its median the true one." if unit else None
    return page(rows, labels, columns, title=title, bars=bars, note=note)


def _some(values: Tensor) -> Tensor:
    """At most a million of the finite values, evenly, for a quantile of more is refused by PyTorch."""
    values = values[values.isfinite()]
    return values[:: max(len(values) // 1_000_000, 1)] if len(values) else values.new_zeros(1)
