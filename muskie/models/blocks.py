"""Transformer blocks: the pre-norm block, and the alternation of frame-wise and global attention (after VGGT)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muskie.models.attention import Attention
from muskie.models.compiled import Linear, gelu
from muskie.models.rope import RopeTable


@dataclass(frozen=True)
class BlockConfig:
    """What all blocks of a stack have in common; see `Attention` for `qk_norm` and `rotate_values`."""

    width: int
    heads: int
    mlp_ratio: float = 4.0
    qk_norm: bool = False
    rotate_values: bool = False
    norm_eps: float = 1e-5


class Mlp(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(x)))


class TransformerBlock(nn.Module):
    """A layer of attention and MLP of any kind: what Muon trains the matrices of (`muskie.training.optim`)."""


class Block(TransformerBlock):
    """Pre-norm transformer block over one sequence, [N, T, C] -> [N, T, C]."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = Attention(config.width, config.heads, config.qk_norm, config.rotate_values)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config.width, int(config.width * config.mlp_ratio))

    def forward(self, x: Tensor, table: RopeTable) -> Tensor:
        x = x + self.attn(self.norm1(x), table)
        return x + self.mlp(self.norm2(x))


class FrameStack(nn.ModuleList):
    """`depth` blocks over the tokens of each view alone, run in turn.

    Attributes:
        checkpointing: recompute each block's activations in the backward pass instead of keeping them.
    """

    def __init__(self, depth: int, config: BlockConfig) -> None:
        super().__init__(Block(config) for _ in range(depth))
        self.checkpointing = False

    def forward(self, x: Tensor, table: RopeTable, keep: frozenset[int] = frozenset()) -> tuple[Tensor, list[Tensor]]:
        """Runs all blocks.

        Args:
            x: [B, V, T, C].
            table: of T tokens, the same for all views or of every view, [B·V, T, d].
            keep: numbers of the blocks whose outputs are wanted.

        Returns:
            The last output [B, V, T, C], and the kept outputs in the order of the blocks.
        """
        scenes, kept = x.shape[0], []
        x = x.flatten(0, 1)
        for number, block in enumerate(self):
            again = self.checkpointing and self.training
            x = checkpoint(block, x, table, use_reentrant=False) if again else block(x, table)
            if number in keep:
                kept.append(x.unflatten(0, (scenes, -1)))
        return x.unflatten(0, (scenes, -1)), kept


class AlternatingBlock(nn.Module):
    """A frame-wise block, then a block over all tokens of all views (an "AA block").

    No view has an index: permuting the views permutes the output.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.frame_block = Block(config)
        self.global_block = Block(config)

    def forward(self, x: Tensor, frame_table: RopeTable, global_table: RopeTable) -> Tensor:
        """x [B, V, T, C], the tables of one view's T tokens and of all V·T tokens -> [B, V, T, C]."""
        scenes = x.shape[0]
        x = self.frame_block(x.flatten(0, 1), frame_table)  # [B·V, T, C]
        x = x.unflatten(0, (scenes, -1))
        views = x.shape[1]
        x = self.global_block(x.flatten(1, 2), global_table)  # [B, V·T, C]
        return x.unflatten(1, (views, -1))


class AlternatingStack(nn.ModuleList):
    """`depth` alternating blocks, run in turn.

    Attributes:
        checkpointing: recompute each block's activations in the backward pass instead of keeping them.
    """

    def __init__(self, depth: int, config: BlockConfig) -> None:
        super().__init__(AlternatingBlock(config) for _ in range(depth))
        self.checkpointing = False

    def forward(
        self,
        x: Tensor,
        table: RopeTable,
        keep: frozenset[int] = frozenset(),
        global_table: RopeTable | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Runs all blocks.

        Args:
            x: [B, V, T, C].
            table: of one view's T tokens.
            keep: numbers of the blocks whose outputs are wanted.
            global_table: of one view's T tokens in global attention; None: `table`.

        Returns:
            The last output [B, V, T, C], and the kept outputs in the order of the blocks.
        """
        tiled = (table if global_table is None else global_table).tile(x.shape[1])
        kept = []
        for number, block in enumerate(self):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, table, tiled, use_reentrant=False)
            else:
                x = block(x, table, tiled)
            if number in keep:
                kept.append(x)
        return x, kept
