"""Poses between poses, against SciPy's interpolation of rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from muskie.data.sources.cameras import rotations
from muskie.data.sources.trajectory import Trajectory, from_axis_angle
from muskie.streams import stream

TIMES = np.array([1.0, 1.1, 1.25, 1.9, 2.0])


def _random() -> tuple[Rotation, np.ndarray]:
    rng = stream(0, "a trajectory for tests")
    return Rotation.from_rotvec(rng.normal(size=(5, 3)) * 1.5), rng.normal(size=(5, 3))


def test_interpolation_is_scipys_whatever_the_signs_and_the_order() -> None:
    rotation, centres = _random()
    quaternions = rotation.as_quat()[:, [3, 0, 1, 2]] * np.array([[1], [-2], [1], [1], [-0.5]])  # the same rotations
    order = [3, 0, 4, 2, 1]
    trajectory = Trajectory(TIMES[order], quaternions[order], centres[order], gap=0.2, apart=0.01)
    for time in (1.0, 1.03, 1.1, 1.2, 1.249, 1.93, 2.0):
        pose = trajectory.at(time)
        assert pose is not None
        np.testing.assert_allclose(pose[:3, :3], Slerp(TIMES, rotation)(time).as_matrix(), atol=1e-12)
        np.testing.assert_allclose(pose[:3, 3], [np.interp(time, TIMES, axis) for axis in centres.T], atol=1e-12)


def test_what_lies_too_far_from_any_pose_has_none() -> None:
    rotation, centres = _random()
    trajectory = Trajectory(TIMES, rotation.as_quat()[:, [3, 0, 1, 2]], centres, gap=0.2, apart=0.01)
    for time, number in ((0.991, 0), (1.259, 2), (1.891, 3), (2.009, 4)):
        pose = trajectory.at(time)
        assert pose is not None
        np.testing.assert_allclose(pose[:3, 3], centres[number])
        np.testing.assert_allclose(pose[:3, :3], rotation[number].as_matrix(), atol=1e-12)
    assert [trajectory.at(time) for time in (0.989, 1.261, 1.5, 1.889, 2.011)] == [None] * 5
    assert Trajectory(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 3)), gap=1, apart=1).at(0) is None


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-4, 1.0, np.pi, 4.0])
def test_axis_and_angle_are_scipys(length: float) -> None:
    vector = np.array([[0.6, -0.48, 0.64]]) * length
    np.testing.assert_allclose(rotations(from_axis_angle(vector)), Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)


def test_a_camera_that_stands_still_has_its_pose() -> None:
    trajectory = Trajectory(np.array([0.0, 0.1]), np.array([[1.0, 0, 0, 0], [1, 1e-9, 0, 0]]), np.ones((2, 3)), 0.2, 0.01)
    pose = trajectory.at(0.05)
    assert pose is not None
    np.testing.assert_allclose(pose, [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]], atol=1e-8)
