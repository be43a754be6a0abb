"""Compiled for CPUs, these parts compute what PyTorch's do, forward and backward. Traced, without a C++ compiler."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from muskie.models.blocks import AlternatingBlock, BlockConfig
from muskie.models.compiled import Linear, compile_block, gelu, heads_first
from muskie.models.rope import rope_table

Result = tuple[Tensor, list[Tensor]]


def run(module: Callable[..., Tensor], x: Tensor, parameters: list[nn.Parameter], bf16: bool, *more: object) -> Result:
    """The output for x and the gradients of x and the parameters."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = module(x, *more)
    weight = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return out, list(torch.autograd.grad((out.float() * weight).sum(), [x, *parameters]))


def assert_same(ours: Result, torchs: Result, bf16: bool) -> None:
    assert ours[0].dtype == torchs[0].dtype
    for a, b in zip([ours[0], *ours[1]], [torchs[0], *torchs[1]], strict=True):
        assert a.dtype == b.dtype
        scale = float(b.abs().max())
        torch.testing.assert_close(a, b, rtol=0, atol=scale * (0.04 if bf16 else 1e-5))


class Recorder:
    """A compiler that runs what it is given as it is, and remembers which of our own operations are in it."""

    def __init__(self) -> None:
        self.ours: set[str] = set()
        self.backend = aot_autograd(fw_compiler=self.compile)

    def compile(self, graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        names = {str(node.target) for node in graph.graph.nodes}
        self.ours |= {name for name in names if name.startswith("muskie.")}
        return make_boxed_func(graph.forward)


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", [(7, 6), (2, 3, 5, 6)])
def test_linear(shape: tuple[int, ...], bf16: bool) -> None:
    torch.manual_seed(0)
    linear = Linear(6, 4)
    same = nn.Linear(6, 4)
    same.load_state_dict(linear.state_dict())
    recorder = Recorder()
    compiled = torch.compile(linear, backend=recorder.backend)
    x = torch.randn(shape)
    ours = run(compiled, x, list(linear.parameters()), bf16)
    assert_same(ours, run(same, x, list(same.parameters()), bf16), bf16)
    assert recorder.ours == {"muskie.column_sums.default"}
    torch.testing.assert_close(linear(x), same(x), rtol=0, atol=0)


@pytest.mark.parametrize("bf16", [False, True])
def test_gelu(bf16: bool) -> None:
    x = torch.linspace(-9, 9, 24).view(2, 3, 4).to(torch.bfloat16 if bf16 else torch.float32)
    recorder = Recorder()
    compiled = torch.compile(gelu, backend=recorder.backend)
    assert_same(run(compiled, x, [], False), run(F.gelu, x, [], False), bf16)
    assert recorder.ours == {"muskie.multiply.default"}


def test_heads_first() -> None:
    x = torch.randn(2, 5, 3, 4)
    compiled = torch.compile(heads_first, backend="aot_eager")(x)
    assert torch.equal(compiled, x.transpose(1, 2)) and compiled.is_contiguous()
    assert heads_first(x).data_ptr() == x.data_ptr(), "without the compiler nothing is copied"


@pytest.mark.parametrize("bf16", [False, True])
def test_a_block_compiled_and_not(bf16: bool) -> None:
    torch.manual_seed(0)
    block = AlternatingBlock(BlockConfig(width=32, heads=2, rotate_values=True, qk_norm=True))
    table = rope_table((2, 3), 2, 16)
    x, tables = torch.randn(2, 3, 8, 32), (table, table.tile(3))
    eager = run(block, x, list(block.parameters()), bf16, *tables)
    compiled = torch.compile(block, backend="aot_eager")
    assert_same(run(compiled, x, list(block.parameters()), bf16, *tables), eager, bf16)


@pytest.mark.parametrize(("before", "after"), [(8, 64), (100, 100)])
def test_blocks_are_compiled_for_many_shapes(before: int, after: int) -> None:
    block = AlternatingBlock(BlockConfig(8, 2))
    names = list(block.state_dict())
    with torch._dynamo.config.patch(recompile_limit=before):
        compile_block(block)
        assert torch._dynamo.config.recompile_limit == after
    assert list(block.state_dict()) == names and block._compiled_call_impl is not None
