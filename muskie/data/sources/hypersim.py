"""Hypersim (Roberts et al., ICCV 2021): photorealistic renderings of rooms, with exact geometry."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.beside import fitted_depth
from muskie.data.sources.cameras import poses, resized
from muskie.data.sources.files import image_size
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.hdf5 import read_hdf5
from muskie.data.sources.hypersim_cameras import Lens, read_lenses, read_split, read_trajectory
from muskie.data.sources.listing import pictures
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError, DataError, did_you_mean
from muskie.paths import typed_path

SPLITS = ("all", "train", "val", "test")
CAMERAS = "metadata_camera_parameters.csv"
SPLIT = "metadata_images_split_scene_v1.csv"
PLACES = {CAMERAS: "contrib/mikeroberts3000", SPLIT: "evermotion_dataset/analysis"}
"""Where the data set's repository, https://github.com/apple/ml-hypersim, keeps the files that are not in its archives."""


class Hypersim(ListedSource):
    """Camera trajectories of Hypersim; a trajectory is a scene, and all trajectories of a room are one `room`.

    Layout, as the archives unpack, with two files of the data set's repository beside them (or where a clone of it, in
    whose `evermotion_dataset/scenes` the rooms lie, has them):

        <root>/metadata_camera_parameters.csv                                        for depth and cameras
        <root>/metadata_images_split_scene_v1.csv                                    for splits
        <root>/ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg   pictures
        <root>/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5
        <root>/ai_001_001/_detail/metadata_scene.csv                                 metres per unit of length
        <root>/ai_001_001/_detail/cam_00/camera_keyframe_{orientations,positions}.hdf5

    Frames are the pictures of one modality. What `*_hdf5` holds of colours, and all else of the geometry, is left out.

    - Depth is the distance along the ray, in metres; it is turned into z. What is not finite is unknown.
    - Poses are camera-to-world in the room's own unit of length, with OpenGL's axes. Both are turned into ours; numbers
      beyond the end of the trajectory's files are an error, and so is what is no rotation.
    - Rooms have lenses of their own, in `metadata_camera_parameters.csv`: a plain one of 60 degrees, or a tilted or shifted
      one. That is a pinhole camera too, which looks along the normal of its image plane; so these frames have a camera that
      is turned against the data set's pose, and depth along its axis (`hypersim_cameras.lens`). Where a lens is both tilted
      and shifted its intrinsics have skew.
    - u and v run from -1 to 1 between the borders of the picture, as in the data set's example of casting rays.

    Args:
        root: the folder of the rooms.
        split: `"train"`, `"val"` or `"test"`: the released frames of that part of the official split, which cuts between
            rooms; `"all"`: whatever lies there.
        modality: what is shown: `"tonemap"`, or `"color"`, `"gamma"`, ... as the files are called.
        min_images: trajectories of fewer frames are left out, >= 1.

    Raises:
        ConfigError: an unknown split, or `min_images` is out of range.
        DataError: `root` is missing, holds no such pictures, or a split is asked for without the file that says it.
    """

    name = "hypersim"
    window = 16
    min_images: int

    def __init__(self, root: str | Path, split: str = "all", modality: str = "tonemap", min_images: int = 1) -> None:
        if split not in SPLITS:
            raise ConfigError(f"data.split={split!r}: expected one of {', '.join(map(repr, SPLITS))}")
        # A link to the rooms may lead away from the files beside them.
        self.root = existing_folder(root, "Hypersim rooms (ai_001_001/images/scene_cam_00_final_preview)").resolve()
        self.split, self.modality = split, modality
        self._beside = [self.root, self.root.parent, typed_path(root, "data.root").absolute().parent]
        self._split = None if split == "all" else self._find(SPLIT, f"data.split={split!r}")
        self._list(min_images, split=split, modality=modality)

    def _find(self, name: str, what: str) -> Path:
        """A file of the data set's repository."""
        for folder in self._beside:
            for file in (folder / name, folder / Path(PLACES[name]).name / name, folder.parent / PLACES[name] / name):
                if file.is_file():
                    return file
        raise DataError(
            f"data.root={str(self.root)!r}: {what} needs {name}, which is not there; copy it from {PLACES[name]} of "
            f"https://github.com/apple/ml-hypersim"
        )

    def parts(self) -> Sequence[str]:
        rooms = [entry.name for entry in os.scandir(self.root) if entry.is_dir() and re.match(r"ai_\d", entry.name)]
        if self._split is not None:
            released = read_split(self._split, self.split)
            rooms = [room for room in rooms if room in released]
        return naturally(rooms)

    def scenes_in(self, part: str) -> Sequence[Scene]:
        released = None if self._split is None else read_split(self._split, self.split)[part]
        scenes = []
        for folder in naturally(entry.name for entry in os.scandir(self.root / part / "images")):
            if not (found := re.fullmatch(r"scene_(cam_\d+)_final_preview", folder)):
                continue
            frames = [name for name in pictures(self.root / part / "images" / folder) if self._shows(name)]
            if released is not None:
                frames = [name for name in frames if (found[1], _number(name)) in released]
            scenes.append(Scene(f"{part}/{found[1]}", frames, room=part))
        return scenes

    def _shows(self, name: str) -> bool:
        parts = name.split(".")
        return len(parts) == 4 and parts[0] == "frame" and parts[1].isdecimal() and parts[2] == self.modality

    def watched(self, scene: Scene) -> Sequence[Path]:
        file = self.file(scene, scene.frames[0])
        return [file.parent] if self._split is None else [file.parent, self._split]

    def _nothing(self) -> str:
        entries = naturally(entry.name for entry in os.scandir(self.root))
        folders = [self.root / name for name in entries if re.match(r"ai_\d", name) and (self.root / name).is_dir()]
        wanted = f"no ai_001_001/images/scene_cam_00_final_preview/frame.0000.{self.modality}.jpg found there"
        if folders:
            there = {name.split(".")[2] for folder in folders[:8] for name in _previews(folder) if name.count(".") == 3}
            if there and self.modality not in there:
                hint = did_you_mean(self.modality, there) or f"; there are: {', '.join(map(repr, sorted(there)))}"
                return f"{wanted} (data.modality){hint}"
            if self._split is not None:
                return f"none of the {len(folders)} rooms there is in data.split={self.split!r}, by {self._split}"
            return f"{wanted}; the pictures are in the folders final_preview of the archives"
        if _previews(self.root):
            return f"{wanted}; this is a room: give the folder above, {str(self.root.parent)!r}"
        if any(re.match(r"ai_\d.*\.zip", name) for name in entries):
            return f"{wanted}; unpack the archives (ai_001_001.zip)"
        for inside in ("scenes", "evermotion_dataset/scenes", "downloads"):
            if any((self.root / inside).glob("ai_*/images")):
                return f"{wanted}; the rooms are in {str(self.root / inside)!r}: give that"
        return f"{wanted}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        return Frame(open_image(path, at_least), self._depth(scene, frame, size), self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        room, camera = scene.name.split("/")
        return self.root / room / "images" / f"scene_{camera}_final_preview" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _lens(self, scene: Scene) -> Lens:
        room = scene.name.split("/")[0]
        file = self._find(CAMERAS, "geometry")
        lens = read_lenses(file).get(room)
        if lens is None:
            raise OSError(f"{file}: no camera of {room}, or one that projects nothing")
        return lens

    def _depth(self, scene: Scene, frame: str, size: tuple[int, int]) -> np.ndarray | None:
        """In metres, at `size` = (width, height)."""
        room, camera = scene.name.split("/")
        folder = self.root / room / "images" / f"scene_{camera}_geometry_hdf5"
        file = folder / f"{'.'.join(frame.split('.')[:2])}.depth_meters.hdf5"
        if not file.is_file():
            return None
        distance = read_hdf5(file).astype(np.float32)
        if distance.ndim == 2:
            height, width = distance.shape
            x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
            rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(self._lens(scene).intrinsics).T
            distance = distance / np.linalg.norm(rays, axis=-1)  # these are one metre deep each
        return fitted_depth(distance, size, file)

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        room, camera = scene.name.split("/")
        trajectory = read_trajectory(self.root / room, camera)
        if trajectory is None:
            return None
        number = _number(frame)
        if number >= len(trajectory) or not np.isfinite(trajectory[number]).all():
            what = "is not usable" if number < len(trajectory) else f"is missing: there are {len(trajectory)}"
            raise OSError(f"{self.root / room / '_detail' / camera}: the pose of frame {number} {what}")
        lens = self._lens(scene)
        intrinsics = resized(np.diag([*lens.size, 1.0]) @ lens.intrinsics, lens.size, size, self.file(scene, frame))
        return Camera(intrinsics, trajectory[number] @ poses(lens.turn, np.zeros(3)))


def _number(frame: str) -> int:
    return int(frame.split(".")[1])


def _previews(room: Path) -> list[str]:
    """The names of a room's pictures, those of its first trajectory."""
    return next((names for folder in sorted(room.glob("images/*_final_preview")) if (names := pictures(folder))), [])
