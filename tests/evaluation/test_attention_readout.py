"""Attention read out while the encoder runs, against whole maps that are kept and read one entry at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import muskie
from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import ours
from muskie.evaluation.attention_readout import KINDS, attention_of, attention_reader, can_attend
from muskie.evaluation.readout import patch_centres
from muskie.models.listening import listening

DEPTH, HEADS, VIEWS = 3, 2, 3
SIZE, GRID = (16, 24), (2, 3)


def backbone(dtype: torch.dtype | None = None, **settings: Any) -> FrozenBackbone:
    """Lively enough that attention is far from even."""
    model = muskie.create_model("muskie_tiny", depth=DEPTH, width=32, heads=HEADS, **settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "qkv.weight" in name:
                parameter.mul_(5)
    return ours(model, "mine", dtype=dtype)


def pictures(scenes: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (scenes, VIEWS, 3, *size), dtype=torch.uint8, generator=generator)


def centres(scenes: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
    return patch_centres(torch.arange(GRID[0] * GRID[1]), GRID, size).expand(scenes, -1, 2)


def kept(backbone: FrozenBackbone, images: Tensor, blocks: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys of whole blocks, float64 [B, heads, V·T, d]."""
    found: list[tuple[Tensor, Tensor]] = []
    with listening(backbone.model.encoder, lambda n, q, k: found.append((q, k)), blocks):  # type: ignore[attr-defined]
        backbone.features(images)
    return [(q.double().transpose(1, 2), k.double().transpose(1, 2)) for q, k in found]


def naive(pairs: list[tuple[Tensor, Tensor]], registers: int, kind: str, grid: tuple[int, int] = GRID) -> Tensor:
    """Of every patch of view 0, [B, V, L, h, w]: the whole map of each block and head first."""
    maps = []
    for q, k in pairs:
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # [B, heads, V·T, V·T]
        whole = scores.softmax(-1) if kind == "attention" else (scores + scores.transpose(-1, -2)) / 2
        maps.append(whole.mean(1))
    mean = torch.stack(maps).mean(0)  # [B, V·T, V·T]
    tokens = mean.shape[-1] // VIEWS
    found = mean.new_zeros(len(mean), VIEWS, grid[0] * grid[1], *grid)
    for query in range(grid[0] * grid[1]):
        for view in range(VIEWS):
            first = view * tokens + registers
            found[:, view, query] = mean[:, registers + query, first : first + grid[0] * grid[1]].unflatten(-1, grid)
    return found


