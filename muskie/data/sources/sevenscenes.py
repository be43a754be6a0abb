"""7-Scenes (Shotton et al., CVPR 2013): RGB-D sequences of small rooms with tracked poses."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import IMAGE_SUFFIXES, open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.files import check_aspect, image_size, read_grey, read_matrix, read_pose
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.natural import naturally
from muskie.data.sources.registration import register
from muskie.errors import DataError, nearest

DEPTH_INTRINSICS = np.array([[585.0, 0.0, 320.0], [0.0, 585.0, 240.0], [0.0, 0.0, 1.0]])
COLOUR_INTRINSICS = np.array([[525.0, 0.0, 320.0], [0.0, 525.0, 240.0], [0.0, 0.0, 1.0]])
COLOUR_TO_DEPTH = np.eye(4)
COLOUR_TO_DEPTH[0, 3] = 0.025
"""From the coordinates of the colour camera to those of the depth camera: it lies to the right of it in the picture."""
UNKNOWN_DEPTH = 65535
REGISTERED_DEPTH, SENSOR_DEPTH = "depth.proj.png", "depth.png"

_COLOUR = re.compile(r"frame-[^.]*\.color(\.\w+)")


class SevenScenes(ListedSource):
    """Sequences of 7-Scenes; a sequence is a scene, for frames of different sequences are not neighbours.

    Layout: `<root>/<room>/seq-01/frame-000000.{color.png|color.jpg, depth.png, pose.txt}`; `root` may also be one room.
    Depth is in millimetres, 65535 = unknown. Poses are those of the depth camera, camera-to-world, in metres.

    Picture, depth and camera of a frame are all those of the *colour* camera: f = 525, centre 320, 240, for 640x480, and
    2.5 cm beside the depth camera, the nominal values of the Kinect; nobody has calibrated the pair. `depth.proj.png` is
    registered to it already, and taken where it lies beside; `depth.png` is registered while it is read (`register`), by
    the depth camera's intrinsics: `camera-intrinsics.txt` in the room or in `root`, else f = 585, centre 320, 240. On the
    kitchen, colours of the same point in two frames then agree better than by the depth camera's intrinsics (a test), and
    nearly as well as by the best values found for it.

    Args:
        root: the folder.
        rooms: which rooms; None: all.
        min_images: sequences of fewer frames are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range.
        DataError: `root` or a room is missing, no sequence is found, or a file of intrinsics is broken.
    """

    name = "sevenscenes"

    def __init__(self, root: str | Path, rooms: list[str] | None = None, min_images: int = 1) -> None:
        self.root = existing_folder(root, "7-Scenes rooms (<room>/seq-01/frame-000000.color.png)").resolve()
        self.rooms, self._single = rooms, bool(_sequences(self.root))
        self._base = self.root.parent if self._single else self.root
        self._list(min_images, rooms=rooms)

    def parts(self) -> Sequence[str]:
        _intrinsics.cache_clear()  # who looks anew reads anew
        found = [self.root.name] if self._single else [path.name for path in self.root.iterdir() if _sequences(path)]
        if found and (missing := [room for room in self.rooms or [] if room not in found]):
            hint = nearest(missing[0], naturally(found))
            raise DataError(f"data.root={str(self.root)!r}: no room {missing[0]!r} found there{hint}")
        return self.rooms if self.rooms and found else naturally(found)

    def scenes_in(self, part: str) -> Sequence[Scene]:
        _intrinsics(self._given(part))
        folder = self._base / part
        return [Scene(f"{part}/{name}", _frames(folder / name), room=part) for name in _sequences(folder)]

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self._base / scene.name, *self._given(scene.name.split("/")[0])]

    def _nothing(self) -> str:
        way_out = "; for folders of plain images use data=folder"
        if self.root.match("seq-*") and any(self.root.glob("frame-*.color.*")):
            way_out = f"; this is a sequence: give the folder of its room, {str(self.root.parent)!r}, or the one above"
        return f"no <room>/seq-*/frame-*.color.png or .jpg found there{way_out}"

    def _given(self, room: str) -> tuple[Path, ...]:
        """Where intrinsics of the depth camera may be given."""
        return tuple(folder / "camera-intrinsics.txt" for folder in (self._base / room, self.root))

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path, stem = self.file(scene, frame), frame.split(".")[0]
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        depth, camera = self._read_depth(scene, stem, size), self._camera(scene, stem, size)
        return Frame(open_image(path, at_least), depth, camera, size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self._base / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame.split(".")[0], image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, stem: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        cam2world = read_pose(self._base / scene.name / f"{stem}.pose.txt")
        if cam2world is None:
            return None
        check_aspect((640, 480), size, self._base / scene.name / stem)
        return Camera(_scaled(COLOUR_INTRINSICS, size), cam2world @ COLOUR_TO_DEPTH)

    def _read_depth(self, scene: Scene, stem: str, size: tuple[int, int]) -> np.ndarray | None:
        """Depth in metres, in the colour camera, at `size` = (width, height)."""
        folder = self._base / scene.name
        for suffix in (REGISTERED_DEPTH, SENSOR_DEPTH):
            file = folder / f"{stem}.{suffix}"
            if file.is_file():
                millimetres = read_grey(file, size)
                depth = np.where(millimetres == UNKNOWN_DEPTH, 0, millimetres / 1000).astype(np.float32)
                if suffix == REGISTERED_DEPTH:
                    return depth
                known = _intrinsics(self._given(scene.name.split("/")[0]))
                measured_by = _scaled(DEPTH_INTRINSICS if known is None else known, size)
                return register(depth, measured_by, np.linalg.inv(COLOUR_TO_DEPTH), _scaled(COLOUR_INTRINSICS, size))
        return None


def _sequences(room: Path) -> list[str]:
    """The names of a room's folders of frames, in natural order."""
    return naturally(path.name for path in room.glob("seq-*") if path.is_dir())


def _frames(sequence: Path) -> list[str]:
    by_stem = {}
    for name in sorted(entry.name for entry in os.scandir(sequence)):
        if (colour := _COLOUR.fullmatch(name)) and colour[1].lower() in IMAGE_SUFFIXES:
            by_stem[name.split(".")[0]] = name  # one of a frame stored both as .jpg and as .png
    return naturally(by_stem.values())


@lru_cache(maxsize=64)
def _intrinsics(files: tuple[Path, ...]) -> np.ndarray | None:
    """Of the depth camera, float64 [3, 3], from the first of some files that is there; None: none is."""
    for file in files:
        if file.is_file():
            matrix = read_matrix(file)
            if matrix is None or matrix.shape != (3, 3):
                raise DataError(f"{file}: expected a finite 3x3 matrix of intrinsics")
            return matrix
    return None


def _scaled(intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Intrinsics for 640x480 at `size` = (width, height)."""
    return intrinsics * np.array([[size[0] / 640], [size[1] / 480], [1.0]])
