"""The reconstruction objective on scenes that know little or nothing, and on predictions that say little or too much."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from curved_scenes import Truth, empty_first, gradients, perfect, scaled, single, tensors, truth, wrong

from muskie.models.geometry_output import Geometry
from muskie.objectives.pointmaps import PointMaps

FORMS = pytest.mark.parametrize("objective", [PointMaps(), PointMaps(published=True)], ids=["corrected", "published"])


def identity(scene: Truth) -> Truth:
    return scene._replace(cam2world=torch.eye(4, dtype=torch.float64).expand_as(scene.cam2world).clone())


def flat(scene: Truth) -> Truth:
    return scene._replace(depth=torch.full_like(scene.depth, 2.0))


def one_pixel(scene: Truth) -> Truth:
    depth = torch.zeros_like(scene.depth)
    depth[:, :, 2, 3] = 2.0
    return scene._replace(depth=depth)


def line(scene: Truth) -> Truth:
    """Cameras on a line, and points known on one row."""
    depth = torch.zeros_like(scene.depth)
    depth[:, :, 3] = 2.0
    scene = identity(scene)
    scene.cam2world[..., 0, 3] = torch.arange(scene.depth.shape[1], dtype=torch.float64)
    return scene._replace(depth=depth)


def as_they_are(scene: Truth) -> Truth:
    return scene


def right_answer(scene: Truth) -> Geometry:
    return perfect(scene)


def one_place(scene: Truth) -> Geometry:
    """All points the same, and all poses."""
    prediction = wrong(scene)
    prediction.local_points[:] = torch.tensor([0.1, -0.2, 1.0], dtype=torch.float64)
    prediction.cam2world[:] = torch.eye(4, dtype=torch.float64)
    return prediction


def origin(scene: Truth) -> Geometry:
    prediction = wrong(scene)
    prediction.local_points[:] = 0
    return prediction


def behind(scene: Truth) -> Geometry:
    prediction = wrong(scene)
    prediction.local_points *= -1
    return prediction


@FORMS
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4], ids=str)
@pytest.mark.parametrize("predict", [wrong, right_answer, one_place, origin, behind])
@pytest.mark.parametrize("change", [as_they_are, empty_first, identity, flat, one_pixel, line])
@pytest.mark.parametrize("views", [1, 3])
def test_everything_stays_finite(
    objective: PointMaps,
    factor: float,
    predict: Callable[[Truth], Geometry],
    change: Callable[[Truth], Truth],
    views: int,
) -> None:
    scene = change(truth(v=views))
    prediction = single(scaled(predict(truth(v=views)), factor))
    result = objective(prediction, *scene)
    assert all(x.isfinite().all() for x in (result.loss, result.scenes, *result.scalars.values()))
    for name, gradient in gradients(objective, prediction, scene).items():
        assert gradient.isfinite().all(), name
        if change is empty_first:
            assert (gradient[0] == 0).all(), "a scene without depth moves nothing"
    if change is empty_first:
        assert result.scenes[0] == 0 != result.scenes[1]
    if views == 1:
        assert result.scalars["translation"] == result.scalars["rotation"] == 0


@FORMS
def test_no_depth_at_all(objective: PointMaps) -> None:
    scene, prediction = truth(), wrong(truth(), torch.float32)
    nothing = objective(prediction, torch.zeros_like(scene.depth), *scene[1:])
    assert nothing.loss == 0 and (nothing.scenes == 0).all() and all(x == 0 for x in nothing.scalars.values())
    for gradient in gradients(objective, prediction, scene._replace(depth=0 * scene.depth)).values():
        assert (gradient == 0).all()


@FORMS
def test_predictions_where_depth_is_unknown_may_be_anything(objective: PointMaps) -> None:
    scene, prediction = truth(), wrong(truth(), torch.float32)
    expected, unknown = objective(prediction, *scene), scene.depth == 0
    for junk in (torch.nan, torch.inf):
        spoiled = Geometry(*(x.clone() for x in tensors(prediction)))
        for part in (spoiled.local_points, spoiled.confidence, spoiled.depth, spoiled.depth_confidence):
            assert part is not None
            part[unknown] = junk
        assert torch.equal(objective(spoiled, *scene).loss, expected.loss)
        assert all(g.isfinite().all() for g in gradients(objective, spoiled, scene).values())


@pytest.mark.parametrize("name", ["local_points", "cam2world", "depth", "confidence"])
def test_predictions_that_are_not_finite_are_seen(name: str) -> None:
    """And in which scene: the trainer asks."""
    scene, prediction = truth(), wrong(truth(), torch.float32)
    getattr(prediction, name)[1][(scene.depth[1] > 0) if name != "cam2world" else 0] = torch.nan
    result = PointMaps()(prediction, *scene)
    assert not result.loss.isfinite() and result.scenes.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("dtype, near", [(torch.float16, 2e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_is_computed_with_in_single(dtype: torch.dtype, near: float) -> None:
    scene, prediction = truth(), Geometry(*(x.to(dtype) for x in tensors(wrong(truth()))))
    result = PointMaps()(prediction, *scene)
    assert torch.equal(result.loss, PointMaps()(single(prediction), *scene).loss) and result.loss.dtype == torch.float32
    assert result.loss.item() == pytest.approx(PointMaps()(wrong(truth()), *scene).loss.item(), rel=near)
    assert gradients(PointMaps(), prediction, scene)["local_points"].dtype == dtype


@FORMS
def test_nothing_waits_for_the_device(objective: PointMaps) -> None:
    """Tensors of the meta device have no values: whoever asks for one gets an error."""
    scene = Truth(*(part.to("meta") for part in truth()))
    prediction = Geometry(*(part.to("meta").requires_grad_() for part in tensors(wrong(truth(), torch.float32))))
    result = objective(prediction, *scene)
    result.loss.backward()
    assert result.loss.shape == () and result.scenes.shape == (2,) and prediction.local_points.grad is not None
