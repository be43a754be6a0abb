"""What fine-tuning is given: in a batch, pictures, depth and cameras of all views are still of one world."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import grid_sample

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset, PosedScenes
from muskie.data.requests import Request
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.geometry import reproject
from muskie.streams import stream
from muskie.training.recon_task import PosedBatch, ReconstructionTask

WALLS = np.array([2.0, 1.6, 2.4])
"""A room from -WALLS to WALLS. It is convex: every camera sees every point that is before it."""
SIDE, FINE = 48, 240
SCENES = 6
PLAN = StepPlan(patch_size=8, steps=10, sizes=(SIDE,), views=4, views_per_scene=(2, 4), window=8)
CROPS = GeometryCrops(min_area=0.6, flip_x=0.5)


class PaintedRoom(SceneSource):
    """The room from within, with exact depth and with colours that tell the place. `moved`: the world, before it is told."""

    name = "painted"

    def __init__(self, moved: np.ndarray | None = None) -> None:
        self.moved = np.eye(4) if moved is None else moved

    def __len__(self) -> int:
        return SCENES

    def scene(self, index: int) -> Scene:
        return Scene(str(index), [str(number) for number in range(8)])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        rng = stream(0, "camera", int(scene.name), int(frame))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn(rng.uniform(-0.35, 0.35, 3)), rng.uniform(-0.8, 0.8, 3)
        intrinsics = np.array([[0.8 * FINE, 0, FINE / 2], [0, 0.8 * FINE, FINE / 2], [0, 0, 1]])
        x = (np.arange(FINE) + 0.5 - FINE / 2) / (0.8 * FINE)
        rays = np.stack([*np.meshgrid(x, x), np.ones((FINE, FINE))], -1) @ pose[:3, :3].T
        depth = ((np.sign(rays) * WALLS - pose[:3, 3]) / rays).min(-1)
        points = pose[:3, 3] + rays * depth[..., None]
        rgb = 127.5 + 110 * np.sin(points * [1.3, 1.7, 1.1] + int(scene.name))
        return Frame(
            Image.fromarray(rgb.round().astype(np.uint8)), depth.astype(np.float32), Camera(intrinsics, self.moved @ pose)
        )


def turn(angles: Any) -> np.ndarray:
    x, y, z = angles
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return np.asarray(torch.matrix_exp(skew).numpy())


def far() -> np.ndarray:
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = turn([0.4, -1.0, 2.0]), [1e6, -1e6, 3e5]
    return moved


def loaded(source: SceneSource, crops: GeometryCrops = CROPS) -> PosedScenes:
    dataset = PosedDataset(SceneIndex([source], "train", HoldOut(0.0)), PLAN, crops)
    return PosedScenes.collate([dataset[Request(0, 0, number)] for number in range(SCENES)])


def task() -> ReconstructionTask:
    return ReconstructionTask(None, None, PLAN)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def near() -> PosedScenes:
    return loaded(PaintedRoom())


def between_pixels(maps: Tensor, pixels: Tensor) -> Tensor:
    """Values [B, C, H, W] of maps [B, C, H, W] at positions [B, H, W, 2]."""
    return grid_sample(maps, 2 * pixels / SIDE - 1, align_corners=False, padding_mode="border")


def disagreement(batch: PosedBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Of all ordered pairs of views [B·V·(V-1)], the medians over what both see: relative error of depth, and of colour in
    levels of 255; and the share of the picture that both see."""
    views = batch.depth.shape[1]
    pairs = [(one, other) for one in range(views) for other in range(views) if one != other]
    one, other = (torch.tensor(side) for side in zip(*pairs, strict=True))
    depth, intrinsics, poses = batch.depth.double(), batch.intrinsics.double(), batch.cam2world.double()
    found = reproject(
        depth[:, one], intrinsics[:, one], poses[:, one], depth[:, other], intrinsics[:, other], poses[:, other]
    )
    pixels = found.pixels.flatten(0, 1)
    # Between pixels of a plane, 1/z is linear, so that this is exact but at the room's edges.
    there = 1 / between_pixels(1 / depth[:, other].flatten(0, 1)[:, None], pixels)[:, 0]
    images = batch.images.double()
    looks = between_pixels(images[:, other].flatten(0, 1), pixels)
    off = ((found.depth.flatten(0, 1) - there) / there).abs()
    unlike = (images[:, one].flatten(0, 1) - looks).abs().mean(1)
    seen = found.inside.flatten(0, 1)
    offs, unlikes = (torch.stack([x[n][both].median() for n, both in enumerate(seen)]) for x in (off, unlike))
    return offs, unlikes, seen.double().mean((-2, -1))


