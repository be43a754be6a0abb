"""The optimal scale against trying every scale, and what the choice of points promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from muskie.objectives.optimal_scale import optimal_scale, spread


def scenes(b: int = 3, v: int = 2, h: int = 5, w: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Points, targets at scale 0.7 with outliers, weights of which some are 0."""
    g = torch.Generator().manual_seed(0)
    points = torch.randn(b, v, h, w, 3, generator=g, dtype=torch.float64)
    target = 0.7 * points + 0.1 * torch.randn(points.shape, generator=g, dtype=torch.float64)
    target[..., 0, :] += 20 * torch.rand(target[..., 0, :].shape, generator=g, dtype=torch.float64)
    weights = torch.rand(b, v, h, w, generator=g, dtype=torch.float64)
    return points, target, torch.where(weights < 0.3, 0, weights)


def cost(scale: float, points: Tensor, target: Tensor, weights: Tensor) -> float:
    return float((weights[..., None] * (scale * points - target).abs()).sum())


def test_no_other_scale_is_better() -> None:
    """The least of a sum of absolute values lies at one of its corners: all are tried. And scipy finds none better."""
    points, target, weights = scenes()
    found = optimal_scale(points, target, weights)
    for b in range(len(points)):
        mine = cost(float(found[b]), points[b], target[b], weights[b])
        corners = (target[b] / points[b])[weights[b] > 0].flatten().tolist()
        best = min(corners, key=lambda s: cost(s, points[b], target[b], weights[b]))
        assert found[b].item() == pytest.approx(best, rel=1e-9)
        scipy = minimize_scalar(cost, (0.1, 1), args=(points[b], target[b], weights[b]), options={"xtol": 1e-12})
        assert mine <= scipy.fun + 1e-9
        assert found[b].item() == pytest.approx(scipy.x, rel=1e-4)


def test_scenes_with_different_numbers_of_points_do_not_touch() -> None:
    points, target, weights = scenes()
    weights[1], weights[2, 0] = 0, 0
    together = optimal_scale(points, target, weights)
    alone = [optimal_scale(points[b : b + 1], target[b : b + 1], weights[b : b + 1]) for b in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=0)
    assert together[1] == 1, "no point: 1"


def test_points_of_no_weight_may_be_anything() -> None:
    points, target, weights = scenes()
    expected = optimal_scale(points, target, weights)
    for junk in (torch.nan, torch.inf, -torch.inf):
        points[weights == 0], target[weights == 0] = junk, -junk
        assert torch.equal(optimal_scale(points, target, weights), expected)


def test_a_scale_is_never_negative_nor_nothing() -> None:
    points, target, weights = scenes()
    for prediction in (-points, torch.zeros_like(points), points * torch.nan, points * torch.tensor([0.0, 0.0, -1.0])):
        assert (optimal_scale(prediction, target, weights) == 1).all()
    assert (optimal_scale(points, torch.zeros_like(target), weights) == 1).all()


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e4])
def test_the_units(unit: float) -> None:
    points, target, weights = (x.float() for x in scenes())
    expected = optimal_scale(points, target, weights)
    torch.testing.assert_close(optimal_scale(points, target * unit, weights), expected * unit)
    torch.testing.assert_close(optimal_scale(points * unit, target, weights), expected / unit)


def test_a_part_of_the_points_gives_nearly_the_scale_of_all() -> None:
    g = torch.Generator().manual_seed(1)
    points = 1 + torch.rand(2, 4, 64, 64, 3, generator=g)
    target = points * (0.5 + 0.2 * torch.rand(2, 4, 64, 64, 1, generator=g))
    weights = torch.ones(2, 4, 64, 64)
    few = optimal_scale(points, target, weights, samples=1000)
    torch.testing.assert_close(few, optimal_scale(points, target, weights, samples=10**6), rtol=0.02, atol=0)


def chosen_of(valid: Tensor, samples: int) -> list[set[int]]:
    """What is chosen, without repetition, of each scene."""
    index, chosen = spread(valid, samples)
    sets = []
    for places, used in zip(index, chosen, strict=True):
        some = places[used].tolist()
        assert len(set(some)) == len(some), "none is chosen twice"
        sets.append(set(some))
    return sets


@pytest.mark.parametrize("share", [0.0, 0.003, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("samples", [1, 7, 100, 4096])
def test_only_valid_points_are_chosen_and_all_if_they_are_few(share: float, samples: int) -> None:
    valid = torch.rand(3, 4, 500, generator=torch.Generator().manual_seed(2)) < share
    valid[0, 1] = False
    for which, chosen in zip(valid.flatten(1), chosen_of(valid, samples), strict=True):
        known = set(which.nonzero().flatten().tolist())
        assert chosen <= known and len(chosen) <= samples
        if len(known) <= samples:
            assert chosen == known
        else:
            assert len(chosen) > samples - 4, "no more is lost than one a view"


def test_the_order_of_views_changes_nothing() -> None:
    valid = torch.rand(1, 5, 400, generator=torch.Generator().manual_seed(3)) < 0.6
    order = torch.tensor([3, 0, 4, 2, 1])
    (plain,), (moved,) = chosen_of(valid, 300), chosen_of(valid[:, order], 300)
    assert plain == {int(order[place // 400]) * 400 + place % 400 for place in moved}


@pytest.mark.parametrize("side", [96, 128, 160, 512])
def test_the_chosen_cover_the_picture(side: int) -> None:
    """Also where the points are as many times the samples as the picture is wide: equal steps would choose one column."""
    (chosen,) = chosen_of(torch.ones(1, 2, side * side, dtype=torch.bool), 2 * side)
    places = np.array(sorted(chosen))
    assert len(places) == 2 * side
    for axis in ((places % side) / side, (places // side % side) / side):
        share = np.histogram(axis, bins=8, range=(0, 1))[0] / len(places)
        assert (np.abs(share - 1 / 8) < 0.04).all()
