"""The size of a picture on the page, and how it gets it, against numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from muskie.visualization.sizes import LEGIBLE, WIDEST, enlarge, resized, shown_size, to_tensor


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        ((64, 64), 4, (128, 128)),
        ((96, 96), 4, (192, 192)),
        ((48, 80), 2, (144, 240)),
        ((128, 128), 8, (128, 128)),
        ((224, 224), 8, (224, 224)),
        ((512, 512), 3, (512, 512)),
        ((512, 512), 8, (224, 224)),
        ((384, 512), 8, (168, 224)),
        ((64, 64), 24, (128, 128)),  # legible before all
        ((512, 512), 24, (128, 128)),
    ],
)
def test_the_size_on_a_page(size: tuple[int, int], count: int, expected: tuple[int, int]) -> None:
    assert shown_size(*size, count) == expected


def test_sizes_keep_their_promises() -> None:
    rng = np.random.default_rng(0)
    for height, width, count in rng.integers((8, 8, 1), (600, 600, 25), (500, 3)).tolist():
        high, wide = shown_size(height, width, count)
        assert min(high, wide) >= min(LEGIBLE, min(height, width)), "legible"
        assert count * wide <= WIDEST or min(high, wide) <= LEGIBLE + min(height, width), "no wider than it must be"
        if high > height:
            assert high % height == wide % width == 0 and high // height == wide // width, "a whole factor"
        else:
            assert abs(high / wide - height / width) < 0.02 * height / width, "no picture is distorted"


def test_points_get_more_room_where_there_is_some() -> None:
    assert shown_size(64, 64, 4, at_least=256) == (256, 256)
    assert shown_size(64, 64, 8, at_least=256) == (192, 192), "a whole factor that the page has room for"


def test_enlarged_pictures_are_whole_blocks(noise: Callable[..., Tensor]) -> None:
    pictures = noise(2, 3, 5, 7)
    expected = np.kron(pictures.numpy(), np.ones((1, 1, 4, 4), dtype=np.uint8))
    assert np.array_equal(resized(pictures, (20, 28)).numpy(), expected)


def test_shrunk_pictures_are_averages(noise: Callable[..., Tensor]) -> None:
    pictures = noise(2, 3, 24, 36)
    expected = pictures.numpy().reshape(2, 3, 8, 3, 12, 3).mean((3, 5))
    assert np.abs(resized(pictures, (8, 12)).numpy() - expected).max() < 1, "rounded once along each axis"


def test_a_picture_of_the_right_size_stays(noise: Callable[..., Tensor]) -> None:
    pictures = noise(1, 3, 6, 4)
    assert resized(pictures, (6, 4)) is pictures


def test_tensor_of_an_image(noise: Callable[..., Tensor]) -> None:
    picture = noise(3, 4, 6)
    assert torch.equal(to_tensor(Image.fromarray(picture.permute(1, 2, 0).numpy())), picture)


def test_patches_at_the_resolution_of_pixels() -> None:
    values = torch.arange(2 * 2 * 3).reshape(2, 2, 3)
    assert np.array_equal(enlarge(values, (8, 6)).numpy(), np.kron(values.numpy(), np.ones((1, 4, 2), dtype=int)))
    with pytest.raises(ValueError, match="2x3 patches does not divide pictures of 9x6"):
        enlarge(values, (9, 6))
