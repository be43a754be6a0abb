"""DTU (Jensen et al., CVPR 2014), as MVSNet (Yao et al., ECCV 2018) has prepared it: objects from 49 or 64 known places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.files import image_size, read_grey
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures, stated
from muskie.data.sources.mvsnet import read_mvsnet_camera, read_pfm
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError, DataError

TEST = frozenset((1, 4, 9, 10, 11, 12, 13, 15, 23, 24, 29, 32, 33, 34, 48, 49, 62, 75, 77, 110, 114, 118))
VALID = frozenset((3, 5, 17, 21, 28, 35, 37, 38, 40, 43, 56, 59, 66, 67, 82, 86, 106, 117))
SPLITS = ("train", "valid", "test", "all")
"""The scans that MVSNet tests and validates on; it trains on 79 of the others."""

UNUSED = frozenset((25, 26, 27, 54, 73, 78, 79, 80, 81))
"""Numbers that are in none of its lists."""

FULL, CUT = (1600, 1200), (640, 512)
"""Width and height of the recordings, and of what MVSNet trains on: the middle of them at half the size."""
CUT_AT = np.array([160.0, 88.0])

BACKGROUND = 10
"""Values of `depth_visual_*.png` up to this one say that the depth beside them is not to be used."""


class DTU(ListedSource):
    """Scans of DTU; a scan is a scene.

    Either layout of MVSNet; `<v>` counts views from 0, the pictures of DTU from 1:

    - `dtu_training`: `<root>/Rectified/scan1_train/rect_001_3_r5000.png` (640x512), `Cameras/<v>_cam.txt` (for 1600x1200)
      or `Cameras/train/<v>_cam.txt` (for 160x128), and depth as `Depths_raw/scan1/depth_map_<v>.pfm` (1600x1200), or
      `Depths/scan1_train/depth_map_<v>.pfm` (160x128), each with its mask `depth_visual_<v>.png`. `Rectified_raw/scan1`
      (1600x1200) is taken where `Rectified` has none;
    - a folder a scan, as for tests: `<root>/scan1/{images/<v>.jpg, cams/<v>_cam.txt}`, and `depths/<v>.pfm` where there is.

    Lengths are in millimetres there, and in metres here. Camera files hold a 4x4 world-to-camera matrix, OpenCV axes, and
    intrinsics, taken to be of the picture's borders: MVSNet shrinks and cuts them as if they were. Depth of another size is
    looked up by nearest neighbour; 0 = unknown.

    Args:
        root: the folder.
        split: `"test"` (22 scans), `"valid"` (18), `"train"` (79), or `"all"`; must be given.
        scans: which of them, e.g. `["scan1"]`; None: all.
        light: which of the seven lightings, 0 to 6; those of tests have 3. Folders of a scan hold one alone.
        min_images: scans of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: no split, an unknown one, an unknown light, or `min_images` is out of range.
        DataError: `root` or a scan is missing, or no scan is found or left.
    """

    name = "dtu"

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        scans: list[str] | None = None,
        light: int = 3,
        min_images: int = 1,
    ) -> None:
        self.split, self.scans, self.light = stated(split, SPLITS), scans, light
        if not 0 <= light <= 6:
            raise ConfigError(f"data.light={light}: expected 0 to 6")
        self.root = existing_folder(root, "DTU as MVSNet has prepared it (Rectified/scan1_train or scan1/images)").resolve()
        self._list(min_images, split=split, scans=scans, light=light)

    def parts(self) -> Sequence[str]:
        _picture_folder.cache_clear()  # who looks anew does so
        every = _scans(self.root)
        found = [scan for scan in every if self.split in ("all", _split(scan))]
        if every and not found:
            raise DataError(
                f"data.root={str(self.root)!r}: data.split={self.split!r} has none of the scans found there; take 'all'"
            )
        return chosen(found, self.scans, self.root, f"scans of data.split={self.split!r}")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder = _picture_folder(self.root, part)
        frames = [frame for frame in pictures(folder) if _address(frame)[1] in (None, self.light)]
        if not frames:
            raise DataError(f"{folder}: no picture with data.light={self.light} (rect_001_{self.light}_r5000.png)")
        return [Scene(part, sorted(frames, key=_address))]

    def _nothing(self) -> str:
        way_out = "; for folders of plain images use data=folder"
        if self.root.name in ("Rectified", "Cameras", "Depths") or (self.root / "cams").is_dir():
            way_out = f"; give the folder above, {str(self.root.parent)!r}"
        return f"no Rectified/scan1_train nor scan1/images found there{way_out}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        depth, camera = self._depth(scene, frame, size), self._camera(scene, frame, size)
        return Frame(open_image(path, at_least), depth, camera, size)

    def file(self, scene: Scene, frame: str) -> Path:
        return _picture_folder(self.root, scene.name) / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        name = f"{_address(frame)[0]:08d}_cam.txt"
        folders = ((self.root / scene.name / "cams", FULL), (self.root / "Cameras", FULL))
        for folder, of in (*folders, (self.root / "Cameras" / "train", (160, 128))):
            if (folder / name).is_file():
                cam2world, intrinsics = read_mvsnet_camera(folder / name)
                cam2world[:3, 3] /= 1000
                here = _placed(size, self.file(scene, frame))
                return Camera(np.linalg.inv(here) @ _placed(of, folder / name) @ intrinsics, cam2world)
        return None

    def _depth(self, scene: Scene, frame: str, size: tuple[int, int]) -> np.ndarray | None:
        """In metres, at `size` = (width, height)."""
        view = _address(frame)[0]
        prepared = f"depth_map_{view:04d}.pfm"
        for file in (
            self.root / scene.name / "depths" / f"{view:08d}.pfm",
            self.root / "Depths_raw" / scene.name / prepared,
            self.root / "Depths" / f"{scene.name}_train" / prepared,
        ):
            if file.is_file():
                depth = read_pfm(file)
                mask = file.with_name(f"depth_visual_{view:04d}.png")
                if mask.is_file():
                    depth[read_grey(mask, (depth.shape[1], depth.shape[0])) <= BACKGROUND] = 0
                depth = np.where(np.isfinite(depth) & (depth > 0), depth / 1000, 0).astype(np.float32)
                return _looked_up(depth, size, file, self.file(scene, frame))
        return None


def _scans(root: Path) -> list[str]:
    """The names of the scans that have a folder of pictures, in natural order."""
    folders = (*root.glob("Rectified_raw/scan*"), *root.glob("Rectified/scan*"), *root.glob("scan*"))
    names = {folder.name.removesuffix("_train") for folder in folders}
    return naturally(name for name in names if re.fullmatch(r"scan\d+", name) and _picture_folder(root, name).is_dir())


@lru_cache(maxsize=1024)
def _picture_folder(root: Path, scan: str) -> Path:
    """Where the pictures of a scan are; a path that is not there if they are nowhere."""
    folders = (
        root / scan / "images",
        root / "Rectified" / f"{scan}_train",
        root / "Rectified" / scan,
        root / "Rectified_raw" / scan,
    )
    return next((folder for folder in folders if folder.is_dir()), folders[-1])


def _split(scan: str) -> str | None:
    number = int(scan.removeprefix("scan"))
    return "test" if number in TEST else "valid" if number in VALID else None if number in UNUSED else "train"


def _address(frame: str) -> tuple[int, int | None]:
    """Number of the view, from 0, and of the light, None if its name says nothing of it."""
    if rectified := re.fullmatch(r"rect_(\d+)_(\d)_r\d+", Path(frame).stem):
        return int(rectified[1]) - 1, int(rectified[2])
    return (int(Path(frame).stem), None) if Path(frame).stem.isdecimal() else (-1, -1)


def _placed(size: tuple[int, int], file: Path) -> np.ndarray:
    """From the pixels of a picture of `size` = (width, height) to those of the recording, [3, 3]."""
    width, height = size
    if width * FULL[1] == height * FULL[0]:
        return np.diag([FULL[0] / width, FULL[1] / height, 1.0])
    if width * CUT[1] == height * CUT[0]:
        matrix = np.diag([2 * CUT[0] / width, 2 * CUT[1] / height, 1.0])
        matrix[:2, 2] = CUT_AT
        return matrix
    raise OSError(f"{file}: {width}x{height}; expected 1600x1200, or 640x512 of its middle, or either of another size")


def _looked_up(depth: np.ndarray, size: tuple[int, int], file: Path, picture: Path) -> np.ndarray:
    """A depth map for a picture of `size`, by the nearest of its values; 0 where it does not reach."""
    move = np.linalg.inv(_placed((depth.shape[1], depth.shape[0]), file)) @ _placed(size, picture)
    column = np.floor((np.arange(size[0]) + 0.5) * move[0, 0] + move[0, 2]).astype(np.int64)
    row = np.floor((np.arange(size[1]) + 0.5) * move[1, 1] + move[1, 2]).astype(np.int64)
    inside = ((row >= 0) & (row < depth.shape[0]))[:, None] & (column >= 0) & (column < depth.shape[1])
    return np.where(
        inside, depth[np.ix_(row.clip(0, depth.shape[0] - 1), column.clip(0, depth.shape[1] - 1))], np.float32(0)
    )
