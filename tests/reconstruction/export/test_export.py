"""The whole of a result, by one call: which files, filtered how, and what is said about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from muskie.errors import ConfigError
from muskie.reconstruction import Reconstruction
from muskie.reconstruction.confidence import kept_pixels
from muskie.reconstruction.export import FORMATS, export
from muskie.reconstruction.export.tracks import make_tracks
from tests.reconstruction.box import NAMES, Box, replaced
from tests.reconstruction.export.test_ply import rows_of


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def notes(folder: Path) -> list[str]:
    return json.loads((folder / "cameras.json").read_text())["notes"]


def test_all_formats(box: Box, tmp_path: Path) -> None:
    written = export(box.reconstruction, tmp_path)
    stems = ["a view", "süd_日本 1", "c", "deep.color"]
    expected = {"scene.glb", "points.ply", "contact_sheet.png", "cameras.json"}
    expected |= {f"sparse/0/{name}.{kind}" for name in ("cameras", "images", "points3D") for kind in ("bin", "txt")}
    expected |= {f"{kind}/{stem}.{end}" for kind in ("depth", "confidence") for stem in stems for end in ("npy", "png")}
    assert files(tmp_path) == expected == {path.relative_to(tmp_path).as_posix() for path in written}
    export(box.reconstruction, tmp_path, formats=["ply"], overwrite=True)
    assert files(tmp_path) == {"points.ply", "cameras.json"} and not (tmp_path / "sparse").exists()


def test_filters_and_numbers_of_points(box: Box, tmp_path: Path) -> None:
    valid = int(box.reconstruction.valid.sum())
    export(box.reconstruction, tmp_path, formats=["ply"], confidence_percentile=40, edge=0)
    rows = rows_of(tmp_path / "points.ply")
    assert abs(len(rows) / valid - 0.6) < 0.001
    sure = np.sort(box.reconstruction.confidence[box.reconstruction.valid].numpy())
    assert rows["confidence"].min() == sure[-len(rows)]
    export(box.reconstruction, tmp_path, formats=["ply"], ply_points=100, overwrite=True)
    assert len(rows_of(tmp_path / "points.ply")) == 100


@pytest.mark.parametrize("edge", [4.0, 0.0])
def test_where_there_are_no_points_all_is_written_and_told(no_points: Reconstruction, tmp_path: Path, edge: float) -> None:
    export(no_points, tmp_path / "none", edge=edge)
    assert notes(tmp_path / "none")[0] == "a note" and "no point lies in front of its camera" in notes(tmp_path / "none")[1]
    assert {"scene.glb", "points.ply", "sparse/0/points3D.bin", "contact_sheet.png"} <= files(tmp_path / "none")
    assert no_points.notes == ["a note"], "what was given is as it was"


def test_where_the_filters_leave_none_the_way_out_is_told(box: Box, tmp_path: Path) -> None:
    noise = torch.from_numpy(np.random.default_rng(0).uniform(0.001, 100, box.depth.shape)).float()
    points = box.reconstruction.local_points / box.reconstruction.depth[..., None] * noise[..., None]
    jagged = replaced(box.reconstruction, local_points=points)
    edge = 89.9
    assert not kept_pixels(jagged, edge=edge).any()
    export(jagged, tmp_path, edge=edge)
    assert "all of 10,944 points lie on edges" in notes(tmp_path)[1] and "--edge 0" in notes(tmp_path)[1]


def test_one_view(one_view: Reconstruction, tmp_path: Path) -> None:
    export(one_view, tmp_path)
    assert {"scene.glb", "contact_sheet.png", "depth/c.npy", "sparse/0/images.bin"} <= files(tmp_path)


def test_settings_out_of_range_write_nothing(box: Box, tmp_path: Path) -> None:
    for settings, message in (
        ({"formats": ["gbl"]}, "unknown format 'gbl'; did you mean 'glb'"),
        ({"confidence_percentile": 100}, "confidence_percentile=100: expected 0"),
        ({"edge": -1}, "edge=-1: expected 0"),
        ({"glb_points": 0}, "glb_points=0: expected 1 or more"),
        ({"colmap_resolution": "half"}, "colmap_resolution='half': expected one of 'original', 'processed'"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(box.reconstruction, tmp_path / "out", **settings)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir()) and FORMATS[0] == "glb"


def test_names_that_are_no_unicode(box: Box, tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg".decode(errors="surrogateescape"), *NAMES[1:]]
    export(replaced(box.reconstruction, names=names), tmp_path)
    views = json.loads((tmp_path / "cameras.json").read_text())["views"]
    assert views[0]["name"] == names[0] and views[0]["depth"] == "depth/caf.npy"


def test_tracks_of_a_point(box: Box) -> None:
    """Sorted by view, then by point; a point stands on the ray of its own pixel's centre, and has its colour."""
    tracks = make_tracks(box.reconstruction, kept_pixels(box.reconstruction, 0, 0), max_points=200)
    order = np.lexsort([tracks.point, tracks.view])
    assert np.array_equal(order, np.arange(len(order))) and len(tracks.points) == 200
    centred = np.abs(tracks.xy % 1 - 0.5).max(-1) < 1e-9
    assert set(tracks.point[centred]) == set(range(200)), "each is seen by the view that it comes from"
    column, row = tracks.xy[centred].astype(int).T
    at = (tracks.view[centred], row, column)
    expected = box.reconstruction.points.double().numpy()[at]
    assert np.allclose(tracks.points[tracks.point[centred]], expected, atol=1e-5)
    assert np.array_equal(tracks.colours[tracks.point[centred]], box.reconstruction.images.permute(0, 2, 3, 1).numpy()[at])
