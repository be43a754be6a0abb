"""What a listener hears is what attention is computed from, and nothing changes by being heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from reference import turn
from torch import Tensor

import muskie
from muskie.errors import ConfigError
from muskie.models.listening import block_numbers, listening
from muskie.models.masked_view import MaskedViewModel

DEPTH = 3


def make(**settings: Any) -> MaskedViewModel:
    model = muskie.create_model("muskie_tiny", depth=DEPTH, width=32, heads=2, **settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # gains and biases too
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    return model


class Ear:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: dict[int, tuple[Tensor, Tensor]] = {}
        self.calls = 0

    def __call__(self, block: int, q: Tensor, k: Tensor) -> None:
        self.heard[block] = (q, k)
        self.calls += 1


@torch.no_grad()
def by_hand(model: MaskedViewModel, images: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Queries and keys of a global block, [V·T, heads, d], float64, token by token and head by head, of one scene."""
    config = model.encoder.config
    attention: Any = model.encoder.blocks.get_submodule(f"{block}.global_block.attn")
    entered: list[Tensor] = []
    handle = attention.register_forward_pre_hook(lambda module, given: entered.append(given[0]))
    model.forward_features(images)
    handle.remove()
    h, w = (side // config.patch_size for side in images.shape[-2:])
    places = [(0, 0)] * config.registers + [(y + 1, x + 1) for y in range(h) for x in range(w)]
    both = entered[0][0].double() @ attention.qkv.weight.double().T + attention.qkv.bias.double()
    found = []
    for part, norm in enumerate((attention.q_norm, attention.k_norm)):
        rows = both[:, part * config.width : (part + 1) * config.width].unflatten(-1, (config.heads, -1))
        if config.qk_norm:
            rows = rows / rows.square().mean(-1, keepdim=True).sqrt() * norm.weight.double()
        turned = [[turn(head, places[n % len(places)], False) for head in token] for n, token in enumerate(rows)]
        found.append(torch.stack([torch.stack(token) for token in turned]))
    return found[0], found[1]


@pytest.mark.parametrize("settings", [{}, {"qk_norm": True, "rotate_values": True}, {"registers": 0}])
def test_queries_and_keys_are_those_of_attention(settings: dict[str, Any]) -> None:
    model, images, ear = make(**settings), torch.rand(1, 2, 3, 16, 24), Ear()
    with torch.no_grad(), listening(model.encoder, ear):
        model.forward_features(images)
    assert list(ear.heard) == [0, 1, 2] and ear.calls == DEPTH
    for block, pair in ear.heard.items():
        for heard, expected in zip(pair, by_hand(model, images, block), strict=True):
            torch.testing.assert_close(heard[0].double(), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_features_are_the_same_whether_heard_or_not() -> None:
    model, images = make(), torch.rand(2, 3, 3, 16, 16)
    silent = model.get_intermediate_layers(images, DEPTH)
    with listening(model.encoder, Ear()):
        heard = model.get_intermediate_layers(images, DEPTH)
    assert all(map(torch.equal, silent, heard))


@pytest.mark.parametrize(("blocks", "heard"), [(None, [0, 1, 2]), ([1], [1]), ([-1], [2]), ([2, 0], [0, 2]), ((-1, 2), [2])])
@torch.no_grad()
def test_which_blocks_are_heard(blocks: Sequence[int] | None, heard: list[int]) -> None:
    model, ear = make(), Ear()
    with listening(model.encoder, ear, blocks):
        model.forward_features(torch.rand(1, 2, 3, 8, 8))
    assert list(ear.heard) == heard and ear.calls == len(heard)


@pytest.mark.parametrize("blocks", [[3], [-4], [0, 1, 7], []])
def test_blocks_that_are_not_there_are_refused(blocks: list[int]) -> None:
    model = make()
    with pytest.raises(ConfigError, match="expected one or more numbers of -3 to 2, or null"):
        block_numbers(model.encoder, blocks)
    with pytest.raises(ConfigError), listening(model.encoder, Ear(), blocks):
        raise AssertionError("nothing is run")


@torch.no_grad()
def test_nothing_is_heard_afterwards() -> None:
    model, images, ear = make(), torch.rand(1, 2, 3, 8, 8), Ear()
    with listening(model.encoder, ear):
        pass
    model.forward_features(images)
    with pytest.raises(KeyboardInterrupt), listening(model.encoder, ear):
        raise KeyboardInterrupt
    model.forward_features(images)
    assert not ear.calls


@torch.no_grad()
def test_nothing_is_heard_after_a_listener_that_fails() -> None:
    model, images = make(), torch.rand(1, 2, 3, 8, 8)

    def deaf(block: int, q: Tensor, k: Tensor) -> None:
        raise RuntimeError("cannot hear")

    with pytest.raises(RuntimeError, match="cannot hear"), listening(model.encoder, deaf):
        model.forward_features(images)
    model.forward_features(images)


@torch.no_grad()
def test_the_inner_of_two_listeners_hears_and_then_the_outer_one_again() -> None:
    model, images, outer, inner = make(), torch.rand(1, 2, 3, 8, 8), Ear(), Ear()
    with listening(model.encoder, outer):
        with listening(model.encoder, inner, [1]):
            model.forward_features(images)
        assert (list(outer.heard), list(inner.heard)) == ([0, 2], [1])
        model.forward_features(images)
    assert (outer.calls, inner.calls) == (5, 1)


@torch.no_grad()
def test_compiled_blocks_are_heard_and_stay_compiled() -> None:
    torch._dynamo.reset()
    model, images, ear = make(), torch.rand(1, 2, 3, 8, 8), Ear()
    expected = model.forward_features(images).patches
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: object) -> Any:
        graphs.append(graph)
        return graph.forward

    for block in model.encoder.blocks:
        block.compile(backend=count)
    first = model.forward_features(images).patches
    compiled = len(graphs)
    with listening(model.encoder, ear):
        heard = model.forward_features(images).patches
    assert ear.calls == DEPTH and compiled == len(graphs) > 0, "nothing is compiled for a listener"
    assert torch.equal(heard, expected)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-5)
    assert torch.equal(model.forward_features(images).patches, first)
    assert ear.calls == DEPTH and len(graphs) == compiled, "and nothing again afterwards"
