"""Videos: what a telephone or a drone brings home. Needs PyAV: `pip install 'muskie[data]'`."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Frame, Scene
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.natural import naturally
from muskie.data.sources.video_frames import frame_times, video_frame
from muskie.data.video_file import VIDEO_SUFFIXES
from muskie.errors import ConfigError, DataError
from muskie.paths import typed_path

EXPECTED = f"videos ({' '.join(sorted(VIDEO_SUFFIXES))}), or such a file"


class Videos(ListedSource):
    """Frames of videos; a video is a scene, or every piece of it.

    Layout: `root` is a video file, or a folder with video files at any depth. Hidden files and folders are left out.

    Frames are named by their numbers, from 0 in the order in which they are shown, whatever the time between them. They come
    upright, as the file's rotation says, and in square pixels. There are no cameras and no depth; `colmap` reads both, if
    frames were reconstructed.

    Listing reads through every file once. Reading a frame decodes from the last key frame on, so videos with few of them are
    slow, and better made into folders of images.

    Args:
        root: the file or folder.
        every: take every so-manyth frame, >= 1; at 30 frames a second, 10 are a third of a second.
        seconds: cut each video into pieces of about so many seconds (half to one and a half), each a scene,
            `<video>#<number>`; those of a video are of one room. None: a video is a scene.
        min_images: scenes of fewer frames are left out, >= 1.

    Raises:
        ConfigError: `every`, `seconds` or `min_images` is out of range.
        DataError: `root` is missing, or holds no video that can be read; those that cannot are left out and kept in
            `problems`.
    """

    name = "video"
    min_images: int

    def __init__(self, root: str | Path, every: int = 10, seconds: float | None = None, min_images: int = 1) -> None:
        if every < 1:
            raise ConfigError(f"data.every={every}: expected 1 or more")
        if seconds is not None and not 0 < seconds < math.inf:
            raise ConfigError(f"data.seconds={seconds}: expected a length above 0, or null")
        self.every, self.seconds = every, seconds
        given = typed_path(root, "data.root") if str(root) else Path()
        self.root = (given if given.is_file() else existing_folder(root, EXPECTED)).resolve()
        self._list(min_images, every=every, seconds=seconds)

    def parts(self) -> Sequence[str]:
        if self.root.is_file():
            return [self.root.name]
        return naturally(self._files())

    def _files(self) -> Iterator[str]:
        """Video files below the folder, each folder once whatever links lead to it."""
        seen = set()
        for folder, folders, files in os.walk(self.root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = naturally(name for name in folders if name[0] != ".")
            for name in files:
                if name[0] != "." and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                    yield (Path(folder) / name).relative_to(self.root).as_posix()

    def scenes_in(self, part: str) -> Sequence[Scene]:
        try:
            noted, shown = frame_times(self._path(part))
        except DataError as error:
            raise OSError(str(error)) from error
        numbers = np.arange(0, len(noted), self.every)
        if self.seconds is None:
            return [Scene(part, _names(numbers), numbers=noted[numbers])]
        pieces = max(1, round(float(shown[-1]) / self.seconds))
        piece_of = np.minimum(shown[numbers] // self.seconds, pieces - 1)
        return [
            Scene(f"{part}#{piece}", _names(own), part, noted[own])
            for piece in range(pieces)
            if len(own := numbers[piece_of == piece])
        ]

    def watched(self, scene: Scene) -> Sequence[Path]:
        path = self._path(scene.room or scene.name)
        return [path] if self.root.is_file() else [path, path.parent]

    def _nothing(self) -> str:
        found = "no video that can be read" if self.problems else "no video"
        return f"{found} there; give a folder with {EXPECTED}; for folders of images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        assert scene.numbers is not None
        first = int(scene.frames[0])
        numbers = range(first, first + self.every * len(scene.frames), self.every)
        return Frame(video_frame(self._path(scene.room or scene.name), numbers, scene.numbers, int(frame)))

    def identity(self, scene: Scene, frame: str) -> str:
        """The file and the number of the frame, however often frames are taken and the video is cut."""
        return f"{os.path.realpath(self._path(scene.room or scene.name))}#{frame}"

    def camera(self, scene: Scene, frame: str) -> None:
        return None

    def _path(self, part: str) -> Path:
        return self.root if self.root.is_file() else self.root / part


def _names(numbers: np.ndarray) -> list[str]:
    return [f"{number:06d}" for number in numbers]
