"""Single frames of many videos, in any order: the times of their frames are known, and the last videos are kept open."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from muskie.data.video_file import Video
from muskie.errors import DataError

OPEN = 4
"""How many videos a process (a thread of it) keeps open."""

KEPT = 32 * 2**20
"""Bytes of decoded frames that are kept of each: to reach one frame, those since the last key frame are decoded anyway."""


class SingleVideo(Video):
    """A video that one thread decodes. Others read other videos meanwhile; and a forked process may throw away what it
    inherited: a decoder with threads, which it has not, would wait for them for ever."""

    def _open(self) -> None:
        super()._open()
        self._stream.codec_context.thread_count = 1

    def close(self) -> None:
        """Closes the file."""
        self._decoding = None
        self._container.close()


def frame_times(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of all frames of a video, in the order in which they are shown, what `ListedVideo` needs to find them, float64 [N, 2],
    and when they are shown, seconds from the first one, float64 [N]. It reads through the file.

    The former are the time of the frame and that of the last key frame up to it, in the file's unit; or, in files without
    times, the number of the frame and nan.

    Raises:
        DataError: PyAV is not installed, or the file holds no frame that can be decoded.
    """
    video = SingleVideo(path)
    try:
        times = np.array(video._times, dtype=np.float64)
        if video._counted:
            rate = float(video._stream.average_rate or video._stream.guessed_rate or 25)
            return np.column_stack([times, np.full_like(times, np.nan)]), times / rate
        keys = np.array(video._keys or video._times[:1], dtype=np.float64)
        before = keys[(np.searchsorted(keys, times, side="right") - 1).clip(0)]
        return np.column_stack([times, before]), (times - times[0]) * float(video._stream.time_base)
    finally:
        video.close()


class ListedVideo(SingleVideo):
    """A video some of whose frames are wanted, at known times: opening it does not read through the file, and wanted frames
    that are passed while another one is decoded are kept.

    Args:
        path: of the file.
        numbers: of the wanted frames.
        noted: float64 [len(numbers), 2], of these, as `frame_times` gives it.

    Raises:
        DataError: as `Video`.
    """

    def __init__(self, path: Path, numbers: range, noted: np.ndarray) -> None:
        self._numbers, self._noted = numbers, noted
        self._passed: OrderedDict[float, Any] = OrderedDict()
        super().__init__(path)

    def _read_times(self) -> None:
        times = self._noted[:, 0].astype(np.int64)
        # By number; what is not wanted counts as the next that is.
        following = np.searchsorted(np.array(self._numbers), np.arange(self._numbers[-1] + 1))
        self._times = times[following].tolist()
        self._wanted = set(times.tolist())
        self._counted = bool(np.isnan(self._noted[0, 1]))
        self._seeks = not self._counted
        self._keys = [] if self._counted else np.unique(self._noted[:, 1].astype(np.int64)).tolist()

    def _frame(self, number: int) -> Any | None:
        kept = self._passed.get(self._times[number])
        return super()._frame(number) if kept is None else kept

    def _decoded(self) -> Iterator[Any]:
        for frame in super()._decoded():
            if self._position in self._wanted:
                self._passed[self._position] = frame
                self._passed.move_to_end(self._position)
                while len(self._passed) > max(1, KEPT // (2 * frame.width * frame.height)):
                    self._passed.popitem(last=False)
            yield frame


_kept = threading.local()


def video_frame(path: Path, numbers: range, noted: np.ndarray, number: int) -> Image.Image:
    """Frame `number`, one of the `numbers`, upright, RGB, in square pixels; the other arguments as those of `ListedVideo`.

    Videos that were opened before a fork are of the parent alone: both would move the one place in the file. They are
    left as they are, neither read nor closed.

    Raises:
        OSError: it cannot be decoded; the message names it.
    """
    shelf: OrderedDict[tuple[int, Path, range], ListedVideo] = vars(_kept).setdefault("shelf", OrderedDict())
    key = (os.getpid(), path, numbers)
    if key not in shelf:
        try:
            shelf[key] = ListedVideo(path, numbers, noted)
        except DataError as error:
            raise OSError(str(error)) from error
        own = [other for other in shelf if other[0] == key[0]]
        if len(own) > OPEN:
            shelf.pop(own[0]).close()
    shelf.move_to_end(key)
    return _square(shelf[key].frame(number), shelf[key].pixel_aspect)


def _square(image: Image.Image, aspect: float) -> Image.Image:
    """The image in square pixels, from those of `aspect` = width / height."""
    width, height = round(image.width * max(aspect, 1)), round(image.height / min(aspect, 1))
    return image if (width, height) == image.size else image.resize((width, height), Image.Resampling.BICUBIC)
