"""`transforms.json` of nerfstudio and instant-ngp: what it says of each frame, and the camera that this makes."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from muskie.data.images import IMAGE_SUFFIXES
from muskie.data.scene import Camera
from muskie.data.sources.cameras import pinhole, resized
from muskie.data.sources.files import rigid
from muskie.data.sources.there import there
from muskie.data.sources.turned import Lying

SPLITS = ("train", "val", "test")

DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
PERSPECTIVE = {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE"}
"""Camera models that are pinhole cameras where those are 0."""

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


class Transforms(NamedTuple):
    """The frames of a scene.

    Attributes:
        frames: by `file_path` as it stands, tidied; with the keys of the frame, and those of its file that it does not set.
        splits: which of them the file or files name for each of `SPLITS`, where they do.
    """

    frames: dict[str, Mapping[str, Any]]
    splits: dict[str, set[str]]

    def of(self, frame: str) -> Mapping[str, Any]:
        """What is said of the frame with this picture, whose suffix need not be said there."""
        return self.frames[frame] if frame in self.frames else self.frames[frame.rpartition(".")[0]]


def transform_files(scene: Path) -> list[Path]:
    """`transforms.json`, or those of its parts; none: it is no such scene."""
    files = [scene / "transforms.json"], [scene / f"transforms_{split}.json" for split in SPLITS]
    return next((present for group in files if (present := [file for file in group if file.is_file()])), [])


@lru_cache(maxsize=64)
def read_transforms(scene: Path) -> Transforms:
    """What the files of a scene say.

    Raises:
        OSError: one is broken, or there is none; the message names it.
    """
    files = transform_files(scene)
    if not files:
        raise OSError(f"{scene}: no transforms.json there")
    frames: dict[str, Mapping[str, Any]] = {}
    splits: dict[str, set[str]] = {}
    for file in files:
        try:
            shared = json.loads(file.read_text())
            listed = {_tidy(frame["file_path"]): frame for frame in shared.pop("frames")}
            if (part := file.stem.removeprefix("transforms_")) in SPLITS:
                splits[part] = set(listed)
            for part in SPLITS:
                if f"{part}_filenames" in shared:
                    splits[part] = {_tidy(name) for name in shared.pop(f"{part}_filenames")}
            frames |= {name: {**shared, **frame} for name, frame in listed.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise OSError(f"{file}: {what}; expected JSON with 'frames', each with a 'file_path'") from error
    return Transforms(frames, splits)


def pictures_of(scene: Path, paths: Sequence[str]) -> list[str]:
    """The pictures of some `file_path`s of a scene that are there, in their order. Where one has no suffix, as Blender's and
    instant-ngp's have none, `.png` is tried before any other."""
    candidates = {path: [path] if _suffix(path) in IMAGE_SUFFIXES else [path + s for s in _SUFFIXES] for path in paths}
    found = set(there(scene, (name for names in candidates.values() for name in names)))
    return [name for names in candidates.values() if (name := next((n for n in names if n in found), None))]


def distorts(entry: Mapping[str, Any]) -> bool:
    """Whether the lens of a frame is any but that of a pinhole camera."""
    model = entry.get("camera_model", "PINHOLE")
    return model not in PERSPECTIVE or bool(entry.get("is_fisheye")) or any(entry.get(key) for key in DISTORTION)


def camera_of(entry: Mapping[str, Any], how: Lying, picture: Path) -> Camera | None:
    """The camera of a frame, for its upright picture; None if its lens distorts, or there is no pose or focal length.

    Raises:
        OSError: its numbers make no camera; the message names the picture.
    """
    if distorts(entry) or "transform_matrix" not in entry or not ("fl_x" in entry or "camera_angle_x" in entry):
        return None
    try:
        width, height = size = (int(entry["w"]), int(entry["h"])) if "w" in entry and "h" in entry else how.size
        focal_x = _focal(entry, "x", width)
        focal_y = _focal(entry, "y", height) if "fl_y" in entry or "camera_angle_y" in entry else focal_x
        matrix = pinhole(focal_x, focal_y, entry.get("cx", width / 2), entry.get("cy", height / 2))
        cam2world = _pose(entry)
    except (ValueError, TypeError, np.linalg.LinAlgError) as error:
        raise OSError(f"{picture}: its camera in transforms.json cannot be read ({error})") from error
    if not np.isfinite(matrix).all() or min(focal_x, focal_y, width, height) <= 0:
        raise OSError(f"{picture}: its intrinsics in transforms.json are {matrix.tolist()}; expected focal lengths above 0")
    if cam2world is None:
        raise OSError(f"{picture}: its transform_matrix in transforms.json is no finite rigid 4x4 matrix")
    return how.camera(resized(matrix, size, how.size, picture), cam2world)


def _pose(entry: Mapping[str, Any]) -> np.ndarray | None:
    """Camera-to-world, OpenCV, with what was applied to the world undone; None if it is no rigid motion."""
    cam2world = _square(entry["transform_matrix"])
    if not np.isfinite(cam2world).all():
        return None
    cam2world[:3, 3] /= float(entry.get("applied_scale", 1))
    if "applied_transform" in entry:
        cam2world = np.linalg.inv(_square(entry["applied_transform"])) @ cam2world
    return rigid(cam2world @ OPENGL) if np.isfinite(cam2world).all() else None


def _square(rows: Any) -> np.ndarray:
    """A matrix of three or four rows as float64 [4, 4]."""
    matrix = np.array(rows, dtype=np.float64)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if matrix.shape != (4, 4) or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise ValueError("expected matrices of 4x4 or 3x4 numbers")
    return matrix


def _focal(entry: Mapping[str, Any], axis: str, length: int) -> float:
    given = entry.get(f"fl_{axis}")
    return float(given) if given is not None else length / 2 / math.tan(float(entry[f"camera_angle_{axis}"]) / 2)


def _tidy(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/"))


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


_SUFFIXES = (".png", *sorted(IMAGE_SUFFIXES - {".png"}))
