"""The page of data shows geometry as it is: right where it is right, and wrong where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset, PosedScenes
from muskie.data.requests import Request
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.geometry import invert
from muskie.visualization import data_page as module
from muskie.visualization.data_page import HIDDEN, IN_FRONT, OUTLINE, RIM, DataSample, Landing, data_page, land
from muskie.visualization.page import PAPER, Page

Noise = Callable[..., Tensor]
PLAN = StepPlan(patch_size=8, steps=10, sizes=(64,), views=4, views_per_scene=(4,), window=8)
H, W, F, Z = 6, 12, 10.0, 2.0
"""Of the views of a plane: their size, focal length and distance."""


@pytest.fixture(scope="module")
def rooms() -> list[PosedScenes]:
    """Four scenes with exact depth and cameras, as they are trained on."""
    source = SyntheticRooms(scenes=8)
    data = PosedDataset(SceneIndex([source], "train", HoldOut(0.0), 4), PLAN, GeometryCrops(flip_x=0.5))
    return [data[Request(0, 0, number)] for number in range(4)]


def landing_of(scene: PosedScenes, images: Tensor | None = None) -> Landing:
    pictures = scene.images[0] if images is None else images
    return land(pictures, scene.depth[0], scene.intrinsics[0], scene.cam2world[0])


def drawn_colours(scene: PosedScenes) -> tuple[Tensor, Tensor]:
    """Where the colours of view 0 are drawn in the other views, bool [V - 1, H, W], which is where it matters that view 0 is
    red; and how far they are from what these views show there, in levels of 255: the median of each view."""
    red, green = scene.images[0].clone(), scene.images[0].clone()
    red[0], green[0] = (torch.tensor(c, dtype=torch.uint8)[:, None, None] for c in ((255, 0, 0), (0, 255, 0)))
    landed = [landing_of(scene, images).pictures[1:] for images in (red, green)]
    where = (landed[0] != landed[1]).any(1)
    away = (landing_of(scene).pictures[1:].float() - scene.images[0, 1:].float()).abs().mean(1)
    return where, torch.stack([a[w].median() for a, w in zip(away, where, strict=True)])


def wrong(scene: PosedScenes, how: str) -> PosedScenes:
    if how == "world2cam":
        return replace(scene, cam2world=invert(scene.cam2world))
    if how == "OpenGL":
        return replace(scene, cam2world=scene.cam2world @ torch.diag(torch.tensor([1.0, -1, -1, 1])).double())
    return replace(scene, depth=1000 * scene.depth)


def test_rooms_lie_on_themselves(rooms: list[PosedScenes]) -> None:
    """Rendered exactly: what is drawn has the colours that the view itself shows, but for its light, and the same depth."""
    for scene in rooms:
        landing, (where, away) = landing_of(scene), drawn_colours(scene)
        assert (landing.inside[1:] > 0.3).all() and (landing.off[1:] < 0.02).all()
        assert (where.flatten(1).double().mean(1) > 0.25).all() and (away < 12).all()
        loud = torch.tensor(IN_FRONT, dtype=torch.uint8)[:, None, None]
        assert (landing.pictures == loud).all(1).double().mean() < 0.005
        assert torch.equal(landing.pictures[0], scene.images[0, 0]), "view 0 lies on itself"


@pytest.mark.parametrize("how", ["world2cam", "OpenGL", "unit"])
def test_a_wrong_convention_is_seen(rooms: list[PosedScenes], how: str) -> None:
    """Over some scenes, whose cameras move more or less: depth is further off, and colours are others."""
    both = {"right": rooms, "wrong": [wrong(scene, how) for scene in rooms]}
    off = {name: torch.stack([landing_of(scene).off[1:] for scene in scenes]).nanmean() for name, scenes in both.items()}
    away = {name: torch.stack([drawn_colours(scene)[1] for scene in scenes]).nanmean() for name, scenes in both.items()}
    assert off["wrong"] > 0.02 > 3 * off["right"] and away["wrong"] > 2 * away["right"]


def plane(noise: Noise, step: int = 0, measured: float | None = Z) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two views of a wall at distance `Z` in front, the second one `step` pixels further right, with the depth that it
    measured; None: none."""
    depth = torch.full((2, H, W), Z)
    depth[1] = 0 if measured is None else measured
    intrinsics = torch.tensor([[F, 0, W / 2], [0, F, H / 2], [0, 0, 1.0]]).expand(2, 3, 3)
    cam2world = torch.eye(4).repeat(2, 1, 1)
    cam2world[1, 0, 3] = step * Z / F
    return noise(2, 3, H, W), depth, intrinsics, cam2world


