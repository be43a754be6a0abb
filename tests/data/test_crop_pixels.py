"""The pixels of crops: PyTorch's resizing against Pillow's, edges between pixels, JPEGs decoded small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muskie.data import images
from muskie.data.augmentation import Augmentation
from muskie.data.crops import Crop
from muskie.data.images import Picture, open_image
from muskie.data.scene import Camera, Frame


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture without sharp edges, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(256, size=(height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(40, 56), (160, 160), (93, 47)])
@pytest.mark.parametrize("seed", range(4))
def test_resizing_is_pillows_to_a_level(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(256, size=(120, 168, 3), dtype=np.uint8)
    crop = Augmentation(distortion=1.5).draw(rng, 168 / 120, size[1] / size[0]).snapped((168, 120), (168, 120))
    found = crop.image(Picture(pixels), *size)
    box = [round(edge) for edge in (crop.left * 168, crop.top * 120, crop.right * 168, crop.bottom * 120)]
    cut = Image.fromarray(pixels).crop((box[0], box[1], box[2], box[3]))
    expected = np.asarray(cut.resize(size[::-1], Image.Resampling.BICUBIC))
    if crop.flip_x:
        expected = expected[:, ::-1]
    difference = np.abs(found.transpose(1, 2, 0).astype(int) - expected)
    assert difference.max() <= 2 and difference.mean() < 0.6


@pytest.mark.parametrize("stored", [(640, 480), (641, 477), (1001, 750)])
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_edges_lie_between_whole_pixels_and_near_where_they_were_asked_for(stored: tuple[int, int], factor: int) -> None:
    shown = (-(-stored[0] // factor), -(-stored[1] // factor))
    rng = np.random.default_rng(0)
    for _ in range(40):
        asked = Augmentation(min_area=0.3).draw(rng, stored[0] / stored[1], 1.0)
        crop = asked.snapped(stored, shown)
        for edge, was, side in (
            (crop.left, asked.left, stored[0]),
            (crop.right, asked.right, stored[0]),
            (crop.top, asked.top, stored[1]),
            (crop.bottom, asked.bottom, stored[1]),
        ):
            assert abs(edge * side / factor - round(edge * side / factor)) < 1e-6
            # Half a pixel that is shown, and at the far side what is left of the last one.
            assert abs(edge - was) * side < 1.5 * factor and edge * side <= side + 1e-6
        again = crop.snapped(stored, shown)
        np.testing.assert_allclose([again.left, again.right, again.top], [crop.left, crop.right, crop.top], atol=1e-9)


@pytest.mark.parametrize("turbo", [True, False])
@pytest.mark.parametrize("stored", [(640, 480), (637, 475)])
def test_a_jpeg_decoded_small_shows_the_same_crop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[int, int], turbo: bool
) -> None:
    """Content, depth and camera: ramps whose values say where they come from."""
    if not turbo:
        monkeypatch.setattr(images, "jpeg", None)
    elif images.jpeg is None:
        pytest.skip("simplejpeg is not installed")
    width, height = stored
    across = np.linspace(0, 255, width, endpoint=False) + 127.5 / width  # the value at the centre of each pixel
    down = np.linspace(0, 255, height, endpoint=False) + 127.5 / height
    ramps = np.stack(np.broadcast_arrays(across[None], down[:, None], 128.0), axis=-1)
    path = tmp_path / "a.jpg"
    Image.fromarray(np.rint(ramps).astype(np.uint8)).save(path, quality=100, subsampling=0)
    depth = (np.arange(height)[:, None] * 1000.0 + np.arange(width)).astype(np.float32)
    camera = Camera(np.array([[500.0, 0, width / 2], [0, 480.0, height / 2], [0, 0, 1]]), np.eye(4))
    rng = np.random.default_rng(1)
    for at_least in (None, 200, 100, 50):
        frame = Frame(open_image(path, at_least), depth, camera, stored)
        assert at_least is None or frame.image.width < width
        crop = Augmentation(min_area=0.5, flip_x=0).draw(rng, width / height, 1.0)
        image, nearest, moved = crop.frame(frame, 48, 48)
        assert moved is not None and nearest is not None
        # The ray through the centre of pixel (x, y) hits the stored picture where the ramps say that it was.
        centre = np.arange(48) + 0.5
        x = (centre - moved.intrinsics[0, 2]) / moved.intrinsics[0, 0] * 500.0 + width / 2
        y = (centre - moved.intrinsics[1, 2]) / moved.intrinsics[1, 1] * 480.0 + height / 2
        inner = slice(4, -4)
        np.testing.assert_allclose(image[0, 24, inner], (x * 255 / width)[inner], atol=2)
        np.testing.assert_allclose(image[1, inner, 24], (y * 255 / height)[inner], atol=2)
        assert np.abs(nearest % 1000 + 0.5 - x).max() <= 0.5 + 1e-3
        assert np.abs(nearest.T // 1000 + 0.5 - y).max() <= 0.5 + 1e-3


def test_simplejpeg_and_pillow_decode_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if images.jpeg is None:
        pytest.skip("simplejpeg is not installed")
    pixels = smooth(333, 450)
    cases = {"colour": {}, "grey": {}, "progressive": {"progressive": True}, "full": {"subsampling": 0}}
    for name, options in cases.items():
        image = Image.fromarray(pixels if name != "grey" else pixels[..., 0])
        image.save(tmp_path / f"{name}.jpg", quality=90, **options)
    for at_least in (None, 160, 80, 40):
        ours = {name: open_image(tmp_path / f"{name}.jpg", at_least).pixels for name in cases}
        with monkeypatch.context() as patch:
            patch.setattr(images, "jpeg", None)
            for name, found in ours.items():
                expected = open_image(tmp_path / f"{name}.jpg", at_least).pixels
                assert found.shape == expected.shape
                assert np.abs(found.astype(int) - expected).max() <= 2


def test_a_side_that_is_no_multiple_shows_its_last_pixel_in_part() -> None:
    crop = Crop().snapped((637, 475), (80, 60))
    assert crop.right * 637 == pytest.approx(79 * 8) and crop.bottom * 475 == pytest.approx(59 * 8)
