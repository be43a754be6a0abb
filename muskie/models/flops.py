"""The matrix products and attention calls of a model, and their floating point operations, by formula.

A multiplication and its addition count as two operations. Norms, activations, rotary positions and softmax are not
counted: what they take is overhead. Neither is what a kernel or activation checkpointing computes a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from muskie.models.decoder import DecoderConfig
from muskie.models.encoder import EncoderConfig


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
    """`count` times softmax(q kᵀ) v with q, k, v [sequences, heads, tokens, head_dim]."""

    sequences: int
    heads: int
    tokens: int
    head_dim: int
    count: int = 1

    @property
    def forward(self) -> int:
        """Operations of the two products of the forward pass, of all `count` calls."""
        return 4 * self.count * self.sequences * self.heads * self.tokens**2 * self.head_dim

    @property
    def backward(self) -> int:
        """Operations of the four products of the backward pass."""
        return 2 * self.forward


Call = Product | AttentionCall


def training_calls(
    encoder: EncoderConfig, decoder: DecoderConfig | None, scenes: int, views: int, grid: tuple[int, int], hidden: int
) -> list[Call]:
    """What a `MaskedViewModel` runs for one batch in training, with the head on the hidden patches alone.

    Args:
        encoder, decoder: of the model; no decoder: the linear head alone.
        scenes, views: B and V of the batch.
        grid: patch rows and columns (h, w) of a view.
        hidden: M, the hidden patches of the whole batch.
    """
    images, patches, colours = scenes * views, grid[0] * grid[1], 3 * encoder.patch_size**2
    tokens = encoder.registers + patches
    calls: list[Call] = [Product(images * patches, colours, encoder.width, input_gradient=False)]
    calls += _stack(encoder, scenes, views, tokens)
    width = encoder.width
    if decoder is not None and decoder.depth:
        calls.append(Product(images * tokens, width, decoder.width))
        calls += _stack(decoder, scenes, views, tokens)
        width = decoder.width
    return [*calls, Product(hidden, width, 2 * colours)]


def _stack(config: EncoderConfig | DecoderConfig, scenes: int, views: int, tokens: int) -> list[Call]:
    """The alternating blocks of an encoder or decoder over views of `tokens` tokens."""
    c, mlp, layers = config.width, int(config.width * config.mlp_ratio), 2 * config.depth
    linear = Product(scenes * views * tokens, c, c, layers)
    frame_wise = AttentionCall(scenes * views, config.heads, tokens, c // config.heads, config.depth)
    return [
        replace(linear, columns=3 * c),
        linear,
        replace(linear, columns=mlp),
        replace(linear, inner=mlp),
        frame_wise,
        replace(frame_wise, sequences=scenes, tokens=views * tokens),
    ]
