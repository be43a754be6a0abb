"""TUM RGB-D (Sturm et al., IROS 2012): handheld Kinect sequences, with poses from motion capture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import pinhole, poses, resized, rotations
from muskie.data.sources.files import image_size, read_grey
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen
from muskie.errors import ConfigError, DataError

SIZE = (640, 480)
INTRINSICS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
DEFAULT_INTRINSICS = (525.0, 525.0, 319.5, 239.5)
"""fx, fy, cx, cy for 640x480 and pixel centres at integers, as the data set's page gives them: of the colour cameras, and
what the driver assumes of any."""

APART = 0.02
"""Seconds by which what was recorded together may differ in time, as in the tools of the data set."""

DEPTH_SCALE = 5000.0

LISTS = ("rgb.txt", "depth.txt", "groundtruth.txt")


class TumRGBD(ListedSource):
    """Sequences of TUM RGB-D; a sequence is a scene.

    Layout: `<root>/<sequence>/{rgb.txt, depth.txt, groundtruth.txt, rgb/, depth/}`, as they are unpacked
    (`rgbd_dataset_freiburg1_desk`). Frames are the lines of `rgb.txt`. The depth map of a frame is the one that is nearest
    in time, and to which no other picture is nearer; its pose is the nearest, not interpolated; both within 0.02 s. Frames
    without one or the other are listed, and have no depth or no camera.

    Depth is 1/5000 m a step, 0 = unknown, and comes registered to the picture. Poses are those of the colour camera,
    camera-to-world, with quaternions x y z w.

    Intrinsics go by the name of the sequence: `freiburg1` (or `fr1`), 2 and 3 have those of their calibrated colour
    cameras, any other the driver's 525, 525, 319.5, 239.5. Half a pixel is added, for they count pixel centres at integers.
    Lens distortion is ignored: none is left in the pictures of freiburg3; in those of freiburg1 and 2 it moves what lies
    near the corners by some pixels. Nothing is undistorted, for the depth maps were registered with distortion ignored.

    Args:
        root: the folder of the sequences.
        sequences: which, in natural order however they are listed; None: all.
        intrinsics: `[fx, fy, cx, cy]` for 640x480, counted as above, of all sequences, in place of those by name.
        min_images: sequences of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: `intrinsics` are not four numbers with focal lengths above 0, or `min_images` is out of range.
        DataError: `root` or a sequence is missing, no sequence is found, or one of its lists is broken.
    """

    name = "tum"

    def __init__(
        self,
        root: str | Path,
        sequences: list[str] | None = None,
        intrinsics: Sequence[float] | None = None,
        min_images: int = 1,
    ) -> None:
        if intrinsics is not None and (len(intrinsics) != 4 or min(intrinsics[:2]) <= 0):
            raise ConfigError(f"data.intrinsics={list(intrinsics)}: expected [fx, fy, cx, cy] for 640x480, or null")
        self.root = existing_folder(root, "TUM RGB-D sequences (<sequence>/rgb.txt)").resolve()
        self._sequences = sequences or None
        self._intrinsics = None if intrinsics is None else tuple(intrinsics)
        self._list(min_images, sequences=None if self._sequences is None else sorted(self._sequences))

    def parts(self) -> Sequence[str]:
        _recorded.cache_clear()  # whoever lists anew reads anew
        found = [path.name for path in self.root.iterdir() if (path / "rgb.txt").is_file()]
        return chosen(found, self._sequences, self.root, "sequences")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        return [Scene(part, _recorded(self.root / part).frames)]

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self.root / scene.name / name for name in LISTS]

    def _nothing(self) -> str:
        way_out = "; unpack the sequences' .tgz files there" if any(self.root.glob("*.tgz")) else ""
        if (self.root / "rgb.txt").is_file():
            way_out = f"; this is a sequence: give the folder above, {str(self.root.parent)!r}"
        return f"no <sequence>/rgb.txt found there{way_out or '; for folders of plain images use data=folder'}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size, file = image_size(path), self._noted(scene).depths.get(frame)
        depth = None if file is None else read_grey(self.root / scene.name / file, size) / DEPTH_SCALE
        return Frame(open_image(path, at_least), depth, self._camera(scene, frame, size), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        cam2world = self._noted(scene).poses.get(frame)
        if cam2world is None:
            return None
        focal_x, focal_y, x, y = self._intrinsics or _by_name(scene.name)
        matrix = pinhole(focal_x, focal_y, x + 0.5, y + 0.5)
        return Camera(resized(matrix, SIZE, size, self.file(scene, frame)), cam2world.copy())

    def _noted(self, scene: Scene) -> _Recorded:
        try:
            return _recorded(self.root / scene.name)
        except DataError as error:  # a list was rewritten since
            raise OSError(str(error)) from error


class _Recorded(NamedTuple):
    """What the lists of a sequence say: its frames, and of those that have one the depth map and the pose, cam2world."""

    frames: list[str]
    depths: dict[str, str]
    poses: dict[str, np.ndarray]


@lru_cache(maxsize=64)
def _recorded(folder: Path) -> _Recorded:
    times, frames = _read_list(folder / "rgb.txt")
    depths = _matched(times, frames, *_read_list(folder / "depth.txt"))
    return _Recorded(frames, depths, _posed(times, frames, folder / "groundtruth.txt"))


def _by_name(sequence: str) -> tuple[float, ...]:
    numbered = re.search(r"(?:freiburg|fr)([123])(?!\d)", sequence)
    return INTRINSICS[f"freiburg{numbered[1]}"] if numbered else DEFAULT_INTRINSICS


def _read_list(file: Path) -> tuple[np.ndarray, list[str]]:
    """Times in seconds, float64 [N], and files, in the order of time; none without the list."""
    if not file.is_file():
        return np.zeros(0), []
    try:
        lines = [line.split() for line in file.read_text().splitlines() if line.strip() and line.lstrip()[0] != "#"]
        entries = sorted((float(time), name) for time, name in lines)
    except ValueError as error:
        raise DataError(f"{file}: {error}; expected lines 'timestamp file'") from error
    if file.name == "rgb.txt" and not entries:
        raise DataError(f"{file}: names no picture; expected lines 'timestamp file'")
    return np.array([time for time, _ in entries]), [name for _, name in entries]


def _posed(times: np.ndarray, frames: Sequence[str], file: Path) -> dict[str, np.ndarray]:
    """Camera-to-world, float64 [4, 4], of the frames that have one."""
    if not file.is_file():
        return {}
    expected = "expected lines 'timestamp tx ty tz qx qy qz qw'"
    try:
        rows = np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise DataError(f"{file}: {error}; {expected}") from error
    if rows.shape[1] != 8:
        raise DataError(f"{file}: {rows.shape[1]} numbers a line; {expected}")
    # Where tracking was lost some write nan, and some a quaternion of zeros.
    rows = rows[np.isfinite(rows).all(1) & (np.linalg.norm(rows[:, 4:], axis=1) > 0.5)]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if not len(rows):
        return {}
    cam2world = poses(rotations(rows[:, [7, 4, 5, 6]]), rows[:, 1:4])
    nearest = _nearest(times, rows[:, 0])
    near = np.abs(rows[nearest, 0] - times) <= APART
    return {frame: cam2world[index] for frame, index, close in zip(frames, nearest, near, strict=True) if close}


def _matched(times: np.ndarray, frames: Sequence[str], others: np.ndarray, files: Sequence[str]) -> dict[str, str]:
    """The files of those frames that have one within `APART` to which they are the nearest frame as well."""
    if not len(others):
        return {}
    nearest, back = _nearest(times, others), _nearest(others, times)
    mutual = (np.abs(others[nearest] - times) <= APART) & (back[nearest] == np.arange(len(times)))
    return {frame: files[index] for frame, index, both in zip(frames, nearest, mutual, strict=True) if both}


def _nearest(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each time the index of the nearest of the `others`, which are in order; int64 [N]."""
    after = np.searchsorted(others, times).clip(0, len(others) - 1)
    before = (after - 1).clip(0)
    return np.where(times - others[before] <= others[after] - times, before, after)
