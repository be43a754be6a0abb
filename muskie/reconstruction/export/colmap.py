"""COLMAP's model files, binary and text: `cameras`, `images`, `points3D` (COLMAP documentation, "Output Format").

Each view has its own camera, PINHOLE, without distortion. Cameras and images are numbered as the views, from 1; points
from 1 too. Poses are world to camera; quaternions are w, x, y, z; pixel centres are at integer + 0.5, as here.

COLMAP prefers the binary files. A name ends at the first zero byte there, and at the first white space in the text files, so
that neither can hold every name: control characters become `_` in both, white space in the text files alone. So a photograph
is found under its name in the binary files, spaces and all; in both, names of different views differ.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muskie.errors import ConfigError
from muskie.geometry import invert
from muskie.reconstruction.export.folder import written_whole
from muskie.reconstruction.export.tracks import Tracks, make_tracks
from muskie.reconstruction.names import as_lines, as_words, file_stems
from muskie.reconstruction.result import Reconstruction
from muskie.reconstruction.rotations import quaternion_wxyz, rigid

MAX_POINTS = 100_000
RESOLUTIONS = ("original", "processed")
_PINHOLE = 1
_BLOCK = 8192
"""Points that are written at a time."""
_POINT2D = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
_POINT3D = np.dtype([("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")])
_ELEMENT = np.dtype([("image", "<u4"), ("index", "<u4")])


@dataclass
class _Model:
    """What the files hold, all of it in COLMAP's own terms.

    Attributes:
        names, sizes: of V images, (W, H).
        parameters: [V, 4], fx, fy, cx, cy.
        quaternions, translations: [V, 4] and [V, 3].
        tracks: points and observations; `xy` in pixels of these images.
        index: [M], which of its image's observations one is.
        first: [V + 1], where each image's observations begin.
    """

    names: list[str]
    sizes: list[tuple[int, int]]
    parameters: np.ndarray
    quaternions: np.ndarray
    translations: np.ndarray
    tracks: Tracks
    index: np.ndarray
    first: np.ndarray


def write_colmap(
    folder: Path,
    reconstruction: Reconstruction,
    kept: Tensor,
    *,
    resolution: str = "original",
    max_points: int = MAX_POINTS,
) -> None:
    """Writes `sparse/0/{cameras,images,points3D}.{bin,txt}` into a folder.

    Args:
        folder: the parent of `sparse`.
        reconstruction: of V views.
        kept: bool [V, H, W], pixels whose points may be taken, see `kept_pixels`.
        resolution: `"original"`: cameras and observations in pixels of the upright original images, to which the names
            belong (a reader that does not turn images by their EXIF sees others); `"processed"`: in pixels of the images
            that the model saw, which are written to `images/` as PNG under the names in the model, see `as_words` and
            `file_stems`.
        max_points: at most so many points, evenly spread over the pictures.

    Raises:
        ConfigError: a setting out of range.
    """
    if resolution not in RESOLUTIONS:
        raise ConfigError(f"colmap_resolution={resolution!r}: expected one of {', '.join(map(repr, RESOLUTIONS))}")
    if max_points < 0:
        raise ConfigError(f"colmap_points={max_points}: expected 0 or more")
    model = _model(reconstruction, make_tracks(reconstruction, kept, max_points), resolution == "original")
    beside = folder / "sparse" / ".0.partial"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for write in (_cameras_bin, _cameras_txt, _images_bin, _images_txt, _points_bin, _points_txt):
        write(beside, model)
    final = folder / "sparse" / "0"
    if final.exists():
        shutil.rmtree(final)
    beside.rename(final)
    if resolution == "processed":
        for name, image in zip(model.names, reconstruction.images.cpu(), strict=True):
            with written_whole(folder / "images" / name) as path:
                Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(path, format="PNG")


def _model(reconstruction: Reconstruction, tracks: Tracks, original: bool) -> _Model:
    poses = invert(rigid(reconstruction.cam2world.cpu()))
    height, width = reconstruction.size
    if original:
        names, sizes = as_lines(reconstruction.names), [m.original_size for m in reconstruction.pixel_maps]
        intrinsics = reconstruction.original_intrinsics.cpu()
        scale = np.array([m.scale for m in reconstruction.pixel_maps])[tracks.view]
        offset = np.array([m.offset for m in reconstruction.pixel_maps])[tracks.view]
        tracks = Tracks(tracks.points, tracks.colours, tracks.view, tracks.point, tracks.xy / scale + offset)
    else:
        names = [f"{stem}.png" for stem in file_stems(as_words(reconstruction.names))]
        sizes, intrinsics = [(width, height)] * len(names), reconstruction.intrinsics.cpu().double()
    parameters = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 0, 2], intrinsics[:, 1, 2]], -1)
    first = np.searchsorted(tracks.view, np.arange(len(names) + 1))
    index = np.arange(len(tracks.view)) - first[tracks.view]
    quaternions = quaternion_wxyz(poses[:, :3, :3]).numpy()
    return _Model(names, sizes, parameters.numpy(), quaternions, poses[:, :3, 3].numpy(), tracks, index, first)


def _cameras_bin(folder: Path, model: _Model) -> None:
    row = np.dtype([("id", "<u4"), ("model", "<i4"), ("size", "<u8", 2), ("parameters", "<f8", 4)])
    rows = np.zeros(len(model.names), dtype=row)
    rows["id"], rows["model"] = np.arange(len(rows)) + 1, _PINHOLE
    rows["size"], rows["parameters"] = model.sizes, model.parameters
    (folder / "cameras.bin").write_bytes(np.array(len(rows), "<u8").tobytes() + rows.tobytes())


def _cameras_txt(folder: Path, model: _Model) -> None:
    lines = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, fx, fy, cx, cy"]
    for number, ((width, height), parameters) in enumerate(zip(model.sizes, model.parameters, strict=True), 1):
        lines.append(f"{number} PINHOLE {width} {height} {_numbers(parameters)}")
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")


def _images_bin(folder: Path, model: _Model) -> None:
    tracks = model.tracks
    seen = np.zeros(len(tracks.view), dtype=_POINT2D)
    seen["xy"], seen["point"] = tracks.xy, tracks.point + 1
    with (folder / "images.bin").open("wb") as file:
        file.write(np.array(len(model.names), "<u8").tobytes())
        for view, name in enumerate(model.names):
            own = seen[model.first[view] : model.first[view + 1]]
            pose = np.concatenate([model.quaternions[view], model.translations[view]]).astype("<f8")
            numbers = np.array([view + 1], "<u4").tobytes()
            file.write(numbers + pose.tobytes() + numbers + os.fsencode(name) + b"\0" + np.array(len(own), "<u8").tobytes())
            own.tofile(file)


def _images_txt(folder: Path, model: _Model) -> None:
    tracks = model.tracks
    with (folder / "images.txt").open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME (_ for white space)\n")
        file.write("# POINTS2D[] as (X, Y, POINT3D_ID)\n")
        for view, name in enumerate(as_words(model.names)):
            pose = _numbers([*model.quaternions[view], *model.translations[view]])
            own = slice(model.first[view], model.first[view + 1])
            pairs = zip(tracks.xy[own].tolist(), (tracks.point[own] + 1).tolist(), strict=True)
            seen = " ".join(f"{x:.6f} {y:.6f} {point}" for (x, y), point in pairs)
            file.write(f"{view + 1} {pose} {view + 1} {name}\n{seen}\n")


def _points_bin(folder: Path, model: _Model) -> None:
    tracks = model.tracks
    points = np.zeros(len(tracks.points), dtype=_POINT3D)
    points["id"], points["xyz"], points["rgb"] = np.arange(len(points)) + 1, tracks.points, tracks.colours
    with (folder / "points3D.bin").open("wb") as file:
        file.write(np.array(len(points), "<u8").tobytes())
        for block, observations, lengths in _blocks(tracks):
            elements = np.zeros(len(observations), dtype=_ELEMENT)
            elements["image"], elements["index"] = tracks.view[observations] + 1, model.index[observations]
            points["length"][block] = lengths
            file.write(_records(points[block], elements, lengths))


def _records(points: np.ndarray, elements: np.ndarray, lengths: np.ndarray) -> bytes:
    """Points, each followed by its elements, without a loop: each byte is put where it belongs."""
    head, element = _POINT3D.itemsize, _ELEMENT.itemsize
    before = np.cumsum(lengths) - lengths  # elements of all points before
    heads = np.arange(len(points)) * head + before * element
    tails = np.arange(len(elements)) * element + (np.repeat(np.arange(len(points)), lengths) + 1) * head
    data = np.empty(len(points) * head + len(elements) * element, dtype=np.uint8)
    data[heads[:, None] + np.arange(head)] = points.view(np.uint8).reshape(-1, head)
    data[tails[:, None] + np.arange(element)] = elements.view(np.uint8).reshape(-1, element)
    return data.tobytes()


def _points_txt(folder: Path, model: _Model) -> None:
    tracks = model.tracks
    with (folder / "points3D.txt").open("w") as file:
        file.write("# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)\n")
        for block, observations, lengths in _blocks(tracks):
            seen = zip((tracks.view[observations] + 1).tolist(), model.index[observations].tolist(), strict=True)
            values = zip(tracks.points[block].tolist(), tracks.colours[block].tolist(), lengths.tolist(), strict=True)
            for number, (xyz, rgb, length) in enumerate(values, block.start + 1):
                track = " ".join(f"{view} {index}" for view, index in islice(seen, length))
                file.write(f"{number} {_numbers(xyz)} {rgb[0]} {rgb[1]} {rgb[2]} 0 {track}\n")


def _blocks(tracks: Tracks) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Some points at a time, as hundreds of views may see each: which, their observations in their order (indices into
    `tracks.view`), and how many each point has."""
    order = np.argsort(tracks.point, kind="stable")
    lengths = np.bincount(tracks.point, minlength=len(tracks.points))
    ends = np.cumsum(lengths)
    for first in range(0, len(lengths), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(lengths)))
        yield block, order[ends[first] - lengths[first] : ends[block.stop - 1]], lengths[block]


def _numbers(values: np.ndarray | list[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)
