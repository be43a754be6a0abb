"""Rigid transforms and the pinhole camera against numpy's linear algebra and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.geometry import invert, project, reproject, transform_points, unproject

FOCAL = 40.0
SIZE = (24, 32)  # H, W


def rigid(rng: np.random.Generator, *batch: int) -> np.ndarray:
    """Random rotations (Q of a QR decomposition, made proper) and translations, float64 [*batch, 4, 4]."""
    rotation = np.linalg.qr(rng.standard_normal((*batch, 3, 3)))[0]
    rotation *= np.linalg.det(rotation)[..., None, None]
    transform = np.broadcast_to(np.eye(4), (*batch, 4, 4)).copy()
    transform[..., :3, :3], transform[..., :3, 3] = rotation, rng.standard_normal((*batch, 3))
    return transform


def intrinsics(focal: float = FOCAL, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]], dtype=torch.float64)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Tensor:
    """The pose of a camera that has moved without turning."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([x, y, z], dtype=torch.float64)
    return pose


def wall(distance: float, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.full(size, distance, dtype=torch.float64)


def uneven(seed: int, *batch: int) -> Tensor:
    """Depths between 1 and 4 metres."""
    return torch.from_numpy(np.random.default_rng(seed).uniform(1, 4, (*batch, *SIZE)))


def centres(size: tuple[int, int] = SIZE) -> np.ndarray:
    """(x, y) of all pixels, [H, W, 2]."""
    return np.stack(np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5), axis=-1)


def test_invert_is_the_matrix_inverse() -> None:
    transform = rigid(np.random.default_rng(0), 5, 3)
    inverse = invert(torch.from_numpy(transform))
    np.testing.assert_allclose(inverse, np.linalg.inv(transform), atol=1e-12)
    np.testing.assert_allclose(invert(inverse), transform, atol=1e-12)


def test_points_move_as_homogeneous_coordinates_do() -> None:
    rng = np.random.default_rng(1)
    transform, points = rigid(rng, 4), rng.standard_normal((4, 7, 3))
    moved_points = transform_points(torch.from_numpy(transform), torch.from_numpy(points))
    for b in range(4):
        for n in range(7):
            np.testing.assert_allclose(moved_points[b, n], (transform[b] @ [*points[b, n], 1.0])[:3], atol=1e-12)
    back = transform_points(invert(torch.from_numpy(transform)), moved_points)
    np.testing.assert_allclose(back, points, atol=1e-12)
    shared = transform_points(torch.from_numpy(transform), torch.from_numpy(points[0]))
    np.testing.assert_allclose(shared[0], moved_points[0], atol=1e-12)
    assert shared.shape == (4, 7, 3)


@pytest.mark.parametrize(
    "matrix",
    [
        [[40, 0, 16], [0, 40, 12], [0, 0, 1]],
        [[55.5, 0, 13.2], [0, 38.1, 14.9], [0, 0, 1]],
        [[-40, 0, 16], [0, -41, 12], [0, 0, 1]],  # mirrored, as by `Crop.intrinsics`
        [[40, 2.5, 16], [0, 40, 12], [0, 0, 1]],  # skewed
    ],
)
def test_unprojected_pixels_project_back_onto_their_centres(matrix: list[list[float]]) -> None:
    k, depth = torch.tensor(matrix, dtype=torch.float64), uneven(0, 2)
    points = unproject(depth, k)
    assert points.shape == (2, *SIZE, 3)
    homogeneous = np.concatenate([centres(), np.ones((*SIZE, 1))], axis=-1)
    expected = np.einsum("ij,hwj->hwi", np.linalg.inv(k.numpy()), homogeneous) * depth[1].numpy()[..., None]
    np.testing.assert_allclose(points[1], expected, atol=1e-12)
    pixels, z = project(points.flatten(1, 2), k)
    np.testing.assert_allclose(pixels.unflatten(1, SIZE)[0], centres(), atol=1e-10)
    np.testing.assert_allclose(z.unflatten(1, SIZE), depth, atol=1e-12)


