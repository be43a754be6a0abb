"""The contact sheet: what stands on it and where, and cameras and points where they belong in the pictures of the cloud."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import muskie
from muskie.reconstruction import Reconstruction
from muskie.reconstruction.cloud import cloud
from muskie.reconstruction.contact_sheet import cloud_pictures, contact_sheet
from muskie.reconstruction.frusta import frustum_depth, upright, view_colours
from muskie.visualization.page import Page
from muskie.visualization.point_cloud import GROUND
from muskie.visualization.viewpoints import from_above, from_behind
from tests.reconstruction.box import Box, replaced


def test_what_stands_on_it(box: Box, drawn: list[Page]) -> None:
    sheet = contact_sheet(box.reconstruction, title="the box")
    above, below = drawn
    assert sheet.dtype == torch.uint8 and sheet.shape[1] == above.layout.height + below.layout.height
    assert above.title == "the box" and len(above.rows) == 3 and torch.equal(above.rows[0], box.reconstruction.images)
    bars = [bar for bar in above.bars or () if bar]
    valid = box.reconstruction.valid.numpy()
    assert bars[0].low == pytest.approx(np.percentile(box.depth[valid], 2), rel=1e-5)
    assert bars[1].high == pytest.approx(np.percentile(1 + 4 / box.depth[valid], 98), rel=1e-5)
    assert below.note is not None and "25 % of 10,944 points" in below.note
    # The pictures of the cloud begin and end where those above do, to a few pixels.
    left, right = above.layout.lefts[0], above.layout.lefts[-1] + above.shown[1]
    width = below.layout.lefts[-1] + below.shown[1] - below.layout.lefts[0]
    assert abs(width - (right - left)) < 12
    # Over each picture is a bar in the colour of its camera.
    start = max(above.layout.lefts[0], below.layout.lefts[0]) - above.layout.lefts[0]
    for place, colour in zip(above.layout.lefts, view_colours(4), strict=True):
        assert torch.equal(sheet[:, above.layout.tops[0], start + place + 5], colour)


def test_a_few_values_far_off_change_no_colour(box: Box, drawn: list[Page]) -> None:
    """One confidence of a thousand is a thousand times as high; the label says what the ends of the bar are."""
    confidence = box.reconstruction.confidence.clone()
    confidence.view(-1)[::1000] *= 1000
    contact_sheet(replaced(box.reconstruction, confidence=confidence))
    contact_sheet(box.reconstruction)
    (far, _), (usual, _) = drawn[:2], drawn[2:]
    assert float(confidence.max()) > 1000
    assert [label.split("\n")[2] for label in far.labels[1:]] == ["2nd to 98th percentile"] * 2
    untouched = confidence == box.reconstruction.confidence
    apart = (far.rows[2].int() - usual.rows[2].int()).abs().amax(1)[untouched]
    assert float((apart > 24).float().mean()) < 0.02


def test_cameras_that_coincide_are_told(box: Box, drawn: list[Page]) -> None:
    """All cameras are one, then stand under each other, which a plan alone does not show."""
    usual = ["cloud from behind the cameras", "cloud from above"]
    told = "\n2x, 3x, ...: so many cameras coincide"
    poses = box.reconstruction.cam2world[:1].repeat(4, 1, 1)
    one = replaced(box.reconstruction, cam2world=poses, intrinsics=box.reconstruction.intrinsics[:1].repeat(4, 1, 1))
    below = poses.clone()
    below[:, :3, 3] += torch.arange(4)[:, None] * 0.4 * poses[:, :3, 1]  # the cameras' y points down
    for sheet, expected in (
        (box.reconstruction, usual),
        (one, [name + told for name in usual]),
        (replaced(one, cam2world=below), [usual[0], usual[1] + told]),
    ):
        contact_sheet(sheet)
        assert drawn[-1].columns == expected


def test_many_views_and_few(box: Box, one_view: Reconstruction, drawn: list[Page]) -> None:
    contact_sheet(box.reconstruction, views=2)
    assert drawn[0].note == "2 of 4 views are shown, evenly chosen." and len(drawn[0].rows[0]) == 2
    assert torch.equal(drawn[0].rows[0], box.reconstruction.images[[0, 3]])
    sheet = contact_sheet(one_view)
    assert sheet.shape[2] > 600, "two pictures of the cloud have room"


def test_without_points(no_points: Reconstruction, drawn: list[Page]) -> None:
    contact_sheet(no_points)
    assert drawn[1].note == "There is no point to draw."
    assert drawn[1].columns == ["cameras from behind", "cameras from above"]
    assert (drawn[1].rows[0].flatten(2).float().std(-1) > 0).any(), "the cameras are drawn"


def test_cameras_and_points_lie_where_they_project_to(box: Box) -> None:
    points = cloud(box.reconstruction, percentile=0, edge=0)
    poses, size = torch.from_numpy(box.cam2world), (216, 300)
    pictures = cloud_pictures(box.reconstruction, points, size)
    assert pictures.shape == (2, 3, *size)
    reach = frustum_depth(poses, float(box.reconstruction.depth[box.reconstruction.valid].median()))
    for picture, make in zip(pictures, (from_behind, from_above), strict=True):
        viewpoint = make(points.points, poses, upright(poses), size)
        assert float((picture != torch.tensor(GROUND)[:, None, None]).any(0).float().mean()) > 0.2
        for pose, colour in zip(poses, view_colours(4), strict=True):
            ahead = pose[:3, 3] + reach * pose[:3, 2]
            xy, _, per_unit = viewpoint.project(torch.stack([pose[:3, 3], ahead]))
            column, row = xy.mean(0).long().tolist()
            near = int(reach * float(per_unit.max())) + 2
            around = picture[:, max(row - near, 0) : row + near, max(column - near, 0) : column + near]
            assert ((around.int() - colour.int()[:, None, None]).abs().sum(0) < 60).sum() >= 8


def test_a_scene_of_any_unit_is_drawn_the_same(box: Box) -> None:
    """A model's unit is its own: a scene a thousand times as large looks the same."""
    size = (90, 120)
    pictures = []
    for scale in (1.0, 2.0**-10, 2.0**10):
        poses = box.reconstruction.cam2world.clone()
        poses[:, :3, 3] *= scale
        scaled = replaced(box.reconstruction, local_points=box.reconstruction.local_points * scale, cam2world=poses)
        pictures.append(cloud_pictures(scaled, cloud(scaled), size).int())
    for picture in pictures[1:]:
        assert float(((picture - pictures[0]).abs().amax(1) > 8).float().mean()) < 0.01


def test_arrows_run_one_way() -> None:
    """Pages know no reconstruction, and what is drawn of one does not know the files that it goes to."""
    package = Path(muskie.__file__).parent
    for files, forbidden in (
        ((package / "visualization").glob("*.py"), "muskie.reconstruction"),
        ((package / "reconstruction").glob("*.py"), "muskie.reconstruction.export"),
    ):
        for file in files:
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.startswith(forbidden) for name in names), file
