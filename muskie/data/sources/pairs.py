"""Lists of image pairs with their relative pose, over a folder of images, such as the 1500 test pairs of ScanNet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from muskie.data.images import to_rgb
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.pair_lines import Picture, read_pair
from muskie.errors import ConfigError, DataError
from muskie.paths import typed_path

FRAMES = ("0", "1")

_SCANNET = re.compile(r"(scene\d{4})_\d{2}")
_SCANNET_FRAME = re.compile(r"(?:.*/)?(scene\d{4}_\d{2})_frame-0*(\d+)\.\w+")


class PairList(SceneSource):
    """Pairs of pictures with their cameras: every pair is a scene of two frames, `"0"` and `"1"`.

    The list is a text file in the format of SuperGlue, see `muskie.data.sources.pair_lines`. The world is camera 0. A list
    has no depth: the depth maps are 0, unknown, everywhere, so that whatever asks for geometry can read the pairs, and
    whatever needs depth finds none. An orientation that a picture's file notes (EXIF) is not applied: intrinsics belong to
    the pixels as they are stored, and the list says how they are turned.

    The list of ScanNet's pairs names `scene0707_00_frame-000015.jpg`. Where there is no such file,
    `scene0707_00/color/15.jpg` is read, which is how ScanNet is exported.

    Pairs with the same `scene0707` in the path of their first picture show the same room; of other data, those whose first
    pictures lie in the same folder. They lie side by side, and a scene is called after its line.

    Args:
        root: the folder that paths are relative to.
        pairs: the list.
        intrinsics_size: width and height of the pictures that the intrinsics are for; None: those of the pictures as they
            are. Those of ScanNet's pairs are for 1296 x 968.
        first_centre: where the intrinsics count the centre of the first pixel: 0 (ScanNet, OpenCV) or 0.5 (COLMAP).
        poses: False: only show the pictures; lines need no more than two paths, and there are no cameras.

    Raises:
        ConfigError: an argument is out of range.
        DataError: a folder or file is missing, none of its pictures is there, or a line is broken; and on reading a camera,
            if its intrinsics are for pictures of another size.
    """

    uniform_length = True

    def __init__(
        self,
        root: str | Path,
        pairs: str | Path,
        intrinsics_size: Sequence[int] | None = None,
        first_centre: float = 0.0,
        poses: bool = True,
    ) -> None:
        if intrinsics_size is not None and (len(intrinsics_size) != 2 or min(intrinsics_size) < 1):
            raise ConfigError(f"data.intrinsics_size={intrinsics_size}: expected width and height in pixels, or null")
        if first_centre not in (0, 0.5):
            raise ConfigError(f"data.first_centre={first_centre}: expected 0 or 0.5")
        self.intrinsics_size, self.first_centre = intrinsics_size, first_centre
        self.root = existing_folder(root, "the pictures of a list of pairs")
        self.list = typed_path(pairs, "data.pairs")
        self.name = self.list.stem
        rooms: dict[str, list[tuple[str, tuple[Picture, Picture]]]] = {}
        for number, line in enumerate(_lines(self.list), 1):
            if fields := line.split():
                pair = read_pair(fields, f"{self.list}, line {number}", poses)
                rooms.setdefault(_room(pair), []).append((f"line-{number:04d}", pair))
        self._scenes = [Scene(name, FRAMES, room) for room, found in rooms.items() for name, _ in found]
        self._pairs = {name: pair for found in rooms.values() for name, pair in found}
        if not self._pairs:
            raise DataError(f"{self.list} names no pair; expected lines 'path0 path1 turns0 turns1 K0 K1 T_0to1'")
        if not any(self._file(picture).is_file() for pair in self._pairs.values() for picture in pair):
            first = next(iter(self._pairs.values()))[0].path
            raise DataError(
                f"none of the pictures of {self.list} is in data.root={str(root)!r}: there is no {first!r}; "
                f"paths in the list are relative to data.root"
            )

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        picture = self._picture(scene, frame)
        image = _as_stored(self._file(picture))
        size = image.size
        for _ in range(picture.turns):
            image = image.transpose(Image.Transpose.ROTATE_90)  # counter-clockwise
        if not geometry:
            return Frame(image)
        return Frame(image, np.zeros(image.size[::-1], dtype=np.float32), self._camera(picture, size))

    def file(self, scene: Scene, frame: str) -> Path:
        return self._file(self._picture(scene, frame))

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        picture = self._picture(scene, frame)
        try:
            with Image.open(self._file(picture)) as image:
                return self._camera(picture, image.size)
        except OSError as error:
            raise OSError(f"{self._file(picture)}: {error.strerror or error}") from error

    def _picture(self, scene: Scene, frame: str) -> Picture:
        if scene.name not in self._pairs or frame not in FRAMES:
            raise DataError(f"{self.list} has no frame {frame!r} of {scene.name!r}; its frames are '0' and '1'")
        return self._pairs[scene.name][FRAMES.index(frame)]

    def _file(self, picture: Picture) -> Path:
        file = self.root / picture.path
        exported = _SCANNET_FRAME.fullmatch(picture.path)
        if exported and not file.is_file():
            other = self.root / exported[1] / "color" / f"{exported[2]}.jpg"
            return other if other.is_file() else file
        return file

    def _camera(self, picture: Picture, size: tuple[int, int]) -> Camera | None:
        """The camera of the upright picture, whose size before it is turned is `size` = (width, height)."""
        if picture.intrinsics is None or picture.cam2world is None:
            return None
        intrinsics = picture.intrinsics.copy()
        intrinsics[:2, 2] += 0.5 - self.first_centre
        if self.intrinsics_size is not None:
            intrinsics[:2] *= np.array(size)[:, None] / np.array(self.intrinsics_size)[:, None]
        elif not all(0.25 < centre / side < 0.75 for centre, side in zip(intrinsics[:2, 2], size, strict=True)):
            raise DataError(
                f"{self._file(picture)} has {size[0]} x {size[1]} pixels, and the principal point that {self.list} states, "
                f"({intrinsics[0, 2]:g}, {intrinsics[1, 2]:g}), is far from their middle; say which size the intrinsics are "
                f"for, e.g. data.intrinsics_size=[1296,968], or the size that the picture has if they are right"
            )
        cam2world = picture.cam2world
        for _ in range(picture.turns):
            intrinsics, cam2world, size = _turned(intrinsics, cam2world, size)
        return Camera(intrinsics, cam2world)


def _turned(
    intrinsics: np.ndarray, cam2world: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Camera and (width, height) of a picture after a quarter turn counter-clockwise."""
    # What was at the right is now at the top: pixel (x, y) goes to (y, width - x), and so do the axes of the camera.
    pixels = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, size[0]], [0.0, 0.0, 1.0]])
    axes = np.eye(4)
    axes[:2, :2] = pixels[:2, :2]
    return pixels @ intrinsics @ axes[:3, :3].T, cam2world @ axes.T, (size[1], size[0])


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.pairs={str(file)!r} cannot be read ({error}); give a list of pairs, a text file") from error


def _room(pair: tuple[Picture, Picture]) -> str:
    path = pair[0].path
    scannet = _SCANNET.search(path)
    return scannet[1] if scannet else Path(path).parent.as_posix()


def _as_stored(file: Path) -> Image.Image:
    """A picture in 8-bit RGB without the orientation that its file notes.

    Raises:
        OSError: it cannot be read; the message names it.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return Image.fromarray(np.asarray(to_rgb(image)))
    except OSError as error:
        raise OSError(f"{file}: {error.strerror or error}") from error
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"{file}: cannot be decoded ({error})") from error
