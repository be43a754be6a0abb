"""The matrix products and attention calls of a model, and their floating point operations, by formula.

A multiplication and its addition count as two operations. Norms, activations, rotary positions and softmax are not
counted: what they take is overhead. Neither is what a kernel or activation checkpointing computes a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from muskie.errors import ConfigError
from muskie.models.encoded import visible_groups


@dataclass(frozen=True)
class Product:
    """`count` times x [rows, inner] · weightᵀ [inner, columns], as in `F.linear`.

    Attributes:
        rows, inner, columns: the sizes.
        count: how often.
        input_gradient: whether the backward pass needs the gradient of x beside that of the weight; images need none.
    """

    rows: int
    inner: int
    columns: int
    count: int = 1
    input_gradient: bool = True

    @property
    def forward(self) -> int:
        """Operations of the forward pass, of all `count` calls."""
        return 2 * self.count * self.rows * self.inner * self.columns

    @property
    def backward(self) -> int:
        """Operations of the backward pass: a product of the same size for each gradient."""
        return self.forward * (2 if self.input_gradient else 1)


@dataclass(frozen=True)
class AttentionCall:
    """`count` times softmax(q kᵀ) v with q, k, v [sequences, heads, tokens, head_dim]; k and v of `keys` tokens, if that is
    another number."""

    sequences: int
    heads: int
    tokens: int
    head_dim: int
    count: int = 1
    keys: int | None = None

    @property
    def forward(self) -> int:
        """Operations of the two products of the forward pass, of all `count` calls."""
        keys = self.tokens if self.keys is None else self.keys
        return 4 * self.count * self.sequences * self.heads * self.tokens * keys * self.head_dim

    @property
    def backward(self) -> int:
        """Operations of the four products of the backward pass."""
        return 2 * self.forward


Call = Product | AttentionCall

KNOWN = ("alternating", "frames", "cross")
"""Kinds of decoders that are counted; the first two of encoders, too."""


def training_calls(model: Any, mask: Tensor) -> list[Call]:
    """What a `MaskedViewModel` runs for one batch in training, with the head on the hidden patches alone.

    Args:
        model: only shapes are looked at.
        mask: bool [B, V, h, w] of the batch, True = hidden.

    Raises:
        ConfigError: parts of a kind that is not known here.
    """
    scenes, views = mask.shape[:2]
    encoder, decoder = model.encoder.config, None if model.decoder is None else model.decoder.config
    for part, known in ((encoder, KNOWN[:2]), (decoder, KNOWN)):
        if part is not None and part.kind not in known:
            raise ConfigError(f"operations of a part of kind {part.kind!r} cannot be counted, only of {', '.join(known)}")
    length, colours, hidden = mask[0, 0].numel(), 3 * encoder.patch_size**2, int(mask.sum())
    whole = encoder.registers + length
    groups = visible_groups(mask if model.encoder.drops_hidden else None, views)
    seen = [(len(g.views), length if g.patches is None else g.patches.shape[-1]) for g in groups]
    embedded = scenes * sum(count * patches for count, patches in seen)
    calls: list[Call] = [Product(embedded, colours, encoder.width, input_gradient=False)]
    for count, patches in seen:
        calls += _stack(encoder, scenes, count, encoder.registers + patches)
    width = encoder.width
    if decoder is not None:
        tokens = scenes * sum(count * (encoder.registers + patches) for count, patches in seen)
        calls.append(Product(tokens, width, decoder.width))
        if decoder.kind == "cross":
            asked = sum(len(g.views) for g in groups if g.patches is None)
            # Without a whole view, each asks itself; without a masked one, all ask all.
            calls += _cross(decoder, scenes * ((views - asked) or views), whole, max(asked, 1) * whole)
        else:
            calls += _stack(decoder, scenes, views, whole)
        width = decoder.width
    return [*calls, Product(hidden, width, (2 if model.confidence else 1) * colours)]


def _stack(config: Any, scenes: int, views: int, tokens: int) -> list[Call]:
    """The blocks of an encoder or decoder over views of `tokens` tokens: frame-wise layers, or alternating ones."""
    c, mlp = config.width, int(config.width * config.mlp_ratio)
    layers = config.depth * (2 if config.kind == "alternating" else 1)
    linear = Product(scenes * views * tokens, c, c, layers)
    frame_wise = AttentionCall(scenes * views, config.heads, tokens, c // config.heads, config.depth)
    calls: list[Call] = [
        replace(linear, columns=3 * c),
        linear,
        replace(linear, columns=mlp),
        replace(linear, inner=mlp),
        frame_wise,
    ]
    if config.kind == "alternating":
        calls.append(replace(frame_wise, sequences=scenes, tokens=views * tokens))
    return calls


def _cross(config: Any, sequences: int, tokens: int, memory: int) -> list[Call]:
    """Blocks of self-attention, cross-attention to `memory` tokens, and MLP."""
    c, depth = config.width, config.depth
    return [
        *_stack(config, sequences, 1, tokens),
        Product(sequences * tokens, c, c, 2 * depth),
        Product(sequences * memory, c, c, 2 * depth),
        AttentionCall(sequences, config.heads, tokens, c // config.heads, depth, keys=memory),
    ]
