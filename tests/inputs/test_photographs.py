"""Files and arrays of any kind come upright, opaque and in 8 bits; positions in them stay exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from marked import EXIF_SIDES, spot, spot_at, write_exif
from PIL import Image

from muskie.errors import DataError
from muskie.inputs.photographs import array_image, photograph, picture
from muskie.inputs.resize import fitted, resized

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(256, size=(10, 14, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", EXIF_SIDES)
def test_all_orientations_come_upright(tmp_path: Path, orientation: int) -> None:
    write_exif(tmp_path / "a.png", COLOUR, orientation)
    found = photograph(tmp_path / "a.png", "a")
    assert found.size == (14, 10)
    np.testing.assert_array_equal(np.asarray(found.open((8, 8))), COLOUR)
    with Image.open(tmp_path / "a.png") as opened:  # which the caller opened, and that has not been turned yet
        assert picture(opened, "b").size == (14, 10)
        np.testing.assert_array_equal(np.asarray(picture(opened, "b").open((8, 8))), COLOUR)


@pytest.mark.parametrize("orientation", EXIF_SIDES)
def test_transparency_is_white_upright_too(tmp_path: Path, orientation: int) -> None:
    opacity = np.tile(np.array([0, 51, 255, 255, 0, 128, 255] * 2, np.uint8), (10, 1))
    write_exif(tmp_path / "a.png", np.dstack([COLOUR, opacity]), orientation)
    share = opacity[..., None] / 255
    on_white = COLOUR * share + 255 * (1 - share)
    pixels = np.asarray(photograph(tmp_path / "a.png", "a").open((8, 8)))
    assert pixels.shape == (10, 14, 3)
    np.testing.assert_allclose(pixels, on_white, atol=1.01)


def test_other_kinds_of_transparency(tmp_path: Path) -> None:
    grey = Image.fromarray(np.dstack([COLOUR[..., 0], np.full((10, 14), 0, np.uint8)]), "LA")
    palette = Image.new("P", (14, 10), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    for name, image, options in [("grey", grey, {}), ("palette", palette, {"transparency": 1})]:
        image.save(tmp_path / f"{name}.png", **options)
        assert (np.asarray(photograph(tmp_path / f"{name}.png", name).open((8, 8))) == 255).all(), name


def test_sixteen_bits_and_grey(tmp_path: Path) -> None:
    deep = COLOUR[..., 0].astype(np.uint16) * 256 + 77
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(COLOUR[..., 0]).save(tmp_path / "grey.png")
    for name in ("deep", "grey"):
        pixels = np.asarray(photograph(tmp_path / f"{name}.png", name).open((8, 8)))
        np.testing.assert_array_equal(pixels, np.repeat(COLOUR[..., :1], 3, axis=-1))


@pytest.mark.parametrize("orientation", EXIF_SIDES)
@pytest.mark.parametrize("size", [(800, 640), (804, 638), (801, 639)])
def test_jpeg_decoded_smaller_keeps_its_places(tmp_path: Path, orientation: int, size: tuple[int, int]) -> None:
    """At an eighth, a half and not at all; a ragged last block would move the picture by part of a pixel."""
    x, y = size[0] * 0.8, size[1] * 0.3
    write_exif(tmp_path / "a.jpg", spot(*size, x, y, 40), orientation, quality=95)
    found = photograph(tmp_path / "a.jpg", "a")
    assert found.size == size
    image = found.open((50, 40))
    factor = {800: 8, 804: 2, 801: 1}[size[0]]
    assert image.size == (size[0] // factor, size[1] // factor)
    pixel_map = fitted(size, (50, 40))
    expected = pixel_map.to_processed(torch.tensor([x, y]))
    np.testing.assert_allclose(spot_at(resized(image, pixel_map)), expected, atol=0.05)


def test_arrays_and_tensors_of_every_form() -> None:
    chw = torch.from_numpy(COLOUR).permute(2, 0, 1)
    opaque = np.full((10, 14, 1), 255, np.uint8)
    forms = [
        COLOUR,
        COLOUR.astype(np.uint16) * 256 + 9,
        COLOUR / 255,
        (COLOUR / 255).astype(np.float32),
        np.dstack([COLOUR, opaque]),
        chw,
        chw / 255,
        (chw / 255).to(torch.float64),
        torch.cat([chw, torch.from_numpy(opaque[None, ..., 0])]),
    ]
    for form in forms:
        image = picture(array_image(form, "a"), "a").open((8, 8))
        np.testing.assert_array_equal(np.asarray(image), COLOUR)
    for grey in (COLOUR[..., 0], COLOUR[..., :1], chw[:1], COLOUR[..., 0] / 255):
        image = picture(array_image(grey, "a"), "a").open((8, 8))
        np.testing.assert_array_equal(np.asarray(image), np.repeat(COLOUR[..., :1], 3, axis=-1))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (COLOUR.transpose(2, 0, 1), r"a: array of shape \[3, 10, 14\]; expected an array \[H, W, 3\].*channels first: give"),
        (torch.from_numpy(COLOUR), r"a: tensor of shape \[10, 14, 3\]; expected a tensor \[3, H, W\]"),
        (COLOUR[:0], r"shape \[0, 14, 3\]"),
        (np.zeros(4, np.uint8), r"shape \[4\]"),
        (COLOUR / 127.5 - 1, r"values from -1 to 1; expected \[0, 1\], without mean"),
        (COLOUR.astype(np.float32), r"values from 0 to 255; expected \[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"values from nan to nan; expected \[0, 1\]"),
        (COLOUR.astype(np.int64), r"values of type int64; expected uint8, uint16, or floating point in \[0, 1\]"),
    ],
)
def test_arrays_that_mean_nothing(pixels: np.ndarray | torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        array_image(pixels, "a")


def test_broken_files_are_named(tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(256, size=(90, 90, 3), dtype=np.uint8)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_text("")
    for name in ("text", "empty"):
        with pytest.raises(OSError, match=rf"{name}\.png: no image that can be read"):
            photograph(tmp_path / f"{name}.png", name)
    found = photograph(tmp_path / "cut.png", "cut")  # its head is sound
    with pytest.raises(OSError, match=r"cut\.png: "):
        found.open((8, 8))
    with pytest.raises(OSError, match=r"none\.png: No such file"):
        photograph(tmp_path / "none.png", "none")
