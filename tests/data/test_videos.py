"""Videos as scenes: which frames, in any order, from any process."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from layouts import video
from layouts.video import av, encode
from PIL import Image
from walk import shoot
from written import names

from muskie.data.scene import Scene
from muskie.data.sources import video_frames
from muskie.data.sources.video import Videos
from muskie.data.video_file import Video
from muskie.errors import ConfigError, DataError

SIZE = (24, 32)
TEXTURE = np.random.default_rng(0).integers(0, 256, (8, 40, 3), dtype=np.uint8)
KINDS = {"a.mp4": "libx264", "a.mkv": "libx264", "a.ts": "libx264", "a.h264": "libx264", "a.avi": "ffv1"}


def pictures(count: int, start: int = 0) -> list[np.ndarray]:
    """A window that moves over a texture."""
    turned = (np.roll(TEXTURE, -start - number, axis=1)[:, :11] for number in range(count))
    return [np.asarray(Image.fromarray(pixels).resize(SIZE[::-1], Image.Resampling.BICUBIC)) for pixels in turned]


def decoded(path: Path) -> list[np.ndarray]:
    """All frames, one after the other."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def pixels(source: Videos, scene: Scene, frame: str) -> np.ndarray:
    return np.asarray(source.read(scene, frame).image)


@pytest.fixture(autouse=True)
def nothing_is_open() -> None:
    vars(video_frames._kept).clear()


def test_frames_are_those_that_were_written(tmp_path: Path) -> None:
    shots = [shoot(number, *video.SIZE) for number in (0, 3, 5)]
    source = Videos(**video.write(tmp_path, shots))
    scene = source.scene(0)
    assert scene.name == "walk.mkv" and list(scene.frames) == ["000000", "000001", "000002"] and source.problems == []
    for name, shot in zip(scene.frames, shots, strict=True):
        frame = source.read(scene, name, geometry=True)
        np.testing.assert_array_equal(np.asarray(frame.image), shot.rgb)
        assert frame.camera is None and frame.depth is None and source.camera(scene, name) is None
    with pytest.raises(OSError, match=r"walk\.mkv: cannot be read as a video"):
        (tmp_path / "walk.mkv").write_bytes(b"rewritten")
        vars(video_frames._kept).clear()
        source.read(scene, "000000")


@pytest.mark.parametrize("name", KINDS)
def test_every_so_manyth_frame_in_any_order(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / name, pictures(50), KINDS[name])
    expected, source = decoded(path), Videos(path, every=4)
    scene = source.scene(0)
    assert list(scene.frames) == [f"{number:06d}" for number in range(0, 50, 4)]
    monkeypatch.setattr(Video, "_read_times", None)  # the file is not read through again
    order = [*range(0, 50, 4), *np.random.default_rng(1).permutation(np.arange(0, 50, 4)), 48, 0]
    for _ in range(2):
        for number in order:
            np.testing.assert_array_equal(pixels(source, scene, f"{number:06d}"), expected[number])
        vars(video_frames._kept).clear()
        order.reverse()