def test_axes_are_opencv_and_the_picture_spans_whole_pixels() -> None:
    points = torch.tensor([[0.0, 0, 2], [0.4, 0, 2], [0, 0.3, 2], [-0.8, -0.6, 2]], dtype=torch.float64)
    pixels, z = project(points, intrinsics())
    np.testing.assert_allclose(pixels, [[16, 12], [24, 12], [16, 18], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(z, [2, 2, 2, 2])
    assert unproject(wall(2.0), intrinsics())[0, 0].tolist() == pytest.approx([-0.775, -0.575, 2])


def test_unknown_depth_gives_the_origin() -> None:
    depth = wall(2.0)
    depth[3, 4] = 0
    points = unproject(depth, intrinsics())
    assert points[3, 4].tolist() == [0, 0, 0] and (points.norm(dim=-1) == 0).sum() == 1


def test_a_frame_reprojects_onto_itself() -> None:
    pose = torch.from_numpy(rigid(np.random.default_rng(2)))
    depth = uneven(1)
    result = reproject(depth, intrinsics(), pose, depth, intrinsics(), pose, tolerance=1e-9)
    np.testing.assert_allclose(result.pixels, centres(), atol=1e-9)
    np.testing.assert_allclose(result.depth, depth, atol=1e-9)
    assert result.inside.all() and result.visible.all()


def test_a_sideways_step_is_a_disparity_of_focal_times_step_over_depth() -> None:
    result = reproject(wall(2.0), intrinsics(), moved(), wall(2.0), intrinsics(), moved(x=0.3))
    shift = FOCAL * 0.3 / 2.0  # 6 pixels to the left
    np.testing.assert_allclose(result.pixels, centres() - [shift, 0], atol=1e-10)
    expected = np.broadcast_to(centres()[..., 0] >= shift, SIZE)
    np.testing.assert_array_equal(result.inside, expected)
    np.testing.assert_array_equal(result.visible, expected)


def test_a_step_forward_magnifies_about_the_centre() -> None:
    result = reproject(wall(3.0), intrinsics(), moved(), wall(2.0), intrinsics(), moved(z=1.0))
    np.testing.assert_allclose(result.pixels, (centres() - [16, 12]) * 1.5 + [16, 12], atol=1e-10)
    np.testing.assert_allclose(result.depth, wall(2.0), atol=1e-12)
    assert result.inside.sum() == 16 * 22  # pixels whose centres stay within a third of the border
    assert torch.equal(result.visible, result.inside)


def test_a_quarter_turn_turns_the_picture() -> None:
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[0.0, -1], [1, 0]])  # its x axis points down, its y axis to the left
    upright = (SIZE[1], SIZE[0])
    result = reproject(wall(2.0), intrinsics(), moved(), wall(2.0, upright), intrinsics(size=upright), turn)
    y, x = centres()[..., 1], centres()[..., 0]
    np.testing.assert_allclose(result.pixels, np.stack([y, 32 - x], axis=-1), atol=1e-10)
    assert result.visible.all() and result.visible.shape == SIZE


def test_what_stands_in_front_hides_what_is_behind() -> None:
    target = wall(2.0)
    target[8:16, 10:20] = 1.0
    result = reproject(wall(2.0), intrinsics(), moved(), target, intrinsics(), moved())
    assert result.inside.all()
    np.testing.assert_array_equal(result.visible, target == 2.0)
    np.testing.assert_array_equal(result.measured, target)
    # The other way round: points in front of what was measured do not agree with it either.
    back = reproject(target, intrinsics(), moved(), wall(2.0), intrinsics(), moved())
    np.testing.assert_array_equal(back.visible, target == 2.0)


@pytest.mark.parametrize(("off", "seen"), [(0.049, True), (0.051, False), (-0.049, True), (-0.051, False)])
def test_tolerance_is_a_share_of_the_measured_depth(off: float, seen: bool) -> None:
    for distance in (0.5, 8.0):
        result = reproject(wall(distance * (1 + off)), intrinsics(), moved(), wall(distance), intrinsics(), moved(), 0.05)
        assert result.inside.all() and bool(result.visible.all()) is seen and bool(result.visible.any()) is seen


