"""The decoder between encoder and prediction head, used in pre-training only."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.models.blocks import AlternatingStack, BlockConfig
from muskie.models.rope import rope_table


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder.

    Attributes:
        depth: alternating blocks; 0 is the published linear head, without a decoder.
        width: channels of its tokens.
        heads: attention heads.
        mlp_ratio, qk_norm, rotate_values: as in `muskie.models.encoder.EncoderConfig`.
    """

    depth: int = 0
    width: int = 384
    heads: int = 6
    mlp_ratio: float = 4.0
    qk_norm: bool = False
    rotate_values: bool = False

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ConfigError(f"model.decoder.depth={self.depth}: expected 0 (a linear head) or more")
        if self.depth and (min(self.width, self.heads) < 1 or self.width % self.heads or (self.width // self.heads) % 4):
            raise ConfigError(
                f"model.decoder.width={self.width}, model.decoder.heads={self.heads}: width / heads must be a multiple of 4"
            )


class AlternatingDecoder(nn.Module):
    """A linear embedding, alternating blocks over all views' tokens, and a final norm.

    Args:
        config: with `depth` > 0.
        width_in: channels of the encoder's tokens.
        rope_base: base of the rotary frequencies.
    """

    def __init__(self, config: DecoderConfig, width_in: int, rope_base: float) -> None:
        super().__init__()
        self.config = config
        self.rope_base = rope_base
        self.embed = nn.Linear(width_in, config.width)
        block = BlockConfig(config.width, config.heads, config.mlp_ratio, config.qk_norm, config.rotate_values)
        self.blocks = AlternatingStack(config.depth, block)
        self.norm = nn.LayerNorm(config.width, eps=1e-5)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Normed encoder tokens [B, V, R + h·w, C] -> decoder tokens before the final norm, [B, V, R + h·w, D]."""
        prefix = tokens.shape[2] - grid[0] * grid[1]
        c = self.config
        table = rope_table(grid, prefix, c.width // c.heads, self.rope_base, tokens.device, self.norm.weight.dtype)
        return self.blocks(self.embed(tokens), table)[0]
