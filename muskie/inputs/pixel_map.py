"""Where the pixels of a processed view lie in the original image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PixelMap:
    """processed = (original - offset) * scale, for positions (x, y) in pixels; a picture spans (0, 0) to (W, H), so that
    pixel centres are at integer + 0.5. The original is upright: its EXIF rotation has been applied.

    Attributes:
        original_size: (W, H) of the original.
        size: (W, H) of the processed image.
        scale: (x, y), processed pixels per original pixel.
        offset: (x, y) of the processed image's corner in the original; negative where it is padded.
    """

    original_size: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_processed(self, xy: Tensor) -> Tensor:
        """Positions [..., 2] in the original, as positions in the processed image."""
        return (xy - xy.new_tensor(self.offset)) * xy.new_tensor(self.scale)

    def to_original(self, xy: Tensor) -> Tensor:
        """Positions [..., 2] in the processed image, as positions in the original."""
        return xy / xy.new_tensor(self.scale) + xy.new_tensor(self.offset)

    def original_intrinsics(self, intrinsics: Tensor) -> Tensor:
        """Intrinsics [..., 3, 3] of the processed image, as those of the original."""
        matrix = torch.eye(3, dtype=intrinsics.dtype, device=intrinsics.device)
        for axis in range(2):
            matrix[axis, axis] = 1 / self.scale[axis]
            matrix[axis, 2] = self.offset[axis]
        return matrix @ intrinsics