def test_unknown_depth_on_either_side_is_never_visible() -> None:
    source, target = wall(2.0), wall(2.0)
    source[0, 0] = target[5, 6] = 0
    result = reproject(source, intrinsics(), moved(), target, intrinsics(), moved())
    assert not result.inside[0, 0] and result.inside.sum() == 24 * 32 - 1
    assert result.inside[5, 6] and not result.visible[5, 6] and result.visible.sum() == 24 * 32 - 2


def test_nothing_behind_the_camera_is_inside() -> None:
    back = torch.diag(torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))
    result = reproject(wall(2.0), intrinsics(), moved(), wall(2.0), intrinsics(), back)
    assert not result.inside.any() and not result.visible.any() and (result.measured == 0).all()
    np.testing.assert_allclose(result.depth, -wall(2.0))
    touching = reproject(wall(2.0), intrinsics(), moved(), wall(2.0), intrinsics(), moved(z=2.0))
    assert not touching.inside.any()


def test_batches_of_pairs_and_one_target_for_all() -> None:
    rng = np.random.default_rng(3)
    poses = torch.stack([moved(*(0.1 * rng.standard_normal(3))) for _ in range(3)])
    depth = uneven(2, 3)
    together = reproject(depth, intrinsics(), poses, depth[0], intrinsics(), poses[0])
    for b in range(3):
        alone = reproject(depth[b], intrinsics(), poses[b], depth[0], intrinsics(), poses[0])
        for whole, part in zip(together, alone, strict=True):
            assert torch.equal(whole[b], part)
    # Several of anything with one of all else.
    focal = intrinsics() * torch.tensor([[1.0], [1.1], [1.2]], dtype=torch.float64)[:, :, None].expand(3, 1, 1)
    focal[:, 2, 2] = 1
    together = reproject(depth[0], intrinsics(), poses[0], depth[1], focal, poses[1])
    for b in range(3):
        alone = reproject(depth[0], intrinsics(), poses[0], depth[1], focal[b], poses[1])
        for whole, part in zip(together, alone, strict=True):
            assert torch.equal(whole.broadcast_to(3, *part.shape)[b], part)
    targets = uneven(4, 3)
    together = reproject(depth[0], intrinsics(), poses[0], targets, intrinsics(), poses[1])
    for b in range(3):
        alone = reproject(depth[0], intrinsics(), poses[0], targets[b], intrinsics(), poses[1])
        for whole, part in zip(together, alone, strict=True):
            assert torch.equal(whole[b], part)


def test_unknown_depth_is_never_inside() -> None:
    """Depth 0 unprojects to the camera's own centre, which another camera may well see before a wall."""
    depth, wall = torch.zeros(6, 8, dtype=torch.float64), torch.full((6, 8), 2.0, dtype=torch.float64)
    intrinsics = torch.tensor([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]], dtype=torch.float64)
    behind = torch.eye(4, dtype=torch.float64)
    behind[2, 3] = -2.0
    found = reproject(depth, intrinsics, torch.eye(4, dtype=torch.float64), wall, intrinsics, behind)
    assert not found.inside.any() and not found.visible.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_geometry(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(5)
    pose = torch.from_numpy(rigid(rng, 2)).float()
    points = torch.from_numpy(rng.standard_normal((2, 7, 3))).float() + torch.tensor([0.0, 0.0, 5.0])
    camera, depth = intrinsics().float().expand(2, 3, 3), wall(3.0).float().expand(2, *SIZE)

    def everything() -> list[Tensor]:
        moved_points = transform_points(transform=pose, points=points)
        return [invert(pose), moved_points, *project(points, camera), unproject(depth, camera),
                *reproject(depth, camera, pose, depth, camera, pose)]  # fmt: skip

    expected = everything()
    with torch.autocast("cpu", dtype):
        found = everything()
    assert all(one.dtype == other.dtype and torch.equal(one, other) for one, other in zip(found, expected, strict=True))
