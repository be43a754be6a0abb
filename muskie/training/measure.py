"""How fast a training step is, and against what: the bare matrix products and attention calls that it is made of.

*Bare* are the same products and attention calls as in a step, forward and backward, and nothing else. Step and bare calls
are timed in turns, so that whatever else the machine does weighs on both; *overhead* is the ratio of their medians, 1 at
best. With activation checkpointing, it includes what is computed a second time.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.models.flops import AttentionCall, Call, Product
from muskie.timing import in_turns
from muskie.training.random_step import TrainingStep


class BareCalls:
    """Call it to run matrix products and attention calls on random numbers, forward and backward.

    Calls of the same shape share their inputs; every result is a new tensor.

    Args:
        calls: what to run.
        device, dtype: where, and of which type all tensors are.
    """

    def __init__(self, calls: Sequence[Call], device: torch.device, dtype: torch.dtype) -> None:
        def random(*shape: int) -> Tensor:
            return torch.randn(shape, device=device, dtype=dtype)

        self.products: list[tuple[Product, Tensor, Tensor, Tensor]] = []
        self.attention: list[tuple[AttentionCall, list[Tensor], Tensor]] = []
        for call in calls:
            if isinstance(call, Product):
                x, weight = random(call.rows, call.inner), random(call.columns, call.inner)
                self.products.append((call, x, weight, random(call.rows, call.columns)))
            else:
                shape = (call.sequences, call.heads, call.tokens, call.head_dim)
                self.attention.append((call, [random(*shape).requires_grad_() for _ in range(3)], random(*shape)))

    def __call__(self) -> None:
        for call, x, weight, gradient in self.products:
            for _ in range(call.count):
                x @ weight.T
                gradient.T @ x
                if call.input_gradient:
                    gradient @ weight
        for attention, qkv, gradient in self.attention:
            for _ in range(attention.count):
                q, k, v = qkv
                torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), qkv, gradient)


class SquareProduct:
    """Call it to multiply two large square matrices; `flop` says how many operations that is."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.side = 8192 if device.type == "cuda" else 2048
        self.flop = 2 * self.side**3
        self.a, self.b = torch.randn(2, self.side, self.side, device=device, dtype=dtype)

    def __call__(self) -> None:
        self.a @ self.b


def measure_speed(step: TrainingStep, rounds: int) -> dict[str, Any]:
    """Times a step against its bare calls and a large matrix product; times in seconds, rates per second.

    `overhead_of_processors` is the ratio of processor times, on CPUs: it says nearly the same when other programs take
    turns with this one.
    """
    dtype = step.dtype or torch.float32
    square = SquareProduct(step.device, dtype)
    bare = BareCalls(step.calls, step.device, dtype)
    times = in_turns({"step": step, "bare": bare, "square": square}, rounds, step.device)
    wall = {name: [seconds.wall for seconds in values] for name, values in times.items()}
    median = {name: statistics.median(values) for name, values in wall.items()}
    processors = {name: statistics.median(seconds.processors for seconds in values) for name, values in times.items()}
    flop = sum(call.forward + call.backward for call in step.calls)
    rate = square.flop / median["square"]
    return {
        "step_s": {"median": median["step"], "fastest": min(wall["step"]), "slowest": max(wall["step"])},
        "bare_s": {"median": median["bare"], "fastest": min(wall["bare"]), "slowest": max(wall["bare"])},
        "overhead": median["step"] / median["bare"],
        "overhead_of_rounds": [a / b for a, b in zip(wall["step"], wall["bare"], strict=True)],
        "overhead_of_processors": processors["step"] / processors["bare"] if step.device.type == "cpu" else None,
        "images_per_s": step.images / median["step"],
        "tokens_per_s": step.tokens / median["step"],
        "forward_flop": sum(call.forward for call in step.calls),
        "flop": flop,
        "flop_per_s": flop / median["step"],
        "matmul_flop_per_s": rate,
        "mfu": flop / median["step"] / rate,
    }
