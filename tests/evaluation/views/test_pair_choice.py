"""How pairs are chosen for two-view suites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.sources.pairs import PairList
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.view_sets import ViewChoice, rotation_angles


@pytest.fixture(scope="module")
def index() -> SceneIndex:
    return SceneIndex([SyntheticRooms(scenes=4, frames=40)], "all")


def test_spaced_pairs_are_those_of_view_sets(index: SceneIndex) -> None:
    chosen = PairChoice(distance=7, samples=6).pairs(index)
    assert chosen.sets == ViewChoice(views=2, distance=7, samples=6).choose(index) and not chosen.notes
    assert all(int(views.frames[1]) - int(views.frames[0]) == 7 for views in chosen.sets)


def test_samples_are_divided_among_the_bins_of_viewpoint_angle(index: SceneIndex) -> None:
    choice = PairChoice(rule="by_angle", bins=(0, 10, 25), samples=8)
    chosen = choice.pairs(index)
    cameras = [[views.source.camera(views.scene, frame) for frame in views.frames] for views in chosen.sets]
    rotations = np.array([[camera.cam2world[:3, :3] for camera in pair if camera is not None] for pair in cameras])
    angles = rotation_angles(rotations[:, 0], rotations[:, 1])
    assert (angles < 10).sum() == 4 and ((angles >= 10) & (angles <= 25)).sum() == 4
    assert str(choice) == "2 views by viewpoint angle, overlap 0.1"


@pytest.fixture
def listed(tmp_path: Path) -> SceneIndex:
    """Seven pairs of pictures of 16 x 12 pixels in SuperGlue's format."""
    intrinsics = "10 0 8 0 10 6 0 0 1"
    motion = "1 0 0 0.1 0 1 0 0 0 0 1 0 0 0 0 1"
    lines = []
    for number in range(7):
        Image.new("RGB", (16, 12)).save(tmp_path / f"{number}.png")
        Image.new("RGB", (16, 12)).save(tmp_path / f"{number}b.png")
        lines.append(f"{number}.png {number}b.png 0 0 {intrinsics} {intrinsics} {motion}\n")
    (tmp_path / "pairs.txt").write_text("".join(lines))
    return SceneIndex([PairList(tmp_path, tmp_path / "pairs.txt")], "all")


def test_listed_pairs(listed: SceneIndex) -> None:
    everything = PairChoice(rule="listed", samples=None).pairs(listed).sets
    assert [views.scene.name for views in everything] == [f"line-{n:04d}" for n in range(1, 8)]
    assert all(views.frames == ("0", "1") for views in everything)
    assert PairChoice(rule="listed", samples=3).pairs(listed).sets == [everything[n] for n in (0, 3, 6)]


def test_listed_pairs_of_named_scenes_and_of_a_part(listed: SceneIndex) -> None:
    some = PairChoice(rule="listed", samples=None, scenes=["line-0002", "line-0005"])
    assert [views.scene.name for views in some.pairs(listed).sets] == ["line-0002", "line-0005"]
    assert str(some) == "2 views as listed, of 2 named scenes (line-0002, line-0005)"
    held_out = SceneIndex(listed.sources, "heldout", HoldOut(0.5))
    with pytest.raises(DataError, match="takes the pairs of a list"):  # of each pair one picture is trained on
        PairChoice(rule="listed").pairs(held_out)


def test_no_more_pairs_than_were_asked_for(index: SceneIndex) -> None:
    assert len(PairChoice(rule="by_angle", bins=(0, 5, 10, 15), samples=5, overlap=0).pairs(index).sets) == 3
    with pytest.raises(ConfigError, match=r"pairs\.samples=2: by_angle divides them among 3 bins, one at least"):
        PairChoice(rule="by_angle", bins=(0, 5, 10, 15), samples=2)


def test_mistakes(index: SceneIndex) -> None:
    with pytest.raises(DataError, match=r"pairs\.rule=listed takes the pairs of a list: data=pairs"):
        PairChoice(rule="listed").pairs(index)
    for settings, message in (
        ({"rule": "near"}, r"pairs\.rule='near': expected one of 'spaced', .*'by_angle', 'listed'"),
        ({"views": 3}, r"pairs\.views=3: a pair has 2; of multi-view suites, set views\.views"),
        ({"bins": (30, 0)}, r"pairs\.bins=\[30, 0\]: expected two or more rising angles"),
        ({"overlap": 1.5}, r"pairs\.overlap=1\.5: expected a share in \[0, 1\]"),
        ({"distance": 0}, r"pairs\.distance=0: expected at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            PairChoice(**settings)  # type: ignore[arg-type]
