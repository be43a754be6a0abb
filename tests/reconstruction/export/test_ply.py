"""The PLY file by its own header, and by trimesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from muskie.reconstruction import Reconstruction
from muskie.reconstruction.cloud import cloud, clouds_at
from muskie.reconstruction.confidence import kept_pixels
from muskie.reconstruction.export.ply import write_ply
from tests.reconstruction.box import HEIGHT, HIGH, LOW, PANEL, WIDTH, Box, colour, on_a_surface

TYPES = {"float": "<f4", "uchar": "u1", "int": "<i4"}


def written(path: Path, reconstruction: Reconstruction) -> np.ndarray:
    kept = kept_pixels(reconstruction, percentile=0, edge=0)
    write_ply(path, clouds_at(reconstruction, kept), int(kept.sum()))
    return rows_of(path)


def rows_of(path: Path) -> np.ndarray:
    """What a reader sees that knows nothing but the header."""
    head, _, data = path.read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    (count,) = (int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    row = np.dtype([(line.split()[2], TYPES[line.split()[1]]) for line in lines if line.startswith("property")])
    assert len(data) == count * row.itemsize
    return np.frombuffer(data, row)


def test_what_the_header_says_is_there(box: Box, tmp_path: Path) -> None:
    rows = written(tmp_path / "a.ply", box.reconstruction)
    points = np.stack([rows[axis] for axis in "xyz"], -1)
    assert on_a_surface(points, 1e-5).all() and len(rows) == box.reconstruction.valid.sum()
    colours = np.stack([rows[name] for name in ("red", "green", "blue")], -1)
    assert np.abs(colours.astype(int) - colour(points)).max() <= 1
    depth = np.linalg.inv(box.cam2world)[rows["view"], 2] * np.c_[points, np.ones(len(points))]
    assert np.allclose(rows["confidence"], 1 + 4 / depth.sum(-1), rtol=1e-4)
    # Where all pixels around one see the same face, the normal is that of the face, towards the room.
    normals, found = np.stack([rows[name] for name in ("nx", "ny", "nz")], -1), 0
    for view in (0, 2, 3):  # without padding: a row of the file for each pixel
        own = rows["view"] == view
        for axis, level, towards in ((1, HIGH[1], -1), (2, HIGH[2], -1), (0, LOW[0], 1), (2, PANEL[0], -1)):
            face = (np.abs(points[own, axis] - level) < 1e-4).reshape(HEIGHT, WIDTH)
            within = binary_erosion(face, np.ones((5, 5)), border_value=1).ravel()
            assert np.allclose(normals[own][within], towards * np.eye(3)[axis], atol=1e-3)
            found += within.sum()
    assert found > 3000


def test_trimesh_reads_it(box: Box, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    rows = written(tmp_path / "a.ply", box.reconstruction)
    found = trimesh.load(tmp_path / "a.ply")
    assert np.array_equal(found.vertices, np.stack([rows[axis] for axis in "xyz"], -1))
    assert np.array_equal(found.colors[:, :3], np.stack([rows[name] for name in ("red", "green", "blue")], -1))
    assert np.array_equal(found.vertices.astype("f4"), cloud(box.reconstruction, percentile=0, edge=0).points.numpy())


def test_no_points_and_a_wrong_count(box: Box, no_points: Reconstruction, tmp_path: Path) -> None:
    assert len(written(tmp_path / "a.ply", no_points)) == 0
    kept = kept_pixels(box.reconstruction)
    with pytest.raises(ValueError, match="in the parts of a cloud of 3"):
        write_ply(tmp_path / "b.ply", clouds_at(box.reconstruction, kept), 3)
    assert {path.name for path in tmp_path.iterdir()} == {"a.ply"}
