"""Reconstructions of COLMAP (Schönberger and Frahm, CVPR 2016), e.g. of one's own photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.beside import fitted_depth
from muskie.data.sources.cameras import pinhole, resized
from muskie.data.sources.colmap_model import model_files, models, read_model, read_points, shared_points, straight
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import pictures
from muskie.data.sources.natural import naturally
from muskie.data.sources.there import lacking, place_of, there
from muskie.data.sources.turned import Lying, lying
from muskie.errors import DataError

EXPECTED = "a COLMAP reconstruction (images/ and sparse/0/), or folders of such"
UNDISTORT = "run `colmap image_undistorter` and give its output"


class Colmap(ListedSource):
    """Pictures with the cameras that COLMAP found for them; a reconstruction is a scene.

    Layout: `<root>/<scene>/`, or `<root>` itself (the scene `"."`), with

    - `images/`, the pictures, in sub-folders or not;
    - `sparse/0/{cameras, images}.{bin or txt}`, or `sparse/{cameras, images}.{bin or txt}`, as `image_undistorter` writes
      it. Of several reconstructions of the same pictures (`sparse/0`, `sparse/1`, ...) each is a scene, `<scene>#0`, for its
      coordinates are its own; they are of one room.
    - where dense stereo was run, `stereo/depth_maps/<name>.geometric.bin`, z, 0 = unknown.

    Frames are the registered pictures, in natural order; those that COLMAP could not place, or that are not there, are left
    out. The unit of length is COLMAP's own, no metre. Pixel centres are counted as ours are. COLMAP passes over the EXIF
    orientation of pictures; here picture, depth and camera are turned upright together.

    Pinhole cameras are read as they are, `SIMPLE_RADIAL`, `RADIAL`, `OPENCV` and `FULL_OPENCV` if their distortion is 0.
    Pictures through any other lens are listed, and have no camera and no depth: `problems` names the scene, and
    `colmap image_undistorter` gives pictures that have.

    Args:
        root: the folder.
        images: the folder of the pictures in a scene, e.g. `"images_4"` for smaller ones of the same names.
        min_images: scenes of fewer frames are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range.
        DataError: `root` is missing, or there is no reconstruction that can be read.
    """

    name = "colmap"
    min_images: int

    def __init__(self, root: str | Path, images: str = "images", min_images: int = 1) -> None:
        self.root = existing_folder(root, EXPECTED).resolve()
        self.images = images
        self._list(min_images, images=images)

    def parts(self) -> Sequence[str]:
        if (self.root / "sparse").is_dir():
            return ["."]
        return naturally(path.name for path in self.root.iterdir() if (path / "sparse").is_dir())

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder = self.root / part
        found = models(folder)
        several = len(found) > 1
        names = [f"{part}#{model.rpartition('/')[2]}" if several else part for model in found]
        return [
            self._scene(folder, model, name, part if several else None) for model, name in zip(found, names, strict=True)
        ]

    def _scene(self, folder: Path, model: str, name: str, room: str | None) -> Scene:
        try:
            cameras, placed = read_model(folder / model)
        except DataError as error:
            raise OSError(str(error)) from error
        frames = there(folder / self.images, naturally(placed))
        if len(frames) < len(placed):
            missing = next(iter(placed.keys() - set(frames)))
            if not frames:
                raise OSError(
                    f"{folder / self.images}: none of the {len(placed)} pictures of {model} is there, e.g. {missing}"
                )
            self.problems.append(f"{folder / model}: {lacking(len(placed), len(frames), missing)}")
        numbers = np.full((len(frames), 18), np.nan)
        for row, frame in zip(numbers, frames, strict=True):
            camera = cameras[placed[frame].camera]
            row[:12], row[16:] = placed[frame].cam2world[:3].ravel(), camera.size
            if (matrix := straight(camera)) is not None:
                row[12:16] = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        if bent := {camera.model for camera in cameras.values() if straight(camera) is None}:
            self.problems.append(f"{folder / model}: pictures through {', '.join(sorted(bent))} have no camera; {UNDISTORT}")
        return Scene(name, frames, room, numbers)

    def watched(self, scene: Scene) -> Sequence[Path]:
        folder = self._folder(scene)
        files = (model_files(folder / model) or () for model in models(folder))
        return [self.file(scene, scene.frames[0]).parent, folder / "sparse", *(file for pair in files for file in pair)]

    def _nothing(self) -> str:
        if self.problems:
            return "no reconstruction that can be read found there"
        way_out = "; for folders of plain images use data=folder"
        above = self.root.parent.parent if self.root.parent.name == "sparse" else self.root.parent
        if model_files(self.root):
            way_out = f"; this is the reconstruction itself: give the folder with it and the pictures, {str(above)!r}"
        elif self.root.name == self.images and pictures(self.root):
            way_out = f"; these are the pictures: give the folder above, {str(self.root.parent)!r}"
        elif next(self.root.glob("*/*/sparse"), None):
            way_out = "; give one of the folders in it: its scenes lie deeper"
        return f"no sparse/0/images.bin or .txt found there, nor in a folder in it{way_out}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        how = lying(path)
        camera = self._camera(scene, frame, how)
        depth = None if camera is None else self._depth(scene, frame, how)
        return Frame(open_image(path, at_least), depth, camera, how.upright)

    def file(self, scene: Scene, frame: str) -> Path:
        return self._folder(scene) / self.images / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, lying(self.file(scene, frame)))

    def overlaps(self, scene: Scene) -> np.ndarray | None:
        """By the points that COLMAP found in frame i, and in frame j too."""
        found = models(self._folder(scene))
        model = next((m for m in found if len(found) == 1 or scene.name.endswith(f"#{m.rpartition('/')[2]}")), None)
        if model is None:
            return None
        seen = read_points(self._folder(scene) / model)
        none = np.zeros(0, dtype=np.int64)
        return shared_points([seen.get(frame, none) for frame in scene.frames])

    def _folder(self, scene: Scene) -> Path:
        return self.root / (scene.room or scene.name)

    def _camera(self, scene: Scene, frame: str, how: Lying) -> Camera | None:
        assert scene.numbers is not None
        noted = scene.numbers[place_of(scene, frame)]
        if np.isnan(noted[12]):
            return None
        cam2world = np.concatenate([noted[:12].reshape(3, 4), [[0, 0, 0, 1]]])
        size = int(noted[16]), int(noted[17])
        return how.camera(resized(pinhole(*noted[12:16]), size, how.size, self.file(scene, frame)), cam2world)

    def _depth(self, scene: Scene, frame: str, how: Lying) -> np.ndarray | None:
        file = self._folder(scene) / "stereo" / "depth_maps" / f"{frame}.geometric.bin"
        return how.map(fitted_depth(read_map(file), how.size, file)) if file.is_file() else None


def read_map(file: Path) -> np.ndarray:
    """A map of COLMAP's dense stereo, float32 [H, W] or [H, W, C]: the text `width&height&channels&`, then the values, a
    channel after the other, row by row.

    Raises:
        OSError: missing or broken; the message names it.
    """
    with file.open("rb") as opened:
        head = opened.read(64).split(b"&", 3)
    try:
        width, height, channels = (int(part) for part in head[:3])
    except ValueError as error:
        raise OSError(f"{file}: expected a map of COLMAP, which begins with 'width&height&channels&'") from error
    start = sum(len(part) + 1 for part in head[:3])
    if min(width, height, channels) < 1 or file.stat().st_size != start + 4 * width * height * channels:
        raise OSError(f"{file}: {file.stat().st_size} bytes; expected {width}x{height} values of float32 behind the head")
    values = np.fromfile(file, dtype="<f4", offset=start).reshape(channels, height, width)
    return values[0] if channels == 1 else np.moveaxis(values, 0, -1)
