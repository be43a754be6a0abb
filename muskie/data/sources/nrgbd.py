"""Neural RGB-D Surface Reconstruction (Azinovic et al., CVPR 2022): rendered rooms with exact depth and poses."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import pinhole
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.natural import naturally
from muskie.errors import DataError

FOCAL = 320 / math.tan(math.radians(30))
"""Pixels at a width of 640: 554.26, a horizontal field of view of 60 degrees."""

FARTHEST = 10.0
"""Metres beyond which depth counts as unknown, as in the published evaluations on these rooms."""


class NeuralRGBD(ListedSource):
    """Rooms of Neural RGB-D.

    Layout, as its authors give it: `<root>/<scene>/{images/img0.png, depth/depth0.png, poses.txt, focal.txt}`.

    - `poses.txt`: four rows a camera, camera-to-world in metres, number i that of `img<i>`. OpenGL's axes (x right, y up,
      z backwards) are turned into OpenCV's. A pose that is not finite is a frame without camera.
    - `focal.txt`: the focal length in pixels of the pictures as they lie there; without it 554.26 at a width of 640.
      Square pixels, the principal point in the middle: the pictures are rendered (Blender).
    - Depth is in millimetres, 0 = unknown, and unknown beyond 10 m.

    Args:
        root: the folder of the scenes.
        scenes: which scenes, in natural order however they are listed; None: all.
        depth: the folder of the depth maps: `"depth"`, exact; `"depth_with_noise"` or `"depth_filtered"`, like a sensor's.
        min_images: scenes of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range.
        DataError: `root`, a scene or the folder of the depth maps is missing, no scene is found, or poses or focal length
            are broken.
    """

    name = "nrgbd"

    def __init__(self, root: str | Path, scenes: list[str] | None = None, depth: str = "depth", min_images: int = 1) -> None:
        self.root = existing_folder(root, "Neural RGB-D scenes (<scene>/images/img0.png)").resolve()
        self.scenes, self.depth = scenes, depth
        self._list(min_images, scenes=scenes, depth=depth)

    def parts(self) -> Sequence[str]:
        _read_poses.cache_clear()  # who looks anew reads anew
        _read_focal.cache_clear()
        found = [path.name for path in self.root.iterdir() if (path / "images").is_dir()]
        return chosen(found, self.scenes, self.root, "scenes")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder, frames = self.root / part, _numbered(self.root / part)
        if not frames:
            return []
        if not (folder / self.depth).is_dir() and (others := naturally(path.name for path in folder.glob("depth*"))):
            raise DataError(f"{folder}: no folder data.depth={self.depth!r}; there is {', '.join(map(repr, others))}")
        _read_focal(folder / "focal.txt")
        if len(poses := _read_poses(folder / "poses.txt")):
            _check_number(poses, _number(frames[-1]), folder / "poses.txt")
        return [Scene(part, frames)]

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self.root / scene.name / name for name in ("images", "poses.txt", "focal.txt")]

    def _nothing(self) -> str:
        way_out = "; for folders of plain images use data=folder"
        if _numbered(self.root):
            way_out = f"; this is a scene: give the folder above, {str(self.root.parent)!r}"
        return f"no <scene>/images/img0.png found there{way_out}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size, depth = image_size(path), None
        file = self.root / scene.name / self.depth / f"depth{_number(frame)}.png"
        if file.is_file():
            depth = read_grey(file, size) / 1000
            depth[depth > FARTHEST] = 0
        return Frame(open_image(path, at_least), depth, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        file = self.root / scene.name / "poses.txt"
        poses = _read_poses(file)
        if not len(poses):
            return None
        _check_number(poses, _number(frame), file)
        cam2world = poses[_number(frame)]
        if not np.isfinite(cam2world).all():
            return None
        exact = rigid(cam2world)
        if exact is None:
            raise OSError(f"{file}: the pose of {frame} has no rotation")
        stated = _read_focal(self.root / scene.name / "focal.txt")
        focal = FOCAL * size[0] / 640 if stated is None else stated
        return Camera(pinhole(focal, focal, size[0] / 2, size[1] / 2), exact)


def _numbered(scene: Path) -> list[str]:
    return [name for name in pictures(scene / "images") if re.fullmatch(r"img\d+", Path(name).stem)]


def _number(frame: str) -> int:
    return int(Path(frame).stem.removeprefix("img"))


@lru_cache(maxsize=64)
def _read_focal(file: Path) -> float | None:
    if not file.is_file():
        return None
    try:
        focal = float(file.read_text())
    except ValueError:
        focal = math.nan
    if not 0 < focal < math.inf:
        raise DataError(f"{file}: expected one number above 0, the focal length in pixels")
    return focal


@lru_cache(maxsize=64)
def _read_poses(file: Path) -> np.ndarray:
    """Camera-to-world, OpenCV, float64 [N, 4, 4], those that are lost as they are; none without the file."""
    if not file.is_file():
        return np.zeros((0, 4, 4))
    try:
        rows = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise DataError(f"{file}: {error}; expected four rows of four numbers a camera") from error
    if rows.shape[1] != 4 or len(rows) % 4:
        raise DataError(f"{file}: {len(rows)} rows of {rows.shape[1]} numbers; expected four rows of four numbers a camera")
    return rows.reshape(-1, 4, 4) * np.array([1.0, -1.0, -1.0, 1.0])


def _check_number(poses: np.ndarray, number: int, file: Path) -> None:
    if number >= len(poses):
        raise DataError(f"{file}: {len(poses)} poses, and there is a picture img{number}; the file is cut off")
