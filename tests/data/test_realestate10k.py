"""RealEstate10K: the layout on disk, the split, and the cameras of rendered frames that were written in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import realestate10k
from layouts.realestate10k import SHARES, SIZE
from PIL import Image
from walk import RELATIVE, agreement, shoot
from written import check, frames, names

from muskie.data.sources.realestate10k import RealEstate10K
from muskie.errors import ConfigError, DataError

NUMBERS = (0, 4)


def write_clip(root: Path, clip: str, split: str = "test", numbers: tuple[int, ...] = NUMBERS, **more: str) -> None:
    """Frames of the walk; picture n is that of the n-th frame of the video."""
    realestate10k.write_clip(root, clip, [shoot(number, *SIZE) for number in numbers], numbers, split, **more)


@pytest.mark.parametrize("pictures", [".", "frames"])
def test_cameras_are_those_of_the_rendered_room_and_depth_is_unknown(tmp_path: Path, pictures: str) -> None:
    write_clip(tmp_path, "0000cc6d8b108390", pictures=pictures)
    source = RealEstate10K(tmp_path, split="test")
    shots = [shoot(number, *SIZE) for number in NUMBERS]
    check(source, shots, depth=realestate10k.DEPTH)
    one, other = (replace(frame, depth=shot.depth) for frame, shot in zip(frames(source), shots, strict=True))
    for pair in ((one, other), (other, one)):
        median, agreed = agreement(*pair)
        assert median < 0.006 and agreed > 0.8


def test_intrinsics_follow_the_size_of_the_download(tmp_path: Path) -> None:
    write_clip(tmp_path, "clip")
    for file in (tmp_path / "test" / "clip").iterdir():
        Image.new("RGB", (128, 72)).save(file)
    camera = frames(RealEstate10K(tmp_path, split="test"))[0].camera
    assert camera is not None
    np.testing.assert_allclose(camera.intrinsics, np.diag([128.0, 72.0, 1.0]) @ RELATIVE)


def test_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    write_clip(tmp_path / "cameras", "clip", pictures="../download")
    source = RealEstate10K(tmp_path / "cameras", split="test", frames=tmp_path / "download")
    assert frames(source)[0].camera is not None
    with pytest.raises(DataError, match=r"data\.frames='.*cameras/train': no folder 'test' found there"):
        RealEstate10K(tmp_path / "cameras", split="test", frames=tmp_path / "cameras" / "train")


def test_clips_prepared_for_pretraining_are_pictures_alone(tmp_path: Path) -> None:
    write_clip(tmp_path, "a2", pictures="other")
    for clip in ("a10", "a9"):
        write_clip(tmp_path, clip)
        (tmp_path / "test" / "images").mkdir(exist_ok=True)
        (tmp_path / "test" / clip).rename(tmp_path / "test" / "images" / clip)
    assert names(RealEstate10K(tmp_path, split="test")) == ["a9", "a10"], "of one video"
    for file in (tmp_path / "test").glob("*.txt"):
        file.unlink()
    source = RealEstate10K(tmp_path, split="test")
    assert names(source) == ["a9", "a10"] and source.scene(0).room is None
    assert [frame.camera for frame in frames(source)] == [None, None]


def test_the_split_is_honoured_and_clips_of_a_video_lie_side_by_side(tmp_path: Path) -> None:
    for clip, split, video in (("a1", "test", "x"), ("a2", "test", "y"), ("a3", "test", "x"), ("b1", "train", "z")):
        write_clip(tmp_path, clip, split, numbers=(0,), video=video)
    write_clip(tmp_path, "a4", numbers=(0, 1, 2), video="y")
    (tmp_path / "test" / "gone.txt").write_text(
        "https://www.youtube.com/watch?v=w\n" + realestate10k.line(shoot(0, *SIZE), 0)
    )
    source = RealEstate10K(tmp_path, split="test")
    assert names(source) == ["a1", "a3", "a2", "a4"]
    rooms = [source.scene(index).room for index in range(4)]
    assert rooms[0] == rooms[1] != rooms[2] == rooms[3]
    assert names(RealEstate10K(tmp_path, split="train")) == ["b1"]
    longer = RealEstate10K(tmp_path, split="test", min_images=3)
    assert names(longer) == ["a4"] and longer.left_out == 3
    with pytest.raises(DataError, match=r"no scene of data\.min_images=4 images or more; the largest has 3"):
        RealEstate10K(tmp_path, split="test", min_images=4)


def test_frames_come_in_the_order_of_time_and_may_lack_a_line(tmp_path: Path) -> None:
    write_clip(tmp_path, "clip", numbers=(0, 2, 4))
    text = (tmp_path / "test" / "clip.txt").read_text().splitlines()
    (tmp_path / "test" / "clip.txt").write_text("\n".join([*text[:2], "", text[3]]))
    source = RealEstate10K(tmp_path, split="test")
    assert list(source.scene(0).frames) == ["33367.jpg", "100101.jpg", "166835.jpg"]
    assert [frame.camera is None for frame in frames(source)] == [False, True, False]


BROKEN = {
    "a number is missing": (lambda text: text[: text.rindex(" ")], DataError, r"clip\.txt, line 3: expected 19 numbers"),
    "a word": (lambda text: text[: text.rindex(" ")] + " far", DataError, r"clip\.txt, line 3: expected 19 numbers"),
    "no rotation": (
        lambda text: " ".join(["33367", *map(str, SHARES), "0 0", *["0"] * 12]),
        OSError,
        r"the camera of 33367\.jpg is not usable",
    ),
    "not finite": (lambda text: text[: text.rindex(" ")] + " nan", OSError, r"the camera of 33367\.jpg is not usable"),
    "no focal length": (
        lambda text: text.replace(f"{SHARES[0]:.9f}", "0.0"),
        OSError,
        r"the camera of 33367\.jpg is not usable",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_lines_are_named(tmp_path: Path, fault: str) -> None:
    write_clip(tmp_path, "clip", numbers=(4, 0))
    file = tmp_path / "test" / "clip.txt"
    change, error, message = BROKEN[fault]
    text = file.read_text().splitlines()
    file.write_text("\n".join([*text[:2], change(text[2])]))
    source = RealEstate10K(tmp_path, split="test")
    assert source.read(source.scene(0), "33367.jpg").image.size == (64, 48)
    with pytest.raises(error, match=message):
        source.camera(source.scene(0), "33367.jpg")


def test_pictures_with_other_names_are_told(tmp_path: Path) -> None:
    write_clip(tmp_path, "clip")
    for index, file in enumerate(sorted((tmp_path / "test" / "clip").iterdir())):
        file.rename(file.with_name(f"{index:05d}.jpg"))
    source = RealEstate10K(tmp_path, split="test")
    with pytest.raises(
        DataError, match=r"no line for any picture of .*, e\.g\. '00000\.jpg'; .*microseconds, e\.g\. 33367\.jpg"
    ):
        source.camera(source.scene(0), "00000.jpg")


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with RealEstate10K's text files"):
        RealEstate10K(tmp_path / "nowhere", split="test")
    with pytest.raises(ConfigError, match=r"data\.split must be given: one of 'train', "):
        RealEstate10K(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.split='valid': expected one of 'train', 'test'"):
        RealEstate10K(tmp_path, split="valid")
    with pytest.raises(ConfigError, match=r"data\.min_images=0: expected 1 or more"):
        RealEstate10K(tmp_path, split="test", min_images=0)
    with pytest.raises(DataError, match=r"no test/<clip>\.txt found there$"):
        RealEstate10K(tmp_path, split="test")
    write_clip(tmp_path / "RealEstate10K", "clip")
    with pytest.raises(DataError, match=r"they are in '.*/RealEstate10K': give that, and data\.frames"):
        RealEstate10K(tmp_path, split="test")
    with pytest.raises(
        DataError, match=rf"this is a split: give the folder above, '{re.escape(str(tmp_path))}/RealEstate10K'"
    ):
        RealEstate10K(tmp_path / "RealEstate10K" / "test", split="test")
    for file in (tmp_path / "RealEstate10K" / "test" / "clip").iterdir():
        file.unlink()
    with pytest.raises(
        DataError, match=r"no picture of any of the 1 clips there in '.*RealEstate10K/test' .*data\.frames names"
    ):
        RealEstate10K(tmp_path / "RealEstate10K", split="test")
