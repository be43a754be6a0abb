"""CroCo's decoder: a masked view asks the whole views of its scene by cross-attention (Weinzaepfel et al., NeurIPS 2022,
ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muskie.models.attention import Attention
from muskie.models.blocks import BlockConfig, Mlp, TransformerBlock
from muskie.models.compiled import Linear, heads_first
from muskie.models.decoder import Decoder, check_decoder
from muskie.models.encoded import Encoded
from muskie.models.parts import decoder_kind
from muskie.models.rope import RopeTable, rotate


@dataclass(frozen=True)
class CrossDecoderConfig:
    """Shape of a decoder of cross-attention; see `muskie.models.decoder.DecoderConfig`, whose `depth` are layers here."""

    depth: int = 12
    width: int = 768
    heads: int = 12
    mlp_ratio: float = 4.0
    positions: str = "steps"
    rope_base: float = 100.0
    norm_eps: float = 1e-6
    kind: ClassVar[str] = "cross"

    def __post_init__(self) -> None:
        check_decoder(self)


class CrossAttention(nn.Module):
    """Attention of one sequence to another one, scaled by 1/sqrt(d), without a mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = Linear(width, width), Linear(width, width), Linear(width, width)
        self.proj = Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, table: RopeTable, memory_table: RopeTable) -> Tensor:
        """x [N, T, C] asks memory [N, S, C] -> [N, T, C]."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (self.q(x), self.k(memory), self.v(memory)))
        q, k = rotate(q, table).to(v.dtype), rotate(k, memory_table).to(v.dtype)
        out = F.scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v)).transpose(1, 2)
        return self.proj(out.flatten(-2))


class CrossBlock(TransformerBlock):
    """Self-attention, cross-attention to a memory, MLP; pre-norm."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm_memory = (
            nn.LayerNorm(config.width, eps=config.norm_eps) for _ in range(4)
        )
        self.attn = Attention(config.width, config.heads)
        self.cross = CrossAttention(config.width, config.heads)
        self.mlp = Mlp(config.width, int(config.width * config.mlp_ratio))

    def forward(self, x: Tensor, memory: Tensor, table: RopeTable, memory_table: RopeTable) -> Tensor:
        x = x + self.attn(self.norm1(x), table)
        x = x + self.cross(self.norm2(x), self.norm_memory(memory), table, memory_table)
        return x + self.mlp(self.norm3(x))


class CrossStack(nn.ModuleList):
    """`depth` such blocks, run in turn.

    Attributes:
        checkpointing: recompute each block's activations in the backward pass instead of keeping them.
    """

    def __init__(self, depth: int, config: BlockConfig) -> None:
        super().__init__(CrossBlock(config) for _ in range(depth))
        self.checkpointing = False

    def forward(self, x: Tensor, memory: Tensor, table: RopeTable, memory_table: RopeTable) -> Tensor:
        for block in self:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, memory, table, memory_table, use_reentrant=False)
            else:
                x = block(x, memory, table, memory_table)
        return x


@decoder_kind("cross", CrossDecoderConfig)
class CrossDecoder(Decoder):
    """Each view that has hidden patches asks all views that have none, side by side; itself, where there are none. What it
    says of whole views is zero: nothing is hidden there."""

    config: CrossDecoderConfig

    def __init__(self, config: CrossDecoderConfig, width_in: int, fills: bool) -> None:
        block = BlockConfig(config.width, config.heads, config.mlp_ratio, norm_eps=config.norm_eps)
        super().__init__(config, width_in, fills, CrossStack(config.depth, block))

    def forward(self, encoded: Encoded, grid: tuple[int, int]) -> Tensor:
        whole_views = [view for seen in encoded.groups if seen.patches is None for view in seen.views]
        masked = [view for view in range(encoded.views) if view not in whole_views]
        if not masked:
            masked = list(range(encoded.views))  # nothing is hidden: whoever asks wants all views
        tokens = self.whole(encoded, grid)  # [B, V, P + L, D]
        scenes, count = tokens.shape[0], len(masked)
        table = self.table(grid, encoded.prefix)
        asking = tokens[:, masked].flatten(0, 1)
        memory, memory_table = asking, table
        if whole_views:
            memory = tokens[:, whole_views].flatten(1, 2)  # [B, v·(P + L), D]
            memory, memory_table = memory[:, None].expand(-1, count, -1, -1).flatten(0, 1), table.tile(len(whole_views))
        x = self.blocks(asking, memory, table, memory_table)
        result = torch.zeros_like(tokens)
        return result.index_copy(1, torch.tensor(masked, device=x.device), x.unflatten(0, (scenes, count)))
