"""Folders of images as scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.natural import natural_key
from muskie.errors import ConfigError, DataError

ARCH = Path(__file__).resolve().parents[3] / "shared" / "data" / "photographs"


def put(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), number, dtype=np.uint8)).save(path)


def listing(root: Path) -> dict[str, list[str]]:
    source = ImageFolders(root)
    return {source.scene(i).name: list(source.scene(i).frames) for i in range(len(source))}


def test_every_folder_with_images_is_a_scene(tmp_path: Path) -> None:
    put(tmp_path, "garden/0.png", "house/kitchen/0.png", "house/kitchen/1.png", "house/hall/left/0.png", "house/plan.png")
    (tmp_path / "empty").mkdir()
    assert listing(tmp_path) == {
        "garden": ["0.png"],
        "house": ["plan.png"],
        "house/hall/left": ["0.png"],
        "house/kitchen": ["0.png", "1.png"],
    }


def test_scenes_of_few_images_can_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, "one/0.png", "three/0.png", "three/1.png", "three/2.png", "two/0.png", "two/1.png")
    for least, names in ((1, ["one", "three", "two"]), (2, ["three", "two"]), (3, ["three"])):
        source = ImageFolders(tmp_path, min_images=least)
        assert [source.scene(number).name for number in range(len(source))] == names
        assert source.left_out == 3 - len(names)
    with pytest.raises(DataError, match=r"no scene of data\.min_images=4 images or more; the largest has 3"):
        ImageFolders(tmp_path, min_images=4)
    with pytest.raises(ConfigError, match=r"data\.min_images=0: expected 1 or more"):
        ImageFolders(tmp_path, min_images=0)


def test_names_are_sorted_as_people_count(tmp_path: Path) -> None:
    put(tmp_path, "room10/a.png", "room2/img10.png", "room2/img2.png", "room2/img1.png")
    assert listing(tmp_path) == {"room2": ["img1.png", "img2.png", "img10.png"], "room10": ["a.png"]}


def test_the_order_is_total_and_takes_any_name() -> None:
    names = ["1.png", "01.png", "001.png", "a1b2.png", "a1b10.png", "a.png", "1²3.png", "²", "٣.png", ""]
    expected = sorted(names, key=natural_key)
    names.reverse()
    assert expected == sorted(names, key=natural_key)
    assert expected.index("a1b2.png") < expected.index("a1b10.png")
    assert len({str(natural_key(name)) for name in names}) == len(names)


def test_suffixes_may_be_mixed_and_other_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "s/a.jpg", "s/b.PNG", "s/c.JPEG", "s/d.webp", "s/e.bmp", "s/f.tif")
    for name in ("notes.txt", "a.jpg.part", "movie.mp4", "png"):
        (tmp_path / "s" / name).write_text("x")
    assert listing(tmp_path) == {"s": ["a.jpg", "b.PNG", "c.JPEG", "d.webp", "e.bmp", "f.tif"]}


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "s/a.png", "s/.b.png", ".thumbnails/a.png", "s/.cache/a.png")
    assert listing(tmp_path) == {"s": ["a.png"]}


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "s/a.png", "s/x.png/0.png")
    assert listing(tmp_path) == {"s": ["a.png"], "s/x.png": ["0.png"]}


def test_images_in_the_root_are_a_scene_and_can_be_read(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png", "deep/er/c.png")
    source = ImageFolders(tmp_path, name="mine")
    assert listing(tmp_path) == {".": ["a.png", "b.png"], "deep/er": ["c.png"]}
    assert source.name == "mine" and ImageFolders(tmp_path).name == "folder"
    for index, frame, value in [(0, "a.png", 0), (0, "b.png", 1), (1, "c.png", 2)]:
        frame_read = source.read(source.scene(index), frame)
        assert np.asarray(frame_read.image)[0, 0].tolist() == [value] * 3
        assert frame_read.depth is None and frame_read.camera is None


def test_linked_scenes_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, "disk/s1/a.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "s1").symlink_to(tmp_path / "disk" / "s1")
    (tmp_path / "data" / "twice").symlink_to(tmp_path / "disk" / "s1")
    (tmp_path / "disk" / "s1" / "loop").symlink_to(tmp_path / "data")
    assert listing(tmp_path / "data") == {"s1": ["a.png"]}


def test_a_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "photos/s/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(ImageFolders("~/photos")) == 1


def test_a_root_that_cannot_be_used_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(b"")
    (tmp_path / "hollow" / "s").mkdir(parents=True)
    for name, words in [("none", "does not exist"), ("file.png", "is not a folder"), ("hollow", "holds no image")]:
        with pytest.raises(DataError, match=f"data.root='.*{name}':? {words}.*one sub-folder of images a scene"):
            ImageFolders(tmp_path / name)


def test_a_broken_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.jpg").write_text("no image")
    source = ImageFolders(tmp_path)
    with pytest.raises(OSError, match=r"s/a\.jpg"):
        source.read(source.scene(0), "a.jpg")


@pytest.mark.skipif(not ARCH.is_dir(), reason=f"no photographs in {ARCH}")
def test_real_photographs() -> None:
    source = ImageFolders(ARCH)
    assert [source.scene(i).name for i in range(len(source))] == ["arch"]
    assert list(source.scene(0).frames) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    full = source.read(source.scene(0), "0.jpg").image
    small = source.read(source.scene(0), "0.jpg", at_least=100).image
    assert 100 <= min(small.size) < min(full.size)
