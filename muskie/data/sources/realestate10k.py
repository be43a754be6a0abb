"""RealEstate10K (Zhou et al., SIGGRAPH 2018): clips of videos of houses, with cameras from structure from motion."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import inverse, pinhole
from muskie.data.sources.files import image_size, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import pictures, stated
from muskie.data.sources.natural import natural_key
from muskie.errors import DataError
from muskie.paths import typed_path

SPLITS = ("train", "test")
COLUMNS = 19


class RealEstate10K(ListedSource):
    """Clips of RealEstate10K; a clip is a scene, and all clips of one video are one `room`.

    The data set is text files, `<root>/<split>/<clip>.txt`, as its archive unpacks; the pictures are what a download of the
    videos makes: `<frames>/<split>/<clip>/<timestamp>.jpg` (or .png), named by the timestamp of their line, in microseconds.
    Without any text file of the split, as the clips are prepared for pre-training (`<root>/<split>/images/<clip>/*.jpg`),
    no picture has a camera, and which clips are of one video is not known: each is a room of its own.

    A file's first line is the video's address; of each other line 19 numbers: timestamp, focal lengths and principal
    point as shares of width and height, two zeros, and the rows of a 3x4 world-to-camera matrix, OpenCV axes. Shares are of
    the picture's borders, so nothing is added for pixel centres, and any size of the same picture has its intrinsics.

    The unit of length differs from clip to clip, and is no metre. There is no depth: the depth maps are 0, unknown,
    everywhere, so that whatever asks for geometry can read the clips, and whatever needs depth finds none. Clips without
    pictures are left out (many videos are gone), pictures without a line have no camera.

    Args:
        root: the folder that holds `train` and `test` with the text files.
        split: `"train"` or `"test"`; must be given.
        frames: the folder that holds `train` and `test` with the pictures; None: `root/frames` if that exists, else `root`,
            there in `<split>/images` if that exists.
        min_images: clips of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: no split, an unknown one, or `min_images` is out of range.
        DataError: a folder is missing, or no clip is found or left; and on reading a camera, if a clip's text file is
            broken, or none of its timestamps names a picture.
    """

    name = "realestate10k"
    window = 32

    def __init__(
        self, root: str | Path, split: str | None = None, frames: str | Path | None = None, min_images: int = 1
    ) -> None:
        self.split = stated(split, SPLITS)
        self.root = existing_folder(root, "RealEstate10K's text files (test/<clip>.txt)").resolve()
        self._frames = self._picture_folder(frames)
        self._list(min_images, split=split, frames=str(self._frames))

    def parts(self) -> Sequence[str]:
        _read_cameras.cache_clear()  # who looks anew reads anew
        if texts := _texts(self.root / self.split):
            return texts
        prepared = self.root / self.split / "images"
        return sorted(entry.name for entry in os.scandir(prepared) if entry.is_dir()) if prepared.is_dir() else []

    def scenes_in(self, part: str) -> Sequence[Scene]:
        frames = pictures(self._frames / part)
        return [Scene(part, frames, room=_video(self._text(part)))] if frames else []

    def arranged(self, scenes: Sequence[Scene]) -> Sequence[Scene]:
        """Clips of one video lie side by side."""
        return sorted(scenes, key=lambda scene: (scene.room or "", natural_key(scene.name)))

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self._frames / scene.name, self._frames, self.root / self.split]

    def _nothing(self) -> str:
        if clips := self.parts():
            return (
                f"no picture of any of the {len(clips)} clips there in {str(self._frames)!r} (<clip>/<timestamp>.jpg); "
                f"data.frames names the folder that holds {self.split!r} with the pictures"
            )
        way_out = ""
        if any(self.root.glob("*.txt")):
            way_out = f"; this is a split: give the folder above, {str(self.root.parent)!r}"
        elif any((self.root / "RealEstate10K" / self.split).glob("*.txt")):
            way_out = f"; they are in {str(self.root / 'RealEstate10K')!r}: give that, and data.frames for the pictures"
        return f"no {self.split}/<clip>.txt found there{way_out}"

    def _text(self, clip: str) -> Path:
        return self.root / self.split / f"{clip}.txt"

    def _picture_folder(self, frames: str | Path | None) -> Path:
        if frames is None:
            inside, prepared = self.root / "frames", self.root / self.split / "images"
            return inside / self.split if inside.is_dir() else prepared if prepared.is_dir() else self.root / self.split
        folder = typed_path(frames, "data.frames").resolve() / self.split
        if not folder.is_dir():
            raise DataError(f"data.frames={str(frames)!r}: no folder {self.split!r} found there, which has the pictures")
        return folder

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        unknown = np.zeros(size[::-1], dtype=np.float32)
        return Frame(open_image(path, at_least), unknown, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self._frames / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        file = self._text(scene.name)
        if not file.is_file():
            return None
        lines = _read_cameras(file)
        if not any(Path(name).stem in lines for name in scene.frames):
            raise DataError(
                f"{file}: no line for any picture of {self._frames / scene.name}, e.g. {scene.frames[0]!r}; pictures are "
                f"named by their timestamps in microseconds, e.g. {next(iter(lines), '(there is none)')}.jpg"
            )
        numbers = lines.get(Path(frame).stem)
        if numbers is None:
            return None
        world2cam = np.vstack([numbers[6:].reshape(3, 4), [0, 0, 0, 1]])
        exact = rigid(world2cam) if np.isfinite(numbers).all() and min(numbers[:2]) > 0 else None
        if exact is None:
            raise OSError(f"{file}: the camera of {frame} is not usable")
        width, height = size
        intrinsics = pinhole(numbers[0] * width, numbers[1] * height, numbers[2] * width, numbers[3] * height)
        return Camera(intrinsics, inverse(exact))


def _texts(folder: Path) -> list[str]:
    """The clips that have a text file in a folder."""
    names = (entry.name for entry in os.scandir(folder)) if folder.is_dir() else ()
    return sorted(name.removesuffix(".txt") for name in names if name.endswith(".txt"))


def _video(file: Path) -> str | None:
    """The address of the video that a clip is of; None without its text file."""
    if not file.is_file():
        return None
    with file.open(errors="replace") as lines:
        return lines.readline().strip() or None


@lru_cache(maxsize=256)
def _read_cameras(file: Path) -> dict[str, np.ndarray]:
    """By timestamp, the 18 numbers that follow it, float64."""
    found = {}
    for number, line in enumerate(file.read_text(errors="replace").splitlines()[1:], 2):
        if not (fields := line.split()):
            continue
        try:
            values = np.array(fields[1:], dtype=np.float64)
        except ValueError:
            values = np.zeros(0)
        if len(fields) != COLUMNS or len(values) != COLUMNS - 1:
            raise DataError(f"{file}, line {number}: expected {COLUMNS} numbers, a timestamp and a camera")
        found[fields[0]] = values
    return found
