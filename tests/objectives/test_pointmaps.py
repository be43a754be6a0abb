"""The reconstruction objective: its formulas by loops, and its settings."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from curved_scenes import Truth, perfect, rigid, scaled, tensors, truth, wrong
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation
from test_normals import loops

from muskie.errors import ConfigError
from muskie.geometry import invert, transform_points, unproject
from muskie.models.geometry_output import Geometry
from muskie.objectives.normals import on_edge
from muskie.objectives.point_confidence import confidence_costs
from muskie.objectives.pointmaps import PointMaps

FORMS = pytest.mark.parametrize("objective", [PointMaps(), PointMaps(published=True)], ids=["corrected", "published"])
PARTS = ("points", "normals", "translation", "rotation", "confidence", "depth", "depth_confidence")


@FORMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_perfect_prediction_costs_nothing(objective: PointMaps, dtype: torch.dtype) -> None:
    """Up to rounding: about 1e-7 each in float32. The published form charges a degree for normals, 1.4e-3 for rotations."""
    scene = truth()
    for factor in (1.0, 0.37):
        moved = scaled(perfect(scene), factor)
        moved = dataclasses.replace(moved, cam2world=rigid(2, 1, seed=5) @ moved.cam2world)
        scalars = objective(Geometry(*(x.to(dtype) for x in tensors(moved))), *scene).scalars
        rounding = 1e-6 if dtype == torch.float32 else 1e-14
        for part in ("points", "depth", "translation"):
            assert scalars[part] < rounding
        if objective.published:
            assert scalars["rotation"].item() == pytest.approx(math.acos(1 - 1e-6), rel=0.1)
            assert 0 < scalars["normals"] < 1e-4
        else:
            assert scalars["rotation"] < rounding and scalars["normals"] < rounding


def slow(objective: PointMaps, prediction: Geometry, scene: Truth) -> dict[str, float]:
    """All parts but the confidence's by loops in numpy, the scale by trying every corner of its cost."""
    sums: dict[str, list[tuple[float, float]]] = {
        part: [] for part in ("points", "normals", "translation", "rotation", "depth")
    }
    assert prediction.depth is not None
    views, height, width = scene.depth.shape[1:]
    for b in range(len(scene.depth)):
        depth, poses, known = scene.depth[b], scene.cam2world[b], (scene.depth[b] > 0).numpy()
        local = unproject(depth, scene.intrinsics[b])
        first = transform_points(invert(poses[0]) @ poses, local.flatten(1, 2)).view_as(local)
        unit = (first if objective.published else local).norm(dim=-1).numpy()[known].mean()
        true, points = local.numpy() / unit, prediction.local_points[b].numpy()
        size = np.linalg.norm(points, axis=-1)[known].mean()
        z = true[..., 2]
        weight = np.stack([1 / (np.maximum(z[v], 0.1 * z[v][known[v]].mean()) + 1e-6) for v in range(views)])
        p, g, w = points[known] / size, true[known], weight[known][:, None]
        scale = min((g / p).ravel(), key=lambda s: (w * np.abs(s * p - g)).sum())
        sums["points"].append(((w * np.abs(scale * p - g)).sum(), p.size))
        head = scale * prediction.depth[b].numpy()[known] / size
        sums["depth"].append(((w[:, 0] * np.abs(head - g[:, 2])).sum(), len(p)))
        smooth = known & ~on_edge(depth[None], depth[None] > 0)[0].numpy()
        each = [loops(scale * points[v] / size, true[v], smooth[v], objective.published) for v in range(views)]
        total, count = (sum(part) for part in zip(*each, strict=True))
        if objective.published:
            total, count = total / (4 * max(height, width)), views * (height - 1) * (width - 1)
        sums["normals"].append((total, count))
        for i, j in ((i, j) for i in range(views) for j in range(views) if i != j):
            ours, theirs = (np.linalg.inv(x[i]) @ x[j] for x in (prediction.cam2world[b].numpy(), poses.numpy()))
            d = np.abs(ours[:3, 3] * scale / size - theirs[:3, 3] / unit)
            sums["translation"].append((np.where(d < 0.1, d**2 / 2, 0.1 * (d - 0.05)).sum(), 3))
            sums["rotation"].append((Rotation.from_matrix(theirs[:3, :3].T @ ours[:3, :3]).magnitude(), 1))
    if objective.published:
        return {part: sum(t for t, _ in each) / sum(n for _, n in each) for part, each in sums.items()}
    return {part: float(np.mean([t / n for t, n in each])) for part, each in sums.items()}


