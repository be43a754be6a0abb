"""ScanNet++ (Yeshwanth et al., ICCV 2023): rooms photographed with a DSLR, in the frame of a laser scan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import pinhole, resized
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures, stated
from muskie.errors import ConfigError

PREPARED = "images"
UNDISTORTED = ("dslr/resized_undistorted_images", "dslr/undistorted_images")
"""Of the download, and what the data set's own tools call what they make."""

TRANSFORMS = "dslr/nerfstudio/transforms_undistorted.json"


class ScanNetPP(ListedSource):
    """Scenes of ScanNet++.

    Either of these layouts a scene:

    - prepared: `<root>/<scene>/{scene_metadata.npz, images/DSC00001.jpg, depth/DSC00001.png}`; the `.npz` has `images`
      (names, with or without suffix), `trajectories` [N, 4, 4] (camera-to-world, OpenCV) and `intrinsics` [N, 3, 3] for the
      pictures as they lie there. Depth is in millimetres, 0 = unknown, and is resized to the picture by nearest neighbour;
    - as downloaded: `<root>/data/<scene>/dslr/{resized_undistorted_images/DSC00001.JPG,
      nerfstudio/transforms_undistorted.json}`, or `undistorted_images`, as the data set's tools call their result. Poses are
      camera-to-world with OpenGL's axes (x right, y up, z backwards), which are turned. No depth: what the tools render
      belongs to the distorted photographs.

    Lengths are in metres. Intrinsics are taken to be of the picture's borders, as those of COLMAP are, which they come from.
    Photographs without a pose have no camera. The photographs that are kept for tests of novel views are listed with the
    others. Recordings of the iPhone, masks of what was made anonymous, and fisheye photographs are left out.

    Args:
        root: the folder of `data` and `splits`, or of the scenes.
        split: the name of a list in `<root>/splits`, e.g. `"nvs_sem_train"`, or `"all"`; must be given where there are any.
        scenes: which scenes, in natural order however they are listed; None: all.
        min_images: scenes of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: no split where there are some, an unknown one, or `min_images` is out of range.
        DataError: `root` or a scene is missing, or no scene is found or left.
    """

    name = "scannetpp"
    window = 32

    def __init__(
        self, root: str | Path, split: str | None = None, scenes: list[str] | None = None, min_images: int = 1
    ) -> None:
        self.root = existing_folder(root, "ScanNet++ scenes (<scene>/images, or data/<scene>/dslr)").resolve()
        self._above = "data/" if (self.root / "data").is_dir() else ""
        self._list_file = _split_file(self.root, split)
        self._scenes = scenes
        self._list(min_images, split=split, scenes=scenes, above=self._above)

    def parts(self) -> Sequence[str]:
        folder = self.root / self._above
        found = [entry.name for entry in folder.iterdir() if entry.name[0] != "." and entry.is_dir()]
        what = "scenes"
        if self._list_file is not None:
            listed = set(self._list_file.read_text(encoding="utf-8", errors="replace").split())
            found, what = [name for name in found if name in listed], f"scenes of data.split={self._list_file.stem!r}"
        return chosen(found, self._scenes, self.root, what)

    def scenes_in(self, part: str) -> Sequence[Scene]:
        for below in (PREPARED, *UNDISTORTED):
            if names := pictures(self.root / self._above / part / below):
                return [Scene(part, [f"{below}/{name}" for name in names])]
        return []

    def watched(self, scene: Scene) -> Sequence[Path]:
        lists = [] if self._list_file is None else [self._list_file]
        return [self.file(scene, scene.frames[0]).parent, *lists]

    def _nothing(self) -> str:
        missing = "no <scene>/images nor <scene>/dslr/resized_undistorted_images with pictures found there"
        if (self.root / PREPARED).is_dir() or (self.root / "dslr").is_dir():
            return f"{missing}; this is a scene: give the folder above, {str(self.root.parent)!r}"
        if any((self.root / self._above / part / "dslr").is_dir() for part in self.parts()):
            return f"{missing}; undistort the photographs first, with dslr.undistort of the data set's toolkit"
        if self._list_file is not None:
            return f"{missing} that {self._list_file} lists"
        return f"{missing}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        file = path.parent.parent / "depth" / f"{path.stem}.png"
        depth = read_grey(file, size) / 1000 if path.parent.name == PREPARED and file.is_file() else None
        return Frame(open_image(path, at_least), depth, self._camera(path, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / self._above / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        path = self.file(scene, frame)
        return self._camera(path, image_size(path))

    def _camera(self, picture: Path, size: tuple[int, int]) -> Camera | None:
        """The camera of a picture of `size` = (width, height)."""
        if picture.parent.name == PREPARED:
            file, read = picture.parent.parent / "scene_metadata.npz", _read_metadata
        else:
            file, read = picture.parents[2] / TRANSFORMS, _read_transforms
        if not file.is_file():
            return None
        cameras = read(file)
        number = cameras.numbers.get(picture.stem)
        if number is None:
            return None
        intrinsics, pose = cameras.intrinsics[number], cameras.cam2world[number]
        if not np.isfinite(intrinsics).all() or intrinsics.diagonal().min() <= 0:
            raise OSError(f"{file}: the intrinsics of {picture.stem} are not finite, with focal lengths above 0")
        exact = rigid(pose) if np.isfinite(pose).all() and np.allclose(pose[3], [0, 0, 0, 1]) else None
        if exact is None:
            raise OSError(f"{file}: the pose of {picture.stem} is not finite and rigid")
        if cameras.size is not None:
            intrinsics = resized(intrinsics, cameras.size, size, picture)
        return Camera(intrinsics.copy(), exact)


class _Cameras(NamedTuple):
    """Those of a scene: where each picture, by its name without suffix, stands in them; intrinsics float64 [N, 3, 3] of
    pictures of `size` = (width, height), None: as they lie there; cam2world float64 [N, 4, 4], OpenCV."""

    numbers: Mapping[str, int]
    intrinsics: np.ndarray
    cam2world: np.ndarray
    size: tuple[int, int] | None


@lru_cache(maxsize=256)
def _read_metadata(file: Path) -> _Cameras:
    try:
        with np.load(file, allow_pickle=False) as archive:
            names, poses, intrinsics = (archive[key] for key in ("images", "trajectories", "intrinsics"))
        if names.dtype.kind not in "US" or poses.shape != (len(names), 4, 4) or intrinsics.shape != (len(names), 3, 3):
            raise ValueError(f"{names.dtype} {names.shape}, {poses.shape}, {intrinsics.shape}")
        stems = [Path(str(name)).stem for name in names.astype(str)]
        numbers = {stem: number for number, stem in enumerate(stems)}
        return _Cameras(numbers, intrinsics.astype(np.float64), poses.astype(np.float64), None)
    except Exception as error:  # what damaged bytes raise differs from place to place
        raise OSError(
            f"{file}: expected names images [N], trajectories [N, 4, 4], intrinsics [N, 3, 3] ({error})"
        ) from error


@lru_cache(maxsize=256)
def _read_transforms(file: Path) -> _Cameras:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        frames = [*told["frames"], *told.get("test_frames", [])]
        matrix = pinhole(*(told[key] for key in ("fl_x", "fl_y", "cx", "cy")))
        size = int(told["w"]), int(told["h"])
        poses = np.array([frame["transform_matrix"] for frame in frames], dtype=np.float64).reshape(-1, 4, 4)
        numbers = {Path(frame["file_path"]).stem: number for number, frame in enumerate(frames)}
        distorted = any(told.get(key) for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OSError(f"{file}: expected nerfstudio's fl_x, fl_y, cx, cy, w, h and frames ({error!r})") from error
    if distorted:
        raise OSError(f"{file}: of a lens with distortion; expected the cameras of the undistorted photographs")
    intrinsics = np.broadcast_to(matrix, (len(frames), 3, 3))
    return _Cameras(numbers, intrinsics, poses * np.array([1.0, -1.0, -1.0, 1.0]), size)


def _split_file(root: Path, split: str | None) -> Path | None:
    """The list of scenes of a split; None: all of them."""
    names = sorted(file.stem for file in root.glob("splits/*.txt"))
    if not names:
        if split in (None, "all"):
            return None
        raise ConfigError(f"data.split={split!r}: {str(root)!r} has no folder 'splits' with lists; leave data.split out")
    wanted = stated(split, (*names, "all"))
    return None if wanted == "all" else root / "splits" / f"{wanted}.txt"