@pytest.mark.parametrize(("measured", "off"), [(Z, 0.0), (1.0, 1.0), (4.0, 0.5), (None, torch.nan)])
def test_a_wall_moves_by_whole_pixels(noise: Noise, measured: float | None, off: float) -> None:
    images, *geometry = plane(noise, 3, measured)
    landing = land(images, *geometry)
    colour = {1.0: HIDDEN, 4.0: IN_FRONT}.get(measured or 0.0)
    flat = torch.tensor(colour or PAPER, dtype=torch.uint8)[:, None, None].expand(3, H, W - 3)
    assert torch.equal(landing.pictures[1, :, :, :-3], images[0, :, :, 3:] if colour is None else flat)
    rest = landing.pictures[1, :, :, -3:]
    assert (rest == rest[:1]).all() and rest.min() > 140, "pale grey"
    assert landing.inside.tolist() == pytest.approx([1, (W - 3) / W])
    assert landing.off.tolist() == pytest.approx([0, off], nan_ok=True)


def test_the_grey_ground_is_the_view_itself(noise: Noise) -> None:
    images, *geometry = plane(noise, W)  # nothing lands inside
    ground, own = land(images, *geometry).pictures[1, 0].double().flatten(), images[1].double().mean(0).flatten()
    assert torch.corrcoef(torch.stack([ground, own]))[0, 1] > 0.999


def test_the_nearest_of_two_points_is_drawn(noise: Noise) -> None:
    images, depth, intrinsics, cam2world = plane(noise, 2, None)
    depth[0, :, 6] = Z / 3  # moves by 6 pixels, onto where column 2 moves to
    picture = land(images, depth, intrinsics, cam2world).pictures[1]
    assert torch.equal(picture[:, :, 0], images[0, :, :, 6])


def test_seams_are_closed_where_points_come_to_lie_apart(noise: Noise) -> None:
    """At 1.5 times the focal length, every third row and column of the second view would stay grey."""
    images, depth, intrinsics, cam2world = plane(noise)
    images[0] = torch.tensor((255, 0, 0), dtype=torch.uint8)[:, None, None]
    intrinsics = intrinsics.clone()
    intrinsics[1, :2, :2] *= 1.5
    inner = land(images, depth, intrinsics, cam2world).pictures[1, :, 1:-1, 1:-1]
    assert (inner[0] == 255).all() and (inner[1:] == 0).all()


def test_what_view_0_does_not_know_is_not_moved(noise: Noise) -> None:
    images, depth, intrinsics, cam2world = plane(noise)
    depth[0, :, :5] = 0
    landing = land(images, depth, intrinsics, cam2world)
    assert torch.equal(landing.pictures[1, :, :, 5:], images[0, :, :, 5:]) and landing.inside.tolist() == [1, 1]
    assert (landing.pictures[1, 0, :, :5] == landing.pictures[1, 1, :, :5]).all()
    depth[0] = 0
    assert land(images, depth, intrinsics, cam2world).inside.isnan().all()


def sample(noise: Noise, *moves: int, **more: Tensor) -> DataSample:
    images, depth, intrinsics, cam2world = plane(noise, *moves)
    return DataSample("a scene", ["one.jpg", "two.jpg"], images, None, depth, intrinsics, cam2world, **more)


