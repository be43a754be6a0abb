"""Pictures of masked views and of what a model fills in."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GREY = 110
GAP = 2
LABEL = 20
ROWS = ("original", "seen", "filled in", "confidence")


def hide(images: Tensor, mask: Tensor, value: int = GREY) -> Tensor:
    """Images uint8 [V, 3, H, W] with the patches of mask bool [V, h, w] painted grey."""
    covered = enlarge(mask, images.shape[-2:])
    return torch.where(covered[:, None], torch.full_like(images, value), images)


def fill_in(images: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
    """Images uint8 [V, 3, H, W], with pixels [V, 3, H, W] in [0, 1] where mask bool [V, h, w] hides them."""
    predicted = (pixels * 255).round().clamp(0, 255).to(torch.uint8)
    return torch.where(enlarge(mask, images.shape[-2:])[:, None], predicted, images)


def enlarge(mask: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Mask bool [V, h, w] at pixel resolution, bool [V, H, W]."""
    height, width = size
    return mask.repeat_interleave(height // mask.shape[1], 1).repeat_interleave(width // mask.shape[2], 2)


def masked_view_panel(images: Tensor, mask: Tensor, pixels: Tensor, confidence: Tensor | None = None) -> Tensor:
    """One column a view: the original, what the model sees, its prediction inside the visible rest, its confidence.

    Args:
        images: uint8 [V, 3, H, W].
        mask: bool [V, h, w], True = hidden.
        pixels: the prediction in [0, 1], [V, 3, H, W].
        confidence: in (0, 1), [V, 3, H, W], shown grey (white = sure) on hidden patches.

    Returns:
        uint8 [3, height, width] with labelled rows.
    """
    covered = enlarge(mask, images.shape[-2:])[:, None]
    rows = [images, hide(images, mask), fill_in(images, mask, pixels)]
    if confidence is not None:
        grey = (confidence.mean(1, keepdim=True) * 255).to(torch.uint8).expand_as(images)
        rows.append(torch.where(covered, grey, torch.full_like(images, GREY // 3)))
    return label_rows(rows, list(ROWS[: len(rows)]))


def label_rows(rows: list[Tensor], labels: list[str], group: int = 0) -> Tensor:
    """Rows of images, each uint8 [N, 3, H, W], under each other with a label above each -> uint8 [3, height, width].

    Small images are enlarged by a whole factor to at least 96 pixels, so that they can be judged. A wider gap follows every
    `group` images, such as the views of a scene; 0: none does.
    """
    factor = max(1, -(-96 // min(rows[0].shape[-2:])))
    strips = []
    for images, label in zip(rows, labels, strict=True):
        images = images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        padded = torch.nn.functional.pad(images, (0, GAP, 0, GAP), value=255)
        parts = [part.permute(1, 2, 0, 3).flatten(2) for part in padded.split(group or len(padded))]  # [3, H, group·W]
        apart = [torch.nn.functional.pad(part, (0, 4 * GAP), value=255) for part in parts[:-1]]
        strip = torch.cat([*apart, parts[-1]], dim=-1)
        strips += [_text(label, strip.shape[-1]), strip]
    return torch.cat(strips, dim=1)


def _text(label: str, width: int) -> Tensor:
    canvas = Image.new("RGB", (width, LABEL), "white")
    ImageDraw.Draw(canvas).text((2, 1), label, fill="black", font=ImageFont.load_default(14))
    return torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8).view(LABEL, width, 3).permute(2, 0, 1)
