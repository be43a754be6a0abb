"""`get_intermediate_layers` against `forward_features`."""

from __future__ import annotations

import pytest
import torch

import muskie

DEPTH = 4


@pytest.fixture(scope="module")
def model() -> muskie.models.masked_view.MaskedViewModel:
    return muskie.create_model("muskie_tiny", depth=DEPTH, width=32, heads=2).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 3, 16, 40)


@torch.no_grad()
def test_the_last_layer_is_the_features(model: torch.nn.Module, images: torch.Tensor) -> None:
    (last,) = model.get_intermediate_layers(images)
    assert torch.equal(last, model.forward_features(images).patches)
    (raw,) = model.get_intermediate_layers(images, norm=False)
    assert torch.equal(model.encoder.norm(raw), last) and not torch.equal(raw, last)
    assert torch.equal(raw, model.encoder.tokens(images)[:, :, 4:])
    encoded = model.encoder(images)
    assert encoded.prefix == 4 and encoded.views == 3 and torch.equal(encoded.tokens[0][:, :, 4:], last)


@pytest.mark.parametrize(
    ("n", "numbers"),
    [(1, [3]), (2, [2, 3]), (4, [0, 1, 2, 3]), ([0, 2], [0, 2]), ([-1], [3]), ((-4, 1), [0, 1]), ([3, 1], [1, 3])],
)
@torch.no_grad()
def test_which_layers(model: torch.nn.Module, images: torch.Tensor, n: int | list[int], numbers: list[int]) -> None:
    every = model.get_intermediate_layers(images, DEPTH, norm=False)
    chosen = model.get_intermediate_layers(images, n, norm=False)
    assert len(every) == DEPTH and len(chosen) == len(numbers)
    for layer, number in zip(chosen, numbers, strict=True):
        assert torch.equal(layer, every[number])
    assert len({layer.sum().item() for layer in every}) == DEPTH


@torch.no_grad()
def test_a_shallower_model_is_the_first_blocks_of_a_deeper_one(model: torch.nn.Module, images: torch.Tensor) -> None:
    shallow = muskie.create_model("muskie_tiny", depth=2, width=32, heads=2).eval()
    own = shallow.state_dict()
    shallow.load_state_dict({key: value for key, value in model.state_dict().items() if key in own})
    assert torch.equal(shallow.get_intermediate_layers(images)[0], model.get_intermediate_layers(images, [1])[0])


@torch.no_grad()
def test_reshape_puts_channels_first_and_keeps_places(model: torch.nn.Module, images: torch.Tensor) -> None:
    (flat,), (grid,) = model.get_intermediate_layers(images), model.get_intermediate_layers(images, reshape=True)
    assert flat.shape == (2, 3, 10, 32) and grid.shape == (2, 3, 32, 2, 5)
    for y in range(2):
        for x in range(5):
            assert torch.equal(grid[:, :, :, y, x], flat[:, :, y * 5 + x])


@pytest.mark.parametrize("n", [0, -1, 5, [4], [-5], [], [0, 9], [0, 0], [3, -1]])
def test_layers_that_are_not_there_are_refused(model: torch.nn.Module, images: torch.Tensor, n: int | list[int]) -> None:
    with pytest.raises(ValueError, match="1 to 4 blocks" if isinstance(n, int) else "numbers of blocks, 0 to 3, each once"):
        model.get_intermediate_layers(images, n)
