"""ARKitScenes (Baruch et al., NeurIPS 2021 Datasets and Benchmarks): rooms recorded by an iPad with a depth sensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.arkit_files import APART, by_time, read_pincam, read_trajectory, read_visits, seconds
from muskie.data.sources.cameras import resized
from muskie.data.sources.files import image_size, read_grey
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures, stated
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError

SPLITS = {"train": "Training", "valid": "Validation"}
PICTURES = ("vga_wide", "lowres_wide")
"""Folders of pictures of the wide camera: 640x480 at 30 Hz, 256x192 at 60 Hz."""


class ARKitScenes(ListedSource):
    """Recordings of ARKitScenes; a recording is a scene.

    Any of these layouts, `<t>` being seconds to three digits; `root` may also be the folder of a split:

    - as downloaded: `<root>/{Training,Validation}/<id>/<id>_frames/` (`3dod`) or `.../<id>/` (`raw`) with `vga_wide` or
      `lowres_wide/<id>_<t>.png`, `lowres_depth/<id>_<t>.png`, `vga_wide_intrinsics` or `lowres_wide_intrinsics/
      <id>_<t>.pincam`, and `lowres_wide.traj`;
    - prepared: `<root>/<id>/{vga_wide/<id>_<t>.jpg, lowres_depth/<id>_<t>.png}`. Its maps of cameras are pickles, which run
      whatever is in them, and are not read: there are cameras where the two kinds of camera files lie beside, as above.

    - Depth is in millimetres, 0 = unknown: the map of the same name, else the nearest in time within 5 ms. It sees what the
      wide camera sees, at 256x192, and is resized to the picture by nearest neighbour.
    - `.pincam`: width, height, focal lengths and principal point, measured from the picture's upper left corner as Apple
      defines it. That of the same name, else the nearest within 5 ms; else the one of the other size, scaled.
    - `.traj`: time, rotation (axis times angle) and translation from world to camera, in metres, OpenCV axes, ten a second.
      Poses of frames in between are interpolated, as the authors advise, where two are at most 0.25 s apart. Lines that are
      not finite count as missing; some recordings have no poses at all.

    Recordings of one room, by `visit_id` of the `metadata.csv` that is downloaded into `root` or beside it, are told as
    such. Pictures are as recorded: where the iPad was held upright they lie on their side, and are not turned. The ultra
    wide camera, depth of the laser scanner and confidence maps are left out.

    Args:
        root: the folder of the splits, or of the recordings.
        split: `"train"`, `"valid"` or `"all"`; must be given where `root` holds `Training` or `Validation`.
        scenes: which recordings, e.g. `["47333462"]`; None: all.
        pictures: `"vga_wide"` or `"lowres_wide"`; None: the first that a recording has.
        min_images: recordings of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: a split is missing or cannot be told apart, or `pictures` or `min_images` are out of range.
        DataError: `root` or a recording is missing, or no recording is found.
    """

    name = "arkitscenes"
    window = 32

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        scenes: list[str] | None = None,
        pictures: str | None = None,
        min_images: int = 1,
    ) -> None:
        if pictures not in (None, *PICTURES):
            raise ConfigError(f"data.pictures={pictures!r}: expected one of {', '.join(map(repr, PICTURES))}, or null")
        self.root = existing_folder(root, "ARKitScenes recordings (Training/<id>, or <id>/vga_wide)").resolve()
        self._folders = _split_folders(self.root, split)
        self._scenes, self._kinds = scenes, PICTURES if pictures is None else (pictures,)
        self._list(min_images, folders=self._folders, scenes=scenes, pictures=pictures)

    def parts(self) -> Sequence[str]:
        found = {
            f"{folder}{entry.name}": entry.name
            for folder in self._folders
            for entry in (self.root / folder).iterdir()
            if entry.name[0] != "." and entry.is_dir()
        }
        self._rooms = {name: room for file in self._tables() for name, room in read_visits(file).items()}
        wanted = set(chosen(found.values(), self._scenes, self.root, "recordings"))
        return naturally(part for part, name in found.items() if name in wanted)

    def scenes_in(self, part: str) -> Sequence[Scene]:
        for kind in self._kinds:
            for below in (f"{Path(part).name}_frames/{kind}", kind):
                if found := pictures(self.root / part / below):
                    return [Scene(part, [f"{below}/{name}" for name in found], room=self._rooms.get(Path(part).name))]
        return []

    def arranged(self, scenes: Sequence[Scene]) -> Sequence[Scene]:
        """Recordings of one room side by side, where the first of them stood."""
        first: dict[str, int] = {}
        for number, scene in enumerate(scenes):
            first.setdefault(scene.room or scene.name, number)
        return sorted(scenes, key=lambda scene: first[scene.room or scene.name])

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self.file(scene, scene.frames[0]).parent, *self._tables()]

    def _nothing(self) -> str:
        missing = "no <id>/vga_wide or <id>/<id>_frames/lowres_wide with pictures found there"
        if len(self._kinds) == 1:
            missing = f"no recording with data.pictures={self._kinds[0]!r} found there"
        if any((self.root / kind).is_dir() for kind in (*PICTURES, f"{self.root.name}_frames")):
            return f"{missing}; this is a recording: give the folder above, {str(self.root.parent)!r}"
        for below in ("raw", "3dod", "ARKitScenes", "arkitscenes_processed"):
            if (self.root / below).is_dir():
                return f"{missing}; give the folder {str(self.root / below)!r}"
        if any(any((self.root / folder).glob(zips)) for folder in self._folders for zips in ("*.zip", "*/*.zip")):
            return f"{missing}; unpack the .zip files there"
        return f"{missing}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        map_file = self._beside(scene, frame, "lowres_depth", ".png")
        depth = None if map_file is None else read_grey(map_file, size) / 1000
        return Frame(open_image(path, at_least), depth, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        time = seconds(Path(frame).stem)
        cam2world = None
        for folder in self._places(scene, frame):
            if time is not None and (folder / "lowres_wide.traj").is_file():
                cam2world = read_trajectory(folder / "lowres_wide.traj").at(time)
                break
        if cam2world is None:
            return None
        own = Path(frame).parent.name
        for kind in sorted(PICTURES, key=lambda kind: kind != own):
            file = self._beside(scene, frame, f"{kind}_intrinsics", ".pincam")
            if file is not None:
                intrinsics, of = read_pincam(file)
                return Camera(resized(intrinsics, of, size, self.file(scene, frame)), cam2world)
        return None

    def _places(self, scene: Scene, frame: str) -> Sequence[Path]:
        """Where what belongs to a frame may lie: beside its folder, or where the downloads have it."""
        folder = self.root / scene.name
        return list(dict.fromkeys((self.file(scene, frame).parent.parent, folder, folder / f"{folder.name}_frames")))

    def _beside(self, scene: Scene, frame: str, below: str, suffix: str) -> Path | None:
        """The file of a frame in one of its folders: of the same name, or else the nearest in time."""
        stem = Path(frame).stem
        for place in self._places(scene, frame):
            if (place / below / f"{stem}{suffix}").is_file():
                return place / below / f"{stem}{suffix}"
        time = seconds(stem)
        for place in self._places(scene, frame) if time is not None else ():
            times, names = by_time(place / below, suffix)
            nearest = int(np.abs(times - time).argmin()) if len(times) else -1
            if nearest >= 0 and abs(times[nearest] - time) <= APART + 1e-9:
                return place / below / names[nearest]
        return None

    def _tables(self) -> Sequence[Path]:
        return [folder / "metadata.csv" for folder in (self.root, self.root.parent)]


def _split_folders(root: Path, split: str | None) -> list[str]:
    """The folders below `root`, each with a slash, that hold the recordings of a split; `""` is `root` itself."""
    there = {name: f"{folder}/" for name, folder in SPLITS.items() if (root / folder).is_dir()}
    if there:
        wanted = stated(split, (*SPLITS, "all"))
        if wanted != "all" and wanted not in there:
            raise ConfigError(f"data.split={split!r}: there is no folder {SPLITS[wanted]!r} in {str(root)!r}")
        return [folder for name, folder in there.items() if wanted in (name, "all")]
    if split in (None, "all") or SPLITS.get(split) == root.name:
        return [""]
    raise ConfigError(
        f"data.split={split!r}: {str(root)!r} has no folders {' and '.join(map(repr, SPLITS.values()))}, so splits cannot "
        f"be told apart; give the folder that holds them as data.root, or leave data.split out"
    )
