"""Point clouds as PLY files."""

from __future__ import annotations

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


def write_ply(path: Path, cloud: Cloud) -> None:
    """Writes points as binary little-endian PLY: position, normal, colour, confidence in (1, inf), number of the view.

    The world is that of `cameras.json` and COLMAP's files; no axis points up. Any viewer opens it (MeshLab, CloudCompare,
    Blender, open3d); those that do not know `confidence` and `view` pass over them.
    """
    rows = np.zeros(len(cloud), dtype=_ROW)
    for names, values in (
        (("x", "y", "z"), cloud.points),
        (("nx", "ny", "nz"), cloud.normals),
        (("red", "green", "blue"), cloud.colours),
    ):
        for name, column in zip(names, values.numpy().T, strict=True):
            rows[name] = column
    rows["confidence"], rows["view"] = cloud.confidence.numpy(), cloud.views.numpy()
    properties = [f"property {_NAMES[_ROW[name].str]} {name}" for name in _ROW.names or ()]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment written by muskie; world axes as in cameras.json, camera axes OpenCV",
        f"element vertex {len(rows)}",
        *properties,
        "end_header",
    ]
    with written_whole(path) as beside, beside.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        rows.tofile(file)
