"""Clouds against brute force and open3d."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("scipy.spatial")

from muskie.errors import ConfigError
from muskie.evaluation.geometry.nearest import Cloud, icp

rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def open3d() -> Any:
    """Skips where it is not there, or cannot find the libraries that it needs."""
    return pytest.importorskip("open3d", exc_type=ImportError)


def surface(count: int, seed: int = 0) -> np.ndarray:
    """A wavy sheet, with a little noise."""
    draw = np.random.default_rng(seed)
    x, y = draw.uniform(-1, 1, (2, count))
    return np.stack([x, y, 0.3 * np.sin(3 * x) * np.cos(2 * y)], axis=-1) + 0.002 * draw.normal(size=(count, 3))


def turn(angle: float) -> np.ndarray:
    skew = angle * torch.tensor([[0, -1.0, 0.5], [1, 0, -0.2], [-0.5, 0.2, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(skew).numpy()


def test_the_nearest_point_is_that_of_brute_force() -> None:
    points, queries = rng.normal(size=(200, 3)), rng.normal(size=(50, 3))
    between = np.linalg.norm(queries[:, None] - points, axis=-1)
    distance, number = Cloud(points).nearest(queries)
    np.testing.assert_array_equal(number, between.argmin(1))
    np.testing.assert_allclose(distance, between.min(1))


def test_a_cloud_of_one_place_is_searched_at_once() -> None:
    distance, number = Cloud(np.ones((100_000, 3))).nearest(np.zeros((1000, 3)))
    np.testing.assert_allclose(distance, np.sqrt(3))
    assert (number == 0).all()


def test_normals_of_a_plane_and_of_a_ball() -> None:
    axis = np.array([1.0, 2, -2]) / 3
    plane = rng.normal(size=(500, 3))
    plane -= (plane @ axis)[:, None] * axis
    np.testing.assert_allclose(np.abs(Cloud(plane).normals(plane) @ axis), 1)
    ball = rng.normal(size=(20_000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    agree = np.abs((Cloud(ball).normals(ball[:500]) * ball[:500]).sum(1))
    assert agree.min() > 0.999
    np.testing.assert_array_equal(Cloud(ball[:2]).normals(ball[:1]), [[0, 0, 1]])


def test_normals_are_those_of_open3d(open3d: Any) -> None:
    points = surface(3000)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.estimate_normals(fast_normal_computation=False)
    agree = np.abs((Cloud(points).normals(points) * np.asarray(cloud.normals)).sum(1))
    np.testing.assert_allclose(agree, 1, atol=1e-9)


@pytest.mark.parametrize(("reach", "iterations"), [(0.1, 30), (0.03, 30), (1.0, 4)])
def test_registration_is_that_of_open3d(open3d: Any, reach: float, iterations: int) -> None:
    target, source = surface(3000), surface(2000, seed=1) @ turn(0.05).T + [0.01, -0.02, 0.03]
    clouds = [open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points)) for points in (source, target)]
    registration = open3d.pipelines.registration
    criteria = registration.ICPConvergenceCriteria(max_iteration=iterations)
    method = registration.TransformationEstimationPointToPoint()
    expected = registration.registration_icp(*clouds, reach, np.eye(4), method, criteria).transformation
    found = icp(source, Cloud(target), reach, iterations)
    np.testing.assert_allclose(found.rotation.numpy(), expected[:3, :3], atol=1e-9)
    np.testing.assert_allclose(found.translation.numpy(), expected[:3, 3], atol=1e-9)


def test_registration_brings_a_moved_cloud_back() -> None:
    target = surface(2000)
    source = target @ turn(0.02).T + [0.005, 0.01, -0.004]
    found = icp(source, Cloud(target), 0.1, iterations=100)
    assert found.scale == 1
    np.testing.assert_allclose(found.rotation.numpy() @ turn(0.02), np.eye(3), atol=1e-3)
    np.testing.assert_allclose(found.points(torch.from_numpy(source)).numpy(), target, atol=1e-3)


def test_nothing_within_reach_moves_nothing() -> None:
    target = surface(100)
    found = icp(target + 50, Cloud(target), 0.1)
    np.testing.assert_allclose(found.rotation.numpy(), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.translation.numpy(), 0, atol=1e-12)


def test_without_scipy_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(ConfigError, match=r"pip install 'muskie\[recon\]'"):
        Cloud(np.eye(3))
