"""Neural RGB-D Surface Reconstruction (Azinovic et al., CVPR 2022): rendered rooms with exact depth and poses."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.cameras import pinhole
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.errors import DataError

FOCAL = 320 / math.tan(math.radians(30))
"""Pixels at a width of 640: 554.26, a horizontal field of view of 60 degrees."""

FARTHEST = 10.0
"""Metres beyond which depth counts as unknown, as in the published evaluations on these rooms."""


class NeuralRGBD(SceneSource):
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

    Raises:
        DataError: `root`, a scene or the folder of the depth maps is missing, no scene is found, or poses or focal length
            are broken.
    """

    name = "nrgbd"

    def __init__(self, root: str | Path, scenes: list[str] | None = None, depth: str = "depth") -> None:
        self.root = existing_folder(root, "Neural RGB-D scenes (<scene>/images/img0.png)").resolve()
        found = {path.name: path for path in self.root.iterdir() if _numbered(path)}
        self._depth = depth
        self._scenes: list[Scene] = []
        self._focal: dict[str, float | None] = {}
        self._poses: dict[str, np.ndarray] = {}
        for name in chosen(found, scenes, root, "scenes"):
            frames = _numbered(found[name])
            if not (found[name] / depth).is_dir() and (others := sorted(p.name for p in found[name].glob("depth*"))):
                raise DataError(f"{found[name]}: no folder data.depth={depth!r}; there is {', '.join(map(repr, others))}")
            self._scenes.append(Scene(name, frames))
            self._focal[name] = _read_focal(found[name] / "focal.txt")
            self._poses[name] = _read_poses(found[name] / "poses.txt", _number(frames[-1]))
        if not self._scenes:
            way_out = "; for folders of plain images use data=folder"
            if _numbered(self.root):
                way_out = f"; this is a scene: give the folder above, {str(self.root.parent)!r}"
            raise DataError(f"data.root={str(root)!r}: no <scene>/images/img0.png found there{way_out}")

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        image = open_image(path)
        file = self.root / scene.name / self._depth / f"depth{_number(frame)}.png"
        depth = None
        if file.is_file():
            depth = read_grey(file, image.size) / 1000
            depth[depth > FARTHEST] = 0
        return Frame(image, depth, self._camera(scene, frame, image.size))

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        poses = self._poses[scene.name]
        if not len(poses):
            return None
        cam2world = poses[_number(frame)]
        if not np.isfinite(cam2world).all():
            return None
        exact = rigid(cam2world)
        if exact is None:
            raise OSError(f"{self.root / scene.name / 'poses.txt'}: the pose of {frame} has no rotation")
        stated = self._focal[scene.name]
        focal = FOCAL * size[0] / 640 if stated is None else stated
        return Camera(pinhole(focal, focal, size[0] / 2, size[1] / 2), exact)


def _numbered(scene: Path) -> list[str]:
    return [name for name in pictures(scene / "images") if re.fullmatch(r"img\d+", Path(name).stem)]


def _number(frame: str) -> int:
    return int(Path(frame).stem.removeprefix("img"))


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


def _read_poses(file: Path, last: int) -> np.ndarray:
    """Camera-to-world, OpenCV, float64 [N, 4, 4], those that are lost as they are; none without the file."""
    if not file.is_file():
        return np.zeros((0, 4, 4))
    try:
        rows = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise DataError(f"{file}: {error}; expected four rows of four numbers a camera") from error
    if rows.shape[1] != 4 or len(rows) % 4:
        raise DataError(f"{file}: {len(rows)} rows of {rows.shape[1]} numbers; expected four rows of four numbers a camera")
    if len(rows) // 4 <= last:
        raise DataError(f"{file}: {len(rows) // 4} poses, and there is a picture img{last}; the file is cut off")
    return rows.reshape(-1, 4, 4) * np.array([1.0, -1.0, -1.0, 1.0])
