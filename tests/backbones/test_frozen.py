"""Frozen backbones: which layers come back, how pictures are fitted to patches, and what must be told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import muskie
from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import ours
from muskie.errors import CheckpointError, ConfigError

DEPTH = 4


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    return ours(muskie.create_model("muskie_tiny", depth=DEPTH, width=32, heads=2, seed=3), "mine")


def pictures(height: int, width: int, views: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (1, views, 3, height, width), dtype=torch.uint8, generator=generator)


class Seen(nn.Module):
    """Gives what it was shown: the mean colour of each patch, times the number of the layer plus 1."""

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.asked: list[list[int]] = []
        self.given: Tensor | None = None

    def get_intermediate_layers(self, images: Tensor, n: list[int], reshape: bool, norm: bool) -> tuple[Tensor, ...]:
        self.asked.append(list(n))
        self.given = images
        flat = images.flatten(0, 1).float()
        colours = nn.functional.avg_pool2d(flat, self.patch_size).unflatten(0, images.shape[:2])
        return tuple(colours * (number + 1) for number in n)


def test_maps_come_in_the_order_asked_for(backbone: FrozenBackbone) -> None:
    images = pictures(16, 40)
    maps = backbone.features(images, layers=(-1, 0, 3, 0), norm=False)
    for features, number in zip(maps, (3, 0, 3, 0), strict=True):
        with torch.no_grad():
            (direct,) = backbone.model.get_intermediate_layers(images, [number], norm=False)
        assert features.shape == (1, 2, 32, 2, 5) and features.dtype == torch.float32
        assert torch.equal(features.flatten(-2).transpose(-1, -2), direct)
    assert not torch.equal(maps[0], maps[1])
    assert not torch.equal(backbone.features(images)[0], maps[0]), "normed unless told otherwise"


def test_each_layer_is_asked_for_once_in_their_order() -> None:
    model = Seen(8)
    maps = FrozenBackbone("seen", model, 6).features(pictures(16, 16), (5, 1, -5, 5))
    assert model.asked == [[1, 5]]
    assert [round(float((one / maps[1]).mean())) for one in maps] == [3, 1, 1, 3]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 7, 12, 24, 32])
def test_quarters_end_where_a_quarter_of_the_layers_has_run(depth: int) -> None:
    ends = [next(n for n in range(depth) if 4 * (n + 1) >= quarter * depth) for quarter in (1, 2, 3, 4)]
    assert FrozenBackbone("seen", Seen(8), depth).quarters() == sorted(set(ends))


@pytest.mark.parametrize("layer", [4, -5, 100])
def test_a_layer_that_is_not_there_is_named(backbone: FrozenBackbone, layer: int) -> None:
    with pytest.raises(ConfigError, match=f"layer {layer} of mine: expected -4 to 3"):
        backbone.features(pictures(16, 16), (0, layer))


def test_pictures_that_fit_are_left_alone() -> None:
    model, images = Seen(8), pictures(16, 24)
    FrozenBackbone("seen", model, 1).features(images)
    assert model.given is not None and model.given.dtype == torch.uint8 and torch.equal(model.given, images)


@pytest.mark.parametrize("patch", [8, 14, 16])
def test_the_nearest_size_that_fits(patch: int) -> None:
    backbone = FrozenBackbone("seen", Seen(patch), 1)
    for side in range(1, 70):
        height, width = backbone.fit(pictures(side, 40, views=1)).shape[-2:]
        assert height % patch == 0 and height >= patch and width % patch == 0
        assert abs(height - side) <= patch / 2 or (side < patch and height == patch)


@pytest.mark.parametrize("size", [(100, 60), (30, 75)])
def test_pictures_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    """Another library's bicubic, antialiased resize; its bytes are rounded."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    picture = coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    images = torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())[None, None]
    backbone = FrozenBackbone("seen", Seen(14), 1)
    found = backbone.fit(images)
    expected = picture.resize((found.shape[-1], found.shape[-2]), Image.Resampling.BICUBIC)
    difference = 255 * found[0, 0].permute(1, 2, 0).numpy() - np.asarray(expected)
    assert found.shape[-2:] == (round(size[0] / 14) * 14, round(size[1] / 14) * 14)
    assert np.abs(difference).max() <= 1.5


