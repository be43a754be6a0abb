"""The neighbours of frames as a table, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from muskie.data.listing.overlaps import KEPT, LEAST, OverlapTable, read_overlaps, write_overlaps
from muskie.data.listing.table import FrameNames, SceneTable
from muskie.data.scene import Scene

LENGTHS = (5, 3, 8)


@pytest.fixture
def table() -> SceneTable:
    return SceneTable.of([Scene(str(k), [f"{k}-{frame}" for frame in range(n)]) for k, n in enumerate(LENGTHS)])


def random(count: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0, 1, (count, count)).astype(np.float32)
    np.fill_diagonal(values, 1)
    return values


def names(table: SceneTable, scene: int) -> FrameNames:
    found = table[scene].frames
    assert isinstance(found, FrameNames)
    return found


def test_all_overlaps_of_small_scenes_come_back(table: SceneTable, tmp_path: Path) -> None:
    given = [random(count, seed) for seed, count in enumerate(LENGTHS)]
    write_overlaps(tmp_path / "overlaps", table.digest(), (OverlapTable.rows(values) for values in given))
    found = read_overlaps(tmp_path / "overlaps", table.digest())
    assert found is not None
    for scene, values in enumerate(given):
        expected = np.where(values < LEAST, 0, values)
        for anchor, row in enumerate(expected):
            np.testing.assert_allclose(found.of(names(table, scene), anchor), row, atol=0.5 / 255 + 1e-6)


def test_a_part_of_a_scene_has_the_same_neighbours(table: SceneTable, tmp_path: Path) -> None:
    given = [random(count, seed) for seed, count in enumerate(LENGTHS)]
    write_overlaps(tmp_path / "overlaps", table.digest(), map(OverlapTable.rows, given))
    found = read_overlaps(tmp_path / "overlaps", table.digest())
    assert found is not None
    for part in (slice(0, 5), slice(5, 8), slice(2, 6)):
        expected = given[2][part, part]
        for anchor, row in enumerate(expected):
            overlap = found.of(names(table, 2)[part], anchor)
            assert overlap.dtype == np.float32
            np.testing.assert_allclose(overlap, np.where(row < LEAST, 0, row), atol=0.5 / 255 + 1e-6)


def test_of_many_neighbours_near_and_far_ones_are_kept() -> None:
    count = 400
    values = np.linspace(1, 0, count, dtype=np.float32)[np.abs(np.subtract.outer(range(count), range(count)))]
    steps, shares = OverlapTable.rows(values)
    assert steps.shape == shares.shape == (count, KEPT) and (steps != 0).all()
    for row in (0, 123, count - 1):
        assert len(set(steps[row].tolist())) == KEPT and (np.diff(shares[row].astype(int)) <= 0).all()
        np.testing.assert_allclose(shares[row] / 255, values[row, row + steps[row]], atol=0.5 / 255 + 1e-6)
    assert shares[0, 0] > 250 and shares[0, -1] < 10, "from the most to the least"
    gaps = np.diff(np.abs(steps[0]))
    assert gaps.min() >= 7 and gaps.max() <= 9, "evenly"


def test_frames_without_neighbours_have_none() -> None:
    values = np.array([[1, 0, LEAST - 0.001], [0.5, 1, LEAST + 0.001], [0, 0, 0]], np.float32)
    steps, shares = OverlapTable.rows(values)
    assert not steps[0].any() and not steps[2].any() and steps[1, :3].tolist() == [-1, 1, 0] and shares[1, 0] == 128
    unknown = OverlapTable.unknown(3)
    assert [part.shape for part in unknown] == [(3, KEPT)] * 2 and not any(part.any() for part in unknown)


def test_overlaps_of_other_scenes_are_none(table: SceneTable, tmp_path: Path) -> None:
    file = tmp_path / "overlaps"
    assert read_overlaps(file, table.digest()) is None
    write_overlaps(file, table.digest(), (OverlapTable.rows(random(count)) for count in LENGTHS))
    assert read_overlaps(file, table.digest()) is not None
    assert read_overlaps(file, SceneTable.of([*table][:2]).digest()) is None
    other = SceneTable.of([*[*table][:2], Scene("2", [str(frame) for frame in range(8)])])
    assert read_overlaps(file, other.digest()) is None
    file.write_bytes(file.read_bytes()[:-1])
    assert read_overlaps(file, table.digest()) is None
