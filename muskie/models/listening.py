"""Hearing the queries and keys of global attention while an encoder runs, block after block, so that nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from muskie.models.encoder import AlternatingEncoder

Listener = Callable[[int, Tensor, Tensor], None]
"""Called with the number of a block and its queries and keys, each [B, V·T, heads, d]: T tokens a view, registers first."""


@contextmanager
def listening(encoder: AlternatingEncoder, listener: Listener, blocks: Sequence[int] | None = None) -> Iterator[None]:
    """While the block lasts, `listener` hears the global attention of the named blocks.

    Compiled blocks run uncompiled meanwhile.

    Args:
        encoder: whose forward passes are heard.
        listener: see `Listener`.
        blocks: numbers of alternating blocks; negative ones count from the end; None: all.

    Raises:
        ValueError: there is no such block.
    """
    depth = len(encoder.blocks)
    numbers = range(depth) if blocks is None else [n % depth for n in blocks if -depth <= n < depth]
    if blocks is not None and len(numbers) < len(blocks):
        raise ValueError(f"blocks={list(blocks)}: expected numbers of {-depth} to {depth - 1}")

    def bound(number: int) -> Callable[[Tensor, Tensor], None]:
        return lambda q, k: listener(number, q, k)

    attentions: dict[int, Any] = {number: encoder.blocks.get_submodule(f"{number}.global_block.attn") for number in numbers}
    try:
        for number, attention in attentions.items():
            attention.listener = bound(number)
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for attention in attentions.values():
            attention.listener = None
