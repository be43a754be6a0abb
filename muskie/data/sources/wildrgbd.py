"""WildRGB-D (Xia et al., CVPR 2024): videos around objects of 46 categories by a telephone with a depth sensor."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import resized
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError, DataError

SPLITS = ("train", "val")
SET_LISTS = ("camera_eval_list", "nvs_list")


class WildRGBD(ListedSource):
    """Videos of WildRGB-D; a video is a scene.

    Layout, as its archives unpack:

        <root>/<category>/scenes/scene_000/rgb/00000.png      pictures
        <root>/<category>/scenes/scene_000/depth/00000.png    millimetres, 0 = unknown; none is cut off as too far
        <root>/<category>/scenes/scene_000/masks/00000.png    above 0 where the object is
        <root>/<category>/scenes/scene_000/metadata           JSON: w, h and K, column by column
        <root>/<category>/scenes/scene_000/cam_poses.txt      a frame's number and its camera-to-world matrix a line
        <root>/<category>/{camera_eval_list,nvs_list}.json    which videos are for training ("train"), which not ("val")

    Poses are OpenCV's, in metres, from SLAM; a frame without a line has no camera. The principal point is taken to be
    counted from the corner of the picture, as the telephone's software does. The kinds of videos (`types.json`: of one
    object, several, in a hand) are left out.

    Args:
        root: the folder of the categories.
        categories: which, in natural order however they are listed; None: all.
        set_list: only the videos of that list, `"camera_eval_list"` or `"nvs_list"`; categories without it are left out.
        split: `"train"` or `"val"` of the list; None: all of it.
        min_images: videos of fewer frames are left out, >= 1.

    Raises:
        ConfigError: an unknown list or split, a split without a list, or `min_images` is out of range.
        DataError: `root`, a category or the list is missing, no video is found or left, or a list is broken.
    """

    name = "wildrgbd"
    window = 32
    min_images: int

    def __init__(
        self,
        root: str | Path,
        categories: list[str] | None = None,
        set_list: str | None = None,
        split: str | None = None,
        min_images: int = 1,
    ) -> None:
        if set_list is not None and set_list not in SET_LISTS:
            raise ConfigError(f"data.set_list={set_list!r}: expected one of {', '.join(map(repr, SET_LISTS))}, or null")
        if split is not None and split not in SPLITS:
            raise ConfigError(f"data.split={split!r}: expected one of {', '.join(map(repr, SPLITS))}, or null")
        if split is not None and set_list is None:
            raise ConfigError(f"data.split={split!r} is a part of a list; name that, e.g. data.set_list={SET_LISTS[0]}")
        self.root = existing_folder(root, "WildRGB-D categories (<category>/scenes/scene_000/rgb/00000.png)").resolve()
        self.categories, self.set_list, self.split = categories, set_list, split
        wanted = sorted(set(categories)) if categories else None
        self._list(min_images, categories=wanted, set_list=set_list, split=split)

    def parts(self) -> Sequence[str]:
        """`<category>/<scene>`."""
        found = [name for name in _folders(self.root) if (self.root / name / "scenes").is_dir()]
        parts = []
        for category in chosen(found, self.categories, self.root, "categories"):
            scenes = _folders(self.root / category / "scenes")
            if self.set_list is not None:
                file = self.root / category / f"{self.set_list}.json"
                listed = _read_list(file, SPLITS if self.split is None else (self.split,)) if file.is_file() else set()
                scenes = [scene for scene in scenes if scene in listed]
            parts += [f"{category}/{scene}" for scene in scenes]
        return parts

    def scenes_in(self, part: str) -> Sequence[Scene]:
        return [Scene(part, pictures(self._folder(part) / "rgb"))]

    def _folder(self, scene: str) -> Path:
        category, name = scene.split("/")
        return self.root / category / "scenes" / name

    def watched(self, scene: Scene) -> Sequence[Path]:
        folder = self._folder(scene.name)
        lists = [] if self.set_list is None else [folder.parent.parent / f"{self.set_list}.json"]
        return [folder / "rgb", *lists]

    def _nothing(self) -> str:
        wanted = "no <category>/scenes/scene_000/rgb/00000.png found there"
        for levels, what in enumerate(("category", "folder of scenes", "scene"), 1):
            inside = ("scenes/*/rgb", "*/rgb", "rgb")[levels - 1]
            above = self.root.parents[min(levels, len(self.root.parents)) - 1]
            if next(self.root.glob(inside), None) is not None:
                return f"{wanted}; this is a {what}: give the folder of the categories, {str(above)!r}"
        if self.set_list is not None and next(self.root.glob("*/scenes"), None) is not None:
            if next(self.root.glob(f"*/{self.set_list}.json"), None) is None:
                return f"no category there has the list data.set_list={self.set_list!r} (<category>/{self.set_list}.json)"
            which = "" if self.split is None else f", data.split={self.split!r},"
            return f"no video of data.set_list={self.set_list!r}{which} is there"
        if next(self.root.glob("*.z*"), None) is not None:
            return f"{wanted}; unpack the archives"
        return f"{wanted}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        file = self._folder(scene.name) / "depth" / f"{path.stem}.png"
        depth = read_grey(file, size) / 1000 if file.is_file() else None
        return Frame(open_image(path, at_least), depth, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self._folder(scene.name) / "rgb" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        file = self._folder(scene.name) / "masks" / f"{Path(frame).stem}.png"
        return read_grey(file, image_size(file)) > 0 if file.is_file() else None

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        folder, stem = self._folder(scene.name), Path(frame).stem
        poses, metadata = folder / "cam_poses.txt", folder / "metadata"
        if not poses.is_file() or not metadata.is_file() or not stem.isdecimal():
            return None
        numbers = _read_poses(poses).get(int(stem))
        if numbers is None:
            return None
        finite = np.isfinite(numbers).all() and np.allclose(numbers[3], [0, 0, 0, 1])
        cam2world = rigid(numbers) if finite else None
        if cam2world is None:
            raise OSError(f"{poses}: the pose of frame {int(stem)} is not usable")
        intrinsics, of = _read_intrinsics(metadata)
        return Camera(resized(intrinsics, of, size, self.file(scene, frame)), cam2world)


def _folders(folder: Path) -> list[str]:
    return naturally(entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())


@lru_cache(maxsize=256)
def _read_poses(file: Path) -> dict[int, np.ndarray]:
    """Camera-to-world, float64 [4, 4], as it is, by the number of the frame.

    Raises:
        OSError: it is not in the format; the message names it.
    """
    try:
        rows = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise OSError(f"{file}: {error}; expected a frame's number and 16 numbers a line") from error
    if not rows.size:
        return {}
    if rows.shape[1] != 17:
        raise OSError(f"{file}: {rows.shape[1]} numbers a line; expected a frame's number and 16 of its pose")
    return {int(row[0]): row[1:].reshape(4, 4) for row in rows if np.isfinite(row[0])}


@lru_cache(maxsize=1024)
def _read_intrinsics(file: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """[3, 3] for a picture of the width and height that follow.

    Raises:
        OSError: it is not in the format; the message names it.
    """
    try:
        stated = json.loads(file.read_text())
        matrix = np.array(stated["K"], dtype=np.float64).reshape(3, 3).T
        size = int(stated["w"]), int(stated["h"])
    except (LookupError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise OSError(f"{file}: {what}; expected JSON with w, h and K, nine numbers") from error
    sound = np.isfinite(matrix).all() and np.allclose(matrix[2], [0, 0, 1]) and np.allclose(matrix[1, 0], 0)
    if not sound or min(matrix[0, 0], matrix[1, 1], *size) <= 0:
        raise OSError(f"{file}: K is no matrix of intrinsics, column by column: {matrix.T.ravel().tolist()}")
    return matrix, size


def _read_list(file: Path, splits: Sequence[str]) -> set[str]:
    """The scenes of some splits; their names may be paths.

    Raises:
        DataError: it is not in the format.
    """
    try:
        stated = json.loads(file.read_text())
        return {Path(name).name for split in splits for name in stated[split]}
    except (LookupError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f'{file}: {what}; expected {{"train": [names of scenes], "val": [...]}}') from error
