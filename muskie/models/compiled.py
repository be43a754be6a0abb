"""Parts written so that `torch.compile` makes fast code of them on CPUs too. Without it, and on GPUs, they are PyTorch's.

Measured by the profiler in training steps of `muskie_small` on two cores, of about 1,250 ms (`docs/log.md`):

- the sum over rows that a bias's gradient is: generated loops run across the cache, 23 ms; a product takes 8;
- a bias given to a product is written to the whole output first, 19 ms; added by itself it joins the next loop;
- attention of heads that lie side by side: 20 ms more than head after head, an order that the loop before can write;
- GELU's derivative: 33 ms generated, 19 to 37 by PyTorch's kernel; kept by the forward loop, some 5 ms less.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.library.custom_op("muskie::multiply", mutates_args=())
def _multiply(x: Tensor, y: Tensor) -> Tensor:
    return x.contiguous() * y


@_multiply.register_fake
def _(x: Tensor, y: Tensor) -> Tensor:
    return y.new_empty(y.shape)


@torch.library.custom_op("muskie::column_sums", mutates_args=())
def _column_sums(x: Tensor) -> Tensor:
    rows = x.flatten(0, -2)
    return (rows.new_ones(1, rows.shape[0]) @ rows).squeeze(0)


@_column_sums.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[-1])


class _Gelu(torch.autograd.Function):
    """x · Φ(x), its derivative Φ(x) + x · φ(x) written in the same loop: both need the same exponential."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        below = 0.5 * (1 + torch.erf(x * math.sqrt(0.5)))
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        ctx.save_for_backward(below + x * density)
        return x * below

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _multiply(gradient, *ctx.saved_tensors)  # an operation of its own: else the derivative is computed again


class _AddBias(torch.autograd.Function):
    """x [..., C] + bias [C]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        ctx.bias_dtype = bias.dtype
        return x + bias.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, _column_sums(gradient).to(ctx.bias_dtype)


def _compiling_for_cpu(x: Tensor) -> bool:
    return torch.compiler.is_compiling() and x.device.type == "cpu"


def gelu(x: Tensor) -> Tensor:
    """x · Φ(x) of a tensor of any shape, as `torch.nn.functional.gelu`."""
    return _Gelu.apply(x) if _compiling_for_cpu(x) else F.gelu(x)


def heads_first(x: Tensor) -> Tensor:
    """[N, T, heads, d] -> [N, heads, T, d]."""
    x = x.transpose(1, 2)
    return x.contiguous() if _compiling_for_cpu(x) else x


MOST_SHAPES = 64


def compile_block(block: nn.Module) -> None:
    """`torch.compile` a block where it stands; names of weights do not change.

    All blocks share one piece of code, which PyTorch compiles for 8 sets of shapes and then runs uncompiled. That is too few
    for two widths, changing numbers of views, single views, and the forward passes of evaluation.
    """
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, MOST_SHAPES)
    block.compile()


class Linear(nn.Linear):
    """`torch.nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:
        if self.bias is not None and _compiling_for_cpu(input):
            return _AddBias.apply(F.linear(input, self.weight), self.bias)
        return super().forward(input)
