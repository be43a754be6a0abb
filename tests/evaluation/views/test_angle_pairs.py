"""Pairs by viewpoint angle: in the right bins, evenly, reproducibly, and overlapping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from paired import turn

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.two_view.dense_truth import pixel_warp
from muskie.evaluation.views.angle_pairs import SCANNET_BINS, bin_members, pairs_by_angle
from muskie.evaluation.views.posed_views import read_posed
from muskie.evaluation.views.view_sets import ViewSet


class Turning(SceneSource):
    """Cameras that turn by some degrees a frame, in every scene by its own; pictures cannot be read.

    Args:
        steps: degrees a frame, of each scene.
        frames: of a scene.
        lost: frames without a camera.
        broken: frames whose camera cannot be read.
    """

    name = "turning"

    def __init__(
        self, steps: Sequence[float], frames: int = 20, lost: Sequence[int] = (), broken: Sequence[int] = ()
    ) -> None:
        self.steps, self.frames, self.lost, self.broken = steps, frames, lost, broken

    def __len__(self) -> int:
        return len(self.steps)

    def scene(self, index: int) -> Scene:
        return Scene(f"scene{index}", [str(number) for number in range(self.frames)])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        raise AssertionError("pictures are not needed")

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        if int(frame) in self.broken:
            raise OSError("broken")
        if int(frame) in self.lost:
            return None
        cam2world = np.eye(4)
        step = self.steps[int(scene.name.removeprefix("scene"))]
        cam2world[:3, :3] = turn(25.0, 0) @ turn(step * int(frame))
        return Camera(np.eye(3), cam2world)


def everything(source: SceneSource) -> SceneIndex:
    return SceneIndex([source], "all", HoldOut())


def angle(views: ViewSet, source: Turning) -> float:
    step = source.steps[int(views.scene.name.removeprefix("scene"))]
    turned = abs(int(views.frames[0]) - int(views.frames[1])) * step % 360
    return min(turned, 360 - turned)


def test_every_bin_gets_its_pairs_from_all_scenes_in_turn() -> None:
    source = Turning([5.0, 7.0, 11.0])
    found = pairs_by_angle(everything(source), per_bin=12, overlap=0)
    assert found.notes == [] and len(found.sets) == 48
    angles = np.array([angle(views, source) for views in found.sets])
    for number, (low, high) in enumerate(pairwise(SCANNET_BINS)):
        part = angles[12 * number : 12 * (number + 1)]
        assert ((low - 1e-3 <= part) & (part < high + 1e-3)).all()
    assert set(Counter(views.scene.name for views in found.sets[24:36]).values()) == {4}
    assert len({frozenset(v.frames) | {v.scene.name} for v in found.sets}) == 48  # none twice
    swapped = [int(views.frames[0]) > int(views.frames[1]) for views in found.sets]
    assert 10 < sum(swapped) < 38


def test_draws_are_repeated_by_their_seed() -> None:
    index = everything(Turning([5.0, 7.0]))
    one, again, other = (pairs_by_angle(index, per_bin=8, seed=seed, overlap=0).sets for seed in (0, 0, 1))
    frames = [[views.frames for views in sets] for sets in (one, again, other)]
    assert frames[0] == frames[1] != frames[2]


def test_bins_without_enough_pairs_are_noted() -> None:
    found = pairs_by_angle(everything(Turning([1.0], frames=18)), per_bin=9, overlap=0)
    assert len(found.sets) == 9 + 6  # 15, 16 and 17 degrees: 3 + 2 + 1 pairs
    assert found.notes == [
        "viewpoint [15, 30) degrees: 6 pairs of 9 wanted, among 6",
        "viewpoint [30, 60) degrees: no pairs of 9 wanted, among 0",
        "viewpoint [60, 180] degrees: no pairs of 9 wanted, among 0",
    ]
    with pytest.raises(DataError, match="no pair of frames for any bin"):
        pairs_by_angle(everything(Turning([1.0], frames=18)), bins=(40, 80), overlap=0)


def test_frames_without_a_camera_are_left_out() -> None:
    found = pairs_by_angle(everything(Turning([5.0], lost=[3], broken=[4])), per_bin=1000, overlap=0)
    used = {frame for views in found.sets for frame in views.frames}
    assert used == {str(number) for number in range(20)} - {"3", "4"}
    with pytest.raises(DataError, match="two frames with a camera"):
        pairs_by_angle(everything(Turning([5.0], lost=range(19))), overlap=0)


def test_of_long_scenes_some_frames_are_looked_at() -> None:
    found = pairs_by_angle(everything(Turning([0.02], frames=2000)), bins=(20, 60), per_bin=50, overlap=0)
    used = [int(frame) for views in found.sets for frame in views.frames]
    assert len(found.sets) == 50 and min(used) < 500 and max(used) > 1500


def test_pairs_overlap() -> None:
    rooms = SyntheticRooms(scenes=2, frames=24, image_size=32)
    bins = (0, 20, 60)
    found = pairs_by_angle(everything(rooms), bins, per_bin=4, overlap=0.7)
    assert found.sets
    for views in found.sets:
        pair = read_posed(views, (32, 32))
        assert pixel_warp(pair).valid.float().mean() > 0.6  # the choice was made at another size
    free = pairs_by_angle(everything(rooms), (0, 180), per_bin=300, overlap=0).sets
    shares = [pixel_warp(read_posed(views, (32, 32))).valid.float().mean().item() for views in free[::10]]
    assert min(shares) < 0.5  # what was left out above
    with pytest.raises(DataError, match="smaller overlap than 1"):
        pairs_by_angle(everything(rooms), (20, 180), per_bin=1, overlap=1.0)


@pytest.mark.parametrize(
    ("per_bin", "looked", "note"),
    [
        (4, 360, ""),
        (20, 500, "5 pairs that overlap by 0.1 of 20 wanted, among 780, of which 500 were looked at"),
        (60, 600, "6 pairs that overlap by 0.1 of 60 wanted, among 780, of which 600 were looked at"),
        (90, 780, "8 pairs that overlap by 0.1 of 90 wanted, among 780"),
    ],
)
def test_the_note_tells_how_many_were_looked_at(
    monkeypatch: pytest.MonkeyPatch, per_bin: int, looked: int, note: str
) -> None:
    """40 frames have 780 pairs, of which one in 90 overlaps."""
    asked: list[ViewSet] = []

    def overlap(views: ViewSet) -> float:
        asked.append(views)
        return float(len(asked) % 90 == 0)

    monkeypatch.setattr("muskie.evaluation.views.angle_pairs._overlap", overlap)
    found = pairs_by_angle(everything(Turning([1.0], frames=40)), (0, 180), per_bin)
    assert found.notes == ([f"viewpoint [0, 180] degrees: {note}"] if note else [])
    assert len(asked) == len({views.frames for views in asked}) == looked


def test_edges_belong_to_the_upper_bin_but_the_last() -> None:
    members = bin_members(np.array([0.0, 15.0, 29.9, 30.0, 180.0]), (0, 15, 30, 180))
    assert list(members) == ["viewpoint [0, 15)", "viewpoint [15, 30)", "viewpoint [30, 180]"]
    assert np.stack(list(members.values())).astype(int).tolist() == [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]


def test_arguments_out_of_range() -> None:
    index = everything(Turning([5.0]))
    for bad in ((30, 0), (0,), (-1, 5), (0, 181), (0, 0)):
        with pytest.raises(ConfigError, match=r"bins=.*rising angles"):
            pairs_by_angle(index, bad)
    with pytest.raises(ConfigError) as error:
        pairs_by_angle(index, per_bin=0, scenes=0, overlap=1.5)
    assert all(part in str(error.value) for part in ("per_bin=0", "scenes=0", "overlap=1.5"))
