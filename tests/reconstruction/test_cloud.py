"""The cloud is the points of the pixels, and all its numbers are finite."""

from __future__ import annotations

from dataclasses import replace

import torch

from muskie.reconstruction import Reconstruction
from muskie.reconstruction.cloud import cloud, cloud_at, clouds_at
from muskie.reconstruction.confidence import kept_pixels


def test_the_cloud_is_the_points_of_the_pixels(room: Reconstruction) -> None:
    points = cloud(room, percentile=0, edge=0, max_points=500)
    at = (points.views, points.rows, points.columns)
    assert len(points) == 500
    assert torch.allclose(points.points, room.points[at], atol=1e-6)
    assert torch.equal(points.colours, room.images.permute(0, 2, 3, 1)[at])
    assert torch.equal(points.confidence, room.confidence[at])
    to_camera = room.cam2world[points.views, :3, 3] - points.points
    assert ((to_camera * points.normals).sum(-1) > 0).all() and (points.radii > 0).all()


def test_no_broken_number_enters_the_cloud(room: Reconstruction) -> None:
    points = room.local_points.clone()
    points[0, ::2, ::3, 0], points[1, 5], points[2, :, 9, 2] = torch.nan, torch.inf, -torch.inf
    broken = cloud(replace(room, local_points=points), percentile=0, edge=0)
    for values in (broken.points, broken.normals, broken.confidence, broken.radii):
        assert values.isfinite().all()
    assert 0 < len(broken) < len(cloud(room, percentile=0, edge=0))


def test_view_by_view_it_is_the_same(room: Reconstruction) -> None:
    kept = kept_pixels(room)
    whole, parts = cloud_at(room, kept, 10**6), list(clouds_at(room, kept, 10**6))
    assert [set(part.views.tolist()) for part in parts] == [{0}, {1}, {2}]
    for name, values in vars(whole).items():
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), values)


def test_points_stand_for_the_surface_of_their_pixels(room: Reconstruction) -> None:
    """Seen straight on, half a pixel is z / 2f; of every fourth point only, twice that."""
    every = cloud_at(room, room.valid)
    straight = room.depth / room.intrinsics[:, 0, 0, None, None] / 2
    at = (every.views, every.rows, every.columns)
    share = every.radii / straight[at]
    assert share.min() > 0.999 and share.max() < 3.001 and share.median() < 1.6
    quarter = cloud_at(room, room.valid, among=4 * len(every))
    assert torch.allclose(quarter.radii, 2 * every.radii)
