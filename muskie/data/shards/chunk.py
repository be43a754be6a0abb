"""A chunk: neighbouring frames of one scene, as the files of one WebDataset sample.

`scene.json` says names, cameras, depth scales and overlaps; `000.jpg` and so on are the pictures, mostly the bytes of the
original files; `000.depth.png` is depth in 16 bits, times its scale; `000.mask.png` is the object's mask.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from muskie.data.images import decode_bytes
from muskie.data.scene import Camera, Frame

NOTES = "scene.json"
LEVELS = 255
"""Of an overlap of 1, in the notes."""


class Chunk:
    """The files of one chunk, as they were read.

    Args:
        files: by their names without the key, e.g. `"000.jpg"`; whatever else a sample holds is left out.
        where: for messages.

    Raises:
        OSError: some are missing: the shard was cut short.
    """

    def __init__(self, files: Mapping[str, Any], where: str) -> None:
        self.files: dict[str, bytes] = {name: data for name, data in files.items() if isinstance(data, bytes)}
        self.where = where
        try:
            self._notes: dict[str, Any] = json.loads(self.files[NOTES])
            self.frames: list[dict[str, Any]] = self._notes["frames"]
            missing = [name for note in self.frames for name in note["files"] if name not in self.files]
        except (KeyError, ValueError, TypeError) as error:
            raise OSError(f"{where}: it has no {NOTES} that can be read; was the shard cut short?") from error
        if missing:
            raise OSError(f"{where}: {missing[0]} is missing; was the shard cut short?")

    def frame(self, number: int, at_least: int | None, geometry: bool) -> Frame:
        """A frame, as `SceneSource.read` gives it.

        Raises:
            OSError: it cannot be read.
        """
        note = self._note(number)
        try:
            image = decode_bytes(self.files[note["files"][0]], at_least)
            if not geometry:
                return Frame(image)
            width, height = note["size"]
            depth = None
            if "depth_scale" in note:
                depth = _grey(self.files[f"{number:03d}.depth.png"]).astype(np.float32) * np.float32(note["depth_scale"])
            return Frame(image, depth, self.camera(number), (width, height))
        except Exception as error:  # what damaged bytes raise differs from format to format
            raise OSError(f"{self.where}, {note['name']}: {error}") from error

    def camera(self, number: int) -> Camera | None:
        """The camera of a frame; None without."""
        note = self._note(number)
        if "intrinsics" not in note:
            return None
        return Camera(np.array(note["intrinsics"], dtype=np.float64), np.array(note["cam2world"], dtype=np.float64))

    def mask(self, number: int) -> np.ndarray | None:
        """bool [H, W], of the object of a frame; None without.

        Raises:
            OSError: it cannot be read.
        """
        name = f"{number:03d}.mask.png"
        if name not in self._note(number)["files"]:
            return None
        try:
            return _grey(self.files[name]) > 0
        except Exception as error:
            raise OSError(f"{self.where}, {name}: {error}") from error

    def overlaps(self) -> np.ndarray | None:
        """float32 [frames, frames], see `SceneSource.overlaps`; None if they were not known when it was packed."""
        known = self._notes.get("overlaps")
        return None if known is None else np.array(known, dtype=np.float32) / LEVELS

    def _note(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self.frames):
            raise OSError(
                f"{self.where}: it has {len(self.frames)} frames, and the index says more; is it of another packing?"
            )
        return self.frames[number]


def _grey(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
