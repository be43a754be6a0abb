"""Any file that claims to be an image comes back as upright 8-bit RGB, or as an OSError that names it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from muskie.data.images import IMAGE_SUFFIXES, open_image

RNG = np.random.default_rng(0)
GREY = RNG.integers(256, size=(10, 14), dtype=np.uint8)
COLOUR = RNG.integers(256, size=(10, 14, 3), dtype=np.uint8)
ORIENTATION = 0x112


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that survives JPEG and shrinking, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width] / 40.0
    return (127 + 100 * np.stack([np.sin(x), np.cos(y), np.sin(x + y)], axis=-1)).astype(np.uint8)


def write_png16(path: Path, rgb: np.ndarray) -> None:
    """A PNG of 16 bits a channel, which Pillow cannot write: uint16 [H, W, 3]."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    header = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def opened(path: Path, at_least: int | None = None) -> np.ndarray:
    image = open_image(path, at_least)
    pixels = np.asarray(image)
    assert pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3)
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".webp", ".PNG"])
def test_colours_come_back_as_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOUR).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    assert suffix.lower() in IMAGE_SUFFIXES
    np.testing.assert_array_equal(opened(path), COLOUR)


def with_alpha(pixels: np.ndarray) -> Image.Image:
    alpha = RNG.integers(256, size=(*pixels.shape[:2], 1), dtype=np.uint8)
    stacked = np.concatenate([pixels.reshape(*pixels.shape[:2], -1), alpha], axis=-1)
    return Image.fromarray(stacked)


