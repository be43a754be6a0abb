"""Point clouds as PLY files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from muskie.reconstruction.cloud import Cloud
from muskie.reconstruction.export.folder import written_whole

_ROW = np.dtype(
    [
        *((axis, "<f4") for axis in ("x", "y", "z")),
        *((axis, "<f4") for axis in ("nx", "ny", "nz")),
        *((colour, "u1") for colour in ("red", "green", "blue")),
        ("confidence", "<f4"),
        ("view", "<i4"),
    ]
)
_NAMES = {"<f4": "float", "|u1": "uchar", "<i4": "int"}


def write_ply(path: Path, clouds: Iterable[Cloud], count: int) -> None:
    """Writes points as binary little-endian PLY: position, normal, colour, confidence in (1, inf), number of the view.

    The world is that of `cameras.json` and COLMAP's files; no axis points up. Any viewer opens it (MeshLab, CloudCompare,
    Blender, open3d); those that do not know `confidence` and `view` pass over them.

    Args:
        path: of the file.
        clouds: parts, such as one a view: no more than one is held at a time.
        count: points of all parts together, which the head of the file tells.

    Raises:
        ValueError: the parts have another number of points; there is no file then.
    """
    properties = [f"property {_NAMES[_ROW[name].str]} {name}" for name in _ROW.names or ()]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment written by muskie; world axes as in cameras.json, camera axes OpenCV",
        f"element vertex {count}",
        *properties,
        "end_header",
    ]
    with written_whole(path) as beside, beside.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        written = 0
        for cloud in clouds:
            _rows(cloud).tofile(file)
            written += len(cloud)
        if written != count:
            raise ValueError(f"{written} points in the parts of a cloud of {count}")


def _rows(cloud: Cloud) -> np.ndarray:
    rows = np.zeros(len(cloud), dtype=_ROW)
    for names, values in (
        (("x", "y", "z"), cloud.points),
        (("nx", "ny", "nz"), cloud.normals),
        (("red", "green", "blue"), cloud.colours),
    ):
        for name, column in zip(names, values.numpy().T, strict=True):
            rows[name] = column
    rows["confidence"], rows["view"] = cloud.confidence.numpy(), cloud.views.numpy()
    return rows
