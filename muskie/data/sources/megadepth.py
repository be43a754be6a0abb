"""MegaDepth (Li and Snavely, CVPR 2018): photographs of landmarks from the internet, with depth and cameras from COLMAP."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.beside import camera_beside, depth_beside, fitted_depth
from muskie.data.sources.cameras import pinhole, resized
from muskie.data.sources.colmap_model import model_files, read_model, read_points, shared_points, straight
from muskie.data.sources.files import image_size
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.hdf5 import read_hdf5
from muskie.data.sources.listing import chosen, pictures, stated
from muskie.data.sources.natural import naturally
from muskie.data.sources.there import lacking, place_of, there
from muskie.data.sources.view_groups import read_groups
from muskie.errors import DataError
from muskie.paths import typed_path

TEST = ("0015", "0022")
"""The scenes of the pairs that are commonly tested on (MegaDepth-1500)."""

UNDISTORTED = "Undistorted_SfM"
BASES = ("phoenix/S6/zl548/MegaDepth_v1", "MegaDepth_v1", "")
"""Where the folders of scenes lie below the root: the first of these that is there."""

_SCENE = re.compile(r"(?:^|/)(\d{4})/")
_PICTURE = re.compile(rf"{UNDISTORTED}/(?P<scene>\d{{4}})/images/(?P<name>.+)")
_DENSE = re.compile(r"(?P<folder>(?:.*/)?(?P<scene>\d{4})/dense(?P<number>\d+))/imgs/(?P<name>.+)")


class MegaDepth(ListedSource):
    """Reconstructions of MegaDepth, each of which is a scene, or groups of views, named by a file.

    Layout, of which any part may be missing:

    - `<root>/phoenix/S6/zl548/MegaDepth_v1/0015/dense0/{imgs/1.jpg, depths/1.h5}`, as `MegaDepth_v1.tar.gz` unpacks
      (`MegaDepth_v1` may also lie in `root`, or be it). Depth is z, 0 = unknown. A file with negative values is no depth but
      an order of foreground and background: its picture has no depth.
    - `<root>/Undistorted_SfM/0015/{images/1.jpg, sparse/*.bin or sparse-txt/*.txt}`, as D2-Net's scripts write it and LoFTR
      uses it: undistorted pictures, which then take the place of `dense0/imgs`, and COLMAP's cameras. Without `images`,
      the cameras go with `dense0/imgs`, resized. `dense1` and further have no cameras.
    - `<root>/0015/dense0/{1.jpg, 1.npz, 1.exr}` or `<root>/0015/1.jpg`, processed: `.npz` with `intrinsics` [3, 3] in
      pixels, counted from the border, and `cam2world` [4, 4]; `.exr` with depth.

    Scenes are named `0015/dense0`; all of `0015` share a room. Frames are paths below `root`. Neighbours in the order of
    names are not neighbours in space: views are drawn from all of a scene, and `overlaps` tells what they share. The unit of
    length differs from scene to scene, and is no metre.

    `scene_info/*.npz` of D2-Net and LoFTR, and `all_metadata_8view.npz`, hold pickled objects, which can run any code when
    they are opened; they are not read. The distorted originals (`MegaDepth_v1_SfM`) are not either.

    Args:
        root: the folder.
        split: `"train"`, all but the scenes 0015 and 0022; `"test"`, those; or `"all"`. Must be given.
        groups: a text file with one group of views a line (`read_groups`), each of pictures of one of the numbered scenes; a
            group is a scene, called `0015/line-12`. None: no groups.
        scenes: which, as four digits; None: all.
        min_images: scenes of fewer images are left out, >= 1.

    Raises:
        ConfigError: `split` is missing or unknown, or `min_images` is out of range.
        DataError: `root`, the groups or a scene is missing or broken, or no scene of enough images is found.
    """

    name = "megadepth"
    window = 1_000_000
    """All frames of a scene."""

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        groups: str | Path | None = None,
        scenes: list[str] | None = None,
        min_images: int = 1,
    ) -> None:
        self.split, self.scenes = stated(split, ("train", "test", "all")), scenes
        self.root = existing_folder(root, "MegaDepth (phoenix/S6/zl548/MegaDepth_v1, Undistorted_SfM)").resolve()
        self.groups = None if groups is None else typed_path(groups, "data.groups").resolve()
        self.shares_frames = groups is not None
        self._base = next(base for base in BASES if (self.root / base).is_dir())
        self._lines: dict[str, list[tuple[int, list[str]]]] = {}
        self._list(min_images, split=split, scenes=scenes, groups=None if groups is None else str(self.groups))
        self._lines = {}  # they are in the table now

    def parts(self) -> Sequence[str]:
        if next(self.root.glob("[0-9]*/sparse*"), None):
            raise DataError(f"data.root={str(self.root)!r}: this is {UNDISTORTED}: give the folder above")
        found = {name for base in (self._base, UNDISTORTED) for name in _folders(self.root / base)}
        if self.groups is not None:
            self._lines = {}
            for line, frames in read_groups(self.groups):
                self._lines.setdefault(_room(frames, f"{self.groups}, line {line}"), []).append((line, frames))
            found = set(self._lines)
        of_scenes = (name for name in found if re.fullmatch(r"\d{4}", name))
        tested = {"train": (False,), "test": (True,), "all": (False, True)}[self.split]
        return [name for name in chosen(of_scenes, self.scenes, self.root, "scenes") if (name in TEST) in tested]

    def scenes_in(self, part: str) -> Sequence[Scene]:
        if self.groups is None:
            listed = self._reconstructions(part)
        else:
            listed = {f"{part}/line-{line}": naturally(frames) for line, frames in self._lines[part]}
            named = list(dict.fromkeys(frame for frames in listed.values() for frame in frames))
            found = set(there(self.root, named))
            if len(found) < len(named):
                missing = next(frame for frame in named if frame not in found)
                if not found:
                    raise OSError(f"{self.groups}: none of its pictures of {part} is there, e.g. {self.root / missing}")
                self.problems.append(f"{self.groups}, {part}: {lacking(len(named), len(found), missing)}")
            listed = {name: [frame for frame in frames if frame in found] for name, frames in listed.items()}
        cameras = self._cameras(part)
        return [Scene(name, frames, part, _noted(cameras, frames)) for name, frames in listed.items()]

    def _reconstructions(self, part: str) -> dict[str, list[str]]:
        """Pictures, as paths below the root, of all scenes of a numbered one."""
        found = {}
        for inside in ("", *naturally(_folders(self.root / self._base / part))):
            folder = Path(self._base) / part / inside
            if (self.root / folder / "imgs").is_dir():
                folder /= "imgs"
            found[f"{part}/{inside}".rstrip("/")] = [(folder / name).as_posix() for name in pictures(self.root / folder)]
        images = Path(UNDISTORTED) / part / "images"
        if undistorted := [(images / name).as_posix() for name in pictures(self.root / images)]:
            found[f"{part}/dense0"] = undistorted
        return {name: found[name] for name in naturally(found)}

    def _cameras(self, part: str) -> dict[str, np.ndarray]:
        """Of the first reconstruction of a numbered scene, by the names of its pictures: camera-to-world (12 numbers), fx,
        fy, cx, cy, width and height of the picture that they are for. Empty where they are not known."""
        folder = self._model(part)
        if folder is None:
            return {}
        try:
            cameras, images = read_model(folder)
        except DataError as error:
            raise OSError(str(error)) from error
        known = {}
        for name, image in images.items():
            camera = cameras[image.camera]
            if (matrix := straight(camera)) is None:
                raise OSError(f"{folder}: {name} is through a lens that distorts, {camera.model}; expected {UNDISTORTED}")
            known[name] = np.concatenate([image.cam2world[:3].ravel(), matrix[[0, 1, 0, 1], [0, 1, 2, 2]], camera.size])
        return known

    def _model(self, part: str) -> Path | None:
        folders = (self.root / UNDISTORTED / part / name for name in ("sparse", "sparse-txt"))
        return next((folder for folder in folders if model_files(folder)), None)

    def watched(self, scene: Scene) -> Sequence[Path]:
        model = self._model(scene.room or "")
        files = model_files(model) or () if model else ()
        return [self.file(scene, scene.frames[0]).parent, *files, *([self.groups] if self.groups else [])]

    def _nothing(self) -> str:
        expected = f"no pictures of a MegaDepth scene of data.split={self.split!r} found there (0015/dense0/imgs/1.jpg)"
        if self.root.name in ("phoenix", "S6", "zl548"):
            return f"{expected}; give the folder above phoenix"
        if (self.root / "imgs").is_dir() or next(self.root.glob("dense*/imgs"), None):
            return f"{expected}; this is a part of a scene: give the folder above all scenes"
        if next(self.root.glob("*.tar*"), None):
            return f"{expected}; unpack the archives there"
        return f"{expected}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        image = open_image(path, at_least)
        if not geometry:
            return Frame(image)
        size = image_size(path)
        return Frame(image, self._depth(frame, size), self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def overlaps(self, scene: Scene) -> np.ndarray | None:
        """By the points that COLMAP found in frame i, and in frame j too; frames without cameras share nothing."""
        model = self._model(scene.room or "")
        names = [_name(frame) for frame in scene.frames]
        if model is None or not any(names):
            return None
        seen, none = _points(model), np.zeros(0, dtype=np.int64)
        return shared_points([none if name is None else seen.get(name, none) for name in names])

    def _depth(self, frame: str, size: tuple[int, int]) -> np.ndarray | None:
        """Depth at `size` = (width, height)."""
        if inside := _PICTURE.fullmatch(frame):
            folder, name = self.root / self._base / inside["scene"] / "dense0", inside["name"]
        elif inside := _DENSE.fullmatch(frame):
            folder, name = self.root / inside["folder"], inside["name"]
        else:
            return depth_beside(self.root / frame, size)
        file = folder / "depths" / f"{name.rpartition('.')[0]}.h5"
        if not file.is_file():
            return None
        values = read_hdf5(file, "depth")
        return None if (values < 0).any() else fitted_depth(values, size, file)

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        assert scene.numbers is not None
        noted = np.asarray(scene.numbers[place_of(scene, frame)])
        if np.isnan(noted).any():
            return camera_beside(self.root / frame)
        cam2world = np.concatenate([noted[:12].reshape(3, 4), [[0, 0, 0, 1]]])
        return Camera(resized(pinhole(*noted[12:16]), (int(noted[16]), int(noted[17])), size, self.root / frame), cam2world)


def _folders(folder: Path) -> list[str]:
    entries = os.scandir(folder) if folder.is_dir() else ()
    return [entry.name for entry in entries if entry.is_dir() and entry.name[0] != "."]


def _room(frames: Sequence[str], where: str) -> str:
    """The numbered scene that the pictures of a group are of."""
    rooms = {found[1] if (found := _SCENE.search(frame)) else "" for frame in frames}
    if len(rooms) != 1 or "" in rooms:
        raise DataError(f"{where}: {frames[0]!r} ...: expected pictures below the folder, of four digits, of one scene")
    return rooms.pop()


def _name(frame: str) -> str | None:
    """What the first reconstruction of a numbered scene calls a picture; None: it is not of it."""
    if inside := _PICTURE.fullmatch(frame):
        return inside["name"]
    inside = _DENSE.fullmatch(frame)
    return inside["name"] if inside and inside["number"] == "0" else None


def _noted(cameras: dict[str, np.ndarray], frames: Sequence[str]) -> np.ndarray:
    """float64 [frames, 18], NaN where the camera is not known."""
    unknown = np.full(18, np.nan)
    return np.array([cameras.get(_name(frame) or "", unknown) for frame in frames]).reshape(-1, 18)


@lru_cache(maxsize=2)
def _points(model: Path) -> dict[str, np.ndarray]:
    return read_points(model)
