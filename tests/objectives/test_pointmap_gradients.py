"""Gradients of the reconstruction objective: which part moves what, and by how much."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from curved_scenes import gradients, truth, wrong

from muskie.objectives.pointmaps import PointMaps

GEOMETRY = ("local_points", "cam2world")
NO_PART = PointMaps(points=0, normals=0, cameras=0, depth=0, confidence=0)


def only(**weights: float) -> PointMaps:
    return dataclasses.replace(NO_PART, **weights)  # type: ignore[arg-type]


def test_each_part_moves_its_own() -> None:
    scene, prediction = truth(), wrong(truth())
    moves = {
        "points": {"local_points"},
        "normals": {"local_points"},
        "cameras": {"local_points", "cam2world"},  # points too: they give the scale of the translations
        "depth": {"depth"},
        "confidence": {"confidence", "depth_confidence"},
    }
    for part, expected in moves.items():
        moved = {name for name, g in gradients(only(**{part: 1.0}), prediction, scene).items() if (g != 0).any()}
        assert moved == expected, part
    unknown = scene.depth == 0
    for name, g in gradients(PointMaps(), prediction, scene).items():
        assert name == "cam2world" or (g[unknown] == 0).all()


@pytest.mark.parametrize(
    "part, name",
    [
        ("points", "local_points"),
        ("cameras", "local_points"),
        ("cameras", "cam2world"),
        ("depth", "depth"),
        ("confidence", "confidence"),
    ],
)
def test_gradients_against_differences(part: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the scale stays as it is, for it has no gradient. (Normals: beside `normal_costs`.)"""
    monkeypatch.setattr(
        "muskie.objectives.pointmaps.optimal_scale", lambda points, *_: torch.full_like(points[:, 0, 0, 0, 0], 0.93)
    )
    scene, prediction = truth(1, 2, 3, 4), wrong(truth(1, 2, 3, 4))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return only(**{part: 1.0})(dataclasses.replace(prediction, **{name: x}), *scene).loss

    leaf = getattr(prediction, name).clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, leaf, eps=1e-7, atol=1e-5)


def test_the_gradient_of_points_is_that_of_the_least_cost() -> None:
    """It need not know how the scale moves: at the best one, the cost does not change with it (up to the one coordinate
    that sets it)."""
    scene, prediction, objective = truth(1, 4, 12, 16), wrong(truth(1, 4, 12, 16)), only(points=1.0)
    direction = torch.randn(prediction.local_points.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gradient = gradients(objective, prediction, scene)["local_points"]
    direction = direction + 50 * gradient / gradient.norm()  # so that something changes
    costs = [
        objective(dataclasses.replace(prediction, local_points=prediction.local_points + step * direction), *scene).loss
        for step in (-1e-5, 1e-5)
    ]
    assert ((costs[1] - costs[0]) / 2e-5).item() == pytest.approx((gradient * direction).sum().item(), rel=1e-2)


@pytest.mark.parametrize("part", ["points", "normals", "cameras"])
def test_no_gradient_towards_another_scale(part: str) -> None:
    """Growing all points and cameras together changes nothing, and the gradient knows."""
    scene, prediction = truth(1), wrong(truth(1))
    g = gradients(only(**{part: 1.0}), prediction, scene)
    along = (g["local_points"] * prediction.local_points).sum()
    along = along + (g["cam2world"][..., :3, 3] * prediction.cam2world[..., :3, 3]).sum()
    size = sum((g[name] ** 2).sum() for name in GEOMETRY) ** 0.5
    assert along.abs() < 1e-9 * size
