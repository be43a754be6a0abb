"""Every pixel of a view lies in its original where the pixel map says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from marked import spot, spot_at
from PIL import Image

from muskie.errors import ConfigError
from muskie.inputs.resize import common_size, fitted, inner_box, resized

SIZES = [(200, 150), (150, 200), (97, 61), (64, 64), (300, 80), (33, 140)]


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("original", SIZES)
def test_a_mark_lies_where_the_map_says(original: tuple[int, int], fit: str) -> None:
    width, height = original
    radius = min(original) / 20
    for to in [(96, 64), (64, 96), (160, 160)]:
        pixel_map = fitted(original, to, fit)
        assert (pixel_map.original_size, pixel_map.size) == (original, to)
        for dx, dy in [(0, 0), (-0.11, 0.13), (0.12, -0.08)]:
            x, y = width / 2 + dx * min(original), height / 2 + dy * min(original)
            pixels = resized(Image.fromarray(spot(width, height, x, y, radius)), pixel_map)
            assert pixels.shape == (3, to[1], to[0]) and pixels.dtype == np.uint8
            expected = pixel_map.to_processed(torch.tensor([x, y], dtype=torch.float64))
            np.testing.assert_allclose(spot_at(pixels), expected, atol=0.06)
            np.testing.assert_allclose(pixel_map.to_original(expected), [x, y], atol=1e-9)


@pytest.mark.parametrize("original", SIZES)
def test_crop_fills_the_view_with_square_pixels_and_the_middle(original: tuple[int, int]) -> None:
    pixel_map = fitted(original, (96, 64))
    assert pixel_map.scale[0] == pytest.approx(pixel_map.scale[1])
    corners = pixel_map.to_original(torch.tensor([[0.0, 0], [96, 64]], dtype=torch.float64)).numpy()
    assert (corners[0] >= -1e-9).all() and (corners[1] <= np.array(original) + 1e-9).all()
    np.testing.assert_allclose(corners.sum(0), original)  # as much is cut on one side as on the other
    assert np.isclose(corners[1] - corners[0], original).any()  # no more is cut than must be
    assert inner_box(pixel_map) == (0, 0, 96, 64)


@pytest.mark.parametrize("original", SIZES)
def test_pad_keeps_everything_on_white(original: tuple[int, int]) -> None:
    pixel_map = fitted(original, (96, 64), "pad")
    corners = pixel_map.to_processed(torch.tensor([[0.0, 0], original], dtype=torch.float64)).numpy()
    np.testing.assert_allclose(corners, np.round(corners), atol=1e-9)
    left, top, right, bottom = inner_box(pixel_map)
    np.testing.assert_allclose(corners.ravel(), (left, top, right, bottom), atol=1e-9)
    assert (left, right) == (0, 96) or (top, bottom) == (0, 64)
    assert abs(left - (96 - right)) <= 1 and abs(top - (64 - bottom)) <= 1
    pixels = resized(Image.new("RGB", original, (9, 8, 7)), pixel_map)
    inside = np.zeros((64, 96), bool)
    inside[top:bottom, left:right] = True
    assert (pixels[:, inside] == np.array([[9], [8], [7]])).all() and (pixels[:, ~inside] == 255).all()
    assert pixel_map.scale[0] == pytest.approx(pixel_map.scale[1], rel=0.5 / min(right - left, bottom - top) + 1e-6)


def test_what_already_fits_stays_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(256, size=(64, 96, 3), dtype=np.uint8)
    for fit in ("crop", "pad"):
        pixel_map = fitted((96, 64), (96, 64), fit)
        assert pixel_map.scale == (1, 1) and pixel_map.offset == (0, 0)
        np.testing.assert_array_equal(resized(Image.fromarray(pixels), pixel_map), pixels.transpose(2, 0, 1))


def test_pixels_that_are_not_square_become_square() -> None:
    """A disc in a video whose pixels are half as wide as high is stored as an ellipse."""
    for fit in ("crop", "pad"):
        pixel_map = fitted((200, 80), (64, 48), fit, pixel_aspect=0.5)
        assert pixel_map.scale[0] == pytest.approx(pixel_map.scale[1] / 2)
        stored = spot(100, 80, 47, 42, 6)
        image = Image.fromarray(stored).resize((200, 80), Image.Resampling.BILINEAR)
        pixels = resized(image, pixel_map)
        np.testing.assert_allclose(spot_at(pixels), pixel_map.to_processed(torch.tensor([94.0, 42.0])), atol=0.06)
        red = pixels[0].astype(float) - pixels[1]
        red[red < 8] = 0
        (x, y), (rows, columns) = spot_at(pixels), np.mgrid[:48, :64] + 0.5
        assert (red * (columns - x) ** 2).sum() == pytest.approx((red * (rows - y) ** 2).sum(), rel=0.03)


def test_intrinsics_go_back_to_the_original() -> None:
    """A point that projects to a pixel of the view projects to the same place of the original."""
    pixel_map = fitted((300, 200), (96, 96))
    intrinsics = torch.tensor([[80.0, 0, 48], [0, 82, 48], [0, 0, 1]], dtype=torch.float64)
    point = torch.tensor([0.3, -0.2, 1.7], dtype=torch.float64)
    here, there = intrinsics @ point, pixel_map.original_intrinsics(intrinsics) @ point
    np.testing.assert_allclose(pixel_map.to_original(here[:2] / here[2]), there[:2] / there[2])


@pytest.mark.parametrize("patch", [8, 14, 16])
def test_one_size_for_all(patch: int) -> None:
    for aspects in ([1.5], [0.75, 0.5, 0.6], [1.0], [2.0, 0.5], [30.0], [1 / 40]):
        height, width = common_size(aspects, patch, 518)
        assert height % patch == width % patch == 0 and min(height, width) >= patch
        assert max(height, width) == 518 // patch * patch
        middle = float(np.exp(np.median(np.log(aspects))))
        assert (
            abs(min(height, width) - max(height, width) * min(middle, 1 / middle)) <= patch / 2
            or min(height, width) == patch
        )
        assert (height - width) * (1 - middle) >= 0
    assert common_size([4 / 3] * 3 + [0.1, 9], patch, 518) == common_size([4 / 3], patch, 518)  # odd ones out change nothing


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"size=15: expected at least one patch of the model, 16 px"):
        common_size([1.0], 16, 15)
    with pytest.raises(ConfigError, match=r"fit='stretch': expected one of 'crop', 'pad'"):
        fitted((10, 10), (16, 16), "stretch")
