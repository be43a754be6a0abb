"""Pixels to patches and back, and the images a model accepts."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """[..., 3, H, W] -> [..., L, 3·p·p], patches row by row, values channel-major: index = c·p² + dy·p + dx."""
    return rearrange(images, "... c (h p) (w q) -> ... (h w) (c p q)", p=patch_size, q=patch_size)


def unpatchify(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`: [..., L, 3·p·p] -> [..., 3, H, W] with L = h·w."""
    h, w = grid
    p = round((patches.shape[-1] / 3) ** 0.5)
    return rearrange(patches, "... (h w) (c p q) -> ... c (h p) (w q)", h=h, w=w, p=p, q=p)


def check_images(images: Tensor, patch_size: int) -> tuple[int, int]:
    """The patch grid (h, w) of a batch of scenes.

    Raises:
        TypeError: no tensor.
        ValueError: not [B, V, 3, H, W] or empty, neither uint8 nor float, or H or W no multiple of the patch size.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images are {type(images).__name__}; expected a tensor, e.g. torch.as_tensor(images)")
    if images.ndim != 5 or images.shape[2] != 3 or 0 in images.shape[:2]:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected [B, V, 3, H, W] (one view: V = 1)")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; expected uint8 in 0..255 or floating point in [0, 1]")
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size or not height or not width:
        below = [max(side // patch_size, 1) * patch_size for side in (height, width)]
        above = [-(-max(side, 1) // patch_size) * patch_size for side in (height, width)]
        raise ValueError(
            f"images of {height}x{width} pixels do not divide into {patch_size}x{patch_size} patches; "
            f"crop to {below[0]}x{below[1]} or resize to {above[0]}x{above[1]}"
        )
    return height // patch_size, width // patch_size


def check_mask(mask: Tensor, images: Tensor, grid: tuple[int, int]) -> None:
    """Raises `TypeError` or `ValueError` unless `mask` is a bool tensor [B, V, h, w] for these images."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask is {type(mask).__name__}; expected a tensor, e.g. torch.as_tensor(mask)")
    expected = (*images.shape[:2], *grid)
    if mask.dtype != torch.bool or tuple(mask.shape) != expected:
        raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}; expected torch.bool {expected}, True = hidden")