def test_frames_that_are_passed_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a group between key frames are read backwards: it is decoded once."""
    expected = decoded(encode(tmp_path / "a.mp4", pictures(12), "libx264"))
    source = Videos(tmp_path, every=2)
    starts = []
    start = Video._start
    monkeypatch.setattr(Video, "_start", lambda self, wanted: (starts.append(wanted), start(self, wanted))[1])
    for number in (10, 8, 6, 4, 2, 0):
        np.testing.assert_array_equal(pixels(source, source.scene(0), f"{number:06d}"), expected[number])
    assert len(starts) == 1
    (kept,) = vars(video_frames._kept)["shelf"].values()
    assert len(kept._passed) == 6
    monkeypatch.setattr(video_frames, "KEPT", 2 * 2 * SIZE[0] * SIZE[1])
    vars(video_frames._kept).clear()
    for number in (10, 0, 2, 10):
        np.testing.assert_array_equal(pixels(source, source.scene(0), f"{number:06d}"), expected[number])
    (kept,) = vars(video_frames._kept)["shelf"].values()
    assert len(kept._passed) == 2


def test_no_more_than_some_videos_stay_open(tmp_path: Path) -> None:
    count = video_frames.OPEN + 2
    for number in range(count):
        encode(tmp_path / f"{number}.mkv", pictures(3, start=5 * number))
    source = Videos(tmp_path, every=1)
    for number in (*range(count), 0, count - 1):
        np.testing.assert_array_equal(pixels(source, source.scene(number), "000002"), pictures(3, 5 * number)[2])
        assert len(vars(video_frames._kept)["shelf"]) <= video_frames.OPEN


def _in_child(source: Videos) -> tuple[bool, bool, list[np.ndarray]]:
    gc.collect()  # a decoder with threads, which no child has, would wait for them for ever
    shelf = vars(video_frames._kept)["shelf"]
    inherited = list(shelf.values())
    found = [pixels(source, source.scene(0), f"{number:06d}") for number in (0, 40, 4, 36)]
    untouched = all(any(video is other for other in shelf.values()) and video._position == 21 for video in inherited)
    return untouched, len(shelf) == len(inherited) + 1, found


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    expected = decoded(encode(tmp_path / "a.mkv", pictures(50), "libx264"))
    gc.collect()
    gc.disable()  # so that children inherit what listing has left
    try:
        source = Videos(tmp_path, every=4)
        pixels(source, source.scene(0), "000020")
        (own,) = vars(video_frames._kept)["shelf"].values()
        own._position = 21  # which whoever read it would change
        with multiprocessing.get_context("fork").Pool(2) as children:
            told = [each.get(60) for each in [children.apply_async(_in_child, (source,)) for _ in range(2)]]
    finally:
        gc.enable()
    for untouched, opened, found in told:
        assert untouched and opened
        np.testing.assert_array_equal(found, [expected[number] for number in (0, 40, 4, 36)])
    for number in (24, 8, 48):
        np.testing.assert_array_equal(pixels(source, source.scene(0), f"{number:06d}"), expected[number])
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(pixels(again, again.scene(0), "000016"), expected[16])


def test_pieces_go_by_time_and_frames_by_number(tmp_path: Path) -> None:
    """Frames at a varying rate: 20 in the first second, then one in a half. The last piece takes in what is left over."""
    with pytest.raises(ConfigError, match=r"data\.seconds=0: expected a length above 0, or null"):
        Videos(tmp_path, seconds=0)
    times = [*range(0, 10, 1), *range(10, 46, 5)]  # tenths of a second
    path = encode(tmp_path / "a.mkv", pictures(len(times)), times=times)
    source = Videos(path, every=2, seconds=2)
    assert names(source) == ["a.mkv#0", "a.mkv#1"]
    assert [source.scene(number).room for number in range(2)] == ["a.mkv", "a.mkv"]
    first, second = source.scene(0), source.scene(1)
    assert list(first.frames) == ["000000", "000002", "000004", "000006", "000008", "000010"]  # up to 1.9 s
    assert list(second.frames) == ["000012", "000014", "000016"]  # 2, 3 and 4 s
    for scene in (second, first):
        for name in scene.frames:
            np.testing.assert_array_equal(pixels(source, scene, name), pictures(len(times))[int(name)])
    assert names(Videos(path, every=2, seconds=100)) == ["a.mkv#0"]
    assert names(Videos(path, every=2, seconds=2, min_images=4)) == ["a.mkv#0"]
    plain = Videos(tmp_path, every=4)
    assert names(plain) == ["a.mkv"] and plain.scene(0).room is None
    same = {source.identity(scene, name) for scene in (first, second) for name in scene.frames}
    assert {plain.identity(plain.scene(0), name) for name in plain.scene(0).frames} < same


def test_rotation_and_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", pictures(2), "libx264", turn=(-90, False, False))
    source = Videos(path, every=1)
    np.testing.assert_array_equal(pixels(source, source.scene(0), "000001"), np.rot90(decoded(path)[1], -1))
    for aspect, shape in ((Fraction(3, 2), (24, 48)), (Fraction(2, 3), (36, 32))):
        source = Videos(encode(tmp_path / f"{shape[0]}.mp4", pictures(2), "libx264", aspect=aspect), every=1)
        assert pixels(source, source.scene(0), "000000").shape == (*shape, 3)


def test_files_at_any_depth_in_natural_order_and_what_is_no_video_is_left_out(tmp_path: Path) -> None:
    for name in ("b10.mkv", "b2.MKV", "deep/er/a.mkv", ".hidden.mkv", ".trash/a.mkv", "notes.mkv.txt"):
        path = encode(tmp_path / "x.mkv", pictures(2))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / name)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    with av.open(str(tmp_path / "none.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        (stream.height, stream.width), stream.pix_fmt = SIZE, "yuv420p"
        container.start_encoding()
    source = Videos(tmp_path)
    assert names(source) == ["b2.MKV", "b10.mkv", "deep/er/a.mkv"]
    assert [problem.partition(":")[0] for problem in source.problems] == ["empty.mp4", "none.mp4", "text.mp4"]
    assert "a video without frames" in source.problems[1] and "cannot be read as a video" in source.problems[2]
    (tmp_path / "broken").mkdir()
    (tmp_path / "text.mp4").rename(tmp_path / "broken" / "text.mp4")
    with pytest.raises(DataError, match=r"no video that can be read there; .*; the first: text\.mp4: .*cannot be read as a"):
        Videos(tmp_path / "broken")
    with pytest.raises(DataError, match=r"the first: text\.mp4: .*cannot be read as a video"):
        Videos(tmp_path / "broken" / "text.mp4")


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a folder with videos \(.*\.mp4.*\), or such a file"):
        Videos(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no video there; give a folder with videos .*use data=folder"):
        Videos(tmp_path)
    with pytest.raises(DataError, match=r"data\.root is empty; give a folder with videos"):
        Videos("")
    with pytest.raises(ConfigError, match=r"data\.every=0: expected 1 or more"):
        Videos(tmp_path, every=0)
    path = encode(tmp_path / "a.mkv", pictures(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=re.escape("videos need PyAV, which is not installed; pip install 'muskie[data]'")):
        Videos(path)
