"""A dense prediction transformer head (DPT, Ranftl et al., arXiv 2103.13413): tokens of four layers to one map of pixels.

The shape is that of Muskie's fine-tuned models (arXiv 2511.18115); grids of any size, odd ones included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4


class ResidualConv(nn.Module):
    """x + conv(ReLU(conv(ReLU(x)))), 3x3, [N, F, h, w] -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Enlarge(nn.Module):
    """Each cell to `factor` x `factor` cells by a linear map of its channels.

    A transposed convolution whose stride is its kernel, with a bias for each of the new cells.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(width, width * factor**2, 1)  # channel-major, as `pixel_shuffle` reads them

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), self.factor)


class Fusion(nn.Module):
    """Adds a level to what comes from the coarser ones.

    Args:
        width: channels F.
        coarsest: the first one, to which nothing comes: it has no `skip`.
    """

    def __init__(self, width: int, coarsest: bool) -> None:
        super().__init__()
        self.skip = None if coarsest else ResidualConv(width)
        self.merged = ResidualConv(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, level: Tensor, coarser: Tensor | None, size: tuple[int, int]) -> Tensor:
        """level [N, F, h, w] and `coarser` of the same shape -> [N, F, *size]."""
        x = level if self.skip is None else coarser + self.skip(level)
        # Resizing and a 1x1 convolution may change places, for weights of bilinear interpolation add up to 1.
        return resize(self.project(self.merged(x)), size)


class DptHead(nn.Module):
    """Tokens of four layers to logits at every pixel.

    Args:
        width: channels C of a token.
        outputs: channels of the map.
        features: channels F of the fused levels.
        norm: a LayerNorm of its own for each layer's tokens; layers of a transformer differ in size by orders of
            magnitude. Published: none.
    """

    def __init__(self, width: int, outputs: int, features: int, norm: bool = True) -> None:
        super().__init__()
        widths = (width // 4, width // 2, width, width)
        scale = (Enlarge(widths[0], 4), Enlarge(widths[1], 2), nn.Identity(), nn.Conv2d(width, width, 3, 2, padding=1))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) if norm else nn.Identity() for _ in range(LEVELS))
        self.reduce = nn.ModuleList(nn.Conv2d(width, w, 1) for w in widths)
        self.scale = nn.ModuleList(scale)
        self.gather = nn.ModuleList(nn.Conv2d(w, features, 3, padding=1, bias=False) for w in widths)
        self.fusion = nn.ModuleList(Fusion(features, number == LEVELS - 1) for number in range(LEVELS))
        self.smooth = nn.Conv2d(features, features // 2, 3, padding=1)
        self.mix = nn.Conv2d(features // 2, 32, 3, padding=1)
        self.out = nn.Conv2d(32, outputs, 1)

    def forward(self, levels: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Four layers' patch tokens, each [N, h·w, C], from early to late, and the pixels (H, W) -> [N, H, W, outputs]."""
        maps = []
        for number, tokens in enumerate(levels):
            x = self.norms[number](tokens).transpose(1, 2).unflatten(2, grid)  # [N, C, h, w]
            maps.append(self.gather[number](self.scale[number](self.reduce[number](x))))  # 4, 2, 1 and 1/2 times h x w
        fused: Tensor | None = None
        for number in reversed(range(LEVELS)):
            level = maps.pop()
            sides = maps[-1].shape[-2:] if maps else [2 * side for side in level.shape[-2:]]
            fused = self.fusion[number](level, fused, (sides[0], sides[1]))
        x = resize(self.smooth(fused), size)
        return self.out(F.relu(self.mix(x))).permute(0, 2, 3, 1)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[N, F, h, w] -> [N, F, *size], bilinear, corners on corners."""
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear", align_corners=True)
