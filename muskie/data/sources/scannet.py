"""ScanNet (Dai et al., CVPR 2017): RGB-D videos of indoor scenes with tracked poses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from muskie.data.images import IMAGE_SUFFIXES, open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.files import image_size, read_grey, read_matrix, read_pose
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.natural import natural_key
from muskie.errors import DataError, did_you_mean

DEPTH_SIZE = (640, 480)
COLOUR_SIZE = (1296, 968)
"""Width and height of what the sensors of ScanNet recorded, to which the intrinsics belong."""


class ScanNet(SceneSource):
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

    Raises:
        DataError: `root` or a scene is missing, no scene is found, or a file of intrinsics is broken; and on reading
            geometry, if a scene has poses and no intrinsics.
    """

    name = "scannet"

    def __init__(self, root: str | Path, scenes: list[str] | None = None) -> None:
        self.root = existing_folder(root, "ScanNet scenes (<scene>/color/0.jpg)").resolve()
        by_name = {path.name: path for path in self.root.iterdir() if (path / "color").is_dir()}
        missing = [scene for scene in scenes or [] if scene not in by_name]
        if missing and by_name:
            hint = did_you_mean(missing[0], by_name)
            raise DataError(f"data.root={str(root)!r}: no {missing[0]!r} among the {len(by_name)} scenes found there{hint}")
        self._scenes: list[Scene] = []
        for name in sorted((name for name in by_name if not scenes or name in scenes), key=natural_key):
            frames = _frames(by_name[name] / "color")
            if frames:
                numbered = re.fullmatch(r"(scene\d+)_\d+", name)
                self._scenes.append(Scene(name, frames, room=numbered[1] if numbered else None))
            elif scenes:
                raise DataError(f"{by_name[name] / 'color'}: no image; export the scene again, or leave {name!r} out")
        if not self._scenes:
            raise DataError(f"data.root={str(root)!r}: no <scene>/color/*.jpg found there{_way_out(self.root)}")
        names = [scene.name for scene in self._scenes]
        shared = _shared_intrinsics(self.root, names)
        self._intrinsics = {name: _own_intrinsics(self.root / name / "intrinsic", shared.get(name)) for name in names}

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        folder = self.root / scene.name
        if not geometry:
            return Frame(open_image(folder / "color" / frame, at_least))
        image = open_image(folder / "color" / frame)
        file = folder / "depth" / f"{Path(frame).stem}.png"
        depth = read_grey(file, image.size) / 1000 if file.is_file() else None
        return Frame(image, depth, self._camera(scene, frame, image.size))

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "color" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        cam2world = read_pose(self.root / scene.name / "pose" / f"{Path(frame).stem}.txt")
        if cam2world is None:
            return None
        relative = self._intrinsics[scene.name]
        if relative is None:
            raise DataError(
                f"{self.root / scene.name}: poses without intrinsics; put intrinsics.npz (it comes with LoFTR's list of the "
                f"1500 test pairs) into {str(self.root)!r}, or export the scene's own (SensReader --export_intrinsics)"
            )
        return Camera(relative * np.array([[size[0]], [size[1]], [1.0]]), cam2world)


def _frames(folder: Path) -> list[str]:
    files = [file.name for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    frames = {Path(name).stem: name for name in sorted(files)}  # one of a frame stored both as .jpg and as .png
    return sorted(frames.values(), key=natural_key)


def _way_out(root: Path) -> str:
    if (root / "color").is_dir():
        return f"; this is a scene: give the folder above, {str(root.parent)!r}"
    if any(root.glob("*/*.sens")):
        return "; these scenes are not exported yet: run ScanNet's SensReader on their .sens files"
    return "; for folders of plain images use data=folder"


def _shared_intrinsics(root: Path, scenes: list[str]) -> dict[str, np.ndarray]:
    """Of those scenes that `intrinsics.npz` has, as `_relative` gives them; empty if there is no such file."""
    for file in (root / "intrinsics.npz", root.parent / "intrinsics.npz"):
        if file.is_file():
            try:
                with np.load(file, allow_pickle=False) as archive:
                    found = {scene: archive[scene] for scene in scenes if scene in archive}
            except Exception as error:  # what damaged bytes raise differs from place to place
                raise DataError(f"{file}: cannot be read as an archive of matrices ({error})") from error
            return {scene: _relative(matrix, DEPTH_SIZE, f"{file}: {scene}") for scene, matrix in found.items()}
    return {}


def _own_intrinsics(folder: Path, otherwise: np.ndarray | None) -> np.ndarray | None:
    """Of a scene, from its folder `intrinsic`, as `_relative` gives them."""
    for name, size in (("intrinsic_depth.txt", DEPTH_SIZE), ("intrinsic_color.txt", COLOUR_SIZE)):
        if (folder / name).is_file():
            return _relative(read_matrix(folder / name), size, str(folder / name))
    return otherwise


def _relative(matrix: np.ndarray | None, size: tuple[int, int], where: str) -> np.ndarray:
    """Intrinsics [3, 3] for a picture of width and height 1, from ScanNet's for a picture of `size` = (width, height)."""
    if matrix is None or matrix.shape not in ((3, 3), (4, 4)) or matrix.dtype.kind not in "fiu":
        raise DataError(f"{where}: expected a 3x3 or 4x4 matrix of intrinsics")
    intrinsics = matrix[:3, :3].astype(np.float64)
    if not np.isfinite(intrinsics).all() or intrinsics.diagonal().min() <= 0:
        raise DataError(f"{where}: expected finite intrinsics with focal lengths above 0")
    intrinsics[:2, 2] += 0.5
    return intrinsics / np.array([[size[0]], [size[1]], [1.0]])
