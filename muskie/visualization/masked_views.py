"""Masked views and what a model fills in, as one page."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.visualization.colours import ColourBar, to_bytes
from muskie.visualization.page import page
from muskie.visualization.sizes import enlarge

GREY = 110
DIMMED = 0.35
PALE = 238
"""Seen patches are grey beside the colours of the confidence: this contrast is left of them, and white becomes this."""


def hide(images: Tensor, mask: Tensor, value: int = GREY) -> Tensor:
    """Images uint8 [V, 3, H, W] with the patches of mask bool [V, h, w] painted grey."""
    covered = enlarge(mask, images.shape[-2:])
    return torch.where(covered[:, None], torch.full_like(images, value), images)


def fill_in(images: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
    """Images uint8 [V, 3, H, W], with pixels [V, 3, H, W] in [0, 1] where mask bool [V, h, w] hides them."""
    return torch.where(enlarge(mask, images.shape[-2:])[:, None], to_bytes(pixels), images)


def view_headings(mask: Tensor, first: int = 0) -> list[str]:
    """`"view 0, whole"`, `"view 2, hidden .90"`: a heading for each view of mask bool [V, h, w], numbered from `first`."""
    shares = mask.flatten(1).double().mean(1).tolist()
    told = ["whole" if share == 0 else f"hidden {share:.2f}".replace(" 0.", " .") for share in shares]
    return [f"view {number}, {text}" for number, text in enumerate(told, first)]


def masked_view_page(
    images: Tensor, mask: Tensor, pixels: Tensor, confidence: Tensor | None = None, title: str | None = None
) -> Tensor:
    """One column a view: the original, what the model sees, its output everywhere, and its output and confidence within
    what was seen.

    Confidence is the mean over the channels, in the colours of `viridis` from the least to the greatest of all hidden
    pixels; both are printed at its bar, and the mean of each view below it. Seen patches are pale and grey there.

    Args:
        images: uint8 [V, 3, H, W].
        mask: bool [V, h, w], True = hidden.
        pixels: the prediction in [0, 1], [V, 3, H, W].
        confidence: in (0, 1), [V, 3, H, W]; None: without the last row.
        title: above the page.

    Returns:
        uint8 [3, height, width].
    """
    rows = [images, hide(images, mask), to_bytes(pixels), fill_in(images, mask, pixels)]
    labels = ["original", "masked", "reconstruction\nall patches", "reconstruction\n+ visible"]
    captions: list[list[str] | None] = [None] * len(rows)
    bars: list[ColourBar | None] = [None] * len(rows)
    if confidence is not None:
        picture, bar, means = _confidence(images, mask, confidence)
        rows.append(picture)
        labels.append("confidence\n+ visible")
        captions.append(means)
        bars.append(bar)
    return page(rows, labels, view_headings(mask), title, captions=captions, bars=bars)


def _confidence(images: Tensor, mask: Tensor, confidence: Tensor) -> tuple[Tensor, ColourBar | None, list[str]]:
    """The picture, its bar (None if nothing is hidden), and what is said of each view."""
    covered = enlarge(mask, images.shape[-2:])  # [V, H, W]
    values = confidence.float().mean(1)  # [V, H, W]
    grey = (PALE - (255 - images.float().mean(1, keepdim=True)) * DIMMED).to(torch.uint8).expand_as(images)
    hidden = values[covered & values.isfinite()]
    if not hidden.numel():
        return grey, None, [""] * len(images)
    bar = ColourBar(float(hidden.min()), float(hidden.max()))
    counts = covered.flatten(1).sum(1)
    means = ((values * covered).flatten(1).sum(1) / counts).tolist()
    told = [f"mean {mean:.3f}" if count else "" for mean, count in zip(means, counts.tolist(), strict=True)]
    return torch.where(covered[:, None], to_bytes(bar.colours(values)), grey), bar, told
