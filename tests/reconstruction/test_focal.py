"""Focal lengths from points against cameras that are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from muskie.geometry import unproject
from muskie.reconstruction.focal import estimate_focal, intrinsics_of, plausible


def plane(focal_x: float, focal_y: float, height: int = 40, width: int = 56) -> Tensor:
    """Local points of a slanted plane, [H, W, 3]."""
    generator = torch.Generator().manual_seed(0)
    depth = 2 + torch.rand(height, width, generator=generator, dtype=torch.float64)
    return unproject(depth, intrinsics_of(torch.tensor([focal_x, focal_y], dtype=torch.float64), height, width))


@pytest.fixture
def outliers() -> Tensor:
    """A camera with focal length 50, and 20 % of the points anywhere in front of it."""
    points = plane(50, 50)
    generator = torch.Generator().manual_seed(1)
    wrong = torch.rand(points.shape[:2], generator=generator) < 0.2
    anywhere = torch.randn(points.shape, generator=generator, dtype=torch.float64) * 2
    anywhere[..., 2] = anywhere[..., 2].abs() + 0.5
    return torch.where(wrong[..., None], anywhere, points)


def test_exact_points_give_the_exact_focal_length() -> None:
    assert torch.allclose(estimate_focal(plane(37.5, 37.5)), torch.tensor([37.5, 37.5]).double(), rtol=1e-9)
    assert torch.allclose(estimate_focal(plane(37.5, 60), square=False), torch.tensor([37.5, 60.0]).double(), rtol=1e-9)


def test_a_fifth_of_outliers_hardly_matters_but_would_to_least_squares(outliers: Tensor) -> None:
    robust, squares = estimate_focal(outliers)[0], estimate_focal(outliers, steps=0)[0]
    assert abs(robust / 50 - 1) < 0.005
    assert abs(squares / 50 - 1) > 0.05


def test_it_is_the_least_sum_of_distances(outliers: Tensor) -> None:
    height, width = outliers.shape[:2]
    focal = float(estimate_focal(outliers, steps=300)[0])

    def total(f: float) -> float:
        y, x = torch.meshgrid(torch.arange(height) + 0.5 - height / 2, torch.arange(width) + 0.5 - width / 2, indexing="ij")
        misses = outliers[..., :2] / outliers[..., 2:] - torch.stack([x, y], -1) / f
        return float(misses.norm(dim=-1).sum())

    assert total(focal) <= min(total(focal * 1.001), total(focal * 0.999))


def test_weights(outliers: Tensor) -> None:
    known = plane(50, 50)
    right = (outliers == known).all(-1)
    assert torch.allclose(estimate_focal(outliers, right.double()), torch.tensor(50.0).double(), rtol=1e-9)
    assert torch.allclose(estimate_focal(outliers, 3 * right.double()), torch.tensor(50.0).double(), rtol=1e-9)
    # A weight of 2 is the point twice.
    weights = 1 + (torch.arange(outliers.shape[1]) < 20).double().expand(outliers.shape[:2])
    twice = torch.stack([outliers, outliers])
    alone = torch.stack([torch.ones_like(weights), weights - 1])
    assert torch.allclose(estimate_focal(outliers, weights), estimate_focal(twice, alone, shared=True)[0], rtol=1e-12)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -1.0, 0.0])
def test_points_that_are_none_count_for_nothing(broken: float) -> None:
    points = plane(50, 50)
    points[:10, :, 2] = broken
    assert torch.allclose(estimate_focal(points), torch.tensor(50.0).double(), rtol=1e-9)
    points[..., 2] = broken
    assert estimate_focal(points).isnan().all()


@pytest.mark.parametrize("options", [{}, {"square": False}, {"stride": 3}])
def test_views_do_not_mix_unless_they_share_a_camera(options: dict[str, Any]) -> None:
    points = torch.stack([plane(50, 50), plane(80, 80)])
    alone = estimate_focal(points, **options)
    assert torch.allclose(alone, torch.tensor([[50.0], [80.0]]).double().expand(2, 2), rtol=1e-9)
    shared = estimate_focal(points, shared=True, **options)
    assert shared.shape == (2, 2) and torch.equal(shared[0], shared[1]) and 50 < shared[0, 0] < 80


def test_plausible() -> None:
    focal = torch.tensor([[50.0, 50], [-50, 50], [torch.nan, 50], [1, 50], [50, 5000]])
    assert plausible(focal, 40, 56).tolist() == [True, False, False, False, False]
