"""All sources that list a folder, written in their true layouts by the exact renderer, through the same checks."""

from __future__ import annotations

import importlib
import inspect
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import walk
import yaml
from walk import Shot

from muskie.config import resolve_target
from muskie.data.augmentation import Augmentation
from muskie.data.dataset import ViewDataset
from muskie.data.index import SceneIndex
from muskie.data.listing.listed import ListedSource
from muskie.data.plan import StepPlan
from muskie.data.requests import Request
from muskie.data.rooms import render
from muskie.data.scene import SceneSource

LAYOUTS = Path(__file__).parent / "layouts"
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "data"
NAMES = sorted(path.stem for path in LAYOUTS.glob("*.py") if path.stem != "__init__")
OTHERWISE = {"synthetic", "folder", "pairs", "shards", "sevenscenes_and_rooms", "sevenscenes_and_shards"}
"""Sources without a layout of their own; other files test them."""
NUMBERS = (0, 2, 4, 6)
SIDE = 80
"""Of the crops."""


def layout(name: str) -> ModuleType:
    return importlib.import_module(f"layouts.{name}")


def shots(made: ModuleType) -> list[Shot]:
    """The pictures, larger than the layout's tests need, so that a pixel of the crop is a fine measure."""
    if hasattr(made, "shoot"):
        return [made.shoot(number) for number in NUMBERS]
    height, width = made.SIZE
    larger = 3 if max(made.SIZE) < 120 else 1
    return [walk.shoot(number, larger * height, larger * width, made.PLAIN) for number in NUMBERS]


def written(name: str, root: Path) -> tuple[ListedSource, list[Shot], dict[str, Any]]:
    made = layout(name)
    pictures = shots(made)
    root.mkdir(parents=True, exist_ok=True)
    arguments = made.write(root, pictures)
    return made.SOURCE(**arguments), pictures, arguments


GEOMETRY = [name for name in NAMES if layout(name).DEPTH is not None]


def test_every_source_has_a_layout_and_a_config() -> None:
    configs = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS.glob("*.yaml")}
    assert set(configs) == set(NAMES) | OTHERWISE
    for name in NAMES:
        assert resolve_target(configs[name], "data") is layout(name).SOURCE
        assert issubclass(layout(name).SOURCE, ListedSource)
        assert layout(name).SOURCE.name == name


@pytest.mark.parametrize("name", GEOMETRY)
def test_points_land_where_they_should_after_crop_and_resize(name: str, tmp_path: Path) -> None:
    """What the loader says of a pixel, depth and camera of one view, seen by its camera of another view, lies within a
    twentieth of a pixel (median) of where the exact point lies by the exact cameras."""
    source, pictures, _ = written(name, tmp_path)
    scene = source.scene(0)
    assert len(scene.frames) == len(NUMBERS)
    rng = np.random.default_rng(0)
    errors = []
    for first, second in ((0, 1), (2, 3), (3, 0)):
        views = [_view(source, scene, index, pictures[index], rng) for index in (first, second)]
        errors.append(_errors(*views, pictures[first], pictures[second], getattr(layout(name), "UNIT", 1.0)))
    joined = np.concatenate(errors, axis=1)
    medians = np.median(joined, axis=1)
    assert joined.shape[1] > 1000 and medians.max() < 0.05, f"median {medians} px"
    assert np.quantile(joined, 0.9, axis=1).max() < 0.5


class _View:
    """A cropped view as the loader gives it, and the exact crop, stored pixels -> pixels, float64 [3, 3]."""

    def __init__(self, depth: np.ndarray, intrinsics: np.ndarray, cam2world: np.ndarray, crop: np.ndarray) -> None:
        self.depth, self.intrinsics, self.cam2world, self.crop = depth, intrinsics, cam2world, crop


def _view(source: SceneSource, scene: Any, index: int, shot: Shot, rng: np.random.Generator) -> _View:
    frame = source.read(scene, scene.frames[index], at_least=SIDE, geometry=True)
    width, height = frame.size
    assert (height, width) == shot.depth.shape
    drawn = Augmentation(min_area=0.5, flip_x=0.0, distortion=1.2).draw(rng, width / height, 1.0)
    _, depth, camera = drawn.frame(frame, SIDE, SIDE)
    assert depth is not None and camera is not None
    used = drawn.snapped(frame.size, frame.image.size)
    across, down = SIDE / ((used.right - used.left) * width), SIDE / ((used.bottom - used.top) * height)
    crop = np.array([[across, 0, -used.left * width * across], [0, down, -used.top * height * down], [0, 0, 1.0]])
    return _View(depth.astype(np.float64), camera.intrinsics, camera.cam2world, crop)


def _errors(one: _View, other: _View, shot: Shot, target: Shot, unit: float) -> np.ndarray:
    """Pixels in the other view between where exact points lie and where they seem to, once by what was read of the first
    view, once by what was read of the second: errors that both have would cancel."""
    room, _ = walk._walk()
    exact_intrinsics, target_intrinsics = one.crop @ shot.intrinsics, other.crop @ target.intrinsics
    exact = render(room, shot.cam2world, exact_intrinsics, (SIDE, SIDE))[1].astype(np.float64)
    true_motion = np.linalg.inv(target.cam2world) @ shot.cam2world
    read_motion = np.linalg.inv(other.cam2world) @ one.cam2world
    read_motion[:3, 3] /= unit
    expected = _seen(exact, exact_intrinsics, true_motion, target_intrinsics)
    by_first = _seen(one.depth / unit, one.intrinsics, true_motion, target_intrinsics)
    by_second = _seen(exact, exact_intrinsics, read_motion, other.intrinsics)
    # Where two surfaces meet, the nearest stored pixel may be of the other one.
    known = (one.depth > 0) & (exact > 0) & ((expected >= 0) & (expected < SIDE)).all(-1)
    return np.stack([np.linalg.norm(found - expected, axis=-1)[known] for found in (by_first, by_second)])


