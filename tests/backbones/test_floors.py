"""Random features: who knows nothing must know nothing, and the same nothing in every run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import muskie
from muskie.backbones.floors import RandomFeatures
from muskie.backbones.load import ours


def pictures(scenes: int, views: int, height: int = 32, width: int = 48) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (scenes, views, 3, height, width), dtype=torch.uint8, generator=generator)


def test_the_same_pictures_have_the_same_features_in_any_batch() -> None:
    images = pictures(3, 2)
    together = RandomFeatures(8).features(images)
    torch.manual_seed(1)
    apart = torch.cat([RandomFeatures(8).features(one[None]) for one in images.flip(0)]).flip(0)
    assert torch.equal(together, apart)


def test_one_other_byte_gives_other_features() -> None:
    images = pictures(1, 2)
    other = images.clone()
    other[0, 1, 0, 3, 5] += 1
    one, another = RandomFeatures(8).features(images), RandomFeatures(8).features(other)
    assert abs(float((one * another).mean())) < 0.1


def test_nothing_of_the_global_generator_is_used() -> None:
    before = torch.random.get_rng_state()
    RandomFeatures(8).features(pictures(1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("patch", "size"), [(8, (32, 48)), (8, (38, 51)), (16, (7, 105)), (7, (50, 50))])
def test_the_grid_is_that_of_a_model_with_such_patches(patch: int, size: tuple[int, int]) -> None:
    images = pictures(1, 1, *size)
    (real,) = ours(muskie.create_model("muskie_tiny", depth=1, width=8, heads=1, patch_size=patch), "").features(images)
    random = RandomFeatures(patch, width=16).features(images)
    assert random.shape == (1, 1, 16, *real.shape[-2:]) and random.dtype == torch.float32


def test_features_are_normal_and_independent() -> None:
    features = RandomFeatures(8, width=64).features(pictures(2, 3, 64, 64)).flatten(0, 1).flatten(-2)  # [6, 64, 64]
    count = features.numel()
    assert abs(float(features.mean())) < 4 / math.sqrt(count)
    assert float(features.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))
    tokens = features.transpose(1, 2).flatten(0, 1)  # [384, 64]
    products = (tokens @ tokens.T)[~torch.eye(len(tokens), dtype=torch.bool)]
    assert float(products.var()) == pytest.approx(64, rel=0.05), "the variance of 64 products of independent normals"
