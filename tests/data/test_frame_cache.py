"""Decoded images are kept up to a limit, and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numbered import Numbered, dataset, numbers, requests
from PIL import ExifTags, Image

from muskie.data.dataset import ViewDataset
from muskie.data.images import open_image
from muskie.data.index import Place
from muskie.data.reading import FrameReader
from muskie.data.scene import Frame, Scene


def test_the_cache_is_bounded_and_changes_no_byte() -> None:
    def make(cache_mb: int) -> tuple[Numbered, ViewDataset]:
        source = Numbered([30], size=(200, 150))  # 90,000 bytes each: eleven to a MiB
        return source, dataset([source], cache_mb, window=30)

    (read_always, plain), (read_little, cached) = make(0), make(100)
    _, small = make(1)
    for request in requests(100):
        views = plain[request]
        assert torch.equal(views.images, cached[request].images) and torch.equal(views.images, small[request].images)
    assert sum(read_always.reads.values()) == 400
    assert set(read_little.reads.values()) == {1}


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    source = Numbered([40], size=(200, 150))
    place = Place(source, source.scene(0), source.scene(0).frames)
    reader = FrameReader(cache_mb=1)

    def reads(*frames: int) -> int:
        before = sum(source.reads.values())
        for frame in frames:
            reader.read(place, str(frame), 16)
        return sum(source.reads.values()) - before

    assert reads(*range(11)) == 11
    assert reads(*range(11)) == 0  # all fit
    assert reads(0, 11) == 1 and reads(0) == 0  # 1 has made room
    assert reads(1) == 1
    assert reads(*range(40)) > 0 and reads(*range(29, 40)) == 0 and reads(0) == 1
    huge = Numbered([2], size=(2000, 1500))
    place = Place(huge, huge.scene(0), huge.scene(0).frames)
    for _ in range(2):
        assert reader.read(place, "0", 16).image.size == (2000, 1500)
    assert huge.reads[0, 0] == 2  # larger than all of the cache


def test_sources_of_one_name_are_not_mixed_up_in_the_cache() -> None:
    data = dataset([Numbered([6], name="folder"), Numbered([6], name="folder", blue=9)], cache_mb=10)
    plain = dataset([Numbered([6], name="folder"), Numbered([6], name="folder", blue=9)])
    blues = set()
    for request in requests(20):
        assert torch.equal(data[request].images, plain[request].images)
        blues |= set(numbers(data[request].images)[0, :, 2].tolist())
    assert blues == {0, 9}


def test_images_that_are_only_opened_are_read_while_errors_are_caught(tmp_path: Path) -> None:
    """A source of the user's own may return `Image.open(path)`, whose pixels Pillow reads on first use."""

    class Lazy(Numbered):
        def read(self, scene: Scene, frame: str, **options: Any) -> Frame:
            return Frame(Image.open(tmp_path / f"{frame}.png"))  # of whatever format: Pillow looks into the file

    for number in range(7):
        Image.new("RGB", (24, 16), (number, number, number)).save(tmp_path / f"{number}.png")
    file = tmp_path / "3.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(16, 24, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:600])
    Image.new("F", (24, 16)).save(tmp_path / "2.tif")
    (tmp_path / "2.tif").rename(tmp_path / "2.png")
    (tmp_path / "1.png").write_text("P3 24 16 255 " + "300 " * 1152)  # a value that is none: no OSError to Pillow
    views = [dataset([Lazy([7])], window=7)[request] for request in requests(20)]
    assert {int(number) for view in views for number in numbers(view.images)[..., 0].flat} == {0, 4, 5, 6}
    told = " ".join(str(message) for view in views for message in view.unreadable)
    assert "scene0/3: " in told and "scene0/1: cannot be decoded (Channel value" in told
    assert "scene0/2: a grey image of mode 'F' (32 bits) has no defined white" in told


def test_images_that_are_only_opened_are_turned_upright(tmp_path: Path) -> None:
    class Sideways(Numbered):
        def read(self, scene: Scene, frame: str, **options: Any) -> Frame:
            return Frame(Image.open(tmp_path / "a.jpg"))

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", exif=exif)
    source = Sideways([1])
    image = FrameReader().read(Place(source, source.scene(0), source.scene(0).frames), "0", 16).image
    assert image.size == open_image(tmp_path / "a.jpg").size == (16, 24)
