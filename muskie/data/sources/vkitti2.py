"""Virtual KITTI 2 (Cabon, Murray and Humenberger, 2020): five rendered drives, each in ten variations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import inverse, pinhole, resized
from muskie.data.sources.files import image_size, read_grey, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.natural import naturally
from muskie.errors import ConfigError

SIZE = (1242, 375)
"""Width and height of the pictures as they are published, which the intrinsics are for."""

UNKNOWN = 65535
"""Centimetres of the sky, and of what is farther away than 16 bits can say."""

EXTRINSIC = "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 ... t3 0 0 0 1"
INTRINSIC = "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"


class VirtualKITTI2(ListedSource):
    """Drives of Virtual KITTI 2; what one camera sees in one variation is a scene.

    Layout, as the archives unpack (`vkitti_2.0.3_rgb.tar`, `_depth.tar`, `_textgt.tar.gz`):
    `<root>/Scene01/clone/{frames/rgb/Camera_0/rgb_00000.jpg, frames/depth/Camera_0/depth_00000.png, extrinsic.txt,
    intrinsic.txt}`. Scenes are named `Scene01/clone/Camera_0`; the variations and both cameras of `Scene01` share a room.

    Depth is z in centimetres, 65535 = unknown. `extrinsic.txt` has a line for each frame and camera, a world-to-camera
    matrix in metres, OpenCV's axes; `intrinsic.txt` focal lengths and centre for 1242x375. Half a pixel is added to the
    centre, 620.5, 187, for it counts pixel centres at integers. Frames without a line have no camera. Other cars drive:
    depth and pose tell nothing of it.

    Args:
        root: the folder of the scenes.
        scenes, variations: which, e.g. `[Scene01]`, `[clone, fog]`; None: all.
        cameras: which, 0 (left) and 1 (right); None: both.
        farthest: depth beyond so many metres is unknown, above 0.
        min_images: scenes of fewer images are left out, >= 1.

    Raises:
        ConfigError: a camera, `farthest` or `min_images` is out of range.
        DataError: `root` or a scene is missing, or nothing of what was asked for is found.
    """

    name = "vkitti2"

    def __init__(
        self,
        root: str | Path,
        scenes: list[str] | None = None,
        variations: list[str] | None = None,
        cameras: list[int] | None = None,
        farthest: float = 80.0,
        min_images: int = 1,
    ) -> None:
        if not farthest > 0:
            raise ConfigError(f"data.farthest={farthest}: expected metres above 0")
        if wrong := [camera for camera in cameras or [] if camera not in (0, 1)]:
            raise ConfigError(f"data.cameras: {wrong[0]!r}; expected 0 (left) and 1 (right)")
        self.root = existing_folder(root, "Virtual KITTI 2 scenes (Scene01/clone/frames/rgb)").resolve()
        self.scenes, self.variations, self.cameras = scenes, sorted(variations or ()), sorted(cameras or (0, 1))
        self.farthest = farthest
        self._list(min_images, scenes=scenes, variations=self.variations, cameras=self.cameras)

    def parts(self) -> Sequence[str]:
        found = (name for name in _folders(self.root) if any(self.root.glob(f"{name}/*/frames/rgb")))
        return chosen(found, self.scenes, self.root, "scenes")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        found = []
        for variation in naturally(_folders(self.root / part)):
            if self.variations and variation not in self.variations:
                continue
            for camera in self.cameras:
                name = f"{part}/{variation}/Camera_{camera}"
                frames = [frame for frame in pictures(self._pictures(name)) if _number(frame) is not None]
                found.append(Scene(name, frames, room=part))
        return found

    def _nothing(self) -> str:
        expected = "no Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg found there"
        if self.variations and (there := {path.parent.parent.name for path in self.root.glob("*/*/frames/rgb")}):
            return f"{expected} of data.variations={self.variations}; there is {', '.join(map(repr, naturally(there)))}"
        for above, inside in ((self.root.parent, "*/frames/rgb"), (self.root.parent.parent, "frames/rgb")):
            if any(self.root.glob(inside)):
                return f"{expected}; this is a part of it: give {str(above)!r}"
        if any(self.root.glob("vkitti*.t*")):
            return f"{expected}; unpack the archives there"
        if any(self.root.glob("*/*/frames/depth")) or any(self.root.glob("*/*/extrinsic.txt")):
            return f"{expected}; the pictures are in an archive of their own, vkitti_2.0.3_rgb.tar"
        return f"{expected}; for folders of plain images use data=folder"

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self._pictures(scene.name)]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        image = open_image(path, at_least)
        if not geometry:
            return Frame(image)
        size = image_size(path)
        file = self._pictures(scene.name, "depth") / f"depth_{frame[4:].rpartition('.')[0]}.png"
        depth = None
        if file.is_file():
            centimetres = read_grey(file, size)
            depth = centimetres / 100
            depth[(centimetres == UNKNOWN) | (depth > self.farthest)] = 0
        return Frame(image, depth, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self._pictures(scene.name) / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        folder, _, camera = scene.name.rpartition("/Camera_")
        wanted = (_number(frame), int(camera))
        extrinsic, intrinsic = self.root / folder / "extrinsic.txt", self.root / folder / "intrinsic.txt"
        world2cam, focal = _rows(extrinsic, 18, EXTRINSIC).get(wanted), _rows(intrinsic, 6, INTRINSIC).get(wanted)
        if world2cam is None or focal is None:
            return None
        exact = rigid(world2cam.reshape(4, 4)) if np.isfinite(world2cam).all() else None
        if exact is None or not np.allclose(exact[3], [0, 0, 0, 1]):
            raise OSError(f"{extrinsic}: the pose of frame {wanted[0]}, camera {wanted[1]} is no rigid motion")
        if not np.isfinite(focal).all() or min(focal[:2]) <= 0:
            raise OSError(f"{intrinsic}: frame {wanted[0]}, camera {wanted[1]}: expected focal lengths above 0 and a centre")
        matrix = pinhole(*focal[:2], *(focal[2:] + 0.5))
        return Camera(resized(matrix, SIZE, size, self.file(scene, frame)), inverse(exact))

    def _pictures(self, name: str, kind: str = "rgb") -> Path:
        """The folder of a scene's pictures, or depth maps."""
        folder, _, camera = name.rpartition("/")
        return self.root / folder / "frames" / kind / camera


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]


def _number(frame: str) -> int | None:
    """Which frame a picture is; None: it is none."""
    stem = Path(frame).stem
    return int(stem[4:]) if stem.startswith("rgb_") and stem[4:].isdecimal() else None


@lru_cache(maxsize=128)
def _rows(file: Path, columns: int, expected: str) -> dict[tuple[int | None, int], np.ndarray]:
    """Numbers float64 [columns - 2] by frame and camera; none without the file.

    Raises:
        OSError: it holds anything else; the message names it.
    """
    if not file.is_file():
        return {}
    try:
        rows = np.loadtxt(file, skiprows=1, ndmin=2)
    except ValueError as error:
        raise OSError(f"{file}: {error}; expected lines '{expected}'") from error
    if rows.shape[1] != columns or not np.isfinite(rows[:, :2]).all():
        raise OSError(f"{file}: lines of {rows.shape[1]} numbers; expected lines '{expected}'")
    return {(int(row[0]), int(row[1])): row[2:] for row in rows}
