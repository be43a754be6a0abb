"""Captures for radiance fields: the format of nerfstudio (https://docs.nerf.studio) and instant-ngp, `transforms.json`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.beside import fitted_depth
from muskie.data.sources.files import read_grey
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import stated
from muskie.data.sources.natural import naturally
from muskie.data.sources.there import lacking
from muskie.data.sources.transforms import SPLITS, camera_of, distorts, pictures_of, read_transforms, transform_files
from muskie.data.sources.turned import lying
from muskie.errors import ConfigError

EXPECTED = "a transforms.json and its pictures, or folders of such"
DEPTH_UNIT = 0.001


class Nerfstudio(ListedSource):
    """Pictures that a `transforms.json` names, with the cameras that it gives them; a file is a scene.

    Layout: `<root>/<scene>/`, or `<root>` itself (the scene `"."`), with `transforms.json`, or with
    `transforms_{train, val, test}.json`, as instant-ngp and the Blender scenes have them, whose pictures are one scene.
    Frames are the files in it that are there, in natural order; a `file_path` without suffix is a `.png`.

    - Poses are camera-to-world; OpenGL's axes (x right, y up, z backwards) are turned into OpenCV's. What was done to the
      world (`applied_transform`, `applied_scale`) is undone. The unit of length is the capture's, metres or not.
    - Intrinsics are `fl_x`, `fl_y`, `cx`, `cy`, of all frames or of each, for pictures of `w`, `h`; or `camera_angle_x`,
      with the principal point in the middle. Pixel centres are counted as ours are. Frames through a lens that distorts
      (one of `k1` to `k4`, `p1`, `p2` is not 0, or another model) are listed, and have no camera and no depth, which
      `problems` tells.
    - `depth_file_path`: 16-bit pictures or `.npy`, z, 0 = unknown, times `depth_unit_scale_factor`, 0.001 without it.
    - `mask_path`: what is not black is the object.

    The EXIF orientation of pictures, which those programs pass over, turns picture, depth, mask and camera together.

    Args:
        root: the folder.
        split: `"train"`, `"val"` or `"test"`, of scenes that have it (`train_filenames`, or files of their own); `"all"`.
        depth_unit: what depth is multiplied by, whatever the files say; None: what they say.
        min_images: scenes of fewer frames are left out, >= 1.

    Raises:
        ConfigError: `split`, `depth_unit` or `min_images` is out of range.
        DataError: `root` is missing, or there is no scene that can be read.
    """

    name = "nerfstudio"
    min_images: int

    def __init__(self, root: str | Path, split: str = "all", depth_unit: float | None = None, min_images: int = 1) -> None:
        if depth_unit is not None and not 0 < depth_unit < math.inf:
            raise ConfigError(f"data.depth_unit={depth_unit}: expected a factor above 0, or null")
        self.split, self.depth_unit = stated(split, ("all", *SPLITS)), depth_unit
        self.root = existing_folder(root, EXPECTED).resolve()
        self._list(min_images, split=split)

    def parts(self) -> Sequence[str]:
        read_transforms.cache_clear()  # whoever lists anew reads anew
        if transform_files(self.root):
            return ["."]
        return naturally(entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder = self.root / part
        if not transform_files(folder):
            return []
        found = read_transforms(folder)
        if self.split != "all" and self.split not in found.splits:
            raise OSError(f"it has no split {self.split!r}; it has {', '.join(map(repr, found.splits)) or 'none'}")
        named = [name for name in found.frames if self.split == "all" or name in found.splits[self.split]]
        frames = pictures_of(folder, named)
        if len(frames) < len(named):
            have = {*frames, *(name.rpartition(".")[0] for name in frames)}
            missing = next(name for name in named if name not in have)
            if not frames:
                raise OSError(f"none of its {len(named)} pictures is there, e.g. {folder / missing}")
            self.problems.append(f"{part}: {lacking(len(named), len(frames), missing)}")
        if bent := sum(distorts(found.frames[name]) for name in named):
            self.problems.append(
                f"{part}: {bent} pictures through a lens that distorts have no camera; undistort them, e.g. by "
                f"`colmap image_undistorter`, whose output data=colmap reads"
            )
        return [Scene(part, naturally(frames))]

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self.file(scene, scene.frames[0]).parent, *transform_files(self.root / scene.name)]

    def _nothing(self) -> str:
        if self.problems:
            return "no scene that can be read found there"
        way_out = "; for folders of plain images use data=folder"
        if (self.root / "sparse").is_dir() or next(self.root.glob("*/sparse"), None):
            way_out = "; this is a reconstruction of COLMAP: use data=colmap"
        elif next(self.root.glob("*/*/transforms*.json"), None):
            way_out = "; give one of the folders in it: its scenes lie deeper"
        elif transform_files(self.root.parent):
            way_out = f"; there is one in the folder above: give {str(self.root.parent)!r}"
        return f"no transforms.json found there, nor in a folder in it{way_out}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        entry, how = read_transforms(self.root / scene.name).of(frame), lying(path)
        depth, file = None, self._beside(scene, entry.get("depth_file_path"))
        if file is not None and not distorts(entry):
            unit = self.depth_unit or entry.get("depth_unit_scale_factor", DEPTH_UNIT)
            depth = how.map(_read_depth(file, how.size) * np.float32(unit))
        return Frame(open_image(path, at_least), depth, camera_of(entry, how, path), how.upright)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        path = self.file(scene, frame)
        return camera_of(read_transforms(self.root / scene.name).of(frame), lying(path), path)

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        entry = read_transforms(self.root / scene.name).of(frame)
        file = self._beside(scene, entry.get("mask_path"))
        if file is None:
            return None
        try:
            with Image.open(file) as image:
                values = np.asarray(image.convert("L"))
        except Exception as error:  # what damaged bytes raise differs from format to format
            raise OSError(f"{file}: cannot be decoded ({error})") from error
        return lying(self.file(scene, frame)).map(values > 0)

    def _beside(self, scene: Scene, path: str | None) -> Path | None:
        """A file that goes with a picture, if it is named, and there."""
        file = self.root / scene.name / path.replace("\\", "/") if path else None
        return file if file is not None and file.is_file() else None


def _read_depth(file: Path, size: tuple[int, int]) -> np.ndarray:
    """Depth as the file counts it, float32 [H, W] at `size` = (width, height)."""
    if file.suffix.lower() != ".npy":
        return read_grey(file, size)
    try:
        values = np.asarray(np.load(file, allow_pickle=False), dtype=np.float32).squeeze()
    except Exception as error:  # what damaged bytes raise differs from place to place
        raise OSError(f"{file}: cannot be read ({error}); expected an array of depth [H, W]") from error
    return fitted_depth(values, size, file)