def palette(transparent: bool) -> Image.Image:
    image = Image.fromarray(GREY // 4)
    image.putpalette(np.repeat(np.arange(256)[::-1], 3).astype(np.uint8).tobytes())
    image = image.copy()
    if transparent:
        image.info["transparency"] = 3
    return image


@pytest.mark.parametrize(
    ("mode", "image", "expected"),
    [
        ("L", lambda: Image.fromarray(GREY), three(GREY)),
        ("LA", lambda: with_alpha(GREY), three(GREY)),
        ("RGBA", lambda: with_alpha(COLOUR), COLOUR),
        ("P", lambda: palette(False), three(255 - GREY // 4)),
        ("P", lambda: palette(True), three(255 - GREY // 4)),
        ("1", lambda: Image.fromarray(GREY > 127), three(np.where(GREY > 127, 255, 0).astype(np.uint8))),
    ],
    ids=["grey", "grey+alpha", "rgba", "palette", "transparent palette", "1 bit"],
)
def test_every_png_mode_becomes_rgb(
    tmp_path: Path, mode: str, image: Callable[[], Image.Image], expected: np.ndarray
) -> None:
    path = tmp_path / "a.png"
    image().save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    np.testing.assert_array_equal(opened(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_its_upper_eight(tmp_path: Path, suffix: str) -> None:
    values = RNG.integers(65536, size=(10, 14)).astype(np.uint16)
    values[0, :2] = 0, 65535
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(opened(path), three((values >> 8).astype(np.uint8)))


def test_dark_sixteen_bit_images_stay_dark(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16)).save(tmp_path / "a.png")
    assert not opened(tmp_path / "a.png").any()


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_without_a_white_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(GREY.astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(OSError, match=r"a\.tif: a grey image of mode '[IF]' \(32 bits\) has no defined white"):
        open_image(tmp_path / "a.tif")


def test_sixteen_bit_colour_keeps_its_upper_eight(tmp_path: Path) -> None:
    values = RNG.integers(65536, size=(10, 14, 3)).astype(np.uint16)
    write_png16(tmp_path / "a.png", values)
    np.testing.assert_array_equal(opened(tmp_path / "a.png"), (values >> 8).astype(np.uint8))


def test_cmyk_and_grey_jpegs_look_right(tmp_path: Path) -> None:
    pixels = smooth(48, 64)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.jpg", quality=95)
    for at_least in (None, 40):
        assert np.abs(opened(tmp_path / "cmyk.jpg", at_least).astype(int) - pixels).mean() < 3
        assert np.abs(opened(tmp_path / "grey.jpg", at_least).astype(int) - three(pixels[..., 0])).mean() < 3


UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),  # a quarter turn clockwise
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # a quarter turn the other way
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(opened(tmp_path / "a.png"), UPRIGHT[orientation](COLOUR))
    pixels = smooth(96, 128)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    expected = UPRIGHT[orientation](pixels)
    assert np.abs(opened(tmp_path / "a.jpg").astype(int) - expected).mean() < 3
    reduced = expected.reshape(expected.shape[0] // 2, 2, expected.shape[1] // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(opened(tmp_path / "a.jpg", at_least=48) - reduced).mean() < 3


def broken(path: Path, kind: str) -> None:
    Image.fromarray(smooth(64, 64)).save(path)
    whole = path.read_bytes()
    if kind.startswith("truncated"):
        path.write_bytes(whole[: int(len(whole) * float(kind.split()[1]))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no image\n" * 40)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()


KINDS = ["truncated 0.9", "truncated 0.5", "truncated 0.05", "empty", "text", "folder", "missing"]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_least", [None, 16])
def test_what_cannot_be_read_is_an_oserror_that_names_the_file(
    tmp_path: Path, suffix: str, kind: str, at_least: int | None
) -> None:
    path = tmp_path / f"picture{suffix}"
    broken(path, kind)
    with pytest.raises(OSError, match="picture") as caught:
        open_image(path, at_least)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(smooth(24, 32)).save(path, **({} if suffix == ".bmp" else {"exif": exif}))
    whole = path.read_bytes()
    failures = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        data = bytearray(whole)
        for place in rng.integers(min(len(data), 300), size=3):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert open_image(path).pixels.dtype == np.uint8
        except OSError as error:
            failures += 1
            assert str(path) in str(error)
    assert failures


@pytest.mark.filterwarnings("ignore")
def test_a_broken_note_does_not_cost_the_picture(tmp_path: Path) -> None:
    """To turn a picture upright, Pillow writes its EXIF anew, and stumbles over a word where a number belongs."""
    path = tmp_path / "picture.jpg"
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010E] = 6, "hello"  # ImageDescription
    Image.fromarray(smooth(24, 32)).save(path, exif=exif)
    data = path.read_bytes()
    for order in "<>":
        data = data.replace(struct.pack(f"{order}HH", 0x010E, 2), struct.pack(f"{order}HH", 0x0108, 2))  # CellWidth
    path.write_bytes(data)
    with Image.open(path) as image, pytest.raises(struct.error):
        ImageOps.exif_transpose(image)
    assert open_image(path).size == (24, 32), "and how it is turned can be read all the same"


def test_a_decompression_bomb_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    Image.fromarray(COLOUR).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # an error from twice as many on
    with pytest.raises(OSError, match=r"bomb\.png.*140 pixels"):
        open_image(path)


@pytest.mark.parametrize("at_least", [1, 47, 48, 49, 96, 100, 192, 300, 384, 5000])
@pytest.mark.parametrize("size", [(384, 512), (512, 384), (390, 501)])
def test_jpegs_are_decoded_small_but_never_too_small(tmp_path: Path, at_least: int, size: tuple[int, int]) -> None:
    pixels = smooth(*size)
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    small = opened(path, at_least)
    shorter = min(size)
    assert min(small.shape[:2]) >= min(at_least, shorter)
    # The largest of Pillow's factors that leaves enough, and the same content.
    factor = max(f for f in (1, 2, 4, 8) if f == 1 or shorter // f >= at_least)
    assert small.shape[:2] in {(size[0] // factor, size[1] // factor), (-(-size[0] // factor), -(-size[1] // factor))}
    resized = np.asarray(Image.fromarray(pixels).resize(small.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(small - resized).mean() < 3


def test_at_least_changes_no_other_format(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    np.testing.assert_array_equal(opened(tmp_path / "a.png", at_least=4), COLOUR)
