"""The frames of a video as pictures. Needs PyAV, which is optional: `pip install 'muskie[data]'`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from muskie.errors import DataError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".3gp", ".gif"}
)

_NEAR = 8
"""Frames that are rather decoded and passed over than jumped."""


class Video:
    """A video of which single frames are decoded, upright.

    Opening it reads the times of all frames, and decodes one. Frames are numbered from 0 in the order in which they are
    shown; reading them forward is fast, since decoding starts at the last key frame before the wanted one.

    Args:
        path: of the file.

    Raises:
        DataError: PyAV is not installed, or the file holds no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self._av = _pyav(path)
        self.path = path
        self._container: Any = None
        self._decoding: Iterator[Any] | None = None
        self._position = -math.inf  # time of the last frame decoded
        self._last = 0  # its number
        self._seeks = True
        self._times: list[int] = []  # of all frames; their numbers where the container gives no times
        self._keys: list[int] = []  # times of key frames
        try:
            self._open()
            self._read_times()
            first = self._frame(0) if self._times else None
        except (OSError, self._av.FFmpegError) as error:
            raise DataError(f"{path}: cannot be read as a video ({_reason(error)}); give another file") from error
        if first is None:
            raise _without_frames(path)
        self._turn = _display_turn(first)
        self._coded_size = (first.width, first.height)
        self.size = self._coded_size[::-1] if self._turn[0] else self._coded_size
        aspect = float(self._stream.sample_aspect_ratio or 1)
        self.pixel_aspect = 1 / aspect if self._turn[0] else aspect

    def __len__(self) -> int:
        return len(self._times)

    def frame(self, number: int) -> Image.Image:
        """A frame, upright, RGB.

        Raises:
            OSError: it cannot be decoded; the message names it.
        """
        try:
            frame = self._frame(number)
            if frame is None:
                raise OSError("the video ends before it")
            if (frame.width, frame.height) != self._coded_size:
                raise OSError(f"it is of {frame.width} x {frame.height} pixels, the first one of another size")
            return Image.fromarray(_turned(frame.to_ndarray(format="rgb24"), self._turn))
        except (OSError, self._av.FFmpegError) as error:
            self._decoding = None  # which has ended; the next frame starts anew
            raise OSError(f"{self.path}: frame {number}: {_reason(error)}") from error

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = self._av.open(str(self.path))
        if not self._container.streams.video:
            raise _without_frames(self.path, " (sound alone)" if self._container.streams.audio else "")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._decoding, self._position = None, -math.inf

    def _read_times(self) -> None:
        packets = [packet for packet in self._container.demux(self._stream) if packet.size and not packet.is_discard]
        times = [packet.pts for packet in packets]
        if None in times or len(set(times)) < len(times):
            self._times, self._counted, self._seeks = list(range(len(times))), True, False
        else:
            self._times, self._counted = sorted(times), False
            self._keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
        self._open()

    def _frame(self, number: int) -> Any | None:
        """The frame of a number, or the next one that there is; None behind the last."""
        wanted, ahead = self._times[number], number - self._last
        self._last = number
        before = bisect_right(self._keys, wanted)
        jumps = self._seeks and ahead > _NEAR and before and self._keys[before - 1] > self._position
        if self._decoding is None or wanted <= self._position or jumps:
            self._start(wanted)
            frame = self._next(wanted)
            if frame is None or frame.pts == wanted or self._counted or not self._seeks:
                return frame
            # It jumped beyond the frame, as it does in formats without an index: decode all from the start.
            self._seeks = False
            self._start(wanted)
        return self._next(wanted)

    def _start(self, wanted: int) -> None:
        if self._seeks and self._keys:
            self._container.seek(wanted, stream=self._stream, backward=True)
        else:
            self._open()
        self._decoding, self._position = self._decoded(), -math.inf

    def _decoded(self) -> Iterator[Any]:
        for count, frame in enumerate(self._container.decode(self._stream)):
            if self._counted or frame.pts is not None:
                self._position = count if self._counted else frame.pts
                yield frame

    def _next(self, wanted: int) -> Any | None:
        assert self._decoding is not None
        for frame in self._decoding:
            if self._position >= wanted:
                return frame
        self._decoding = None
        return None


def _pyav(path: Path) -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"{path}: videos need PyAV, which is not installed; pip install 'muskie[data]', or give a folder of frames"
        ) from error
    return av


def _without_frames(path: Path, what: str = "") -> DataError:
    return DataError(f"{path}: a video without frames{what}; give one with pictures in it, or a folder of images")


def _display_turn(frame: Any) -> tuple[bool, bool, bool]:
    """How to turn a frame as its display matrix says: exchange rows and columns, then mirror left-right, upside down."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            # (x', y') = (a x + c y, b x + d y), beside a shift
            a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
            return (True, c < 0, b < 0) if abs(b) > abs(a) else (False, a < 0, d < 0)
    return False, False, False


def _turned(pixels: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    exchanged, mirrored, upside_down = turn
    pixels = pixels.swapaxes(0, 1) if exchanged else pixels
    pixels = pixels[:, ::-1] if mirrored else pixels
    return np.ascontiguousarray(pixels[::-1] if upside_down else pixels)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
