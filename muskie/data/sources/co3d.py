"""CO3Dv2 (Reizenstein et al., ICCV 2021): videos around objects of 51 categories, with cameras and depth from COLMAP."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.co3d_annotations import Sequence, read_qualities, read_sequences, read_set_list
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.natural import natural_key
from muskie.data.sources.listing import chosen, pictures
from muskie.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")
OBJECT = 0.1
"""The share of a pixel's mask from which on it belongs to the object."""


class CO3D(SceneSource):
    """Sequences of CO3Dv2, one of either layout a category; a sequence is a scene.

    - As Meta publishes it: `<root>/<category>/{frame_annotations.jgz, sequence_annotations.jgz, set_lists/}` and
      `<category>/<sequence>/{images/frame000001.jpg, depths/frame000001.jpg.geometric.png, depth_masks/frame000001.png,
      masks/frame000001.png}`. PyTorch3D's cameras (x left, y up, row vectors; intrinsics in NDC, of the shorter side or of
      each) are turned into OpenCV's. A depth map is a PNG whose 16 bits are those of a half float, times the frame's
      `scale_adjustment`; what its depth mask leaves out is unknown. Sequences that were not downloaded are left out.
    - Prepared, without annotations: beside each picture `images/frame000001.npz` with `camera_pose` (camera-to-world,
      OpenCV), `camera_intrinsics` in pixels and `maximum_depth`, by which a depth map of 16 bits is scaled, 65535 being
      the maximum. Its intrinsics are taken to be of the picture's borders, as PyTorch3D's are.

    The unit of length differs from sequence to sequence, and is no metre. Reading the annotations takes seconds a category,
    once.

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
    min_images: int

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
        if min_images < 1:
            raise ConfigError(f"data.min_images={min_images}: expected 1 or more")
        self.min_images, self.object_only = min_images, object_only
        self.root = existing_folder(root, "CO3D categories (<category>/frame_annotations.jgz)").resolve()
        found = [path.name for path in self.root.iterdir() if _is_category(path)]
        self._scenes: list[Scene] = []
        self._sequences: dict[str, Sequence] = {}
        lists: set[str] = set()
        shorter = 0
        for category in chosen(found, categories, root, "categories"):
            folder = self.root / category
            wanted = None
            if set_list is not None:
                lists |= {file.stem.removeprefix("set_lists_") for file in folder.glob("set_lists/set_lists_*.json")}
                file = folder / "set_lists" / f"set_lists_{set_list}.json"
                if not file.is_file():
                    continue
                wanted = read_set_list(file, SPLITS if split is None else (split,))
            sure = None if min_quality is None else {n for n, q in read_qualities(folder).items() if q >= min_quality}
            for sequence, frames in self._list(folder):
                if (sure is not None and sequence not in sure) or (wanted is not None and sequence not in wanted):
                    continue
                frames = frames if wanted is None else [frame for frame in frames if frame in wanted[sequence]]
                if len(frames) >= min_images:
                    self._scenes.append(Scene(f"{category}/{sequence}", frames))
                else:
                    shorter += bool(frames)
        if not self._scenes:
            raise DataError(f"data.root={str(root)!r}: {self._why_nothing(found, set_list, lists, shorter)}")
        self.left_out = shorter

    def _list(self, category: Path) -> list[tuple[str, list[str]]]:
        """The sequences of a category whose pictures are there, with these."""
        if not (category / "frame_annotations.jgz").is_file():
            folders = sorted((path for path in category.iterdir() if _is_prepared(path)), key=lambda p: natural_key(p.name))
            return [(folder.name, pictures(folder / "images")) for folder in folders]
        listed = []
        annotated = read_sequences(category)
        for name in sorted(annotated, key=natural_key):
            there = set(pictures(category / name / "images"))
            if frames := [frame for frame in annotated[name].rows if frame in there]:
                listed.append((name, frames))
                self._sequences[f"{category.name}/{name}"] = annotated[name]
        return listed

    def _why_nothing(self, found: list[str], set_list: str | None, lists: set[str], shorter: int) -> str:
        if shorter:
            return f"none of the {shorter} sequences has data.min_images={self.min_images} frames or more"
        if set_list is not None and found and set_list not in lists:
            names = ", ".join(map(repr, sorted(lists))) or "none"
            return f"no category has the set list {set_list!r}; there are: {names}"
        if found:
            return "no sequence is left whose pictures are there (<category>/<sequence>/images)"
        if _is_category(self.root):
            return f"this is a category: give the folder above, {str(self.root.parent)!r}"
        return "no <category>/frame_annotations.jgz found there; for folders of plain images use data=folder"

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        image = open_image(path)
        return Frame(image, self._read_depth(scene, frame, image.size), self._camera(scene, frame, image.size))

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        path = self.file(scene, frame)
        annotated = self._sequences.get(scene.name)
        if annotated is not None:
            return annotated.camera(frame, size, path)
        prepared = _read_prepared(path.with_suffix(".npz"))
        return None if prepared is None else Camera(prepared[1], prepared[0])

    def _read_depth(self, scene: Scene, frame: str, size: tuple[int, int]) -> np.ndarray | None:
        """Depth at `size` = (width, height), in the sequence's unit."""
        folder = self.root / scene.name
        file, mask = folder / "depths" / f"{frame}.geometric.png", folder / "masks" / f"{Path(frame).stem}.png"
        annotated = self._sequences.get(scene.name)
        prepared = None if annotated is not None else _read_prepared(self.file(scene, frame).with_suffix(".npz"))
        scale = annotated.depth_scale(frame) if annotated is not None else prepared[2] / 65535 if prepared else math.nan
        if not file.is_file() or math.isnan(scale):
            return None
        depth = read_grey(file, size)
        if annotated is not None:
            depth = depth.astype(np.uint16).view(np.float16).astype(np.float32)
            reliable = folder / "depth_masks" / f"{Path(frame).stem}.png"
            if reliable.is_file():
                depth[read_grey(reliable, size) == 0] = 0
        depth[~np.isfinite(depth) | (depth < 0)] = 0
        if self.object_only:
            depth[read_grey(mask, size) <= OBJECT * 255] = 0
        return depth * np.float32(scale)


def _is_prepared(sequence: Path) -> bool:
    return sequence.is_dir() and any(sequence.glob("images/*.npz"))


def _is_category(folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return (folder / "frame_annotations.jgz").is_file() or any(map(_is_prepared, folder.iterdir()))


def _read_prepared(file: Path) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Camera-to-world [4, 4], intrinsics [3, 3] and the largest depth; None without the file."""
    if not file.is_file():
        return None
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
    return exact, intrinsics, largest
