"""NAVI (Jampani et al., NeurIPS 2023): photographs of scanned objects, with depth and cameras from the aligned scan."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.files import image_size, read_grey
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import pictures
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError, DataError

SPLITS = ("valid", "train", "all")
SCENES = "multiview[_-]*"
SMALLER = "downsampled_"
"""What the names of shrunken copies begin with."""

NEAREST_DEPTH = 0.01
"""Metres at which the disparity fills its 16 bits: a tenth per millimetre."""


class Navi(ListedSource):
    """Multi-view scenes of NAVI: an object in one place from many sides. All scenes of an object are one `room`.

    Layout: `<root>/<object>/multiview_*/{annotations.json, images/<id>.jpg, depth/<id>.png, masks/<id>.png}` (version 1.5
    writes `multiview-*`). Shrunken copies, `downsampled_<id>.jpg` and `.png`, are taken where they lie beside.

    From NAVI's own description and tools: depth is disparity d = v / 65535 / 10 per millimetre in 16 bits, so 0 = unknown
    (all that is not the object); q (w, x, y, z) and t, in millimetres, map the object's frame to an OpenCV camera;
    focal_length is in pixels of the upright picture of image_size = (height, width). Assumed: square pixels, and the
    principal point in the middle. The world of a scene is the object's frame, in metres; intrinsics follow the size of
    the picture, and a picture of another aspect ratio than its annotation cannot be read with geometry.

    Args:
        root: the folder of the objects.
        split: of the scenes of each object, in natural order, `"train"`: the first 90 %, rounded down; `"valid"`: the
            others, at least one; `"all"`. The protocols of Probe3D (El Banani et al., CVPR 2024; in the order of the file
            system) and Muskie cut alike.
        require_wild_set: leave out objects that have no folder `wild_set`, as those protocols do.
        min_images: scenes of fewer pictures are left out, >= 1, from the split as it is.

    Raises:
        ConfigError: an unknown split, or `min_images` is out of range.
        DataError: `root` is missing, no scene is found or left, or a file of annotations is broken.
    """

    name = "navi"

    def __init__(self, root: str | Path, split: str = "valid", require_wild_set: bool = True, min_images: int = 1) -> None:
        if split not in SPLITS:
            raise ConfigError(f"data.split={split!r}: expected one of {', '.join(map(repr, SPLITS))}")
        self.root = existing_folder(root, "NAVI objects (<object>/multiview_*/images)").resolve()
        self.split, self.require_wild_set = split, require_wild_set
        self._list(min_images, split=split, require_wild_set=require_wild_set)

    def parts(self) -> Sequence[str]:
        _read_annotations.cache_clear()  # who looks anew reads anew
        found = naturally(path.name for path in self.root.iterdir() if any(path.glob(SCENES)))
        objects = [name for name in found if (self.root / name / "wild_set").is_dir() or not self.require_wild_set]
        if found and not objects:
            raise DataError(
                f"data.root={str(self.root)!r}: none of the {len(found)} objects has a folder wild_set; "
                f"keep them with data.require_wild_set=false"
            )
        return objects

    def scenes_in(self, part: str) -> Sequence[Scene]:
        every = _scenes(self.root / part)
        cut = len(every) * 9 // 10
        found = {"train": every[:cut], "valid": every[cut:], "all": every}[self.split]
        for folder, _ in found:
            _read_annotations(folder / "annotations.json")
        return [Scene(f"{part}/{folder.name}", frames, room=part) for folder, frames in found]

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self.root / scene.name / "images", self.root / scene.name / "annotations.json"]

    def _nothing(self) -> str:
        if any(_scenes(self.root / name) for name in self.parts()):
            return f"data.split={self.split!r} is empty, for no object has two scenes; take 'valid' or 'all'"
        way_out = "; for folders of plain images use data=folder"
        if _scenes(self.root):
            way_out = f"; this is an object: give the folder above, {str(self.root.parent)!r}"
        return f"no <object>/multiview_*/images/*.jpg found there{way_out}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        depth, camera = self._depth(scene, frame, size), self._camera(scene, frame, size)
        return Frame(open_image(path, at_least), depth, camera, size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        file = self._beside(scene, "masks", frame)
        return None if file is None else read_grey(file, image_size(file)) > 0

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        shot = _read_annotations(self.root / scene.name / "annotations.json").get(_id(frame))
        if shot is None:
            return None
        width, height = size
        # Shrinking cuts off less than a pixel of each side, and so explains no more than this.
        if abs(width * shot.height - height * shot.width) > max(shot.height, shot.width):
            raise OSError(
                f"{self.root / scene.name / 'images' / frame}: {width}x{height} pixels; annotations.json has a picture of "
                f"{shot.width}x{shot.height}, another aspect ratio"
            )
        focal_x, focal_y = shot.focal * width / shot.width, shot.focal * height / shot.height
        intrinsics = np.array([[focal_x, 0, width / 2], [0, focal_y, height / 2], [0, 0, 1]])
        return Camera(intrinsics, shot.cam2world.copy())

    def _depth(self, scene: Scene, frame: str, size: tuple[int, int]) -> np.ndarray | None:
        """In metres, at `size` = (width, height)."""
        file = self._beside(scene, "depth", frame)
        if file is None:
            return None
        disparity = read_grey(file, size)
        return np.divide(65535 * NEAREST_DEPTH, disparity, where=disparity > 0, out=np.zeros_like(disparity))

    def _beside(self, scene: Scene, folder: str, frame: str) -> Path | None:
        """What lies in another folder of the scene under the name of a frame, of its size if that is there."""
        names = (f"{stem}.png" for stem in (Path(frame).stem, _id(frame), SMALLER + _id(frame)))
        return next((file for name in names if (file := self.root / scene.name / folder / name).is_file()), None)


@dataclass(frozen=True)
class _Shot:
    """What the annotations say of a picture: its size and focal length in pixels, and its pose in metres, [4, 4]."""

    height: int
    width: int
    focal: float
    cam2world: np.ndarray


def _id(file: str) -> str:
    return Path(file).stem.removeprefix(SMALLER)


def _scenes(folder: Path) -> list[tuple[Path, list[str]]]:
    """The multi-view scenes of an object that hold pictures, with their frames, in natural order."""
    names = naturally(path.name for path in folder.glob(SCENES))
    return [(folder / name, frames) for name in names if (frames := _frames(folder / name / "images"))]


def _frames(folder: Path) -> list[str]:
    # Shrunken copies come last, and so replace what they are copies of.
    by_id = {_id(name): name for name in sorted(pictures(folder), key=lambda name: name.startswith(SMALLER))}
    return [by_id[key] for key in naturally(by_id)]


@lru_cache(maxsize=1024)
def _read_annotations(file: Path) -> dict[str, _Shot]:
    """By the id of the picture; empty if there is no such file."""
    if not file.is_file():
        return {}
    try:
        entries = json.loads(file.read_text())
        return {_id(entry["filename"]): _shot(entry) for entry in entries}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{file}: {what}; expected a list of entries with filename, image_size (height, width) and "
            f"camera (q, t, focal_length)"
        ) from error


def _shot(entry: dict[str, Any]) -> _Shot:
    camera = entry["camera"]
    height, width = (int(side) for side in entry["image_size"])
    w, x, y, z = (float(part) for part in camera["q"])
    translation = np.array([float(part) for part in camera["t"]]) / 1000
    focal, norm = float(camera["focal_length"]), w * w + x * x + y * y + z * z
    numbers = (height, width, focal, norm)
    if translation.shape != (3,) or not all(map(math.isfinite, (*numbers, *translation))) or min(numbers) <= 0:
        raise ValueError(f"the camera of {entry['filename']} is not usable")
    # The rotation of a quaternion of any length, v -> q v q* / |q|^2, as a matrix; its transpose turns back.
    vector = np.array([x, y, z])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = ((w * w - vector @ vector) * np.eye(3) + 2 * np.outer(vector, vector) + 2 * w * cross) / norm
    cam2world = np.eye(4)
    cam2world[:3, :3] = rotation.T
    cam2world[:3, 3] = -rotation.T @ translation
    return _Shot(height, width, focal, cam2world)
