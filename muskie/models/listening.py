"""Hearing the queries and keys of global attention while an encoder runs, block after block, so that nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from muskie.errors import ConfigError
from muskie.models.encoder import AlternatingEncoder

Listener = Callable[[int, Tensor, Tensor], None]
"""Called with the number of a block and its queries and keys, each [B, V·T, heads, d]: T tokens a view, registers first."""


@contextmanager
def listening(encoder: AlternatingEncoder, listener: Listener, blocks: Sequence[int] | None = None) -> Iterator[None]:
    """While the block lasts, `listener` hears the global attention of the named blocks.

    Compiled blocks run uncompiled meanwhile. A block has one listener: within another `listening`, the inner one.

    Args:
        encoder: whose forward passes are heard.
        listener: see `Listener`.
        blocks: numbers of alternating blocks; negative ones count from the end; None: all.

    Raises:
        ConfigError: there is no such block, or none is named.
    """
    numbers = block_numbers(encoder, blocks)

    def bound(number: int) -> Callable[[Tensor, Tensor], None]:
        return lambda q, k: listener(number, q, k)

    attentions: dict[int, Any] = {number: encoder.blocks.get_submodule(f"{number}.global_block.attn") for number in numbers}
    before = {number: attention.listener for number, attention in attentions.items()}
    try:
        for number, attention in attentions.items():
            attention.listener = bound(number)
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for number, attention in attentions.items():
            attention.listener = before[number]


def block_numbers(encoder: AlternatingEncoder, blocks: Sequence[int] | None = None) -> list[int]:
    """Numbers of blocks, where negative ones count from the end, as they stand from 0 on; None: all.

    Raises:
        ConfigError: there is no such block, or none is named.
    """
    depth = len(encoder.blocks)
    if blocks is None:
        return list(range(depth))
    if not len(blocks) or any(not -depth <= n < depth for n in blocks):
        raise ConfigError(f"blocks={list(blocks)}: expected one or more numbers of {-depth} to {depth - 1}, or null for all")
    return [n % depth for n in blocks]