@pytest.mark.parametrize("world", ["near", "far"])
def test_every_view_agrees_with_every_other(near: PosedScenes, world: str) -> None:
    """By depth and by colour, in cropped and mirrored pictures, in every order that steps deal them in, and however far from
    its origin the world has been measured."""
    scenes = near if world == "near" else loaded(PaintedRoom(far()))
    for step in range(4):
        batch = task().prepare(scenes, step, 0)
        views = PLAN.views_in(step, 0)
        assert batch.images.shape == (SCENES * 4 // views, views, 3, SIDE, SIDE) and batch.images.dtype == torch.uint8
        assert batch.depth.dtype == batch.intrinsics.dtype == batch.cam2world.dtype == torch.float32
        depth, colour, seen = disagreement(batch)
        assert depth.max() < 2e-3 and colour.max() < 1.5 and seen.min() > 0.1
    assert {PLAN.views_in(step, 0) for step in range(4)} == {2, 4}


def test_the_measure_notices_what_does_not_belong_together(near: PosedScenes) -> None:
    batch = task().prepare(near, 0, 0)
    for part in ("images", "depth", "cam2world"):
        wrong = PosedBatch(**{**vars(batch), part: getattr(batch, part).flip(1)})
        depth, colour, _ = disagreement(wrong)
        assert max(depth.nanmedian() / 2e-3, colour.nanmedian() / 1.5) > 5, part


def test_some_scenes_are_mirrored_with_all_their_views(near: PosedScenes) -> None:
    """The same crops without mirroring, in the same frames, tell which."""
    plain = loaded(PaintedRoom(), GeometryCrops(min_area=0.6, flip_x=0.0))
    kinds = set()
    for mirrored, upright in zip(near.images, plain.images, strict=True):
        same = torch.equal(mirrored, upright)
        assert same or torch.equal(mirrored, upright.flip(-1))
        kinds.add(same)
    assert kinds == {True, False}


def test_the_world_is_the_camera_of_the_first_view(near: PosedScenes) -> None:
    """And all cameras keep their place to it: against inverses of numpy, to float32, from wherever the world was."""
    for scenes in (near, loaded(PaintedRoom(far()))):
        batch = task().prepare(scenes, 1, 0)
        order = PLAN.permutations(1, 0, scenes.samples)
        poses = near.cam2world.numpy()
        dealt = np.stack([poses[b, row] for b, row in enumerate(order)]).reshape(*batch.cam2world.shape)
        expected = np.linalg.inv(dealt[:, :1]) @ dealt
        np.testing.assert_allclose(batch.cam2world.numpy(), expected, rtol=0, atol=2e-6)


def test_each_step_deals_all_views_once_in_an_order_of_its_own(near: PosedScenes) -> None:
    orders = set()
    for step in range(3):
        batch = task().prepare(near, step, 0)
        dealt = batch.images.reshape(SCENES, 4, -1)
        rows = [
            [next(n for n in range(4) if torch.equal(near.images[b, n].flatten(), view)) for view in dealt[b]]
            for b in range(SCENES)
        ]
        assert all(sorted(row) == [0, 1, 2, 3] for row in rows)
        parts = len(batch.images) // SCENES
        assert batch.places == [place for place in near.places for _ in range(parts)]
        orders.add(str(rows))
    assert len(orders) == 3