def test_what_stands_on_the_page(noise: Noise, drawn: list[Page]) -> None:
    there, away = sample(noise, 3), sample(noise, W)
    flat = DataSample("pictures alone", ["x", "y", "z"], noise(3, 3, H, W))
    whole = data_page([there, away, flat])
    assert [page.title for page in drawn] == ["a scene", "a scene", "pictures alone"]
    assert (
        drawn[0].labels == ["views\n12 x 6 px", "depth", "view 0\nre-projected"] and drawn[2].labels == drawn[0].labels[:1]
    )
    assert drawn[0].columns == ["view 0\none.jpg", "view 1\ntwo.jpg"]
    assert drawn[0].captions is not None and drawn[1].captions is not None
    assert drawn[0].captions[1] == ["100 % known", "100 % known"]
    assert drawn[0].captions[2] == ["all points of known depth", "75 % inside\ndepth off by 0.0 %"]
    assert drawn[1].captions[2] == ["all points of known depth", "nothing lands inside"]
    assert [page.note is not None for page in drawn] == [False, True, False], "once, below the last that it is about"
    assert "less than 2 %" in str(drawn[1].note)
    blocks = [page.draw() for page in drawn[:3]]
    assert whole.shape == (3, sum(b.shape[1] for b in blocks), max(b.shape[2] for b in blocks))
    top = 0
    for block in blocks:
        row = whole[:, top : top + block.shape[1]]
        assert torch.equal(row[:, :, : block.shape[2]], block)
        assert (row[:, :, block.shape[2] :].flatten(1) == torch.tensor(PAPER)[:, None]).all()
        top += block.shape[1]


def test_depth_has_the_colours_of_its_bar(noise: Noise, drawn: list[Page]) -> None:
    seen = sample(noise)
    assert seen.depth is not None
    seen.depth[1, :, :3], seen.depth[1, :, 3:] = 0, 4.0
    data_page([seen])
    near, far = drawn[0].rows[1]
    assert drawn[0].bars is not None and drawn[0].bars[1] is not None
    assert (drawn[0].bars[1].low, drawn[0].bars[1].high) == (Z, 4.0)
    assert (near[:, 0, 0].tolist(), far[:, 0, 5].tolist()) == ([68, 1, 84], [253, 231, 37]), "the ends of viridis"
    assert far[:, 0, 0].tolist() == list(PAPER) and str(drawn[0].captions[1]) == "['100 % known', '75 % known']"  # type: ignore[index]


def test_a_line_runs_around_the_object(noise: Noise, drawn: list[Page]) -> None:
    images, masks = noise(2, 3, 200, 220), torch.zeros(2, 200, 220).bool()
    masks[0, 50:80, 100:150] = True
    data_page([DataSample("object", ["x", "y"], images, masks)])
    assert drawn[0].labels == ["views\n220 x 200 px\nobject outlined"]
    shown, line, rim = drawn[0].rows[0], torch.tensor(OUTLINE), torch.tensor(RIM)
    assert drawn[0].shown == (200, 220) and torch.equal(shown[1], images[1]), "no object, no line"
    assert torch.equal(shown[0, :, 50:80, 100:150], images[0, :, 50:80, 100:150])
    for reach, colour in ((1, line), (2, line), (3, rim), (4, rim)):
        assert (shown[0, :, 50 - reach, 100 - reach : 150 + reach] == colour[:, None]).all()
        assert (shown[0, :, 50 - reach : 80 + reach, 149 + reach] == colour[:, None]).all()
    outside = torch.ones(200, 220).bool()
    outside[46:84, 96:154] = False
    assert torch.equal(shown[0][:, outside], images[0][:, outside])


def test_parts_that_do_not_fit(noise: Noise) -> None:
    whole = sample(noise)
    for change, message in (
        ({"depth": torch.ones(2, H, W + 1)}, r"depth has shape \(2, 6, 13\); expected \(2, 6, 12\)"),
        ({"masks": torch.ones(1, H, W).bool()}, r"masks has shape \(1, 6, 12\)"),
        ({"cam2world": torch.eye(4)}, r"cam2world has shape \(4, 4\); expected \(2, 4, 4\)"),
        ({"intrinsics": None}, "depth without intrinsics"),
        ({"frames": ["one"]}, "1 names of frames for 2 views"),
    ):
        with pytest.raises(ValueError, match=f"a scene: {message}"):
            data_page([replace(whole, **change)])
    with pytest.raises(ValueError, match="no sample"):
        data_page([])
    assert module.TOLERANCE == 0.05, "the note says so"
