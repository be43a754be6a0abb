"""Overlaps of frames, against every pixel of exact rendered rooms re-projected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import sevenscenes
from walk import shoot

from muskie.data.covisibility import GRID, NEARER, View, neighbours, overlaps, scene_overlaps
from muskie.data.index import HoldOut, Place, SceneIndex
from muskie.data.listing.measure import measure_overlaps
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.sevenscenes import SevenScenes
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError
from muskie.geometry import reproject

SIZE = (72, 96)
NUMBERS = (0, 1, 3, 6, 10, 15, 23)


def view(number: int, height: int = SIZE[0], width: int = SIZE[1]) -> View:
    shot = shoot(number, height, width)
    return View(shot.depth, shot.intrinsics, shot.cam2world)


def brute_force(one: int, other: int) -> float:
    """Share of all pixels of one frame that the other shows: in its picture, and not behind what it measured there."""
    parts = [torch.from_numpy(part).double() for number in (one, other) for part in shoot(number, *SIZE)[1:]]
    found = reproject(*parts)  # type: ignore[arg-type]
    shown = found.inside & ((found.measured == 0) | (found.measured > NEARER * found.depth))
    return float(shown.sum() / (parts[0] > 0).sum())


@pytest.fixture(scope="module")
def walked() -> np.ndarray:
    return overlaps([view(number) for number in NUMBERS])


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    return np.array([[brute_force(one, other) for other in NUMBERS] for one in NUMBERS])


def test_a_frame_shows_all_of_itself(walked: np.ndarray) -> None:
    assert walked.dtype == np.float32 and walked.shape == (len(NUMBERS),) * 2
    assert (np.diag(walked) == 1).all()


def test_overlaps_are_those_of_every_pixel(walked: np.ndarray, exact: np.ndarray) -> None:
    assert np.ptp(exact) > 0.6, "near and far ones"
    difference = np.abs(walked - exact)
    assert difference.max() < 0.06 and difference.mean() < 0.02


def test_two_frames_show_about_as_much_of_each_other(walked: np.ndarray, exact: np.ndarray) -> None:
    """Not quite: one may be nearer. As much more as every pixel says."""
    assert np.abs(walked - walked.T).max() < 0.25
    assert np.abs((walked - walked.T) - (exact - exact.T)).max() < 0.1


def test_pictures_may_have_any_size() -> None:
    """The same frames at other sizes, smaller than the grid too: the same overlaps, but for what 576 points leave open (two
    standard deviations of a share of .7)."""
    given = overlaps([view(0), view(3)])
    for size in ((144, 192), (50, 70), (17, 19)):
        np.testing.assert_allclose(overlaps([view(0, *size), view(3, *size)]), given, atol=0.04)


def wall(distance: float, at: tuple[float, float, float] = (0, 0, 0), half: bool = False) -> View:
    """A wall across the axis of a camera that is not turned, with a focal length of half its width; `half`: its right half
    is not measured."""
    depth = np.full((48, 48), distance, np.float32)
    if half:
        depth[:, 24:] = 0
    pose = np.eye(4)
    pose[:3, 3] = at
    return View(depth, np.array([[24.0, 0, 24], [0, 24, 24], [0, 0, 1]]), pose)


def test_closed_forms() -> None:
    """The wall at 2 m is 4 m wide in each picture; to the side by x, they share 1 - x / 4 of it."""
    for aside in (0.5, 1.0, 2.0, 3.0, 5.0):
        expected = max(0.0, 1 - aside / 4)
        np.testing.assert_allclose(overlaps([wall(2), wall(2, (aside, 0, 0))])[0, 1], expected, atol=1 / GRID)
        np.testing.assert_allclose(overlaps([wall(2), wall(2, (0, -aside, 0))])[1, 0], expected, atol=1 / GRID)
    # From 1 m farther back the same wall is 6 m wide: one shows all of the other, which shows (4 / 6)^2 of it.
    np.testing.assert_allclose(overlaps([wall(2), wall(3, (0, 0, -1))]), [[1, 1], [4 / 9, 1]], atol=0.01)
    # What is behind a camera, or behind what it measured, it does not show; what it did not measure, it may.
    np.testing.assert_allclose(overlaps([wall(2), wall(2, (0, 0, 3))])[0, 1], 0)
    np.testing.assert_allclose(overlaps([wall(2), wall(1)]), [[1, 0], [1, 1]])
    np.testing.assert_allclose(overlaps([wall(2), wall(1, half=True)]), [[1, 0.5], [1, 1]])


def test_views_that_are_not_known_overlap_with_none() -> None:
    empty = View(np.zeros((48, 48), np.float32), np.diag([24.0, 24, 1]), np.eye(4))
    found = overlaps([None, wall(2), empty, wall(2)])
    assert found[0].tolist() == found[:, 0].tolist() == found[2].tolist() == [0] * 4
    assert found[1, [1, 3]].tolist() == [1, 1]
    assert overlaps([None, None]).tolist() == [[0, 0], [0, 0]]


class Lacking(SyntheticRooms):
    """Rooms some of whose frames lack something."""

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        found = super().read(scene, frame, at_least=48, geometry=geometry)
        assert found.depth is not None and found.camera is not None
        if frame == "000001":
            raise OSError("broken")
        if frame == "000002":
            return replace(found, depth=None)
        if frame == "000003":
            return replace(found, camera=Camera(found.camera.intrinsics, -found.camera.cam2world))
        if frame == "000004":
            return replace(found, depth=found.depth[1:])
        return found


def test_frames_of_a_source_without_sound_geometry_overlap_with_none() -> None:
    source = Lacking(scenes=1, frames=6)
    found = scene_overlaps(source, source.scene(0))
    assert found is not None and found.shape == (6, 6)
    bad = [1, 2, 3, 4]
    assert not found[bad].any() and not found[:, bad].any() and found[0, 0] == 1 and found[0, 5] > 0.3 < found[5, 0]
    few = Lacking(scenes=1, frames=5)
    assert scene_overlaps(few, few.scene(0)) is None


class Known(SyntheticRooms):
    """A source that knows better."""

    def overlaps(self, scene: Scene) -> np.ndarray | None:
        return np.eye(2)


def test_what_a_source_knows_goes_first() -> None:
    source = Known(scenes=1, frames=2)
    found = scene_overlaps(source, source.scene(0))
    assert found is not None and found.dtype == np.float32 and found.tolist() == [[1, 0], [0, 1]]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SevenScenes:
    monkeypatch.setenv("MUSKIE_CACHE", str(tmp_path / "cache"))
    sevenscenes.write(tmp_path / "data", [sevenscenes.shoot(number) for number in range(0, 24, 3)])
    return SevenScenes(tmp_path / "data")


def places(source: SceneSource, part: str, share: float) -> Place:
    return SceneIndex([source], part, HoldOut(share=share)).place(source, 0)


def test_neighbours_are_those_that_were_measured(source: SevenScenes) -> None:
    place = places(source, "all", 0)
    with pytest.raises(
        ConfigError, match=r"overlaps of 'sevenscenes' are not known; measure them once: python scripts/inde"
    ):
        neighbours(place, 0)
    measure_overlaps(source)
    expected = scene_overlaps(source, source.scene(0))
    assert expected is not None
    for anchor in range(8):
        np.testing.assert_allclose(neighbours(place, anchor), expected[anchor], atol=0.021)
    for part, frames in (("train", slice(0, 6)), ("heldout", slice(6, 8))):
        held = places(SevenScenes(source.root), part, 0.25)
        np.testing.assert_allclose(neighbours(held, 1), expected[frames, frames][1], atol=0.021)


def test_sources_that_keep_no_index_know_none() -> None:
    with pytest.raises(ConfigError, match=r"or plan\.sampling=window"):
        neighbours(places(SyntheticRooms(scenes=1), "all", 0), 0)