def test_pixels_stay_where_they_are_when_a_picture_is_resized() -> None:
    """A ramp: the value at a pixel's centre is its position, in pixels of the picture as it was."""
    ramp = (torch.arange(60) + 0.5).expand(1, 1, 3, 60, 60) / 60
    found = FrozenBackbone("seen", Seen(14), 1).fit(ramp)[0, 0, 0]  # 60 -> 56
    expected = (torch.arange(56) + 0.5) / 56
    assert float((found[28, 4:-4] - expected[4:-4]).abs().max()) < 0.02 / 56, "in a fiftieth of a pixel"


def test_bytes_and_floats_are_the_same_picture(backbone: FrozenBackbone) -> None:
    for size in ((16, 24), (20, 30)):
        images = pictures(*size)
        (one,), (other,) = backbone.features(images), backbone.features(images.float() / 255)
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_heads_can_be_trained_on_features(backbone: FrozenBackbone) -> None:
    """Features that know they were made without gradients cannot be kept for a backward pass."""
    (features,) = backbone.features(pictures(16, 16))
    weight = torch.zeros(32, 1, 1, requires_grad=True)
    (weight * features).sum().backward()
    torch.testing.assert_close(weight.grad, features.sum((0, 1, 3, 4))[:, None, None])
    assert isinstance(backbone.model, nn.Module)
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_the_model_is_set_to_evaluation() -> None:
    model = muskie.create_model("muskie_tiny", depth=1, width=32, heads=2).train()
    assert not ours(model, "mine").model.training  # type: ignore[attr-defined]


def test_features_that_are_no_numbers_are_an_error() -> None:
    """A read-out would take them for some patch, and the table would show chance."""
    model = muskie.create_model("muskie_tiny", depth=3, width=32, heads=2)
    with torch.no_grad():
        model.encoder.blocks.get_submodule("1.global_block.mlp.fc2").bias[0] = torch.inf  # type: ignore[operator]
    backbone = ours(model, "broken")
    assert backbone.features(pictures(16, 16), [0])[0].isfinite().all()
    with pytest.raises(CheckpointError, match="broken: features of layer 1, 2 are not finite: its weights are broken"):
        backbone.features(pictures(16, 16), [0, 1, 2], norm=False)
    half = ours(model, "broken", dtype=torch.bfloat16)
    with pytest.raises(CheckpointError, match="take precision=fp32"):
        half.features(pictures(16, 16))


def test_products_in_another_precision_give_float32(backbone: FrozenBackbone) -> None:
    images = pictures(20, 32)
    half = FrozenBackbone("half", backbone.model, DEPTH, dtype=torch.bfloat16)
    (exact,), (rough,) = backbone.features(images), half.features(images)
    assert rough.dtype == torch.float32 and not torch.equal(exact, rough)
    assert float((exact - rough).abs().max()) < 0.1 * float(exact.abs().max())


def test_the_network_before_training() -> None:
    """Trained weights are those of another seed; the ones of before come back, and nothing is shared."""
    model = muskie.create_model("muskie_tiny", depth=1, width=32, heads=2, seed=5)
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.load_state_dict(muskie.create_model("muskie_tiny", depth=1, width=32, heads=2, seed=6).state_dict())
    backbone = ours(model, "mine", dtype=torch.bfloat16)
    fresh = backbone.before_training()
    assert fresh is not None and fresh.name == "mine, untrained" and fresh.dtype == torch.bfloat16
    assert fresh.before_training() is None and fresh.layers([-1]) == backbone.layers([-1])
    assert isinstance(fresh.model, nn.Module)
    for name, weight in fresh.model.state_dict().items():
        assert torch.equal(weight, start[name])
    trained = dict(model.named_parameters())["head.weight"]
    assert not torch.equal(trained, start["head.weight"]), "the trained ones are left alone"
    assert FrozenBackbone("seen", Seen(8), 1).before_training() is None
