"""Waymo Open Dataset (Sun et al., CVPR 2020): drives through cities, five cameras on a car, depth of its lidar."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.beside import camera_beside, depth_beside
from muskie.data.sources.files import image_size
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError

CAMERAS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT")
"""Numbered from 1, as the data set numbers them."""

_WITH_CAMERA = re.compile(rf"\d+_(?:cam(?:era)?_?)?([1-5]|{'|'.join(CAMERAS)})", re.IGNORECASE)
"""The stem of a picture that says which camera took it, e.g. `00012_1` or `00012_FRONT`."""


class Waymo(ListedSource):
    """Sequences of Waymo, processed to pictures with all that is known of each beside it.

    Layout: `<root>/<sequence>/{00000_1.jpg, 00000_1.npz, 00000_1.exr}`. The `.npz` file has `intrinsics` [3, 3], in pixels
    of the picture beside it, counted from its border as the data set counts them, and `cam2world` [4, 4], OpenCV's axes;
    the `.exr` file has z in metres where the lidar met something, and 0 elsewhere. Pictures without one or the other have
    no camera or no depth. Lenses are taken to have been undistorted. What moves, moves: depth and pose tell nothing of it.

    Where every picture of a sequence says which camera took it, as the number (1 to 5) or name (FRONT, FRONT_LEFT,
    FRONT_RIGHT, SIDE_LEFT, SIDE_RIGHT) behind that of the frame, each camera is a scene of its own, `<sequence>/1`, in the
    order of time, and they share a room; other sequences are one scene. Views are drawn from all of a scene.

    The TFRecords and Parquet files that Waymo publishes are not read.

    Args:
        root: the folder of the sequences.
        sequences: which, in natural order however they are listed; None: all.
        cameras: which, as numbers 1 to 5 (FRONT, FRONT_LEFT, FRONT_RIGHT, SIDE_LEFT, SIDE_RIGHT); None: all. Sequences whose
            pictures do not say which camera took them are then left out.
        min_images: scenes of fewer images are left out, >= 1.

    Raises:
        ConfigError: a camera or `min_images` is out of range.
        DataError: `root` or a sequence is missing, or no scene of enough images is found.
    """

    name = "waymo"
    window = 1_000_000
    """All frames of a scene, some two hundred."""

    def __init__(
        self,
        root: str | Path,
        sequences: list[str] | None = None,
        cameras: list[int] | None = None,
        min_images: int = 1,
    ) -> None:
        if wrong := [camera for camera in cameras or [] if not 1 <= camera <= len(CAMERAS)]:
            raise ConfigError(f"data.cameras: {wrong[0]!r}; expected numbers from 1 to 5 ({', '.join(CAMERAS)})")
        self.root = existing_folder(root, "Waymo sequences (<sequence>/00000_1.jpg)").resolve()
        self.sequences, self.cameras = sequences, sorted(set(cameras or ()))
        self._list(min_images, sequences=sequences, cameras=self.cameras)

    def parts(self) -> Sequence[str]:
        found = (entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")
        return chosen(found, self.sequences, self.root, "sequences")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        frames = pictures(self.root / part)
        numbers = [_camera_number(frame) for frame in frames]
        if 0 in numbers:
            return [] if self.cameras else [Scene(part, frames)]
        scenes = []
        for number in sorted(set(numbers)):
            if not self.cameras or number in self.cameras:
                own = naturally(frame for frame, taken_by in zip(frames, numbers, strict=True) if taken_by == number)
                scenes.append(Scene(f"{part}/{number}", own, room=part))
        return scenes

    def _nothing(self) -> str:
        expected = "no <sequence>/00000_1.jpg found there"
        if any(next(self.root.glob(f"{above}*.{kind}"), None) for above in ("", "*/") for kind in ("tfrecord", "parquet")):
            return f"{expected}; TFRecords and Parquet files are not read: write their pictures, cameras and depth as files"
        if pictures(self.root):
            return f"{expected}; this is a sequence: give the folder above, {str(self.root.parent)!r}"
        if self.cameras:
            return f"{expected} of data.cameras={self.cameras}"
        return f"{expected}; for folders of plain images use data=folder"

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self._folder(scene)]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        image = open_image(path, at_least)
        if not geometry:
            return Frame(image)
        size = image_size(path)
        return Frame(image, depth_beside(path, size), camera_beside(path), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self._folder(scene) / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return camera_beside(self.file(scene, frame))

    def _folder(self, scene: Scene) -> Path:
        return self.root / (scene.room or scene.name)


def _camera_number(frame: str) -> int:
    """Which camera took a picture, 1 to 5; 0: its name does not say."""
    said = _WITH_CAMERA.fullmatch(Path(frame).stem)
    if said is None:
        return 0
    return int(said[1]) if said[1].isdecimal() else 1 + CAMERAS.index(said[1].upper())
