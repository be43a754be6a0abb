"""Features that know nothing: what a read-out scores by luck."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor


class RandomFeatures:
    """Independent normal features for every patch. They depend on the pictures' bytes alone, so that the same pictures get
    the same features, whatever else is measured.

    Args:
        patch_size: pixels of a patch's side.
        width: channels.
    """

    def __init__(self, patch_size: int, width: int = 64) -> None:
        self.patch_size, self.width = patch_size, width

    def features(self, images: Tensor) -> Tensor:
        """Images uint8 [B, V, 3, H, W] -> float32 [B, V, C, h, w], a grid as a model with such patches has."""
        height, width = (max(round(side / self.patch_size), 1) for side in images.shape[-2:])
        maps = []
        for scene in images.cpu().numpy():
            generator = torch.Generator().manual_seed(zlib.crc32(scene.tobytes()))
            maps.append(torch.randn(len(scene), self.width, height, width, generator=generator))
        return torch.stack(maps).to(images.device)
