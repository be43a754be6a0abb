"""True points and poses: against the geometry of the package, and pictures mirrored by crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curved_scenes import Truth, rigid, truth

from muskie.data.posed_dataset import unmirrored
from muskie.data.scene import Camera
from muskie.geometry import invert, project, transform_points, unproject
from muskie.objectives.pointmap_targets import targets
from muskie.objectives.relative_poses import relative


@pytest.mark.parametrize("published", [False, True])
def test_points_scale_and_weights(published: bool) -> None:
    scene = truth()
    scene.intrinsics[..., 0, 1] = 0.3  # axes that are not at right angles
    result = targets(*scene, torch.float64, published)
    points, known = unproject(scene.depth, scene.intrinsics), scene.depth > 0
    world = transform_points(invert(scene.cam2world[:, :1]) @ scene.cam2world, points.flatten(2, 3)).view_as(points)
    for b in range(2):
        size = (world if published else points)[b][known[b]].norm(dim=-1).mean()
        torch.testing.assert_close(result.points[b], points[b] / size)
        torch.testing.assert_close(result.cam2world[b, :, :3, 3], scene.cam2world[b, :, :3, 3] / size)
        for v in range(3):
            z = scene.depth[b, v] / size
            weights = 1 / (z.clamp(min=0.1 * z[z > 0].mean()) + 1e-6)
            torch.testing.assert_close(result.weights[b, v], torch.where(z > 0, weights, 0))
    assert torch.equal(result.valid, known) and not result.mirrored.any()
    torch.testing.assert_close(result.cam2world[..., :3, :3], scene.cam2world[..., :3, :3])


def test_the_nearest_points_weigh_no_more_than_a_tenth_of_the_mean_depth() -> None:
    depth = torch.full((1, 1, 10, 10), 10.0)
    depth[..., 0, 0] = 1e-6
    weights = targets(depth, truth().intrinsics[:1, :1], rigid(1, 1), torch.float32).weights
    assert weights[..., 0, 0].item() == pytest.approx(10 * weights[..., 5, 5].item(), rel=0.02)


def test_depth_that_is_not_known() -> None:
    scene = truth(holes=0)
    expected = targets(torch.where(scene.depth > 2.8, scene.depth, 0), *scene[1:], torch.float32)
    for junk in (-1.0, torch.nan, torch.inf, -torch.inf):
        result = targets(torch.where(scene.depth > 2.8, scene.depth, junk), *scene[1:], torch.float32)
        for x, y in zip(result, expected, strict=True):
            assert torch.equal(x, y)
    for scale in (0.0, torch.nan):
        nothing = targets(scene.depth * scale, *scene[1:], torch.float32)
        assert all(part.isfinite().all() for part in nothing) and (nothing.points == 0).all()


def mirror(scene: Truth, x: bool, y: bool) -> Truth:
    """What a crop that mirrors does to depth and intrinsics; poses stay."""
    height, width = scene.depth.shape[-2:]
    flip = torch.eye(3, dtype=torch.float64)
    if x:
        flip[0, 0], flip[0, 2] = -1, width
    if y:
        flip[1, 1], flip[1, 2] = -1, height
    return Truth(scene.depth.flip([axis for axis, on in ((-1, x), (-2, y)) if on]), flip @ scene.intrinsics, scene.cam2world)


@pytest.mark.parametrize("x, y", [(True, False), (False, True), (True, True)])
def test_mirrored_pictures_show_a_mirrored_world(x: bool, y: bool) -> None:
    """Points lie on the rays of an ordinary camera of the mirrored picture, and motions take each view's to another's."""
    scene = mirror(truth(), x, y)
    result = targets(*scene, torch.float64)
    ordinary = torch.where(scene.intrinsics.diagonal(dim1=-2, dim2=-1).diag_embed() < 0, -scene.intrinsics, scene.intrinsics)
    pixels, _ = project(result.points.flatten(2, 3), ordinary)
    column = torch.arange(9).expand_as(scene.depth)[result.valid] + 0.5
    torch.testing.assert_close(pixels[..., 0].view_as(scene.depth)[result.valid], column.double())
    assert (result.mirrored == (x != y)).all()
    assert torch.allclose(torch.linalg.det(relative(result.cam2world).rotation), torch.ones((), dtype=torch.float64))
    world = transform_points(result.cam2world, result.points.flatten(2, 3))
    plain = targets(*truth(), torch.float64)
    expected = transform_points(plain.cam2world, plain.points.flatten(2, 3)).view_as(plain.points)
    back = world.view_as(plain.points).flip([axis for axis, on in ((-2, x), (-3, y)) if on])
    torch.testing.assert_close(back, expected)  # the same world, seen through mirrored axes


def test_mirrored_pictures_agree_with_mirrored_poses() -> None:
    """The data may mirror poses instead: relative poses and points are the same by either way."""
    scene = mirror(truth(), True, False)
    posed = scene.cam2world.clone(), scene.intrinsics.clone()
    for b, v in np.ndindex(2, 3):
        camera = unmirrored(Camera(scene.intrinsics[b, v].numpy(), scene.cam2world[b, v].numpy()))
        posed[0][b, v], posed[1][b, v] = torch.from_numpy(camera.cam2world), torch.from_numpy(camera.intrinsics)
    ours = targets(*scene, torch.float64)
    theirs = targets(scene.depth, posed[1], posed[0], torch.float64)
    torch.testing.assert_close(ours.points, theirs.points)
    for a, b in zip(relative(ours.cam2world), relative(theirs.cam2world), strict=True):
        torch.testing.assert_close(a, b)
