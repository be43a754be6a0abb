"""Making a chunk out of frames of any source: what `muskie.data.shards.chunk` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from muskie.data.covisibility import View, overlaps
from muskie.data.geometry_check import camera_problem, known_depth, size_problem
from muskie.data.images import Picture, decode, decode_bytes
from muskie.data.listing.listed import ListedSource
from muskie.data.listing.table import FrameNames
from muskie.data.scene import Frame, Scene, SceneSource
from muskie.data.shards.chunk import LEVELS, NOTES
from muskie.data.sources.files import rigid

KEPT = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp"}
"""Files that are packed as they are."""

QUALITY = 95
"""Of pictures that have no such file, or are made smaller."""

SAME = 4
"""How far two decoders of one JPEG may be apart, in 1/255: a source that shows more than this beside its file changes it."""


@dataclass(frozen=True)
class What:
    """What is packed of each frame.

    Attributes:
        max_side: pictures with a longer side are made smaller; None: all stay as they are.
        geometry: depth and cameras, where there are any.
    """

    max_side: int | None = None
    geometry: bool = True


def pack(
    source: SceneSource, scene: Scene, frames: Sequence[str], what: What
) -> tuple[dict[str, bytes], list[str], list[str]]:
    """The files of a chunk, the names of the frames that are in it, and messages of those that could not be read."""
    files: dict[str, bytes] = {}
    notes: list[dict[str, Any]] = []
    views: list[View | None] = []
    problems = []
    for name in frames:
        try:
            frame = source.read(scene, name, geometry=what.geometry)
            # Whatever is broken is told here, and not when it is trained on.
            frame = _sound(replace(frame, image=decode(frame.image)))
            packed, note = _files(source, scene, name, frame, f"{len(notes):03d}", what)
        except OSError as error:
            problems.append(str(error) or f"{scene.name}/{name} cannot be read")
            continue
        files |= packed
        notes.append(note)
        known = frame.depth is not None and frame.camera is not None
        views.append(View(frame.depth, frame.camera.intrinsics, frame.camera.cam2world) if known else None)  # type: ignore
    kept = [note["name"] for note in notes]
    written: dict[str, Any] = {"source": source.label, "scene": scene.name, "room": scene.room, "frames": notes}
    shared = _overlaps(source, frames, kept, views)
    if shared is not None:
        written["overlaps"] = np.rint(shared.clip(0, 1) * LEVELS).astype(int).tolist()
    return {**files, NOTES: json.dumps(written, separators=(",", ":")).encode()}, kept, problems


def _sound(frame: Frame) -> Frame:
    """Without depth that is known nowhere or is not the picture's, and without a camera that can be none."""
    depth = None if frame.depth is None or size_problem(frame) else known_depth(frame.depth)
    camera = None if frame.camera is None or camera_problem(frame.camera) else frame.camera
    return replace(frame, depth=depth if depth is not None and depth.any() else None, camera=camera)


def _files(
    source: SceneSource, scene: Scene, name: str, frame: Frame, prefix: str, what: What
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a frame, the picture first, and what the notes say of it."""
    data, suffix, size = _picture(source, scene, name, frame, what.max_side)
    files = {f"{prefix}.{suffix}": data}
    note: dict[str, Any] = {"name": name, "size": size}
    if frame.depth is not None:
        scale = float(frame.depth.max()) / 65535
        columns, rows = (
            ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, frame.depth.shape[::-1], strict=True)
        )
        steps = frame.depth[rows[:, None], columns] / np.float32(scale)
        # A depth that is known stays known, however near.
        values = np.where(steps > 0, np.rint(steps).clip(1, 65535), 0).astype(np.uint16)
        files[f"{prefix}.depth.png"] = _png(values)
        note["depth_scale"] = scale
    if frame.camera is not None:
        shrink = np.array([[size[0] / frame.size[0]], [size[1] / frame.size[1]], [1.0]])
        exact = rigid(frame.camera.cam2world)
        note["intrinsics"] = (frame.camera.intrinsics * shrink).tolist()
        note["cam2world"] = (frame.camera.cam2world if exact is None else exact).tolist()
    mask = source.mask(scene, name)
    if mask is not None:
        files[f"{prefix}.mask.png"] = _png(mask.astype(np.uint8) * 255)
    note["files"] = list(files)
    return files, note


def _picture(
    source: SceneSource, scene: Scene, name: str, frame: Frame, max_side: int | None
) -> tuple[bytes, str, tuple[int, int]]:
    """The bytes of a picture, their suffix, and its width and height."""
    picture, file = decode(frame.image), source.file(scene, name)
    small = max_side is None or max(picture.size) <= max_side
    if small and file is not None and file.suffix.lower() in KEPT:
        data = file.read_bytes()
        if _shows(data, picture):
            return data, KEPT[file.suffix.lower()], picture.size
    image = picture.pillow()
    if not small and max_side is not None:
        factor = max_side / max(picture.size)
        size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), "jpg", image.size


def _shows(data: bytes, picture: Picture) -> bool:
    """Whether the bytes of a file show a picture: a source may have cut or straightened it."""
    try:
        stored = decode_bytes(data).pixels
    except OSError:  # of a kind that its source alone can read
        return False
    return stored.shape == picture.pixels.shape and int(np.abs(stored.astype(np.int16) - picture.pixels).max()) <= SAME


def _overlaps(
    source: SceneSource, frames: Sequence[str], kept: Sequence[str], views: Sequence[View | None]
) -> np.ndarray | None:
    """float32 [kept, kept]: as measured (`scripts/index_scenes.py --overlaps`), else by depth and cameras, else None."""
    table = source.overlap_table if isinstance(source, ListedSource) else None
    if table is not None and isinstance(frames, FrameNames) and len(kept) == len(frames):
        return np.stack([table.of(frames, anchor) for anchor in range(len(frames))])
    return overlaps(list(views)) if sum(view is not None for view in views) > 1 else None


def _png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
