"""A chunk: neighbouring frames of one scene, as the files of one WebDataset sample.

`scene.json` says names, cameras and depth scales; `000.jpg` and so on are the pictures, mostly the bytes of the original
files; `000.depth.png` is depth in 16 bits, times its scale; `000.mask.png` is the object's mask.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from muskie.data.geometry_check import camera_problem, known_depth
from muskie.data.images import Picture, decode, decode_bytes
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.files import rigid

NOTES = "scene.json"
KEPT = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}
"""Files that are packed as they are."""
QUALITY = 95
"""Of pictures that have no such file, or are made smaller."""


@dataclass(frozen=True)
class What:
    """What is packed of each frame.

    Attributes:
        max_side: pictures with a longer side are made smaller; None: all stay as they are.
        geometry: depth and cameras, where there are any.
        masks: masks of objects, where there are any.
    """

    max_side: int | None = None
    geometry: bool = True
    masks: bool = True


class Chunk:
    """The files of one chunk, as they were read.

    Args:
        files: by their names without the key, e.g. `"000.jpg"`.
        where: for messages.

    Raises:
        OSError: some are missing: the shard was cut short.
    """

    def __init__(self, files: Mapping[str, bytes], where: str) -> None:
        self.files, self.where = files, where
        try:
            self.notes: list[dict[str, Any]] = json.loads(files[NOTES])["frames"]
            missing = [name for note in self.notes for name in note["files"] if name not in files]
        except (KeyError, ValueError, TypeError) as error:
            raise OSError(f"{where}: it has no {NOTES} that can be read; was the shard cut short?") from error
        if missing:
            raise OSError(f"{where}: {missing[0]} is missing; was the shard cut short?")

    def frame(self, number: int, at_least: int | None, geometry: bool) -> Frame:
        """A frame, as `SceneSource.read` gives it.

        Raises:
            OSError: it cannot be read.
        """
        note, prefix = self.notes[number], f"{number:03d}"
        try:
            image = decode_bytes(self.files[note["files"][0]], at_least)
        except OSError as error:
            raise OSError(f"{self.where}, {note['name']}: {error}") from error
        if not geometry:
            return Frame(image)
        width, height = note["size"]
        depth = None
        if "depth_scale" in note:
            values = np.asarray(Image.open(io.BytesIO(self.files[f"{prefix}.depth.png"])))
            depth = values.astype(np.float32) * np.float32(note["depth_scale"])
        return Frame(image, depth, self.camera(number), (width, height))

    def camera(self, number: int) -> Camera | None:
        """The camera of a frame; None without."""
        note = self.notes[number]
        if "intrinsics" not in note:
            return None
        return Camera(np.array(note["intrinsics"]), np.array(note["cam2world"]))

    def mask(self, number: int) -> np.ndarray | None:
        """bool [H, W], of the object of a frame; None without."""
        data = self.files.get(f"{number:03d}.mask.png")
        return None if data is None else np.asarray(Image.open(io.BytesIO(data))) > 0


def pack(source: SceneSource, scene: Scene, frames: list[str], what: What) -> tuple[dict[str, bytes], list[str], list[str]]:
    """The files of a chunk, the names of the frames that are in it, and messages of those that could not be read."""
    files: dict[str, bytes] = {}
    notes: list[dict[str, Any]] = []
    problems = []
    for name in frames:
        try:
            packed, note = _pack_frame(source, scene, name, f"{len(notes):03d}", what)
        except OSError as error:
            problems.append(str(error))
            continue
        files |= packed
        notes.append(note)
    written = {"source": source.label, "scene": scene.name, "room": scene.room, "frames": notes}
    # First, so that whoever reads a stream knows what is to come.
    return {NOTES: json.dumps(written).encode(), **files}, [note["name"] for note in notes], problems


def _pack_frame(
    source: SceneSource, scene: Scene, name: str, prefix: str, what: What
) -> tuple[dict[str, bytes], dict[str, Any]]:
    frame = source.read(scene, name, geometry=what.geometry)
    picture = decode(frame.image)  # whatever is broken is told here, and not when it is trained on
    data, suffix, size = _picture(source.file(scene, name), picture, what.max_side)
    files = {f"{prefix}.{suffix}": data}
    note: dict[str, Any] = {"name": name, "size": size}
    depth = None if frame.depth is None else known_depth(frame.depth)
    if depth is not None and depth.any():
        scale = float(depth.max()) / 65535
        columns, rows = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, depth.shape[::-1], strict=True))
        steps = depth[rows[:, None], columns] / np.float32(scale)
        # A depth that is known stays known, however near.
        values = np.where(steps > 0, np.rint(steps).clip(1, 65535), 0).astype(np.uint16)
        files[f"{prefix}.depth.png"] = _png(values)
        note["depth_scale"] = scale
    if frame.camera is not None and not camera_problem(frame.camera):
        shrink = np.array([[size[0] / frame.size[0]], [size[1] / frame.size[1]], [1.0]])
        exact = rigid(frame.camera.cam2world)
        note["intrinsics"] = (frame.camera.intrinsics * shrink).tolist()
        note["cam2world"] = (frame.camera.cam2world if exact is None else exact).tolist()
    mask = source.mask(scene, name) if what.masks else None
    if mask is not None:
        files[f"{prefix}.mask.png"] = _png(mask.astype(np.uint8) * 255)
    note["files"] = list(files)
    return files, note


def _picture(file: Path | None, picture: Picture, max_side: int | None) -> tuple[bytes, str, tuple[int, int]]:
    """The bytes of a picture, their suffix, and its width and height."""
    small = max_side is None or max(picture.size) <= max_side
    if small and file is not None and file.suffix.lower() in KEPT:
        return file.read_bytes(), KEPT[file.suffix.lower()], picture.size
    image = picture.pillow()
    if not small and max_side is not None:
        factor = max_side / max(picture.size)
        size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), "jpg", image.size


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
