"""Normals and grazing angles of planes and steps, in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muskie.geometry import unproject
from muskie.reconstruction.surface import facing_normals, grazing_angle

INTRINSICS = torch.tensor([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]], dtype=torch.float64)


def slanted(degrees: float) -> torch.Tensor:
    """Local points [30, 40, 3] of a plane through (0, 0, 2), turned about y by that much from facing the camera."""
    angle = np.radians(degrees)
    normal = torch.tensor([np.sin(angle), 0, -np.cos(angle)], dtype=torch.float64)
    rays = unproject(torch.ones(30, 40, dtype=torch.float64), INTRINSICS)
    return rays * (normal[2] * 2 / (rays @ normal))[..., None]


@pytest.mark.parametrize("degrees", [0.0, 30.0, 60.0])
def test_normals_and_angles_of_a_plane(degrees: float) -> None:
    points = slanted(degrees)
    angle = np.radians(degrees)
    expected = torch.tensor([np.sin(angle), 0, -np.cos(angle)], dtype=torch.float64)
    assert torch.allclose(facing_normals(points), expected.expand_as(points), atol=1e-9)
    # Across the slant, in the plane of the ray and the normal, the angle is that between ray and plane.
    rays = torch.nn.functional.normalize(points[15], dim=-1)
    true = torch.rad2deg(torch.asin(-(rays @ expected)))
    assert ((grazing_angle(points)[15] - true).abs() < 1.0).all()


def test_points_between_two_surfaces_are_edges_and_a_clean_step_is_none() -> None:
    depth = torch.full((30, 40), 2.0, dtype=torch.float64)
    depth[:, 20:] = 4
    assert (grazing_angle(unproject(depth, INTRINSICS)) > 60).all()
    depth[:, 20] = 3  # hangs in the air
    angles = grazing_angle(unproject(depth, INTRINSICS))
    assert (angles[:, 20] < 5).all() and (angles[:, :20] > 60).all() and (angles[:, 21:] > 60).all()
    depth[:, 20] = torch.nan
    angles = grazing_angle(unproject(depth, INTRINSICS))
    assert (angles[:, :20] > 60).all() and (angles[:, 21:] > 60).all() and (angles[:, 20] == 0).all()


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e4])
def test_the_unit_of_length_changes_nothing(unit: float) -> None:
    """Single precision, and a model's own unit: neighbouring points may lie a billionth of it apart."""
    for degrees in (0.0, 60.0):
        points = slanted(degrees).float()
        assert torch.allclose(facing_normals(points * unit), facing_normals(points), atol=1e-2)
        assert torch.allclose(grazing_angle(points * unit), grazing_angle(points), atol=0.5)
    assert not torch.allclose(facing_normals(points), facing_normals(slanted(0.0).float()), atol=0.1)


def test_normals_face_the_camera_where_nothing_is_known() -> None:
    points = slanted(60.0)
    points[10, 10] = torch.nan
    normals = facing_normals(points)
    rays = torch.nn.functional.normalize(points, dim=-1)
    assert torch.allclose(normals[10, 12], -rays[10, 12]), "its neighbour two pixels to the left is no number"
    known = torch.ones(30, 40, dtype=torch.bool)
    known[10, [8, 10, 12]] = known[[8, 12], 10] = False
    assert torch.allclose(normals[known], facing_normals(slanted(60.0))[known])
    assert torch.allclose(facing_normals(points[:1, :1]), -rays[:1, :1]), "a single pixel"


def test_a_single_row_has_angles_along_it_and_a_single_pixel_none() -> None:
    assert (grazing_angle(slanted(0.0)[:1]) > 60).all() and (grazing_angle(slanted(0.0)[:, :1]) > 60).all()
    assert grazing_angle(slanted(0.0)[:1, :1]).tolist() == [[0.0]]
