"""Multi-head self-attention with rotary positions."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from muskie.models.compiled import Linear, heads_first
from muskie.models.rope import RopeTable, rotate


class Attention(nn.Module):
    """Self-attention over one sequence of tokens, scaled by 1/√d, without a mask.

    Args:
        width: channels C of a token.
        heads: number of heads; divides `width` into heads of d channels, a multiple of 4.
        qk_norm: RMS-normalise queries and keys of each head with learned gains before they are turned
            (Dehghani et al., arXiv 2302.05442). Bounds the logits, so that higher learning rates stay stable.
        rotate_values: also turn the values by their positions and turn the sum back by the query's position
            (the SO(2) case of GTA, Miyato et al., arXiv 2310.10375): a token then learns *from where*, relative to itself,
            content came. With plain RoPE, values carry no position at all.

    Attributes:
        listener: called with queries and keys [N, T, heads, d] as attention is given them; see
            `muskie.models.listening`.
    """

    def __init__(self, width: int, heads: int, qk_norm: bool = False, rotate_values: bool = False) -> None:
        super().__init__()
        if width % heads or (width // heads) % 4:
            raise ValueError(f"width={width}, heads={heads}: width / heads must be a multiple of 4")
        self.heads = heads
        self.rotate_values = rotate_values
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.q_norm = nn.RMSNorm(width // heads) if qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(width // heads) if qk_norm else nn.Identity()
        self.listener: Callable[[Tensor, Tensor], None] | None = None

    def forward(self, x: Tensor, table: RopeTable) -> Tensor:
        """x [N, T, C] and the table of its T tokens -> [N, T, C]."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)  # each [N, T, heads, d]
        q = rotate(self.q_norm(q), table).to(v.dtype)
        k = rotate(self.k_norm(k), table).to(v.dtype)
        if self.listener is not None:
            self.listener(q, k)
        if self.rotate_values:
            v = rotate(v, table).to(v.dtype)
        out = F.scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v)).transpose(1, 2)
        if self.rotate_values:
            out = rotate(out, table.inverse()).to(v.dtype)
        return self.proj(out.flatten(-2))
