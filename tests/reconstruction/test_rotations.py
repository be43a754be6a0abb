"""Rotations and quaternions against scipy."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from muskie.reconstruction.rotations import nearest_rotation, quaternion_wxyz, rigid


def test_quaternions_against_scipy() -> None:
    generator = np.random.default_rng(0)
    rotations = Rotation.random(200, random_state=generator).as_matrix()
    half_turns = Rotation.from_rotvec(np.pi * np.eye(3)).as_matrix()
    matrices = torch.from_numpy(np.concatenate([rotations, half_turns, np.eye(3)[None]]))
    quaternions = quaternion_wxyz(matrices)
    back = Rotation.from_quat(quaternions.numpy(), scalar_first=True).as_matrix()
    assert np.allclose(back, matrices.numpy(), atol=1e-12) and (quaternions[:, 0] >= 0).all()
    noisy = nearest_rotation(matrices + 1e-3)
    assert torch.allclose(noisy @ noisy.transpose(1, 2), torch.eye(3).double(), atol=1e-12)
    assert torch.allclose(torch.linalg.det(noisy), torch.ones(len(noisy)).double())


def test_the_nearest_rotation_is_scipys() -> None:
    """Of a stretched and sheared rotation; of a reflection, too, it is a rotation."""
    rng = np.random.default_rng(1)
    matrices = Rotation.random(50, random_state=rng).as_matrix() @ (np.eye(3) + 0.2 * rng.standard_normal((50, 3, 3)))
    found = nearest_rotation(torch.from_numpy(matrices)).numpy()
    # Kabsch: the rotation R with the least sum of |m_i - R e_i|² over the columns m_i.
    for matrix, rotation in zip(matrices, found, strict=True):
        expected, _ = Rotation.align_vectors(matrix.T, np.eye(3))
        assert np.allclose(rotation, expected.as_matrix(), atol=1e-6)
    assert torch.linalg.det(nearest_rotation(-torch.eye(3))) > 0


def test_a_rigid_transform_keeps_its_place() -> None:
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[:, :3, :3] *= 1.5
    pose[:, :3, 3] = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    found = rigid(pose)
    assert found.dtype == torch.float64 and torch.allclose(found[:, :3, :3], torch.eye(3).double().expand(2, 3, 3))
    assert torch.equal(found[:, :3, 3], pose[:, :3, 3].double()) and pose[0, 0, 0] == 1.5, "what was given is as it was"
