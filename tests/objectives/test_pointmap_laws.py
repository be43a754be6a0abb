"""What changes nothing in the reconstruction objective: units, scales, worlds, order, splits of a batch, mirrors."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from curved_scenes import Truth, empty_first, rigid, scaled, single, tensors, truth, wrong

from muskie.models.geometry_output import Geometry
from muskie.objectives.loss import Loss
from muskie.objectives.pointmaps import PointMaps

FORMS = pytest.mark.parametrize("objective", [PointMaps(), PointMaps(published=True)], ids=["corrected", "published"])


def same(x: Loss, y: Loss, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close((x.loss, x.scalars), (y.loss, y.scalars), rtol=tolerance, atol=tolerance * 0.01)
    torch.testing.assert_close(x.scenes, y.scenes, rtol=tolerance, atol=tolerance * 0.01)


@FORMS
@pytest.mark.parametrize("unit", [1e-3, 0.3048, 1e4])
def test_the_unit_of_the_truth_changes_nothing(objective: PointMaps, unit: float) -> None:
    scene, prediction = truth(), wrong(truth(), torch.float32)
    poses = scene.cam2world.clone()
    poses[..., :3, 3] *= unit
    same(objective(prediction, *scene), objective(prediction, scene.depth * unit, scene.intrinsics, poses))


@FORMS
@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_the_scale_of_the_prediction_changes_nothing(objective: PointMaps, factor: float) -> None:
    scene, prediction = truth(), wrong(truth(), torch.float32)
    same(objective(prediction, *scene), objective(scaled(prediction, factor), *scene))


@FORMS
def test_worlds_change_nothing(objective: PointMaps) -> None:
    """Neither that of the truth, however far off, nor that of the prediction."""
    scene, prediction = truth(), wrong(truth())
    expected = objective(single(prediction), *scene)
    far = rigid(2, 1, seed=5, reach=1e4) @ scene.cam2world
    same(objective(single(prediction), scene.depth, scene.intrinsics, far), expected)
    moved = dataclasses.replace(prediction, cam2world=rigid(2, 1, seed=6) @ prediction.cam2world)
    same(objective(single(moved), *scene), expected)
    assert torch.equal(expected.loss, objective(single(prediction), *scene).loss)


@pytest.mark.parametrize("samples", [4096, 50])
def test_the_order_of_views_and_scenes_changes_nothing(samples: int) -> None:
    scene, prediction, objective = truth(3, 4), wrong(truth(3, 4), torch.float32), PointMaps(samples=samples)
    expected, views, scenes = objective(prediction, *scene), torch.tensor([2, 0, 3, 1]), torch.tensor([1, 2, 0])
    same(objective(Geometry(*(x[:, views] for x in tensors(prediction))), *(x[:, views] for x in scene)), expected)
    turned = objective(Geometry(*(x[scenes] for x in tensors(prediction))), *(x[scenes] for x in scene))
    torch.testing.assert_close(turned.scenes, expected.scenes[scenes])
    same(dataclasses.replace(turned, scenes=expected.scenes), expected)


def test_halves_of_a_batch_average_to_the_whole() -> None:
    scene, prediction = empty_first(truth(4)), wrong(truth(4))
    whole = PointMaps()(prediction, *scene).loss
    halves = [
        PointMaps()(Geometry(*(x[part] for x in tensors(prediction))), *(x[part] for x in scene)).loss.item()
        for part in (slice(0, 2), slice(2, 4))
    ]
    assert whole.item() == pytest.approx(sum(halves) / 2, rel=1e-9)


def test_mirrored_crops() -> None:
    """Pictures mirrored by a crop, poses left as they were: the model sees, and is told, the mirrored world."""
    scene, prediction = truth(), wrong(truth())
    flip, reflect = torch.eye(3, dtype=torch.float64), torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    flip[0, 0], flip[0, 2] = -1, 9
    mirrored = Truth(scene.depth.flip(-1), flip @ scene.intrinsics, scene.cam2world)
    parts = [part.flip(3) if part.dim() > 3 and part.shape[3] == 9 else part for part in tensors(prediction)]
    answer = Geometry(*parts)
    answer.local_points = answer.local_points * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    answer.cam2world = reflect @ answer.cam2world @ reflect
    same(PointMaps()(answer, *mirrored), PointMaps()(prediction, *scene), 1e-9)
    with pytest.raises(AssertionError):
        same(PointMaps()(Geometry(*parts), *mirrored), PointMaps()(prediction, *scene), 1e-2)


def test_autocast_changes_nothing() -> None:
    scene, prediction = truth(), wrong(truth(), torch.float32)
    for objective in (PointMaps(), PointMaps(published=True)):
        with torch.autocast("cpu", torch.bfloat16):
            inside = objective(prediction, *scene)
        same(inside, objective(prediction, *scene), 1e-7)
