"""What normals cost: against loops, against tilted planes, and where the published form has no gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from curved_scenes import perfect, truth, wrong
from numpy.typing import NDArray
from torch import Tensor

from muskie.geometry import unproject
from muskie.objectives.normals import normal_costs, on_edge

Array = NDArray[np.float64]
FORMS = pytest.mark.parametrize("published", [False, True], ids=["corrected", "published"])


def smooth(error: float) -> float:
    beta = math.radians(3)
    return error**2 / 2 / beta if error < beta else error - beta / 2


def loops(points: Array, target: Array, known: Array, published: bool) -> tuple[float, int]:
    """Sum and number of the costs of one view [H, W, 3]: every pixel with each pair of its neighbours at a right angle."""
    total, count = 0.0, 0
    height, width = known.shape
    for y in range(height):
        for x in range(width):
            for dy, dx in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
                if not (0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                if not (known[y, x] and known[y + dy, x] and known[y, x + dx]):
                    continue
                n, m = (np.cross(p[y + dy, x] - p[y, x], p[y, x + dx] - p[y, x]) for p in (points, target))
                long, true = np.linalg.norm(n), np.linalg.norm(m)
                if published:
                    error = math.acos(np.clip(n @ m / long / true, -1, 1))
                    error = min(max(error, math.radians(1)), math.radians(90))
                else:
                    error = float(np.linalg.norm(n / max(long, true) - m / true))
                total, count = total + smooth(error), count + 1
    return total, count


@FORMS
@pytest.mark.parametrize("by", [0.003, 0.1])
def test_against_loops(by: float, published: bool) -> None:
    scene = truth()
    points, target = wrong(scene, by=by).local_points / 1.7, perfect(scene).local_points
    known = (scene.depth > 0) & ~on_edge(scene.depth, scene.depth > 0)
    costs = normal_costs(points, target, scene.depth > 0, published)
    for b in range(2):
        views = [loops(points[b, v].numpy(), target[b, v].numpy(), known[b, v].numpy(), published) for v in range(3)]
        total, count = (sum(part) for part in zip(*views, strict=True))
        if published:
            total, count = total / (4 * 9), 3 * 6 * 8
        assert costs.count[b] == count > 50
        assert costs.total[b].item() == pytest.approx(total, rel=1e-7)


def test_edges_against_loops() -> None:
    scene = truth()
    expected = torch.zeros_like(scene.depth, dtype=torch.bool)
    for b, v, y, x in np.ndindex(*scene.depth.shape):
        around = scene.depth[b, v, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        around = around[around > 0]
        z = scene.depth[b, v, y, x]
        expected[b, v, y, x] = bool(z > 0) and bool(around.max() - around.min() > 0.03 * z)
    known = scene.depth > 0
    assert torch.equal(on_edge(scene.depth, known) & known, expected)
    assert 0.1 < expected[known].double().mean() < 0.7


def plane(angle: float, size: int = 6) -> Tensor:
    """A plane tilted by an angle from facing the camera, [1, 1, H, W, 3]."""
    k = torch.tensor([[20.0, 0, size / 2], [0, 20.0, size / 2], [0, 0, 1]], dtype=torch.float64)
    rays = unproject(torch.ones(size, size, dtype=torch.float64), k)
    return (rays * 2 / (1 + math.tan(angle) * rays[..., :1]))[None, None]


@pytest.mark.parametrize("degrees", [0.1, 2, 5, 30])
def test_tilted_planes(degrees: float) -> None:
    """A plane tilted away has longer edges: its normal has its full length, and the chord is 2·sin(angle / 2)."""
    facing, tilted = plane(0), plane(math.radians(degrees)) * 3
    known = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    expected = smooth(2 * math.sin(math.radians(degrees) / 2))
    assert normal_costs(tilted, facing, known).mean().item() == pytest.approx(expected, rel=1e-6)
    published = smooth(max(math.radians(degrees), math.radians(1)))
    assert normal_costs(tilted, facing, known, True).mean().item() == pytest.approx(published * 4 / 24, rel=1e-6)


def test_a_perfect_prediction() -> None:
    scene = truth()
    target = perfect(scene).local_points.requires_grad_()
    cost = normal_costs(target, target.detach(), scene.depth > 0).mean()
    cost.backward()
    assert cost < 1e-25 and target.grad is not None and target.grad.abs().max() < 1e-9
    target = target.detach().float()
    assert normal_costs(target * 3.3 / 3.3, target, scene.depth > 0).mean() < 1e-7
    assert normal_costs(target, target, scene.depth > 0, True).mean() > 1e-5, "published: 1 degree at least"


def test_gradients_against_differences() -> None:
    scene = truth(1, 1, 4, 4, holes=0.1)
    points = wrong(scene).local_points.requires_grad_()
    target = perfect(scene).local_points
    assert torch.autograd.gradcheck(lambda x: normal_costs(x, target, scene.depth > 0).mean(), points, atol=1e-6)


@FORMS
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e-7, 1e-4])
def test_collapsed_predictions(size: float, published: bool) -> None:
    """All points nearly at one place: a chord of about 1, and a gradient that does not grow as they come together."""
    scene = truth(holes=0.0)
    target = perfect(scene, torch.float32).local_points
    points = (torch.tensor([0.0, 0, 1]) + size * target).requires_grad_()
    cost = normal_costs(points, target, scene.depth > 0, published).mean()
    cost.backward()
    assert cost.isfinite() and points.grad is not None and points.grad.isfinite().all()
    if not published:
        assert cost.item() == pytest.approx(smooth(1), rel=0.01) and points.grad.abs().max() < 1


@FORMS
def test_nothing_known(published: bool) -> None:
    scene = truth()
    points = wrong(scene).local_points.requires_grad_()
    target = torch.zeros_like(points)
    for known in (scene.depth < 0, torch.arange(9).expand_as(scene.depth) % 2 == 0):  # none, and no two side by side
        cost = normal_costs(points, target, known, published).mean(published)
        (gradient,) = torch.autograd.grad(cost, points)
        assert cost == 0 and (gradient == 0).all()
    one = normal_costs(points[:, :, :1], target[:, :, :1], scene.depth[:, :, :1] > 0, published)
    assert (one.total == 0).all() and one.mean(published) == 0, "a single row has no squares"
