"""The blocks between a backbone and the heads of a reconstruction model: the views look at each other."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from muskie.models.blocks import AlternatingStack, BlockConfig
from muskie.models.rope import RopeTable, rope_table

OWN_REGISTERS = 4


class ReconstructionDecoder(nn.Module):
    """Alternating blocks of the width of the backbone.

    Args:
        depth: alternating blocks, 0 or more.
        block: their shape.
        registers: tokens that the backbone puts before each view's patches. With 0, the decoder learns some of its own:
            rotary positions are relative, and registers, which stand at a place of their own, tell a patch where it is.
        rope_base, rope_angles_in: as in `EncoderConfig`.
        published: no registers, and positions from 0 instead of 1, as the blocks of published checkpoints were trained.
    """

    def __init__(
        self,
        depth: int,
        block: BlockConfig,
        registers: int,
        rope_base: float = 100.0,
        rope_angles_in: str | None = None,
        published: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.given, self.published = block, registers, published
        self.rope_base, self.rope_angles_in = rope_base, rope_angles_in
        own = 0 if published or registers or not depth else OWN_REGISTERS
        self.registers = nn.Parameter(torch.empty(own, block.width)) if own else None
        self.blocks = AlternatingStack(depth, block)

    def forward(self, tokens: Tensor, grid: tuple[int, int], keep: Collection[int] = ()) -> tuple[Tensor, list[Tensor]]:
        """Runs all blocks.

        Args:
            tokens: [B, V, R + L, C], the backbone's.
            grid: (h, w) of the patches.
            keep: numbers of the blocks whose outputs are wanted.

        Returns:
            Patch tokens after the last block, [B, V, L, C], and those that were kept, in the order of the blocks.
        """
        if self.published:
            tokens = tokens[:, :, self.given :]
        elif self.registers is not None:
            own = self.registers.to(tokens.dtype).expand(*tokens.shape[:2], -1, -1)
            tokens = torch.cat([own, tokens], dim=2)
        prefix = tokens.shape[2] - grid[0] * grid[1]
        last, kept = self.blocks(tokens, self.table(grid, prefix, tokens.device), frozenset(keep))
        return last[:, :, prefix:], [x[:, :, prefix:] for x in kept]

    def table(self, grid: tuple[int, int], prefix: int, device: torch.device) -> RopeTable:
        """The rotary table of one view: `prefix` registers, then the patches."""
        c = self.config
        head_dim, angles_in = c.width // c.heads, getattr(torch, self.rope_angles_in) if self.rope_angles_in else None
        dtype = next((parameter.dtype for parameter in self.parameters()), torch.float32)
        if not self.published:
            return rope_table(grid, prefix, head_dim, self.rope_base, device, dtype, angles_in)
        line = rope_table((max(grid), 1), 1, head_dim, self.rope_base, device, dtype, angles_in)  # places 0, 1, 2, ...
        return RopeTable(*(_plane(part[:, : head_dim // 2], grid) for part in line))


def _plane(line: Tensor, grid: tuple[int, int]) -> Tensor:
    """Values [T, d/2] of the places 0, 1, ... of a line -> [h·w, d] of a grid: of the row, then of the column."""
    h, w = grid
    return torch.cat([line[:h, None].expand(h, w, -1), line[None, :w].expand(h, w, -1)], dim=-1).flatten(0, 1)
