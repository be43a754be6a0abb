"""MAE's decoder: every view on its own, whole (He et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from muskie.models.blocks import BlockConfig, FrameStack
from muskie.models.decoder import Decoder, check_decoder
from muskie.models.encoded import Encoded
from muskie.models.parts import decoder_kind


@dataclass(frozen=True)
class FrameDecoderConfig:
    """Shape of a frame-wise decoder; see `muskie.models.decoder.DecoderConfig`, whose `depth` are layers here."""

    depth: int = 8
    width: int = 512
    heads: int = 16
    mlp_ratio: float = 4.0
    positions: str = "added"
    rope_base: float = 100.0
    norm_eps: float = 1e-6
    kind: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        check_decoder(self)


@decoder_kind("frames", FrameDecoderConfig)
class FrameDecoder(Decoder):
    """Blocks over the tokens of one view."""

    config: FrameDecoderConfig

    def __init__(self, config: FrameDecoderConfig, width_in: int, fills: bool) -> None:
        block = BlockConfig(config.width, config.heads, config.mlp_ratio, norm_eps=config.norm_eps)
        super().__init__(config, width_in, fills, FrameStack(config.depth, block))

    def forward(self, encoded: Encoded, grid: tuple[int, int]) -> Tensor:
        return self.blocks(self.whole(encoded, grid), self.table(grid, encoded.prefix))[0]
