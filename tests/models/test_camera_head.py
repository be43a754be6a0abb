"""The camera head: rotations that are rotations, and gradients that stay finite where singular values are equal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muskie.models.heads.camera import CameraHead
from muskie.models.heads.rotation import nearest_rotation

EYE = torch.eye(3, dtype=torch.float64)
ODD = {
    "zero": torch.zeros(3, 3),
    "ones": torch.ones(3, 3),
    "point reflection": -torch.eye(3),
    "mirror": torch.diag(torch.tensor([1.0, 1.0, -1.0])),
    "rank 2": torch.diag(torch.tensor([1.0, 1.0, 0.0])),
    "rank 1": torch.diag(torch.tensor([1.0, 0.0, 0.0])),
    "tiny": 1e-30 * torch.eye(3),
    "huge": 1e15 * torch.eye(3),
}


def rotations(count: int) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, dtype=torch.float64))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q * torch.linalg.det(q)[:, None, None]


def check_rotation(found: Tensor, tolerance: float = 1e-5) -> None:
    unit = torch.eye(3, dtype=found.dtype).expand_as(found)
    torch.testing.assert_close(found @ found.transpose(-1, -2), unit, atol=tolerance, rtol=0)
    torch.testing.assert_close(torch.linalg.det(found), torch.ones(found.shape[:-2], dtype=found.dtype))


def test_the_rotation_is_the_nearest_one() -> None:
    """No other, of many drawn over all rotations and close by, is nearer; also where the determinant is negative."""
    matrix = torch.randn(50, 3, 3, dtype=torch.float64)
    found = nearest_rotation(matrix)
    check_rotation(found)
    distance = (matrix - found).norm(dim=(1, 2))
    skew = torch.randn(200, 3, 3, dtype=torch.float64)
    near = torch.linalg.matrix_exp(0.1 * (skew - skew.mT)) @ found.unsqueeze(1)
    for others in (near, rotations(300).expand(50, -1, -1, -1)):
        assert ((matrix.unsqueeze(1) - others).norm(dim=(2, 3)) >= distance.unsqueeze(1)).all()
    assert (torch.linalg.det(matrix) < 0).any() and (torch.linalg.det(matrix) > 0).any()


def test_rotations_stay_and_turn_with_what_they_come_from() -> None:
    turn, matrix = rotations(20), torch.randn(20, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(nearest_rotation(turn), turn)
    torch.testing.assert_close(nearest_rotation(turn @ matrix), turn @ nearest_rotation(matrix))
    torch.testing.assert_close(nearest_rotation(3 * matrix), nearest_rotation(matrix))


@pytest.mark.parametrize(
    "matrix",
    [
        torch.randn(4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        2 * EYE,  # equal singular values, where U and V have no derivative and the rotation has
        torch.diag(torch.tensor([2.0, 2.0, 1.0])).double(),
        torch.diag(torch.tensor([2.0, 1.0, 1.0])).double(),
        torch.diag(torch.tensor([3.0, 2.0, -1.0])).double(),
        torch.diag(torch.tensor([2.0, 1.0, 0.0])).double(),
    ],
    ids=["any", "all equal", "first equal", "last equal", "negative", "rank 2"],
)
def test_the_gradient_is_that_of_finite_differences(matrix: Tensor) -> None:
    assert torch.autograd.gradcheck(nearest_rotation, matrix.clone().requires_grad_())


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
def test_degenerate_matrices_give_rotations_and_finite_gradients(name: str, noise: float) -> None:
    matrix = (ODD[name] + noise * torch.randn(16, 3, 3)).requires_grad_()
    found = nearest_rotation(matrix)
    check_rotation(found.detach())
    (found * torch.randn(3, 3)).sum().backward()
    assert matrix.grad is not None and matrix.grad.isfinite().all() and matrix.grad.abs().max() < 1e5


def test_what_is_no_number_spoils_its_own_view_alone() -> None:
    matrix = torch.eye(3).repeat(3, 1, 1)
    matrix[1, 0, 2] = torch.nan
    matrix.requires_grad_()
    found = nearest_rotation(matrix)
    assert found[1].isnan().all() and torch.equal(found[[0, 2]], torch.eye(3).expand(2, 3, 3))
    found.sum().backward()
    assert matrix.grad is not None and matrix.grad[[0, 2]].isfinite().all() and matrix.grad[1].isnan().all()


@pytest.mark.parametrize("norm", [True, False])
def test_poses_of_a_head(norm: bool) -> None:
    head, tokens = CameraHead(16, norm), torch.randn(5, 12, 16)
    poses = head(tokens)
    assert poses.dtype == torch.float32 and poses.shape == (5, 4, 4)
    assert torch.equal(poses[:, 3], torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(5, 4))
    check_rotation(poses[:, :3, :3].detach())
    torch.testing.assert_close(head(tokens[:, torch.randperm(12)]), poses)  # the mean over patches has no order
    torch.testing.assert_close(head(tokens[3:4]), poses[3:4])
    ((poses[:, :3] - torch.randn(3, 4)) ** 2).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_it_starts_at_the_identity_and_reaches_any_pose() -> None:
    torch.manual_seed(3)
    head, tokens = CameraHead(32), torch.randn(4, 6, 32)
    head.start_at_identity()
    with torch.no_grad():
        assert (head(tokens) - torch.eye(4)).abs().max() < 0.3
    target = torch.eye(4).repeat(4, 1, 1)
    target[:, :3, :3], target[:, :3, 3] = rotations(4).float(), torch.randn(4, 3)
    target[0, :3, :3] = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))  # half a turn, the farthest there is
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (head(tokens) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2


def test_rows_of_zeros_have_a_finite_gradient() -> None:
    head = CameraHead(8)
    with torch.no_grad():
        head.rotation.weight.zero_()
        head.rotation.bias.zero_()
    poses = head(torch.randn(2, 3, 8))
    poses.square().sum().backward()
    assert poses.isfinite().all() and all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
