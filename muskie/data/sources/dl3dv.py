"""DL3DV-10K (Ling et al., CVPR 2024): videos of places, indoors and outdoors, with cameras from COLMAP."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import pinhole, resized
from muskie.data.sources.files import image_size, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import pictures
from muskie.data.sources.natural import naturally
from muskie.data.sources.opencv_lens import Distortion, undistort
from muskie.errors import ConfigError, DataError
from muskie.paths import typed_path

IMAGES = ("images_8", "images_4", "images_2", "images")
"""The folders of pictures, the smallest first: 480x270 to 3840x2160."""

INSIDE = ("nerfstudio", "colmap")
"""Folders of a scene that hold its pictures and cameras in the benchmark, and in the sample."""

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
"""Of which k1, k2, p1, p2, each 0 if missing, say all."""


class DL3DV(ListedSource):
    """Scenes of DL3DV-10K.

    Layout: `<root>/1K/<hash>/{transforms.json, images_8/frame_00001.png}` (2K, 3K, ...; `images_4`, `images_2` or `images`),
    as the archives of the full data set unpack. `root` may also hold the scenes themselves, as those of one of its parts
    or of the benchmark; `<hash>/nerfstudio/` (benchmark), `<hash>/colmap/` (sample) and `<hash>/<hash>/` are looked into.

    - `transforms.json`, as nerfstudio writes it: camera-to-world with OpenGL's axes, which are turned into OpenCV's, and
      COLMAP's intrinsics, whose pixel centres are at integers + 0.5, for pictures of `w` times `h`; they are resized to the
      pictures that are read. A frame that it has not has no camera. The unit of length differs from scene to scene.
    - There is no depth: it is unknown everywhere.
    - Lens: k1, k2, p1 and p2 of `transforms.json` hold for the pictures of every size; nothing was undistorted. As they are,
      points near the corners lie some pixels from where the camera has them. With `undistort` all pictures that have a
      camera are taken through the lens while reading, and it holds exactly; black is what the lens did not see.

    Args:
        root: the folder of the parts, or of scenes.
        images: the folder of the pictures, one of `IMAGES`; None: of each scene the smallest that is there.
        undistort: take pictures through the lens, which takes longer than to decode them.
        without: a file that names scenes to leave out, any text with their 64-digit hashes in it: `benchmark-meta.csv` of
            DL3DV-10K-Benchmark, whose 140 scenes are part of the full data set.
        min_images: scenes of fewer frames are left out, >= 1.

    Raises:
        ConfigError: `images` is none of these, or `min_images` is out of range.
        DataError: `root` is missing, holds no such pictures, or `without` is missing or names no scene.
    """

    name = "dl3dv"
    window = 64
    min_images: int

    def __init__(
        self,
        root: str | Path,
        images: str | None = None,
        undistort: bool = False,
        without: str | Path | None = None,
        min_images: int = 1,
    ) -> None:
        if images is not None and images not in IMAGES:
            raise ConfigError(f"data.images={images!r}: expected one of {', '.join(map(repr, IMAGES))}, or null")
        self.root = existing_folder(root, "DL3DV scenes (1K/<hash>/images_8/frame_00001.png)").resolve()
        self.images, self.undistort = images, undistort
        self._without = _hashes(typed_path(without, "data.without")) if without is not None else []
        self._list(min_images, images=images, without=self._without)

    def parts(self) -> Sequence[str]:
        found: list[str] = []
        without = set(self._without)
        for name in _folders(self.root):
            if re.fullmatch(r"\d+K", name):
                found += [f"{name}/{scene}" for scene in _folders(self.root / name)]
            else:
                found.append(name)
        return [part for part in found if part.split("/")[-1] not in without]

    def scenes_in(self, part: str) -> Sequence[Scene]:
        scene, own = self.root / part, part.split("/")[-1]
        there = _folders(scene)
        for inside in ("", *(name for name in (*INSIDE, own) if name in there)):
            folders = _folders(scene / inside) if inside else there
            for images in IMAGES if self.images is None else (self.images,):
                if images in folders and (names := pictures(scene / inside / images)):
                    return [Scene(part, [f"{inside}/{images}/{name}".lstrip("/") for name in names])]
        return []

    def _nothing(self) -> str:
        wanted = f"no 1K/<hash>/{self.images or IMAGES[0]}/frame_00001.png found there"
        if any((self.root / images).is_dir() for images in IMAGES):
            return f"{wanted}; this is a scene: give the folder above, {str(self.root.parent)!r}"
        there = [images for images in IMAGES if next(self.root.glob(f"*K/*/{images}"), None)]
        if self.images is not None and there:
            return f"{wanted}; scenes there have {', '.join(map(repr, there))}: give that as data.images, or null"
        if next(self.root.glob("*K/*.zip"), None) or next(self.root.glob("*.zip"), None):
            return f"{wanted}; unpack the archives, each into a folder of its name"
        places = [self.root, *self.root.glob("*K")]
        if any((folder / scene).is_dir() for folder in places for scene in self._without):
            return f"{wanted} but those that data.without leaves out"
        return f"{wanted}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not self.undistort and not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        image = open_image(path, None if self.undistort else at_least)
        if self.undistort and (shot := self._shot(scene, frame)) is not None:
            image = undistort(image, _intrinsics(shot, size, path), shot.distortion)
        if not geometry:
            return Frame(image)
        return Frame(image, np.zeros(size[::-1], dtype=np.float32), self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _shot(self, scene: Scene, frame: str) -> _Shot | None:
        file = self.file(scene, frame)
        transforms = file.parent.parent / "transforms.json"
        if not transforms.is_file():
            return None
        shots = _read_transforms(transforms)
        if file.stem in shots and shots[file.stem] is None:
            raise OSError(f"{transforms}: the camera of {file.name} is not usable")
        return shots.get(file.stem)

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        shot = self._shot(scene, frame)
        if shot is None:
            return None
        return Camera(_intrinsics(shot, size, self.file(scene, frame)), shot.cam2world.copy())


class _Shot(NamedTuple):
    """What is said of a frame: [3, 3] for `size` = (width, height), [4, 4] and the lens."""

    intrinsics: np.ndarray
    size: tuple[int, int]
    cam2world: np.ndarray
    distortion: Distortion


def _intrinsics(shot: _Shot, size: tuple[int, int], file: Path) -> np.ndarray:
    return resized(shot.intrinsics, shot.size, size, file)


@lru_cache(maxsize=256)
def _read_transforms(file: Path) -> dict[str, _Shot | None]:
    """By the stem of the picture; None where something is no camera.

    Raises:
        OSError: it is no file of nerfstudio, or of another lens than `MODELS`; the message names it.
    """
    try:
        stated = json.loads(file.read_text())
        if stated.get("camera_model", MODELS[0]) not in MODELS:
            raise OSError(f"{file}: camera_model={stated['camera_model']!r}; expected one of {', '.join(map(repr, MODELS))}")
        return {Path(entry["file_path"]).stem: _shot({**stated, **entry}) for entry in stated["frames"]}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise OSError(f"{file}: {what}; expected w, h, fl_x, fl_y, cx, cy and frames, as nerfstudio writes them") from error


def _shot(entry: dict[str, Any]) -> _Shot | None:
    numbers = np.array([entry[name] for name in ("fl_x", "fl_y", "cx", "cy")], dtype=np.float64)
    k1, k2, p1, p2 = (float(entry.get(name) or 0) for name in ("k1", "k2", "p1", "p2"))
    cam2world = np.array(entry["transform_matrix"], dtype=np.float64)
    size = int(entry["w"]), int(entry["h"])
    if cam2world.shape != (4, 4) or not np.isfinite([*numbers, k1, k2, p1, p2, *cam2world.flat]).all():
        return None
    exact = rigid(cam2world @ OPENGL)
    if exact is None or min(numbers[:2]) <= 0 or min(size) <= 0 or not np.allclose(cam2world[3], [0, 0, 0, 1]):
        return None
    return _Shot(pinhole(*numbers), size, exact, (k1, k2, p1, p2))


def _folders(folder: Path) -> list[str]:
    return naturally(entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())


def _hashes(file: Path) -> list[str]:
    """The scenes that a text names."""
    try:
        found = sorted(set(re.findall(r"\b[0-9a-f]{64}\b", file.read_text(errors="replace"))))
    except OSError as error:
        raise DataError(f"data.without={str(file)!r}: {error.strerror or error}") from error
    if not found:
        raise DataError(f"data.without={str(file)!r}: no hash of a scene (64 hexadecimal digits) found in it")
    return found