@FORMS
def test_the_formulas_by_loops(objective: PointMaps) -> None:
    scene, prediction = truth(), wrong(truth())
    result, expected = objective(prediction, *scene), slow(objective, prediction, truth())
    for part, value in expected.items():
        assert result.scalars[part].item() == pytest.approx(value, rel=1e-6), part
    cameras = 100 * expected["translation"] + expected["rotation"]
    confidence = 0.1 * (result.scalars["confidence"] + result.scalars["depth_confidence"]).item()
    loss = expected["points"] + 0.1 * expected["normals"] + 0.1 * cameras + expected["depth"] + confidence
    assert result.loss.item() == pytest.approx(loss, rel=1e-6)
    if not objective.published:
        assert result.scenes.mean().item() == pytest.approx(loss, rel=1e-6)
    assert not result.scenes.requires_grad and not any(value.requires_grad for value in result.scalars.values())


def test_the_confidence_by_its_formula() -> None:
    """α and the weighted distance of points; errors beyond 1 count as 1."""
    scene, prediction = truth(1, holes=0), perfect(truth(1, holes=0))
    prediction.local_points[0, 0, 0, 0] += torch.tensor([0.03, -0.04, 0.0])  # few: the scale of all others stays
    prediction.local_points[0, 0, 0, 1] *= 40
    result = PointMaps(price=0.3)(prediction, *scene)
    z = scene.depth[0, 0, 0, 0]
    error = torch.zeros_like(scene.depth)
    error[0, 0, 0, 0], error[0, 0, 0, 1] = 0.05 / z, 1
    c = prediction.confidence
    assert result.scalars["confidence"].item() == pytest.approx((c * error - 0.3 * c.log()).mean().item(), rel=1e-5)
    assert result.scalars["mean_confidence"].item() == pytest.approx(c.mean().item())


@pytest.mark.parametrize("error", [0.01, 0.05, 0.1, 0.19, 0.2, 0.5, 1.0, 50.0])
def test_the_best_confidence_is_the_price_over_the_error(error: float) -> None:
    def cost(confidence: float) -> float:
        return confidence_costs(torch.tensor(confidence).double(), torch.tensor(error).double(), 0.2).item()

    best = minimize_scalar(cost, bounds=(1, 100), method="bounded", options={"xatol": 1e-7}).x
    assert best == pytest.approx(max(0.2 / error, 1), rel=1e-3)


def test_without_a_depth_head() -> None:
    scene, prediction = truth(), wrong(truth())
    alone = PointMaps()(dataclasses.replace(prediction, depth=None, depth_confidence=None), *scene)
    whole = PointMaps()(prediction, *scene)
    assert set(whole.scalars) - set(alone.scalars) == {"depth", "depth_confidence"}
    assert set(whole.scalars) == {*PARTS, "mean_confidence"}
    rest = whole.loss - whole.scalars["depth"] - 0.1 * whole.scalars["depth_confidence"]
    assert alone.loss.item() == pytest.approx(rest.item(), rel=1e-9)
    half = PointMaps()(dataclasses.replace(prediction, depth_confidence=None), *scene)
    assert "depth" in half.scalars and "depth_confidence" not in half.scalars


def test_the_depth_head_has_the_scale_of_the_points() -> None:
    scene, prediction = truth(), perfect(truth())
    assert prediction.depth is not None
    costs = [
        PointMaps()(dataclasses.replace(prediction, depth=prediction.depth * f), *scene).scalars["depth"] for f in (1, 1.2)
    ]
    assert costs[0] < 1e-14
    assert costs[1].item() == pytest.approx(0.2, rel=1e-5)


@pytest.mark.parametrize("name", ["points", "normals", "cameras", "depth", "confidence", "translation", "price", "huber"])
def test_settings_that_mean_nothing_are_refused(name: str) -> None:
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ConfigError, match=rf"objective\.{name}={value}: expected 0 or more"):
            PointMaps(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"objective\.huber=0"):
        PointMaps(huber=0)
    with pytest.raises(ConfigError, match=r"objective\.samples=0: expected 1 or more"):
        PointMaps(samples=0)
