"""ScanNet (Dai et al., CVPR 2017): RGB-D videos of indoor scenes with tracked poses."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.files import check_aspect, image_size, read_grey, read_matrix, read_pose
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.errors import DataError

DEPTH_SIZE = (640, 480)
COLOUR_SIZE = (1296, 968)
"""Width and height of what the sensors of ScanNet recorded, to which the intrinsics belong."""
OWN = ("intrinsic_depth.txt", DEPTH_SIZE), ("intrinsic_color.txt", COLOUR_SIZE)
"""A scene's own intrinsics, and for pictures of which size."""


class ScanNet(ListedSource):
    """Videos of ScanNet; a video is a scene, and `scene0707_00` and `scene0707_01` show the same room.

    Layout: `<root>/<scene>/{color/<i>.jpg, depth/<i>.png, pose/<i>.txt}`, and the intrinsics in either of

    - `<scene>/intrinsic/intrinsic_depth.txt`, as ScanNet's SensReader exports them. It is for 640x480, the size of the
      depth maps. Colour and depth come aligned (ScanNet's issue 92), so it is also the colour camera's, whatever size
      the pictures were exported at; `intrinsic_color.txt` (for 1296x968) is taken where it is missing;
    - `intrinsics.npz`, in `root` or beside it, with a 3x3 or 4x4 matrix for 640x480 under the name of each scene, as the
      1500 test pairs come (`scannet_test_1500`).

    ScanNet counts pixel centres at integers: half a pixel is added. Depth is in millimetres, 0 = unknown, and is resized
    to the picture by nearest neighbour: exact as far as colour and depth are aligned. Poses are camera-to-world in
    metres. Where tracking was lost the pose is infinite; finding those frames would mean opening every file of poses, so
    they are listed, and only reading them with geometry is an `OSError`.

    Args:
        root: the folder of the scenes.
        scenes: which scenes, in natural order however they are listed; None: all.
        min_images: scenes of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range.
        DataError: `root` or a scene is missing, no scene is found, or a file of intrinsics is broken; and on reading
            geometry, if a scene has poses and no intrinsics.
    """

    name = "scannet"

    def __init__(self, root: str | Path, scenes: list[str] | None = None, min_images: int = 1) -> None:
        self.root = existing_folder(root, "ScanNet scenes (<scene>/color/0.jpg)").resolve()
        self.scenes = scenes
        self._list(min_images, scenes=scenes)

    def parts(self) -> Sequence[str]:
        _intrinsics.cache_clear()  # who looks anew reads anew
        _archive.cache_clear()
        found = [path.name for path in self.root.iterdir() if (path / "color").is_dir()]
        return chosen(found, self.scenes, self.root, "scenes")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        frames = pictures(self.root / part / "color")
        if not frames and self.scenes:
            raise DataError(f"{self.root / part / 'color'}: no image; export the scene again, or leave {part!r} out")
        if frames:
            _intrinsics(self.root, part)
        numbered = re.fullmatch(r"(scene\d+)_\d+", part)
        return [Scene(part, frames, room=numbered[1] if numbered else None)]

    def watched(self, scene: Scene) -> Sequence[Path]:
        own = (self.root / scene.name / "intrinsic" / name for name, _ in OWN)
        return [self.root / scene.name / "color", *own, *_archives(self.root)]

    def _nothing(self) -> str:
        return f"no <scene>/color/*.jpg found there{_way_out(self.root)}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size, file = image_size(path), self.root / scene.name / "depth" / f"{Path(frame).stem}.png"
        depth = read_grey(file, size) / 1000 if file.is_file() else None
        return Frame(open_image(path, at_least), depth, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "color" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        cam2world = read_pose(self.root / scene.name / "pose" / f"{Path(frame).stem}.txt")
        if cam2world is None:
            return None
        relative = _intrinsics(self.root, scene.name)
        if relative is None:
            raise DataError(
                f"{self.root / scene.name}: poses without intrinsics; put intrinsics.npz (it comes with LoFTR's list of the "
                f"1500 test pairs) into {str(self.root)!r}, or export the scene's own (SensReader --export_intrinsics)"
            )
        check_aspect(DEPTH_SIZE, size, self.file(scene, frame))
        return Camera(relative * np.array([[size[0]], [size[1]], [1.0]]), cam2world)


def _way_out(root: Path) -> str:
    if (root / "color").is_dir():
        return f"; this is a scene: give the folder above, {str(root.parent)!r}"
    if any(root.glob("*/*.sens")):
        return "; these scenes are not exported yet: run ScanNet's SensReader on their .sens files"
    return "; for folders of plain images use data=folder"


@lru_cache(maxsize=4096)
def _intrinsics(root: Path, scene: str) -> np.ndarray | None:
    """Of a scene, as `_relative` gives them, from its folder `intrinsic`, else from an archive; None: from neither."""
    for name, size in OWN:
        file = root / scene / "intrinsic" / name
        if file.is_file():
            return _relative(read_matrix(file), size, str(file))
    for file in _archives(root):
        if file.is_file():
            try:
                matrix = _archive(file).get(scene)
            except Exception as error:  # what damaged bytes raise differs from place to place
                raise DataError(f"{file}: cannot be read as an archive of matrices ({error})") from error
            return None if matrix is None else _relative(matrix, DEPTH_SIZE, f"{file}: {scene}")
    return None


def _archives(root: Path) -> tuple[Path, Path]:
    return root / "intrinsics.npz", root.parent / "intrinsics.npz"


@lru_cache(maxsize=4)
def _archive(file: Path) -> Mapping[str, np.ndarray]:
    """In memory: processes that were forked would move each other's place in an open file."""
    archive = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    if not isinstance(archive, Mapping):
        raise ValueError("one array")
    return archive


def _relative(matrix: np.ndarray | None, size: tuple[int, int], where: str) -> np.ndarray:
    """Intrinsics [3, 3] for a picture of width and height 1, from ScanNet's for a picture of `size` = (width, height)."""
    if matrix is None or matrix.shape not in ((3, 3), (4, 4)) or matrix.dtype.kind not in "fiu":
        raise DataError(f"{where}: expected a 3x3 or 4x4 matrix of intrinsics")
    intrinsics = matrix[:3, :3].astype(np.float64)
    if not np.isfinite(intrinsics).all() or intrinsics.diagonal().min() <= 0:
        raise DataError(f"{where}: expected finite intrinsics with focal lengths above 0")
    intrinsics[:2, 2] += 0.5
    return intrinsics / np.array([[size[0]], [size[1]], [1.0]])
