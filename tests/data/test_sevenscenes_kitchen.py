"""7-Scenes: the geometry of real frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from muskie.data.crops import Crop
from muskie.data.sources.sevenscenes import COLOUR_INTRINSICS, COLOUR_TO_DEPTH, DEPTH_INTRINSICS, SevenScenes
from muskie.geometry import invert, reproject

KITCHEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "7scenes"
real = pytest.mark.skipif(not (KITCHEN / "redkitchen").is_dir(), reason=f"no 7-Scenes frames in {KITCHEN}")
Geometry = tuple[Tensor, Tensor, Tensor]


def kitchen_frames(numbers: list[int]) -> list[Geometry]:
    """Depth, intrinsics and cam2world of frames at 160x120, by way of a crop."""
    source = SevenScenes(KITCHEN)
    scene, found = source.scene(0), []
    for number in numbers:
        frame = source.read(scene, scene.frames[number], geometry=True)
        _, depth, camera = Crop().frame(frame, 120, 160)
        assert depth is not None and camera is not None
        found.append(tuple(torch.from_numpy(part).double() for part in (depth, camera.intrinsics, camera.cam2world)))
    return found


def disagreement(one: Geometry, other: Geometry) -> float:
    """Median relative difference between the depth of `one` seen from `other`, and what `other` measured."""
    result = reproject(*one, *other)
    known = result.inside & (result.measured > 0)
    assert known.double().mean() > 0.2
    return float(((result.depth - result.measured).abs() / result.measured)[known].median())


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Geometry, Geometry]]:
    frames = kitchen_frames([24, 32, 72, 80, 120, 128, 192, 200])
    return list(zip(frames[::2], frames[1::2], strict=True))


@real
def test_depth_of_a_frame_agrees_with_its_neighbours(pairs: list[tuple[Geometry, Geometry]]) -> None:
    for one, other in pairs:
        assert disagreement(one, other) < 0.007
        assert disagreement(other, one) < 0.007
        assert reproject(*one, *other).visible.double().mean() > 0.4


@real
@pytest.mark.parametrize("wrong", ["pose inverted", "OpenGL axes", "x mirrored", "y mirrored", "depth doubled"])
def test_a_wrong_convention_does_not_agree(pairs: list[tuple[Geometry, Geometry]], wrong: str) -> None:
    signs = {"OpenGL axes": [1, -1, -1, 1], "x mirrored": [-1, 1, 1, 1], "y mirrored": [1, -1, 1, 1]}.get(wrong)

    def spoil(geometry: Geometry) -> Geometry:
        depth, intrinsics, pose = geometry
        if signs:
            return depth, intrinsics, pose @ torch.diag(torch.tensor(signs, dtype=torch.float64))
        return (2 * depth, intrinsics, pose) if wrong == "depth doubled" else (depth, intrinsics, invert(pose))

    spoilt = np.array([disagreement(spoil(one), spoil(other)) for one, other in pairs])
    assert (spoilt > 0.012).all() and spoilt.mean() > 0.02, spoilt


def colour_agreement(intrinsics: np.ndarray, offset: float) -> float:
    """Correlation of the grey values of the same points in two frames, mean of pairs 16 frames apart, where points come from
    the sensor's depth, f = 585, and the pictures from a camera with these intrinsics, so many metres to its left."""
    folder, found = KITCHEN / "redkitchen" / "seq-01", []
    for number in range(20, 260, 40):
        seen = []
        poses = [np.loadtxt(folder / f"frame-{n:06d}.pose.txt") for n in (2 * number, 2 * number + 16)]
        depths = [
            np.asarray(Image.open(folder / f"frame-{n:06d}.depth.png")) / 1000.0 for n in (2 * number, 2 * number + 16)
        ]
        row, column = np.mgrid[2:480:4, 2:640:4].reshape(2, -1)
        z = np.where(depths[0][row, column] < 60, depths[0][row, column], 0)
        points = np.stack([(column + 0.5 - 320) / 585 * z, (row + 0.5 - 240) / 585 * z, z])
        motion = np.linalg.inv(poses[1]) @ poses[0]
        moved = motion[:3, :3] @ points + motion[:3, 3:]
        with np.errstate(all="ignore"):
            x, y = (585 * moved[:2] / moved[2] + [[320], [240]]).round(6)
            keep = (z > 0) & (moved[2] > 0.1) & (x > 0) & (x < 640) & (y > 0) & (y < 480)
            depth = np.where(keep, depths[1][np.where(keep, y, 0).astype(int), np.where(keep, x, 0).astype(int)], 0)
            keep &= abs(depth - moved[2]) < 0.02 * depth
        for n, where in ((2 * number, points), (2 * number + 16, moved)):
            grey = np.asarray(Image.open(folder / f"frame-{n:06d}.color.jpg").convert("L"), dtype=float)
            with np.errstate(all="ignore"):
                u, v = (intrinsics @ (where - [[offset], [0], [0]]))[:2] / where[2]
            keep &= (u >= 0) & (u < 640) & (v >= 0) & (v < 480)
            seen.append(grey[np.where(keep, v, 0).astype(int), np.where(keep, u, 0).astype(int)])
        found.append(np.corrcoef(seen[0][keep], seen[1][keep])[0, 1])
    return float(np.mean(found))


@real
def test_the_pictures_are_those_of_the_colour_camera() -> None:
    """The truth must belong to the pixels that models see: this looks at colours, all other tests at depth alone."""
    nominal = colour_agreement(COLOUR_INTRINSICS, COLOUR_TO_DEPTH[0, 3])
    assert nominal > 0.91
    assert nominal > colour_agreement(DEPTH_INTRINSICS, 0.0) + 0.03
    assert nominal > colour_agreement(COLOUR_INTRINSICS, 0.0)
    assert nominal > colour_agreement(COLOUR_INTRINSICS, -COLOUR_TO_DEPTH[0, 3]) + 0.01


@real
def test_what_is_read_is_the_colour_camera() -> None:
    source = SevenScenes(KITCHEN)
    scene = source.scene(0)
    frame = source.read(scene, scene.frames[30], geometry=True)
    assert frame.camera is not None and frame.depth is not None
    np.testing.assert_array_equal(frame.camera.intrinsics, COLOUR_INTRINSICS)
    pose = np.loadtxt(KITCHEN / scene.name / f"{scene.frames[30].split('.')[0]}.pose.txt")
    np.testing.assert_allclose(np.linalg.inv(pose) @ frame.camera.cam2world, COLOUR_TO_DEPTH, atol=2e-3)
    border = frame.depth[:, :20] > 0
    assert border.mean() < 0.05 < 0.5 < (frame.depth[100:380, 100:540] > 0).mean(), "the depth camera sees less"


@real
def test_real_frames_have_the_promised_shapes() -> None:
    source = SevenScenes(KITCHEN, rooms=["redkitchen"])
    scene = source.scene(0)
    assert scene.name == "redkitchen/seq-01" and len(scene.frames) == 300
    frame = source.read(scene, scene.frames[5], geometry=True)
    assert frame.image.size == (640, 480) and frame.depth is not None and frame.camera is not None
    assert frame.depth.shape == (480, 640) and frame.depth.dtype == np.float32
    assert frame.depth.min() == 0 and 0.3 < np.median(frame.depth[frame.depth > 0]) < 5 and frame.depth.max() < 20
    rotation = frame.camera.cam2world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-3)
    small = source.read(scene, scene.frames[5], at_least=100)
    assert small.image.size == (160, 120) and small.depth is None and small.camera is None