@pytest.mark.parametrize("settings", [{}, {"registers": 0}, {"qk_norm": True, "rotate_values": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_at_patch_centres_it_is_what_whole_maps_say(kind: str, settings: dict[str, Any]) -> None:
    mine, images = backbone(**settings), pictures()
    expected = naive(kept(mine, images, [0, 1, 2]), settings.get("registers", 4), kind)
    found = attention_of(mine, images, centres(), [kind])
    assert list(found) == [kind] and found[kind].dtype == torch.float32
    torch.testing.assert_close(found[kind].double(), expected, rtol=1e-4, atol=1e-5)
    assert float(expected.std()) > 0.005, "far from even"


def test_both_kinds_in_one_pass() -> None:
    mine, images = backbone(), pictures()
    both = attention_of(mine, images, centres())
    for kind in KINDS:
        assert torch.equal(both[kind], attention_of(mine, images, centres(), [kind])[kind])


@pytest.mark.parametrize("blocks", [[0], [-1], [2, 0]])
def test_chosen_blocks(blocks: list[int]) -> None:
    mine, images = backbone(), pictures()
    pairs = kept(mine, images, blocks)
    assert len(pairs) == len(blocks)
    for kind, found in attention_of(mine, images, centres(), blocks=blocks).items():
        torch.testing.assert_close(found.double(), naive(pairs, 4, kind), rtol=1e-4, atol=1e-5)


def test_attention_is_shared_among_all_patches_and_registers() -> None:
    """What patches do not get, registers do; without registers, patches get all."""
    images = pictures()
    patches = attention_of(backbone(), images, centres())["attention"].sum((1, 3, 4))
    to_registers = torch.zeros(2, GRID[0] * GRID[1], dtype=torch.float64)
    for q, k in kept(backbone(), images, [0, 1, 2]):
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1).mean(1)
        tokens = weights.shape[-1] // VIEWS
        for view in range(VIEWS):
            to_registers += weights[:, 4 : 4 + 6, view * tokens : view * tokens + 4].sum(-1) / DEPTH
    torch.testing.assert_close(patches.double(), 1 - to_registers, rtol=0, atol=1e-5)
    assert float(to_registers.min()) > 0.01
    alone = attention_of(backbone(registers=0), images, centres())["attention"].sum((1, 3, 4))
    torch.testing.assert_close(alone, torch.ones(2, 6), rtol=0, atol=1e-5)


def test_between_centres_queries_and_keys_are_bilinear() -> None:
    """A quarter of the way to the right, half of the way down; and at the corner, the corner's own."""
    mine, images = backbone(), pictures()
    between = torch.tensor([[[4 + 2.0, 4 + 4.0], [0.0, 16.0]]]).expand(2, 2, 2)
    shares = torch.zeros(2, 6, dtype=torch.float64)
    shares[0, [0, 1, 3, 4]] = torch.tensor([0.375, 0.125, 0.375, 0.125], dtype=torch.float64)
    shares[1, 3] = 1
    found = attention_of(mine, images, between)
    expected = {kind: torch.zeros(2, VIEWS, 2, *GRID, dtype=torch.float64) for kind in KINDS}
    for q, k in kept(mine, images, [0, 1, 2]):
        d, tokens = q.shape[-1], q.shape[2] // VIEWS
        q_here, k_here = (torch.einsum("ql,bhld->bhqd", shares, x[:, :, 4:10]) for x in (q, k))
        weights = (q_here @ k.transpose(-1, -2) / math.sqrt(d)).softmax(-1).mean(1)
        scores = (q_here @ k.transpose(-1, -2) + k_here @ q.transpose(-1, -2)).mean(1) / 2 / math.sqrt(d)
        for kind, values in (("attention", weights), ("scores", scores)):
            for view in range(VIEWS):
                first = view * tokens + 4
                expected[kind][:, view] += values[..., first : first + 6].unflatten(-1, GRID) / DEPTH
    for kind in KINDS:
        torch.testing.assert_close(found[kind].double(), expected[kind], rtol=1e-4, atol=1e-5)


def test_the_order_of_the_other_views_does_not_matter() -> None:
    mine, images, order = backbone(), pictures(), [0, 2, 1]
    one, other = attention_of(mine, images, centres()), attention_of(mine, images[:, order], centres())
    for kind in KINDS:
        torch.testing.assert_close(one[kind][:, order], other[kind], rtol=1e-4, atol=1e-5)


def test_pictures_that_are_resized_keep_their_positions() -> None:
    """Pictures of 18 x 23 pixels become 16 x 24; a patch's centre stays its centre."""
    mine, images = backbone(), pictures(size=(18, 23))
    found = attention_of(mine, images, centres(size=(18, 23)))
    for kind in KINDS:
        torch.testing.assert_close(found[kind].double(), naive(kept(mine, images, [0, 1, 2]), 4, kind), rtol=1e-4, atol=1e-5)


def test_under_autocast_maps_are_as_exact_as_what_is_heard() -> None:
    """The model's products are in bfloat16, and those of the read-out are not, or ties would decide."""
    mine, images = backbone(dtype=torch.bfloat16), pictures()
    pairs = kept(mine, images, [0, 1, 2])
    assert all((q == q.bfloat16()).all() for q, _ in pairs)
    for kind, found in attention_of(mine, images, centres()).items():
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), naive(pairs, 4, kind), rtol=1e-4, atol=1e-5)


def test_a_reader_changes_no_features() -> None:
    mine, images = backbone(), pictures()
    (silent,) = mine.features(images)
    with attention_reader(mine, images, centres()) as reader:
        (heard,) = mine.features(images)
    assert torch.equal(silent, heard) and set(reader.result()) == set(KINDS)


class Alone(nn.Module):
    """A model that looks at every view on its own."""

    patch_size = 8

    def get_intermediate_layers(self, images: Tensor, n: object, reshape: bool, norm: bool) -> tuple[Tensor, ...]:
        raise AssertionError("nothing is run")


def test_models_without_attention_between_views_are_refused() -> None:
    alone = FrozenBackbone("alone", Alone(), 1)
    assert not can_attend(alone) and can_attend(backbone())
    with pytest.raises(ValueError, match="alone looks at every view on its own"):
        attention_of(alone, pictures(), centres())
