"""Which pictures an input means, under which names, and what is said where it means none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from marked import KITCHEN
from PIL import Image

from muskie.errors import ConfigError, DataError
from muskie.inputs.collect import collect, spread, unique_names


def image(path: Path, size: tuple[int, int] = (20, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name) % 256, 3, 4)).save(path)
    return path


def names(source: object, **settings: int) -> list[str]:
    return [picture.name for picture in collect(source, **settings).pictures]  # type: ignore[arg-type]


def message(source: object, **settings: int) -> str:
    with pytest.raises((DataError, ConfigError)) as raised:
        collect(source, **settings)  # type: ignore[arg-type]
    return str(raised.value)


def test_a_folder_in_natural_order_without_what_is_no_photograph(tmp_path: Path) -> None:
    for name in ("b10.JPG", "b9.jpg", "a.png", ".hidden.png", "f.color.png", "f.depth.png", "g.depth.png", "sub/c.png"):
        image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    assert names(tmp_path) == names(str(tmp_path)) == ["a.png", "b9.jpg", "b10.JPG", "f.color.png", "g.depth.png"]
    assert collect(tmp_path).notes == collect(tmp_path).skipped == []


@pytest.mark.skipif(not KITCHEN.is_dir(), reason="needs shared/data/7scenes/redkitchen beside the repository")
def test_real_frames_without_their_depth_maps() -> None:
    found = collect(KITCHEN, every=100)
    assert [picture.name for picture in found.pictures][:2] == sorted(p.name for p in KITCHEN.glob("*.color.*"))[:101:100]
    assert {picture.size for picture in found.pictures} == {(640, 480)}


def test_every_and_limit(tmp_path: Path) -> None:
    for number in range(10):
        image(tmp_path / f"{number}.png")
    assert names(tmp_path, every=3) == ["0.png", "3.png", "6.png", "9.png"]
    assert names(tmp_path, limit=2) == ["2.png", "7.png"]
    assert names(tmp_path, every=2, limit=1) == ["4.png"]
    assert names(tmp_path, limit=99) == names(tmp_path) == [f"{number}.png" for number in range(10)]
    assert message(tmp_path, every=0) == "every=0: expected 1 or more"
    assert message(tmp_path, limit=0) == "limit=0: expected 1 or more"


def test_spread_is_even_for_all_numbers() -> None:
    for count in range(1, 40):
        for limit in range(1, count + 1):
            chosen = spread(range(count), limit)
            gaps = np.diff([-chosen[0] - 1, *chosen, 2 * count - 1 - chosen[-1]])  # as far from the ends, mirrored
            assert len(chosen) == limit and chosen[0] >= 0 and chosen[-1] < count
            assert (np.diff(chosen) >= 1).all() and gaps.max() - gaps.min() <= 2
    assert spread(range(7), None) == list(range(7))


def test_lists_and_files_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = image(tmp_path / "x" / "one.png"), image(tmp_path / "two.png")
    assert names([str(two), one]) == ["two.png", "one.png"]  # in their order
    listed = tmp_path / "x" / "list.txt"
    listed.write_text(f"\ufeff# views\none.png\n\n  {two}  \n../two.png\n", encoding="utf-8")
    assert names(listed) == ["x/one.png", "two.png", "two#2.png"]
    monkeypatch.chdir(tmp_path)
    listed.write_text("x/one.png\n")  # from here, where it is not beside the list
    assert names("x/list.txt") == names("x/one.png") == ["one.png"]
    listed.write_text("# nothing\n")
    assert "lists no path; write that of one image a line" in message(listed)
    listed.write_bytes(b"\xff\xfe\x00\xd8")
    assert "cannot be read as a list of paths" in message(listed)


def test_names_differ(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "b" / "c" / "2.png"]
    assert unique_names(paths) == ["a/1.png", "b/1.png", "b/c/2.png"]
    assert unique_names(paths[1:]) == ["1.png", "2.png"]
    assert unique_names([paths[0]] * 3) == ["1.png", "1#2.png", "1#3.png"]
    assert unique_names([np.zeros(1)] * 2) == ["view_000", "view_001"]
    assert unique_names([Image.new("L", (1, 1)), Path("a.png"), "b/a.png"]) == ["view_000", "a.png", "b/a.png"]
    with Image.open(image(tmp_path / "opened.png")) as opened:
        assert unique_names([opened]) == ["opened.png"]


def test_images_arrays_and_tensors(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(3, 16, 20, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    pictures = [Image.fromarray(one) for one in pixels]
    for source in (pixels, list(pixels), tensor, list(tensor), pictures, tensor / 255):
        found = collect(source).pictures
        assert [picture.name for picture in found] == ["view_000", "view_001", "view_002"]
        for picture, expected in zip(found, pixels, strict=True):
            assert picture.size == (20, 16)
            np.testing.assert_array_equal(np.asarray(picture.open((8, 8))), expected)
    for single in (pixels[0], tensor[0], pictures[0]):
        assert names(single) == ["view_000"]
    assert names([image(tmp_path / "a.png"), pixels[0], tensor[1], pictures[2]]) == [
        "a.png",
        "view_001",
        "view_002",
        "view_003",
    ]


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    assert message(tmp_path).endswith("found: nothing. Please give a folder with some, or a video")
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "IMG_1.HEIC").write_text("")
    (tmp_path / "IMG_2.heic").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".git").mkdir()
    assert f"input='{tmp_path}' holds no image (.bmp .jpeg" in message(tmp_path)
    assert message(tmp_path).endswith("found: 2 .heic, 1 .txt, 1 folder. Please convert .heic to JPEG")
    image(tmp_path / "deep" / "a.png")
    assert message(tmp_path).endswith("holds no image, but folders that do: deep (1 image); give one of them")
    for name in ("a.mp4", "b.MOV"):
        (tmp_path / name).write_text("")
    assert message(tmp_path).endswith("holds no image, but 2 videos: a.mp4, b.MOV; give the path of one")


def test_a_folder_of_images_and_others_says_what_is_taken(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    for name in ("v.mp4", "w.mp4", "b.heic"):
        (tmp_path / name).write_text("")
    found = collect(tmp_path)
    assert [picture.name for picture in found.pictures] == ["a.png"]
    assert found.notes == [
        f"{tmp_path}: b.heic left out, which cannot be opened; convert to JPEG to use them",
        f"{tmp_path}: its 1 image taken, not v.mp4, w.mp4; for a video give its path",
    ]


def test_what_is_not_there(tmp_path: Path) -> None:
    deep = tmp_path / "not" / "there"
    assert message(deep) == f"input='{deep}' does not exist; {tmp_path} does. Give a folder of images, or a video"
    there = image(tmp_path / "a.png")
    absent = [tmp_path / f"{number}.png" for number in range(5)]
    wanted = f"input: 5 of 6 files are not there: {', '.join(map(str, absent[:3]))} and 2 more; mend the list"
    assert message([there, *absent]) == wanted
    assert message([there, tmp_path]).endswith(f"1 of 2 files are not there: {tmp_path}; give a folder alone, or files")
    assert message([]) == "input is an empty list; give at least one image"
    assert message({"a": 1}).startswith("input of type dict: expected a path")
    assert message([there, 3]) == "view_001 of the input is of type int: expected a path, an image, or an array"
    assert "no such home folder" in message("~nobody-here/photos")


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_broken_link_in_a_folder_is_no_image(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    assert names(tmp_path) == ["a.png"]


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    found = collect(tmp_path)
    assert [picture.name for picture in found.pictures] == ["a.png"]
    assert found.skipped == [f"{tmp_path / 'b.png'}: no image that can be read"]
