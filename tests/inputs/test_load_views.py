"""Pictures of any size as views of one size, and the way back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from marked import EXIF_SIDES, PHOTOGRAPHS, spot, spot_at, write_exif
from PIL import Image

from muskie.errors import ConfigError, DataError
from muskie.inputs.load import Inputs, load_views


def write(folder: Path, sizes: list[tuple[int, int]]) -> None:
    for number, (width, height) in enumerate(sizes):
        pixels = spot(width, height, width * 0.4, height * 0.6, min(width, height) / 20)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def check_spots(views: Inputs, x: float = 0.4, y: float = 0.6) -> None:
    """The spot is found, and its place in the view is that of the original."""
    for pixels, pixel_map in zip(views.images.numpy(), views.pixel_maps, strict=True):
        width, height = pixel_map.original_size
        there = pixel_map.to_original(torch.tensor(spot_at(pixels), dtype=torch.float64))
        np.testing.assert_allclose(there, [x * width, y * height], atol=0.1 / min(pixel_map.scale))


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_mixed_sizes_and_shapes(tmp_path: Path, fit: str) -> None:
    write(tmp_path, [(320, 240), (240, 320), (400, 300), (100, 75), (300, 300)])
    views = load_views(tmp_path, 16, 128, fit=fit)
    assert views.images.shape == (5, 3, 96, 128) and views.images.dtype == torch.uint8 and views.size == (96, 128)
    assert len(views) == 5 and views.skipped == []
    assert [pixel_map.original_size for pixel_map in views.pixel_maps][:2] == [(320, 240), (240, 320)]
    assert {pixel_map.size for pixel_map in views.pixel_maps} == {(128, 96)}
    check_spots(views)
    assert views.notes[0] == f"pictures of 5 sizes, brought to 128 x 96 px by fit='{fit}'"
    assert any("1 of 5 pictures are enlarged, such as 3.png" in note for note in views.notes)
    lost = [note for note in views.notes if "views lose more" in note]
    assert views.inside.shape == (5, 96, 128)
    if fit == "crop":  # a portrait keeps (3/4)² of its height, a square 3/4
        told = "1 of 5 views lose more than 30% of their picture to the common shape (1.png: 44%)"
        assert lost == [f"{told}; fit='pad' keeps all of it"]
        assert views.inside.all()
    else:
        assert lost == [] and views.inside.float().mean((1, 2)).tolist() == pytest.approx([1, 0.5625, 1, 1, 0.75])
        assert (views.images.movedim(1, -1)[~views.inside] == 255).all()


def test_portraits(tmp_path: Path) -> None:
    write(tmp_path, [(240, 320)] * 2)
    views = load_views(tmp_path, 14, 140)
    assert views.size == (140, 112) and views.notes == []  # 105 is as near to 98 as to 112
    check_spots(views)


@pytest.mark.parametrize("orientation", EXIF_SIDES)
def test_turned_by_exif(tmp_path: Path, orientation: int) -> None:
    write_exif(tmp_path / "a.png", spot(240, 320, 96, 192, 12), orientation)
    views = load_views(tmp_path, 8, 160)
    assert views.size == (160, 120) and views.pixel_maps[0].original_size == (240, 320)
    check_spots(views)


def test_one_image_alone(tmp_path: Path) -> None:
    write(tmp_path, [(64, 48)])
    for source in (tmp_path, tmp_path / "0.png", [str(tmp_path / "0.png")], Image.open(tmp_path / "0.png")):
        views = load_views(source, 8, 64)
        assert views.names == ["0.png"] and views.images.shape == (1, 3, 48, 64)


def test_pixels_that_need_no_change_are_kept() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(256, size=(3, 3, 32, 48), dtype=np.uint8))
    for size in (None, 48, 50):
        torch.testing.assert_close(load_views(images, 16, size).images, images, rtol=0, atol=0)
    assert load_views(images, 16, 96).size == (64, 96)
    assert load_views(torch.zeros(1, 3, 33, 50), 16, None).size == (32, 48)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    write(tmp_path, [(64, 48), (15, 40), (64, 48)])
    (tmp_path / "3.png").write_text("no image")
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])  # its head can be read
    views = load_views(tmp_path, 16, 64)
    assert views.names == ["0.png"] and len(views.images) == len(views.pixel_maps) == 1
    told = "\n".join(views.skipped)
    assert len(views.skipped) == 3 and "1.png: 15 x 40 px, smaller than a patch of 16 px" in told
    assert f"{tmp_path / '2.png'}: " in told and f"{tmp_path / '3.png'}: no image that can be read" in told
    check_spots(views)


def test_nothing_that_can_be_used(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.png").write_text("no image")
    with pytest.raises(
        DataError, match=r"none of 7 pictures can be used; give others:\n  .*0.png: no image(.|\n)*and 2 more"
    ):
        load_views(tmp_path, 16)
    with pytest.raises(DataError, match="view_000: 20 x 10 px, smaller than a patch of 16 px"):
        load_views(Image.new("RGB", (20, 10)), 16)
    Image.fromarray(np.random.default_rng(0).integers(256, size=(90, 90, 3), dtype=np.uint8)).save(tmp_path / "0.png")
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:2000])
    with pytest.raises(DataError, match="none of 7 pictures can be used"):
        load_views(tmp_path, 16)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    write(tmp_path, [(64, 48)])
    with pytest.raises(ConfigError, match="fit='stretch'"):
        load_views(tmp_path, 16, fit="stretch")
    with pytest.raises(ConfigError, match="size=8: expected at least one patch of the model, 16 px"):
        load_views(tmp_path, 16, 8)
    with pytest.raises(ConfigError, match="patch_size=0"):
        load_views(tmp_path, 0)


def test_the_check_comes_before_anything_is_decoded(tmp_path: Path) -> None:
    write(tmp_path, [(64, 48)] * 5)
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:60])
    asked = []

    def refuse(views: int, size: tuple[int, int]) -> None:
        asked.append((views, size))
        raise ConfigError("too much")

    with pytest.raises(ConfigError, match="too much"):
        load_views(tmp_path, 16, 64, check=refuse)
    assert asked == [(5, (48, 64))]


def test_progress_goes_to_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [(64, 48)] * 2)
    load_views(tmp_path, 16, 64)
    assert capsys.readouterr() == ("", "")
    load_views(tmp_path, 16, 64, progress=True)
    assert capsys.readouterr() == ("", ""), "into a file, a bar would be many lines"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    load_views(tmp_path, 16, 64, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "reading views: 100%" in err and "2/2" in err


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs shared/data/photographs/arch beside the repository")
def test_real_photographs() -> None:
    """Of four sizes; each view shows what Pillow shows of the rectangle that the pixel map names."""
    views = load_views(PHOTOGRAPHS, 14, 224)
    assert len(views) == len(list(PHOTOGRAPHS.glob("*.jpg"))) and views.skipped == []
    for name, pixels, pixel_map in zip(views.names, views.images, views.pixel_maps, strict=True):
        corners = pixel_map.to_original(torch.tensor([[0.0, 0], views.size[::-1]]))
        with Image.open(PHOTOGRAPHS / name) as image:
            assert image.size == pixel_map.original_size
            box = tuple(corners.round().int().flatten().tolist())
            shown = image.convert("RGB").crop(box).resize(views.size[::-1], Image.Resampling.LANCZOS)
        difference = np.asarray(shown).transpose(2, 0, 1).astype(float) - pixels.numpy()
        assert np.abs(difference).mean() < 4  # half a pixel of the original at its border, and another filter
