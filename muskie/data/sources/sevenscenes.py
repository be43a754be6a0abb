"""7-Scenes (Shotton et al., CVPR 2013): RGB-D sequences of small rooms with tracked poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from muskie.data.images import IMAGE_SUFFIXES, open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.files import image_size, read_grey, read_matrix, read_pose
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.natural import natural_key
from muskie.data.sources.registration import register
from muskie.errors import DataError, nearest

DEPTH_INTRINSICS = np.array([[585.0, 0.0, 320.0], [0.0, 585.0, 240.0], [0.0, 0.0, 1.0]])
COLOUR_INTRINSICS = np.array([[525.0, 0.0, 320.0], [0.0, 525.0, 240.0], [0.0, 0.0, 1.0]])
COLOUR_TO_DEPTH = np.eye(4)
COLOUR_TO_DEPTH[0, 3] = 0.025
"""From the coordinates of the colour camera to those of the depth camera: it lies to the right of it in the picture."""
UNKNOWN_DEPTH = 65535
REGISTERED_DEPTH, SENSOR_DEPTH = "depth.proj.png", "depth.png"


class SevenScenes(SceneSource):
    """Sequences of 7-Scenes; a sequence is a scene, for frames of different sequences are not neighbours.

    Layout: `<root>/<room>/seq-01/frame-000000.{color.png|color.jpg, depth.png, pose.txt}`; `root` may also be one room.
    Depth is in millimetres, 65535 = unknown. Poses are those of the depth camera, camera-to-world, in metres.

    Picture, depth and camera of a frame are all those of the *colour* camera: f = 525, centre 320, 240, for 640x480, and
    2.5 cm beside the depth camera, the nominal values of the Kinect; nobody has calibrated the pair. `depth.proj.png` is
    registered to it already, and taken where it lies beside; `depth.png` is registered while it is read (`register`), by
    the depth camera's intrinsics: `camera-intrinsics.txt` in the room or in `root`, else f = 585, centre 320, 240. On the
    kitchen, colours of the same point in two frames then agree better than by the depth camera's intrinsics (a test), and
    nearly as well as by the best values found for it.

    Args:
        root: the folder.
        rooms: which rooms; None: all.

    Raises:
        DataError: `root` or a room is missing, no sequence is found, or a file of intrinsics is broken.
    """

    name = "sevenscenes"

    def __init__(self, root: str | Path, rooms: list[str] | None = None) -> None:
        self.root = existing_folder(root, "7-Scenes rooms (<room>/seq-01/frame-000000.color.png)").resolve()
        single = any(self.root.glob("seq-*/frame-*.color.*"))
        self._base = self.root.parent if single else self.root
        found = [self.root] if single else [p for p in self.root.iterdir() if any(p.glob("seq-*/frame-*.color.*"))]
        by_name = {room.name: room for room in sorted(found, key=lambda p: natural_key(p.name))}
        missing = [room for room in rooms or [] if room not in by_name]
        if missing or not by_name:
            what = f"no room {missing[0]!r}" if missing else "no <room>/seq-*/frame-*.color.png or .jpg"
            way_out = nearest(missing[0], by_name) if by_name else "; for folders of plain images use data=folder"
            if self.root.match("seq-*") and any(self.root.glob("frame-*.color.*")):
                way_out = f"; this is a sequence: give the folder of its room, {str(self.root.parent)!r}, or the one above"
            raise DataError(f"data.root={str(root)!r}: {what} found there{way_out}")
        self._scenes: list[Scene] = []
        self._intrinsics: dict[str, np.ndarray | None] = {}
        for room in (by_name[name] for name in (rooms or by_name)):
            intrinsics = self._read_intrinsics(room)
            for sequence in sorted(room.glob("seq-*"), key=lambda p: natural_key(p.name)):
                files = sorted(p.name for p in sequence.glob("frame-*.color.*") if p.suffix.lower() in IMAGE_SUFFIXES)
                frames = {name.split(".")[0]: name for name in files}  # one of a frame stored both as .jpg and as .png
                if frames:
                    ordered = sorted(frames.values(), key=natural_key)
                    scene = Scene(f"{room.name}/{sequence.name}", ordered, room=room.name)
                    self._scenes.append(scene)
                    self._intrinsics[scene.name] = intrinsics

    def _read_intrinsics(self, room: Path) -> np.ndarray | None:
        for folder in (room, self.root):
            file = folder / "camera-intrinsics.txt"
            if file.is_file():
                matrix = read_matrix(file)
                if matrix is None or matrix.shape != (3, 3):
                    raise DataError(f"{file}: expected a finite 3x3 matrix of intrinsics")
                return matrix
        return None

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        folder = self._base / scene.name
        if not geometry:
            return Frame(open_image(folder / frame, at_least))
        image = open_image(folder / frame)
        stem = frame.split(".")[0]
        return Frame(image, self._read_depth(scene, stem, image.size), self._camera(scene, stem, image.size))

    def file(self, scene: Scene, frame: str) -> Path:
        return self._base / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame.split(".")[0], image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, stem: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        cam2world = read_pose(self._base / scene.name / f"{stem}.pose.txt")
        return None if cam2world is None else Camera(_scaled(COLOUR_INTRINSICS, size), cam2world @ COLOUR_TO_DEPTH)

    def _read_depth(self, scene: Scene, stem: str, size: tuple[int, int]) -> np.ndarray | None:
        """Depth in metres, in the colour camera, at `size` = (width, height)."""
        folder = self._base / scene.name
        for suffix in (REGISTERED_DEPTH, SENSOR_DEPTH):
            file = folder / f"{stem}.{suffix}"
            if file.is_file():
                millimetres = read_grey(file, size)
                depth = np.where(millimetres == UNKNOWN_DEPTH, 0, millimetres / 1000).astype(np.float32)
                if suffix == REGISTERED_DEPTH:
                    return depth
                known = self._intrinsics[scene.name]
                measured_by = _scaled(DEPTH_INTRINSICS if known is None else known, size)
                return register(depth, measured_by, np.linalg.inv(COLOUR_TO_DEPTH), _scaled(COLOUR_INTRINSICS, size))
        return None


def _scaled(intrinsics: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Intrinsics for 640x480 at `size` = (width, height)."""
    return intrinsics * np.array([[size[0] / 640], [size[1] / 480], [1.0]])
