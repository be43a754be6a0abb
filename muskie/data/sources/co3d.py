"""CO3Dv2 (Reizenstein et al., ICCV 2021): videos around objects of 51 categories, with cameras and depth from COLMAP."""

from __future__ import annotations

import math
import os
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.co3d_annotations import (
    NUMBERS,
    annotated_camera,
    depth_scale,
    read_qualities,
    read_sequences,
    read_set_list,
)
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError

SPLITS = ("train", "val", "test")
OBJECT = 0.1
"""The share of a pixel's mask from which on it belongs to the object."""

ANNOTATIONS = "frame_annotations.jgz"

_SEQUENCE = re.compile(r"\d+_\d+_\d+")


class CO3D(ListedSource):
    """Sequences of CO3Dv2, one of either layout a category; a sequence is a scene.

    - As Meta publishes it: `<root>/<category>/{frame_annotations.jgz, sequence_annotations.jgz, set_lists/}` and
      `<category>/<sequence>/{images/frame000001.jpg, depths/frame000001.jpg.geometric.png, depth_masks/frame000001.png,
      masks/frame000001.png}`. PyTorch3D's cameras (x left, y up, row vectors; intrinsics in NDC, of the shorter side or of
      each) are turned into OpenCV's. A depth map is a PNG whose 16 bits are those of a half float, times the frame's
      `scale_adjustment`; what its depth mask leaves out is unknown. Sequences that were not downloaded are left out.
    - Prepared, without annotations: sequences are named as CO3D names them, `<digits>_<digits>_<digits>`, and beside each
      picture lies `images/frame000001.npz` with `camera_pose` (camera-to-world, OpenCV), `camera_intrinsics` in pixels and
      `maximum_depth`, by which a depth map of 16 bits is scaled, 65535 being the maximum. Its intrinsics are taken to be of
      the picture's borders, as PyTorch3D's are. Pictures without such a file have neither camera nor depth.

    The unit of length differs from sequence to sequence, and is no metre. Annotations are read when the index is made, which
    takes seconds a category, and cameras are kept in it.

    Args:
        root: the folder of the categories.
        categories: which, in natural order however they are listed; None: all.
        set_list: only the frames of `set_lists/set_lists_<set_list>.json`, e.g. `"fewview_dev"`; categories without that
            list are left out.
        split: `"train"`, `"val"` or `"test"` of the set list; None: all of it.
        min_images: sequences of fewer frames are left out, >= 1. Published evaluations of poses take 50.
        min_quality: sequences whose `viewpoint_quality_score` is lower or unknown are left out.
        object_only: depth is unknown outside the object, by its mask.

    Raises:
        ConfigError: an unknown split, a split without a set list, or `min_images` is out of range.
        DataError: `root`, a category or the set list is missing, no sequence is found or left, or annotations are broken.
    """

    name = "co3d"
    window = 32

    def __init__(
        self,
        root: str | Path,
        categories: list[str] | None = None,
        set_list: str | None = None,
        split: str | None = None,
        min_images: int = 1,
        min_quality: float | None = None,
        object_only: bool = False,
    ) -> None:
        if split is not None and split not in SPLITS:
            raise ConfigError(f"data.split={split!r}: expected one of {', '.join(map(repr, SPLITS))}, or null")
        if split is not None and set_list is None:
            raise ConfigError(f"data.split={split!r} is a part of a set list; name that, e.g. data.set_list=fewview_dev")
        self.root = existing_folder(root, f"CO3D categories (<category>/{ANNOTATIONS})").resolve()
        self.categories, self.set_list, self.split = categories, set_list, split
        self.min_quality, self.object_only = min_quality, object_only
        self._list(min_images, categories=categories, set_list=set_list, split=split, min_quality=min_quality)

    def parts(self) -> Sequence[str]:
        return chosen(self._found(), self.categories, self.root, "categories")

    def _found(self) -> list[str]:
        return [path.name for path in self.root.iterdir() if _is_category(path)]

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder, wanted = self.root / part, None
        if self.set_list is not None:
            file = self._set_list(part)
            if not file.is_file():
                return []
            wanted = read_set_list(file, SPLITS if self.split is None else (self.split,))
        sure = None
        if self.min_quality is not None:
            sure = {name for name, quality in read_qualities(folder).items() if quality >= self.min_quality}
        found: list[Scene] = []
        annotated = read_sequences(folder) if (folder / ANNOTATIONS).is_file() else None
        there = {entry.name for entry in os.scandir(folder) if entry.is_dir()}
        for name in naturally(filter(_SEQUENCE.fullmatch, there) if annotated is None else there.intersection(annotated)):
            if (sure is not None and name not in sure) or (wanted is not None and name not in wanted):
                continue
            frames = pictures(folder / name / "images")
            if wanted is not None:
                frames = [frame for frame in frames if frame in wanted[name]]
            if annotated is None:
                found.append(Scene(f"{part}/{name}", frames))
            else:
                known = set(frames)
                rows = [row for row, frame in enumerate(annotated[name].frames) if frame in known]
                frames = [annotated[name].frames[row] for row in rows]
                found.append(Scene(f"{part}/{name}", frames, numbers=annotated[name].numbers[rows]))
        return found

    def arranged(self, scenes: Sequence[Scene]) -> Sequence[Scene]:
        """The same; where categories of both layouts lie side by side, all have numbers."""
        if all(scene.numbers is None for scene in scenes):
            return scenes
        return [scene if scene.numbers is not None else _without_numbers(scene) for scene in scenes]

    def watched(self, scene: Scene) -> Sequence[Path]:
        category = scene.name.split("/")[0]
        files = [self.root / category / ANNOTATIONS]
        if self.set_list is not None:
            files.append(self._set_list(category))
        if self.min_quality is not None:
            files.append(self.root / category / "sequence_annotations.jgz")
        return [self.root / scene.name / "images", *files]

    def _set_list(self, category: str) -> Path:
        return self.root / category / "set_lists" / f"set_lists_{self.set_list}.json"

    def _nothing(self) -> str:
        found = self._found()
        lists = {file.stem.removeprefix("set_lists_") for file in self.root.glob("*/set_lists/set_lists_*.json")}
        if self.set_list is not None and found and self.set_list not in lists:
            names = ", ".join(map(repr, sorted(lists))) or "none"
            return f"no category has the set list {self.set_list!r}; there are: {names}"
        if found:
            return "no sequence is left whose pictures are there (<category>/<sequence>/images)"
        if _is_category(self.root):
            return f"this is a category: give the folder above, {str(self.root.parent)!r}"
        return f"no <category>/{ANNOTATIONS} found there; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        camera, scale = self._stated(scene, frame, size)
        return Frame(open_image(path, at_least), self._read_depth(scene, frame, size, scale), camera, size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._stated(scene, frame, image_size(self.file(scene, frame)))[0]

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        file = self.root / scene.name / "masks" / f"{Path(frame).stem}.png"
        return _is_object(file, image_size(file)) if file.is_file() else None

    def _stated(self, scene: Scene, frame: str, size: tuple[int, int]) -> tuple[Camera | None, float]:
        """The camera of a frame whose image has `size` = (width, height), and by what its depth is multiplied; NaN: by
        nothing that is known."""
        path, numbers = self.file(scene, frame), _numbers_of(scene, frame)
        if numbers is not None:
            return annotated_camera(numbers, size, path), depth_scale(numbers)
        return _read_prepared(path.with_suffix(".npz"))

    def _read_depth(self, scene: Scene, frame: str, size: tuple[int, int], scale: float) -> np.ndarray | None:
        """Depth at `size` = (width, height), in the sequence's unit."""
        folder, stem = self.root / scene.name, Path(frame).stem
        file = folder / "depths" / f"{frame}.geometric.png"
        if not file.is_file() or math.isnan(scale):
            return None
        depth = read_grey(file, size)
        if _numbers_of(scene, frame) is not None:
            depth = depth.astype(np.uint16).view(np.float16).astype(np.float32)
            reliable = folder / "depth_masks" / f"{stem}.png"
            if reliable.is_file():
                depth[read_grey(reliable, size) == 0] = 0
        depth[~np.isfinite(depth) | (depth < 0)] = 0
        if self.object_only:
            depth[~_is_object(folder / "masks" / f"{stem}.png", size)] = 0
        return depth * np.float32(scale)


def _is_prepared(sequence: Path) -> bool:
    return _SEQUENCE.fullmatch(sequence.name) is not None and (sequence / "images").is_dir()


def _is_category(folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return (folder / ANNOTATIONS).is_file() or any(map(_is_prepared, folder.iterdir()))


def _without_numbers(scene: Scene) -> Scene:
    return replace(scene, numbers=np.full((len(scene.frames), NUMBERS), math.nan))


def _numbers_of(scene: Scene, frame: str) -> np.ndarray | None:
    """What the annotations say of a frame, [NUMBERS]; None: its category has none."""
    if scene.numbers is None or math.isnan(scene.numbers[0, 0]):
        return None
    row = bisect_left(scene.frames, frame)  # they nearly always come in the order of their names
    if row == len(scene.frames) or scene.frames[row] != frame:
        row = scene.frames.index(frame)
    return scene.numbers[row]


def _is_object(file: Path, size: tuple[int, int]) -> np.ndarray:
    return read_grey(file, size) > OBJECT * 255


def _read_prepared(file: Path) -> tuple[Camera | None, float]:
    """The camera, and by what the values of the depth map are multiplied; None and NaN without the file."""
    if not file.is_file():
        return None, math.nan
    try:
        with np.load(file, allow_pickle=False) as archive:
            pose = np.asarray(archive["camera_pose"], dtype=np.float64)
            intrinsics = np.asarray(archive["camera_intrinsics"], dtype=np.float64)
            largest = float(archive["maximum_depth"])
    except Exception as error:  # what damaged bytes raise differs from place to place
        raise OSError(f"{file}: {error}; expected camera_pose, camera_intrinsics and maximum_depth") from error
    finite = np.isfinite(pose).all() and np.isfinite(intrinsics).all() and math.isfinite(largest)
    usable = finite and pose.shape == (4, 4) and intrinsics.shape == (3, 3) and intrinsics.diagonal().min() > 0
    exact = rigid(pose) if usable else None
    if exact is None:
        raise OSError(f"{file}: its camera is not usable; expected a finite 4x4 camera_pose and 3x3 camera_intrinsics")
    return Camera(intrinsics, exact), largest / 65535
