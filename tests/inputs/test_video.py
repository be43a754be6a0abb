"""Frames of a video: the right ones, upright, in square pixels."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from marked import spot, spot_at

from muskie.data.video_file import Video
from muskie.errors import DataError
from muskie.inputs.collect import VIDEO_FRAMES, collect
from muskie.inputs.load import load_views

av = pytest.importorskip("av", reason="needs PyAV: pip install 'muskie[data]'")

SIZE = (64, 48)
KINDS = {  # with B-frames and key frames between
    "a.mp4": ("libx264", {"g": "12", "bf": "2"}),
    "a.mkv": ("libx264", {"g": "12", "bf": "2"}),
    "a.avi": ("mpeg4", {"g": "12", "bf": "2"}),
    "a.ts": ("libx264", {"g": "12", "bf": "2"}),  # without an index
    "a.h264": ("libx264", {"g": "12"}),  # without times
}


def clip(path: Path, frames: int = 40, codec: str = "libx264", shape: tuple[int, int] = SIZE, **options: object) -> Path:
    """A video whose frames show a spot that moves to the right, `x_of(number)`."""
    settings = {"turn": (0, False, False), "aspect": None, "options": {"g": "12", "bf": "2"}} | options
    with av.open(str(path), "w", format="mpegts" if path.suffix == ".ts" else None) as container:
        try:
            stream = container.add_stream(codec, rate=10, options={"threads": "1", **settings["options"]})
        except (ValueError, av.FFmpegError):
            pytest.skip(f"PyAV was built without {codec}")
        (stream.width, stream.height), stream.pix_fmt = shape, "yuv420p"
        if settings["aspect"]:
            stream.codec_context.sample_aspect_ratio = settings["aspect"]
        if any(settings["turn"]):
            stream.set_display_rotation(*settings["turn"])
        for number in range(frames):
            pixels = spot(*shape, x_of(number), 20, 3)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def x_of(number: int) -> float:
    return 6 + 1.3 * number


def x_in(pixels: np.ndarray) -> float:
    return spot_at(pixels.transpose(2, 0, 1))[0]


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_their_numbers(tmp_path: Path, name: str) -> None:
    codec, options = KINDS[name]
    path = clip(tmp_path / name, 40, codec, options=options)
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for numbers in (range(40), (3, 14, 15, 39), (39, 3, 20, 20, 0)):  # forward, with jumps, and back
        video = Video(path)
        assert len(video) == 40 and video.size == SIZE
        for number in numbers:
            np.testing.assert_array_equal(np.asarray(video.frame(number)), expected[number])
    assert x_in(expected[30]) == pytest.approx(x_of(30), abs=0.5)


def test_all_rotations_and_mirrorings(tmp_path: Path) -> None:
    for degrees in (0, 90, 180, -90):
        for mirrored, upside_down in ((False, False), (True, False), (False, True)):
            path = clip(tmp_path / "a.mp4", 2, turn=(degrees, mirrored, upside_down))
            video = Video(path)
            with av.open(str(path)) as container:
                frame = next(container.decode(video=0))
                expected = np.rot90(frame.to_ndarray(format="rgb24"), degrees // 90)  # counter-clockwise, as they say
            expected = expected[:, ::-1] if mirrored else expected
            expected = expected[::-1] if upside_down else expected
            assert video.size == expected.shape[1::-1]
            np.testing.assert_array_equal(np.asarray(video.frame(0)), expected)


def test_an_upright_telephone(tmp_path: Path) -> None:
    """Stored lying, to be turned clockwise: what is left of the stored picture is at the top of the view."""
    views = load_views(clip(tmp_path / "a.mp4", 4, turn=(-90, False, False)), 8, 64)
    assert views.size == (64, 48) and views.names == [f"a_00000{number}" for number in range(4)]
    for number, (pixels, pixel_map) in enumerate(zip(views.images.numpy(), views.pixel_maps, strict=True)):
        assert pixel_map.original_size == (48, 64)
        np.testing.assert_allclose(spot_at(pixels), [48 - 20, x_of(number)], atol=0.6)


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    views = load_views(clip(tmp_path / "a.mp4", 3, aspect=Fraction(3, 2)), 8, 96)
    assert views.size == (48, 96)  # 64 · 3/2 x 48
    assert views.pixel_maps[0].original_size == SIZE and views.pixel_maps[0].scale == (1.5, 1.0)
    x, y = spot_at(views.images[1].numpy())
    there = views.pixel_maps[1].to_original(torch.tensor([x, y]))
    np.testing.assert_allclose(there, [x_of(1), 20], atol=0.5)
    turned = load_views(clip(tmp_path / "b.mp4", 3, aspect=Fraction(3, 2), turn=(90, False, False)), 8, 96)
    assert turned.size == (96, 48) and turned.pixel_maps[0].scale == (1.0, 1.5)


def test_how_many_frames(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 40)

    def numbers(**settings: int) -> list[int]:
        return [int(picture.name.removeprefix("a_")) for picture in collect(path, **settings).pictures]

    assert (
        numbers(every=15) == [0, 15, 30] and numbers(limit=4) == [5, 15, 25, 35] and numbers(every=10, limit=2) == [10, 30]
    )
    assert len(numbers()) == VIDEO_FRAMES and len(numbers(limit=99)) == 40
    told = f"{path}: 32 of 40 frames, evenly spread; every= and limit= take others"
    assert collect(path).notes == [told] and collect(path, limit=40).notes == []
    views = load_views(path, 8, 64, limit=4)
    found = [spot_at(pixels)[0] for pixels in views.images.numpy()]
    np.testing.assert_allclose(found, [x_of(number) for number in (5, 15, 25, 35)], atol=0.5)
    assert collect(tmp_path, limit=2).pictures[1].name == "a_000030"  # a folder of nothing but this video


def test_a_damaged_video_gives_the_frames_that_it_has(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.ts", 40, shape=(320, 240))
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(bytes(content))
    views = load_views(path, 16, 320, limit=40)
    assert 10 <= len(views) <= 40
    assert all(message.startswith(f"{path}: frame ") for message in views.skipped)


def test_videos_without_frames(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(DataError) as raised:
            collect(path)
        return str(raised.value)

    (tmp_path / "text.mp4").write_text("no video")
    assert message(tmp_path / "text.mp4").startswith(f"{tmp_path / 'text.mp4'}: cannot be read as a video (Invalid data")
    (tmp_path / "empty.mp4").write_text("")
    assert "empty.mp4: cannot be read as a video" in message(tmp_path / "empty.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    assert "sound.mp4: a video without frames (sound alone); give one" in message(tmp_path / "sound.mp4")
    with av.open(str(tmp_path / "none.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        container.start_encoding()
    assert message(tmp_path / "none.mp4").startswith(f"{tmp_path / 'none.mp4'}: a video without frames; give one with")


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"a\.mp4: videos need PyAV, which is not installed; pip install 'muskie\[data\]'"):
        collect(path)
