"""How large a picture is on a page, and how it gets that size."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

LEGIBLE = 128
"""Pixels of the shorter side that a picture has at least on a page."""
WIDEST = 1792
"""Pixels that the pictures of a row may take together before they are shrunk: 8 views of 224; the page is then 2000 wide."""


def shown_size(height: int, width: int, count: int, at_least: int = LEGIBLE) -> tuple[int, int]:
    """The size (height, width) on the page of `count` pictures of height x width pixels side by side.

    Pictures whose shorter side has less than `at_least` pixels are enlarged by a whole factor, as far as the page goes (to
    `LEGIBLE` in any case). Those that are too wide together are shrunk to the page, but not below `LEGIBLE`.
    """
    side, row = min(height, width), count * width
    factor = max(min(-(-at_least // side), WIDEST // row), -(-LEGIBLE // side))
    if factor > 1 or row <= WIDEST:
        return height * factor, width * factor
    narrower = max(WIDEST // count, -(-LEGIBLE * width // side))
    return round(height * narrower / width), narrower


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures uint8 [N, 3, H, W] at `size` = (height, width): nearest neighbour if enlarged, averaged by area if shrunk."""
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    images = [Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()) for picture in pictures]
    return torch.stack([to_tensor(image.resize(size[::-1], Image.Resampling.BOX)) for image in images])


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [3, H, W]."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.view(image.height, image.width, 3).permute(2, 0, 1).contiguous()


def enlarge(values: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    """Values of patches [..., h, w], such as a mask, at the pixels [..., H, W]; `size` = (H, W), multiples of h and w."""
    height, width = size
    if height % values.shape[-2] or width % values.shape[-1]:
        grid = f"{values.shape[-2]}x{values.shape[-1]}"
        raise ValueError(f"a grid of {grid} patches does not divide pictures of {height}x{width} pixels into patches")
    return values.repeat_interleave(height // values.shape[-2], -2).repeat_interleave(width // values.shape[-1], -1)
