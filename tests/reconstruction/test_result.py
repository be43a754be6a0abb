"""The result against the cameras of a rendered room."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from muskie.errors import ConfigError, DataError
from muskie.geometry import project, transform_points
from muskie.inputs.pixel_map import PixelMap
from muskie.reconstruction import Reconstruction
from tests.reconstruction.conftest import SIZE, Truth

HEIGHT, WIDTH = SIZE


def test_the_true_camera_is_found(room: Reconstruction, truth: Truth) -> None:
    assert torch.allclose(room.intrinsics.double(), truth.intrinsics, rtol=1e-5)
    assert torch.allclose(room.depth.double(), truth.depth, rtol=1e-6)
    inverse = torch.linalg.inv(truth.cam2world)[:, :3]
    assert torch.allclose(room.extrinsics.double(), inverse, atol=1e-6)


def test_points_of_the_world_fall_on_their_pixels(room: Reconstruction) -> None:
    local = transform_points(torch.linalg.inv(room.cam2world.double()), room.points.double().flatten(1, 2))
    xy, _ = project(local, room.intrinsics.double())
    x, y = xy.unflatten(1, SIZE).unbind(-1)
    assert (x - (torch.arange(WIDTH) + 0.5)).abs().max() < 1e-2
    assert (y - (torch.arange(HEIGHT) + 0.5)[:, None]).abs().max() < 1e-2


def test_original_intrinsics_project_to_original_pixels(room: Reconstruction) -> None:
    local = room.local_points.double().flatten(1, 2)
    processed, _ = project(local, room.intrinsics.double())
    original, _ = project(local, room.original_intrinsics)
    for view, pixel_map in enumerate(room.pixel_maps):
        assert torch.allclose(pixel_map.to_original(processed[view]), original[view], atol=1e-6)


def test_padding_and_broken_points_are_not_valid(room: Reconstruction) -> None:
    # View 1: 100 px at scale .5 and offset -14 fill columns 7 to 56 of 64.
    assert room.valid[0].all() and room.valid[2].all()
    assert room.valid[1, :, 7:57].all() and not room.valid[1, :, :7].any() and not room.valid[1, :, 57:].any()
    points = room.local_points.clone()
    points[0, 3, 4, 0], points[0, 5, 6, 2], points[0, 7, 8, 2] = torch.nan, -1, torch.inf
    valid = replace(room, local_points=points).valid[0]
    assert int((~valid).sum()) == 3 and not valid[3, 4] and not valid[5, 6] and not valid[7, 8]


def test_one_focal_length_for_all(truth: Truth, pixel_maps: list[PixelMap]) -> None:
    shared = Reconstruction.from_geometry(truth.geometry(), truth.images, shared_camera=True)
    assert torch.allclose(shared.intrinsics.double(), truth.intrinsics, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"different sizes \(64 x 48, 100 x 96, 300 x 200\); set it to False"):
        Reconstruction.from_geometry(truth.geometry(), truth.images, pixel_maps=pixel_maps, shared_camera=True)


def test_views_that_fit_no_camera_take_the_focal_length_of_the_others(truth: Truth) -> None:
    geometry = truth.geometry()
    geometry.local_points[0, 1, ..., 2] = torch.nan
    result = Reconstruction.from_geometry(geometry, truth.images)
    assert torch.allclose(result.intrinsics.double(), truth.intrinsics, rtol=1e-5)
    assert len(result.notes) == 1 and "1 of 3 views" in result.notes[0] and "view_001" in result.notes[0]
    geometry.local_points[..., :2] *= -1  # all is mirrored
    result = Reconstruction.from_geometry(geometry, truth.images)
    assert result.intrinsics[:, 0, 0].tolist() == [WIDTH] * 3 and "a guess" in result.notes[0]


def test_cameras_that_are_no_numbers(truth: Truth) -> None:
    geometry = truth.geometry()
    geometry.cam2world[0, 2, 0, 0] = torch.nan
    with pytest.raises(DataError, match=r"cameras of 1 of 3 views are not finite numbers .*view_002"):
        Reconstruction.from_geometry(geometry, truth.images)


def test_one_view(truth: Truth) -> None:
    geometry = truth.geometry()
    geometry = replace(
        geometry,
        local_points=geometry.local_points[:, :1],
        confidence=geometry.confidence[:, :1],
        cam2world=geometry.cam2world[:, :1],
    )
    result = Reconstruction.from_geometry(geometry, truth.images[:1])
    assert len(result) == 1 and result.points.shape == (1, *SIZE, 3) and result.extrinsics.shape == (1, 3, 4)


def test_what_does_not_fit_is_named(room: Reconstruction, pixel_maps: list[PixelMap]) -> None:
    with pytest.raises(ValueError, match="confidence has shape"):
        replace(room, confidence=room.confidence[:2])
    with pytest.raises(ValueError, match="2 names for 3 views"):
        replace(room, names=["a", "b"])
    with pytest.raises(ValueError, match="two views are called 'a'"):
        replace(room, names=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"the pixel map of '0.jpg' is for \(1, 1\), but images are \(64, 48\)"):
        replace(room, pixel_maps=[PixelMap((1, 1), (1, 1), (1.0, 1.0), (0.0, 0.0)), *pixel_maps[1:]])


def test_it_is_shown_on_a_line(room: Reconstruction, truth: Truth) -> None:
    points = room.local_points.clone()
    points[0] = torch.nan
    told = repr(replace(room, local_points=points, notes=["one"]))
    assert "\n" not in told and len(told) < 200 and str(replace(room, local_points=points, notes=["one"])) == told
    # A view of three has no points, another is padded at the sides: 64 and 50 columns of 64 are left.
    median = torch.cat([truth.depth[1, :, 7:57].flatten(), truth.depth[2].flatten()]).median()
    assert told == (
        f"Reconstruction(3 views of H x W 48 x 64, median depth {median:.3g}, {100 * 114 / 192:.3g} % of pixels valid, "
        f"names: '0.jpg', 'a folder/1.jpg', '2.png', 1 note)"
    )


def test_it_is_shown_whatever_is_in_it(room: Reconstruction) -> None:
    names = [f"{number}.png" for number in range(400)]
    parts = {name: value[2:].expand(400, *value.shape[1:]) for name, value in vars(room).items() if torch.is_tensor(value)}
    many = replace(room, **parts, names=names, pixel_maps=room.pixel_maps[2:] * 400)  # type: ignore[arg-type]
    assert "400 views" in repr(many) and "names: '0.png', '1.png', '2.png', ..., 0 notes" in repr(many)
    assert "no depth, 0 % of pixels valid" in repr(replace(room, local_points=-room.local_points))
    many.local_points = None  # type: ignore[assignment]
    assert repr(many).startswith("<muskie.reconstruction.result.Reconstruction object at")
    assert repr(Reconstruction.__new__(Reconstruction)).startswith("<muskie")
    assert repr(room.to("meta")).startswith("<muskie")
