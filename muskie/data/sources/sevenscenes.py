"""7-Scenes (Shotton et al., CVPR 2013): RGB-D sequences of small rooms with tracked poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from muskie.data.images import open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.folder import existing_folder, natural_key
from muskie.errors import DataError

DEFAULT_INTRINSICS = np.array([[585.0, 0.0, 320.0], [0.0, 585.0, 240.0], [0.0, 0.0, 1.0]])
UNKNOWN_DEPTH = 65535


class SevenScenes(SceneSource):
    """Sequences of 7-Scenes; a sequence is a scene, for frames of different sequences are not neighbours.

    Layout: `<root>/<room>/seq-01/frame-000000.{color.png|color.jpg, depth.png, pose.txt}`; `root` may also be one room.
    Depth is in millimetres, 65535 = unknown; `depth.proj.png`, registered to the colour camera, is taken where it lies
    beside. Poses are camera-to-world in metres. Intrinsics come from `camera-intrinsics.txt` in the room or in `root`,
    else from the data set's page (f = 585, centre 320, 240, for 640x480).

    Args:
        root: the folder.
        rooms: which rooms; None: all.

    Raises:
        DataError: `root` or a room is missing, or no sequence is found.
    """

    name = "sevenscenes"

    def __init__(self, root: str | Path, rooms: list[str] | None = None) -> None:
        self.root = existing_folder(root, "7-Scenes rooms (<room>/seq-01/frame-000000.color.png)")
        single = any(self.root.glob("seq-*/frame-*.color.*"))
        self._base = self.root.parent if single else self.root
        found = [self.root] if single else [p for p in self.root.iterdir() if any(p.glob("seq-*/frame-*.color.*"))]
        by_name = {room.name: room for room in sorted(found, key=lambda p: natural_key(p.name))}
        missing = [room for room in rooms or [] if room not in by_name]
        if missing or not by_name:
            what = f"room {missing[0]!r}" if missing else "no <room>/seq-*/frame-*.color.png or .jpg"
            raise DataError(f"data.root={str(root)!r}: {what} found there; rooms: {', '.join(by_name) or 'none'}")
        self._scenes: list[Scene] = []
        self._intrinsics: dict[str, np.ndarray] = {}
        for room in (by_name[name] for name in (rooms or by_name)):
            intrinsics = self._read_intrinsics(room)
            for sequence in sorted(room.glob("seq-*"), key=lambda p: natural_key(p.name)):
                frames = sorted((p.name for p in sequence.glob("frame-*.color.*")), key=natural_key)
                if frames:
                    scene = Scene(f"{room.name}/{sequence.name}", frames)
                    self._scenes.append(scene)
                    self._intrinsics[scene.name] = intrinsics

    def _read_intrinsics(self, room: Path) -> np.ndarray:
        for folder in (room, self.root):
            file = folder / "camera-intrinsics.txt"
            if file.is_file():
                matrix = np.loadtxt(file)
                if matrix.shape != (3, 3):
                    raise DataError(f"{file}: expected a 3x3 matrix, found shape {matrix.shape}")
                return matrix
        return DEFAULT_INTRINSICS

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
        return Frame(image, self._read_depth(folder, stem, image.size), self._read_camera(folder, stem, scene, image))

    @staticmethod
    def _read_depth(folder: Path, stem: str, size: tuple[int, int]) -> np.ndarray | None:
        for suffix in ("depth.proj.png", "depth.png"):
            file = folder / f"{stem}.{suffix}"
            if file.is_file():
                with Image.open(file) as image:
                    millimetres = np.asarray(image.resize(size, Image.Resampling.NEAREST)).astype(np.float32)
                return np.where(millimetres == UNKNOWN_DEPTH, 0, millimetres / 1000).astype(np.float32)
        return None

    def _read_camera(self, folder: Path, stem: str, scene: Scene, image: Image.Image) -> Camera | None:
        file = folder / f"{stem}.pose.txt"
        if not file.is_file():
            return None
        cam2world = np.loadtxt(file)
        if cam2world.shape != (4, 4) or not np.isfinite(cam2world).all():
            raise OSError(f"{file}: expected a finite 4x4 camera-to-world matrix")
        scale = np.array([[image.width / 640], [image.height / 480], [1.0]])
        return Camera(self._intrinsics[scene.name] * scale, cam2world)
