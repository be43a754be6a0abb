"""Point maps of rooms, of planes, and of clouds against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import rooms
from torch import Tensor

pytest.importorskip("scipy.spatial")

from muskie.alignment import Similarity
from muskie.errors import ConfigError, DataError
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig, columns, in_first_camera, pointmap_errors
from muskie.evaluation.geometry.trivial import wall_points
from muskie.geometry import transform_points, unproject

rng = np.random.default_rng(0)
EXACT = PointMapConfig(alignment="none")


@pytest.fixture(scope="module")
def room() -> tuple[Tensor, Tensor, Any]:
    """True points [V, H, W, 3] and valid pixels of a room, and its views."""
    views = rooms((18, 24), views=3, distance=6, count=1)
    local = unproject(views.depth[0].double(), views.intrinsics[0])
    world = transform_points(views.cam2world[0], local.flatten(1, 2)).view_as(local)
    return world, views.depth[0] > 0, views


def somewhere(scale: float = 2.5) -> Similarity:
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -1.0, 2], [1, 0, -0.4], [-2, 0.4, 0]], dtype=torch.float64))
    return Similarity(torch.tensor(scale, dtype=torch.float64), turn, torch.tensor([1.0, -4, 2], dtype=torch.float64))


def moved(points: Tensor, scale: float = 2.5) -> Tensor:
    return somewhere(scale).points(points.flatten(0, -2)).view_as(points)


def noisy(points: Tensor, amount: float = 0.05, seed: int = 0) -> Tensor:
    return points + amount * torch.randn(points.shape, generator=torch.Generator().manual_seed(seed), dtype=points.dtype)


@pytest.mark.parametrize("icp", [False, True])
def test_truth_in_another_frame_and_scale_has_no_error(room: Any, icp: bool) -> None:
    truth, valid, _ = room
    config = PointMapConfig(icp=icp)
    scores = pointmap_errors(moved(truth), truth, valid, config)
    assert list(scores) == columns(config)
    for name, score in scores.items():
        assert score == pytest.approx(1 if "normal" in name else 0, abs=1e-9), name


def test_one_scale_and_one_shift_are_found_without_a_turn(room: Any) -> None:
    truth, valid, views = room
    config = PointMapConfig(alignment="median")
    camera = views.cam2world[0]
    exact = pointmap_errors(
        in_first_camera(0.3 * truth + 4, _shifted(camera)), in_first_camera(truth, camera), valid, config
    )
    assert exact["L1"] < 1e-9 and exact["completeness"] < 1e-9
    assert pointmap_errors(moved(truth), truth, valid, config)["L1"] > 0.1
    outlier = truth.clone()
    outlier[0, 0, :5] += 1000  # a few far points change no median by much
    assert pointmap_errors(outlier, truth, valid, config)["L1 (median)"] < 0.02


def _shifted(camera: Tensor) -> Tensor:
    """The cameras that see 0.3 · x + 4 where these see x."""
    other = camera.clone()
    other[:, :3, 3] = 0.3 * camera[:, :3, 3] + 4
    return other


def test_in_first_camera_is_what_it_sees(room: Any) -> None:
    truth, _, views = room
    local = unproject(views.depth[0, 0].double(), views.intrinsics[0, 0])
    torch.testing.assert_close(in_first_camera(truth, views.cam2world[0])[0], local)


def test_what_a_mirrored_first_camera_sees_is_missing(room: Any) -> None:
    """A mirrored world would be right again in the frame of a mirrored camera."""
    truth, valid, views = room
    mirror = torch.diag(torch.tensor([1.0, 1, -1, 1], dtype=torch.float64))
    world, cameras = transform_points(mirror, truth.flatten(0, -2)).view_as(truth), mirror @ views.cam2world[0]
    right = in_first_camera(truth, views.cam2world[0])
    scores = pointmap_errors(in_first_camera(world, cameras), right, valid, EXACT)
    assert scores["missing"] == 1 and scores["L1"] > 0.3


def test_a_rigid_alignment_keeps_the_scale(room: Any) -> None:
    truth, valid, _ = room
    rigid = PointMapConfig(alignment="se3")
    assert pointmap_errors(moved(truth, scale=1), truth, valid, rigid)["L1"] < 1e-9
    assert pointmap_errors(moved(truth), truth, valid, rigid)["L1"] > 0.5


@pytest.mark.parametrize("prediction", [0.02, 0.3])
def test_scores_depend_on_no_frame_and_no_order_of_views(room: Any, prediction: float) -> None:
    truth, valid, _ = room
    found = noisy(truth, prediction)
    config = PointMapConfig(icp=True)
    expected = pointmap_errors(found, truth, valid, config)
    np.testing.assert_allclose(list(pointmap_errors(moved(found), truth, valid, config).values()), list(expected.values()))
    turned = pointmap_errors(found, moved(truth, scale=1), valid, config)
    np.testing.assert_allclose(list(turned.values()), list(expected.values()), rtol=1e-6)
    order = torch.tensor([2, 0, 1])
    swapped = pointmap_errors(found[order], truth[order], valid[order], config)
    np.testing.assert_allclose(list(swapped.values()), list(expected.values()), rtol=1e-6)


def test_distances_are_in_the_unit_of_the_truth(room: Any) -> None:
    truth, valid, _ = room
    metres = pointmap_errors(noisy(truth), truth, valid)
    for name, score in pointmap_errors(noisy(truth), 1000 * truth, valid).items():
        assert score == pytest.approx(metres[name] * (1 if "normal" in name else 1000), rel=1e-6), name


def plane() -> Tensor:
    """A square of 1 m, z = 2, with a point every 2 centimetres, [1, 50, 50, 3]."""
    steps = torch.arange(50, dtype=torch.float64) / 50
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, 2)], dim=-1)[None]


def test_a_plane_moved_along_its_normal_is_off_by_that() -> None:
    truth = plane()
    found = truth + torch.tensor([0, 0, 0.07])
    config = PointMapConfig(alignment="none", icp=True, icp_distance=0.1)
    scores = pointmap_errors(found, truth, torch.ones(1, 50, 50), config)
    for name in ("accuracy", "completeness", "overall", "accuracy (median)", "L1"):
        assert scores[name] == pytest.approx(0.07)
    assert scores["normal consistency"] == pytest.approx(1)
    assert scores["accuracy after ICP"] == pytest.approx(0, abs=1e-9)  # which hides it


@pytest.mark.parametrize(("shift", "reach", "left"), [(0.07, 0.05, 0.07), (0.15, 0.2, 0.0), (0.125, 0.125, 0.0)])
def test_registration_reaches_as_far_as_it_is_told(shift: float, reach: float, left: float) -> None:
    """Points farther apart than that are none of the same, those at that distance are."""
    truth = plane()
    config = PointMapConfig(alignment="none", icp=True, icp_distance=reach)
    scores = pointmap_errors(truth + torch.tensor([0, 0, shift]), truth, torch.ones(1, 50, 50), config)
    for name in ("accuracy", "completeness", "accuracy (median)"):
        assert scores[name] == pytest.approx(shift)
        assert scores[f"{name} after ICP"] == pytest.approx(left, abs=1e-9)


def test_a_corner_has_two_normals() -> None:
    truth = plane()
    found = torch.stack([truth[..., 0], truth[..., 2], truth[..., 1]], dim=-1) + torch.tensor([0, 0, 1.5])
    scores = pointmap_errors(found, truth, torch.ones(1, 50, 50), EXACT)
    assert scores["normal consistency"] == pytest.approx(0, abs=1e-9)


def test_half_a_scene_is_accurate_and_not_complete() -> None:
    truth = plane()
    found = truth.clone()
    found[..., 0] = found[..., 0].clamp(max=0.48)
    scores = pointmap_errors(found, truth, torch.ones(1, 50, 50), EXACT)
    assert scores["accuracy"] < 1e-9
    assert scores["completeness"] == pytest.approx(np.maximum(np.arange(50) / 50 - 0.48, 0).mean())
    assert scores["overall"] == pytest.approx(scores["completeness"] / 2)
    assert scores["completeness (median)"] == pytest.approx(0.01)


def test_scores_are_those_of_brute_force() -> None:
    found, truth, valid = rng.normal(size=(2, 8, 9, 3)), rng.normal(size=(2, 8, 9, 3)), rng.random((2, 8, 9)) < 0.7
    truth[~valid], found[~valid] = np.nan, 1e3
    one, other = found[valid], truth[valid]
    between = np.linalg.norm(one[:, None] - other, axis=-1)
    scores = pointmap_errors(found, truth, valid, EXACT)
    for of, pool in (("", np.mean), (" (median)", np.median)):
        assert scores[f"accuracy{of}"] == pytest.approx(pool(between.min(1)))
        assert scores[f"completeness{of}"] == pytest.approx(pool(between.min(0)))
        assert scores[f"overall{of}"] == pytest.approx((pool(between.min(1)) + pool(between.min(0))) / 2)
        assert scores[f"L1{of}"] == pytest.approx(pool(np.linalg.norm(one - other, axis=-1)))


def test_normals_are_compared_as_by_open3d(room: Any) -> None:
    open3d = pytest.importorskip("open3d", exc_type=ImportError)
    truth, valid, _ = room
    found = noisy(truth, 0.01)
    clouds = [open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points[valid].numpy())) for points in (found, truth)]
    normals = []
    for cloud in clouds:
        cloud.estimate_normals(fast_normal_computation=False)
        normals.append(np.asarray(cloud.normals))
    ways = []
    for own, other in ((0, 1), (1, 0)):
        tree = open3d.geometry.KDTreeFlann(clouds[other])
        near = [tree.search_knn_vector_3d(point, 1)[1][0] for point in np.asarray(clouds[own].points)]
        ways.append(np.abs((normals[own] * normals[other][near]).sum(1)))
    scores = pointmap_errors(found, truth, valid, EXACT)
    assert scores["normal consistency"] == pytest.approx(np.mean([way.mean() for way in ways]), abs=1e-6)
    assert scores["normal consistency (median)"] == pytest.approx(np.mean([np.median(way) for way in ways]), abs=1e-6)
    distances = [np.asarray(clouds[own].compute_point_cloud_distance(clouds[1 - own])) for own in (0, 1)]
    assert scores["accuracy"] == pytest.approx(distances[0].mean()) and scores["accuracy"] > 0.001
    assert scores["completeness"] == pytest.approx(distances[1].mean())


def test_fewer_queries_estimate_the_same(room: Any) -> None:
    truth, valid, _ = room
    found = noisy(truth, 0.05)
    everything = pointmap_errors(found, truth, valid)
    drawn = [pointmap_errors(found, truth, valid, PointMapConfig(queries=100, seed=seed)) for seed in range(20)]
    for name in ("accuracy", "completeness", "normal consistency"):
        values = np.array([scores[name] for scores in drawn])
        assert abs(values.mean() - everything[name]) < 4 * values.std() / np.sqrt(len(drawn)) and values.std() > 0
    assert drawn[0]["L1"] == everything["L1"]


def test_fewer_points_are_the_same_pixels_of_both(room: Any) -> None:
    truth, valid, _ = room
    few = PointMapConfig(points=300)
    assert pointmap_errors(moved(truth), truth, valid, few)["accuracy"] < 1e-9
    found = noisy(truth)
    assert pointmap_errors(found, truth, valid, few)["accuracy"] > pointmap_errors(found, truth, valid)["accuracy"]


@pytest.mark.parametrize("icp", [False, True])
def test_what_is_missing_counts_as_the_middle(room: Any, icp: bool) -> None:
    truth, valid, _ = room
    found = moved(truth)
    found[1] = torch.nan
    found[2, 0, 0, 1] = torch.inf
    scores = pointmap_errors(found, truth, valid, PointMapConfig(icp=icp))
    lost = valid.clone()
    lost[0] = False
    lost[2].flatten()[1:] = False
    apart = (truth - truth[valid].mean(0)).norm(dim=-1)
    assert scores["missing"] == pytest.approx(lost.sum() / valid.sum())
    assert scores["L1"] == pytest.approx(((apart * lost).sum() / valid.sum()).item())
    assert scores["completeness"] > 0.001 and scores["accuracy"] > 0.1
    found[:] = torch.nan
    nothing = pointmap_errors(found, truth, valid, PointMapConfig(icp=icp))
    assert nothing["missing"] == 1 and nothing["L1"] == pytest.approx(apart[valid].mean().item())
    assert np.isfinite(list(nothing.values())).all()


def test_a_collapsed_prediction_counts_as_the_middle(room: Any) -> None:
    truth, valid, _ = room
    scores = pointmap_errors(torch.full_like(truth, 3.0), truth, valid)
    middle = truth[valid].mean(0)
    assert scores["L1"] == pytest.approx((truth[valid] - middle).norm(dim=-1).mean().item()) and scores["missing"] == 0


def test_a_wall_is_worse_than_the_room(room: Any) -> None:
    truth, valid, views = room
    wall = pointmap_errors(wall_points(views.depth, views.intrinsics)[0], truth, valid)
    close = pointmap_errors(noisy(truth, 0.1), truth, valid)
    for name in ("accuracy", "completeness", "L1"):
        assert wall[name] > close[name] > 0


def test_too_few_valid_pixels_measure_nothing(room: Any) -> None:
    truth, valid, _ = room
    valid = torch.zeros_like(valid)
    valid[0, 0, :2] = True
    assert all(np.isnan(list(pointmap_errors(truth, truth, valid).values())))


def test_bad_truth_and_bad_settings_are_told(room: Any) -> None:
    truth, valid, _ = room
    broken = truth.clone()
    broken[0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="true point is not finite"):
        pointmap_errors(truth, broken, torch.ones_like(valid))
    with pytest.raises(ValueError, match="shapes"):
        pointmap_errors(truth[:1], truth, valid)
    with pytest.raises(ConfigError) as error:
        PointMapConfig(alignment="best", queries=0, icp_distance=0)  # type: ignore[arg-type]
    assert all(f"pointmap.{name}=" in str(error.value) for name in ("alignment", "queries", "icp_distance"))