def _seen(depth: np.ndarray, intrinsics: np.ndarray, motion: np.ndarray, other_intrinsics: np.ndarray) -> np.ndarray:
    """[H, W, 2], where the points of a depth map lie in another camera, to which `motion` [4, 4] leads."""
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(intrinsics).T
    local = (rays * depth[..., None]) @ motion[:3, :3].T + motion[:3, 3]
    pixels = local @ other_intrinsics.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(local[..., 2:] > 0, pixels[..., :2] / pixels[..., 2:], np.inf)


@pytest.mark.parametrize("name", NAMES)
def test_a_reduced_picture_changes_neither_depth_nor_camera(name: str, tmp_path: Path) -> None:
    source, _, _ = written(name, tmp_path)
    scene = source.scene(0)
    for frame in scene.frames[:2]:
        whole, small = (source.read(scene, frame, at_least=n, geometry=True) for n in (None, 8))
        assert whole.size == small.size == whole.image.size
        assert small.image.width <= whole.image.width
        if whole.depth is not None:
            np.testing.assert_array_equal(whole.depth, small.depth)
            assert whole.depth.shape == whole.size[::-1]
        assert (whole.camera is None) == (not layout(name).POSES)
        if whole.camera is not None and small.camera is not None:
            np.testing.assert_array_equal(whole.camera.intrinsics, small.camera.intrinsics)
            np.testing.assert_array_equal(whole.camera.cam2world, small.camera.cam2world)
        mask = source.mask(scene, frame)
        assert (mask is not None) == layout(name).MASKS
        if mask is not None:
            assert mask.dtype == bool and mask.any()
            assert mask.shape[1] / mask.shape[0] == pytest.approx(whole.size[0] / whole.size[1], rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_the_index_is_made_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    first, _, arguments = written(name, tmp_path / "data")
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        os.utime(path, (1.6e9, 1.6e9))  # what has just changed is never trusted
    first = type(first)(**arguments)
    assert not first.problems

    def looks(*_: object) -> None:
        raise AssertionError("the folder was looked at again")

    monkeypatch.setattr(type(first), "scenes_in", looks)
    again = type(first)(**arguments)
    unpickled = pickle.loads(pickle.dumps(again))
    for source in (again, unpickled):
        assert len(source) == len(first) and source.lengths().tolist() == first.lengths().tolist()
        for number in range(len(first)):
            assert source.scene(number) == first.scene(number)
        read = source.read(source.scene(0), source.scene(0).frames[0], geometry=True)
        expected = first.read(first.scene(0), first.scene(0).frames[0], geometry=True)
        np.testing.assert_array_equal(np.asarray(read.image), np.asarray(expected.image))
        if expected.camera is not None and read.camera is not None:
            np.testing.assert_array_equal(read.camera.cam2world, expected.camera.cam2world)


@pytest.mark.parametrize("name", NAMES)
def test_folders_of_any_name(name: str, tmp_path: Path) -> None:
    source, pictures, _ = written(name, tmp_path / "süd 日本 #1" / "images depth")
    scene = source.scene(0)
    assert source.read(scene, scene.frames[-1], geometry=True).size == pictures[-1].rgb.shape[1::-1]


@pytest.mark.parametrize("kind", ["empty", "cut off", "a folder", "gone"])
@pytest.mark.parametrize("name", NAMES)
def test_pictures_that_cannot_be_read_are_skipped_and_counted(name: str, kind: str, tmp_path: Path) -> None:
    source, _, _ = written(name, tmp_path)
    scene = source.scene(0)
    file = source.file(scene, scene.frames[1])
    if file is None:
        assert name == "video"
        return
    data = file.read_bytes()
    file.unlink()
    if kind == "a folder":
        file.mkdir()
    elif kind != "gone":
        file.write_bytes(b"" if kind == "empty" else data[: len(data) // 2])
    for geometry in (False, True):
        with pytest.raises(OSError, match=file.name):
            source.read(scene, scene.frames[1], geometry=geometry)
    plan = StepPlan(patch_size=8, steps=50, sizes=[16], views=2, views_per_scene=[2])
    dataset = ViewDataset(SceneIndex([source], "all"), plan, Augmentation())
    seen = [dataset[Request(load, 0, 0)] for load in range(12)]
    skipped = [one for views in seen for one in views.unreadable]
    assert skipped and {one.source for one in skipped} == {name} and all(file.name in one.message for one in skipped)
    assert all(views.asked[name] == 2 + len(views.unreadable) for views in seen)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_documented(name: str) -> None:
    made = layout(name).SOURCE
    described = inspect.getdoc(made) or ""
    for argument in inspect.signature(made).parameters:
        assert f"\n    {argument}" in described or f", {argument}" in described, argument
