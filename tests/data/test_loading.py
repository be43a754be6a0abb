"""Sources that a configuration names, and loaders that give the same with any number of workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numbered import Numbered
from PIL import Image

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import LoadSampler, ViewDataset, Views
from muskie.data.index import SceneIndex
from muskie.data.loading import SceneLoader, build_sources
from muskie.data.plan import StepPlan
from muskie.data.scene import SceneSource
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError

FOLDERS = "muskie.data.sources.folder.ImageFolders"
ROOMS = "muskie.data.sources.synthetic.SyntheticRooms"
OUTSIDE = '''
from PIL import Image
from muskie.data.scene import Frame, Scene, SceneSource

class Stripes(SceneSource):
    """A data set of somebody else's."""
    name = "stripes"

    def __init__(self, count: int, width: int = 32, colours: tuple[int, ...] = (1, 2)) -> None:
        self.count, self.width, self.colours = count, width, colours

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        return Scene(f"stripe{index}", ["a", "b", "c", "d"])

    def read(self, scene, frame, *, at_least=None, geometry=False):
        return Frame(Image.new("L", (self.width, 24), 10 * "abcd".index(frame)))

class NoSource:
    pass
'''


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "somebody_elses.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "somebody_elses"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for scene in ("a", "b"):
        (tmp_path / "pictures" / scene).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 32), (number, 0, 0)).save(tmp_path / "pictures" / scene / f"{number}.png")
    return str(tmp_path / "pictures")


def test_one_node_is_one_source(folder: str) -> None:
    (source,) = build_sources({"_target_": FOLDERS, "root": folder})
    assert isinstance(source, ImageFolders) and len(source) == 2


def test_several_sources_have_names(folder: str) -> None:
    mine = {"_target_": FOLDERS, "root": folder, "name": "mine"}
    rooms = {"_target_": ROOMS, "scenes": "3", "image_size": [16, 24]}
    sources = build_sources({"sources": {"mine": mine, "rooms": rooms}})
    assert [source.name for source in sources] == ["mine", "synthetic"]
    assert isinstance(sources[1], SyntheticRooms) and len(sources[1]) == 3  # text from a command line is a number


def test_a_source_from_outside_needs_no_change_here(outside: str) -> None:
    node = {"_target_": f"{outside}.Stripes", "count": 3, "colours": [4, 5]}
    (source,) = build_sources({"sources": {"stripes": node}})
    assert isinstance(source, SceneSource) and source.count == 3 and source.colours == (4, 5)  # type: ignore[attr-defined]
    plan = StepPlan(patch_size=16, steps=2, sizes=[16], views=4, views_per_scene=[4])
    views = ViewDataset(SceneIndex([source], "all"), plan, Augmentation())[next(iter(LoadSampler(plan, 1)))[0]]
    assert views.images.shape == (1, 4, 3, 16, 16) and views.places[0].startswith("stripes/stripe")
    assert sorted(views.images[0, :, 0, 0, 0].tolist()) == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"data has no _target_"),
        ({"_target_": f"{FOLDERS}s", "root": "x"}, r"data\._target_=.*ImageFolderss' cannot be imported"),
        ({"_target_": FOLDERS}, r"data\.root must be given"),
        ({"_target_": FOLDERS, "rot": "x"}, r"data\.rot is unknown; did you mean 'data\.root'\?"),
        ({"_target_": ROOMS, "scenes": "many"}, r"data\.scenes='many'.*integer"),
        ({"_target_": ROOMS, "scene": 4, "frame": 3}, r"'scenes'(.|\n)*data\.frame is unknown; did you mean 'data\.frames'"),
        ({"_target_": ROOMS, "scenes": 0}, r"scenes=0"),
        ({"_target_": "pathlib.PurePath"}, r"data\._target_.* no SceneSource"),
        (
            {"sources": {"one": {"_target_": ROOMS, "sed": 1}}},
            r"data\.sources\.one\.sed is unknown; did you mean 'data\.sources\.one\.seed'",
        ),
        ({"sources": {"one": {"scenes": 1}}}, r"data\.sources\.one has no _target_"),
        ({"sources": {}}, r"data\.sources=.*named"),
        ({"sources": [{"_target_": ROOMS}]}, r"data\.sources=.*named"),
        ({"sources": {"one": "x"}}, r"data\.sources=.*named"),
        ({"sources": {"one": {"_target_": ROOMS}}, "scenes": 3}, r"data\.scenes beside data\.sources"),
    ],
)
def test_mistakes_in_a_node_are_told(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_sources(data)


def test_what_is_no_source_is_told(outside: str) -> None:
    with pytest.raises(ConfigError, match="NoSource, which is no SceneSource"):
        build_sources({"_target_": f"{outside}.NoSource"})


def test_a_root_that_is_missing_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.*does not exist"):
        build_sources({"_target_": FOLDERS, "root": str(tmp_path / "gone")})


def load_all(source: SceneSource, workers: int, views: int = 4) -> list[Views]:
    plan = StepPlan(patch_size=16, steps=4, sizes=[16, 32], views=views, views_per_scene=[views], window=6, seed=3)
    dataset = ViewDataset(SceneIndex([source], "all"), plan, Augmentation(), cache_mb=1)
    return list(SceneLoader(dataset, LoadSampler(plan, batch_size=3), workers, pin=False))


def test_the_number_of_workers_changes_nothing() -> None:
    source = SyntheticRooms(scenes=2, frames=8, image_size=(24, 32))
    here, there = load_all(source, 0), load_all(source, 2)
    assert len(here) == len(there) == 8
    for one, other in zip(here, there, strict=True):
        assert one.images.dtype == torch.uint8 and one.images.shape[:3] == (3, 4, 3)
        assert torch.equal(one.images, other.images)
        assert (one.samples, one.places, one.unreadable) == (other.samples, other.places, other.unreadable)
    assert [views.images.shape[-1] for views in here] == [16, 32] * 4
    assert len(np.unique([views.images.float().mean() for views in here])) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_scene_is_an_error_in_words_from_any_worker(workers: int) -> None:
    source = Numbered([6], broken=[(0, 1), (0, 2), (0, 5)])
    with pytest.raises(DataError, match=r"numbered/scene0: only 3 of the 6 images looked at can be read, 4 are needed"):
        load_all(source, workers)
    assert all(len(views.unreadable) <= 9 for views in load_all(source, workers, views=2))


def test_sources_know_where_the_configuration_names_them(tmp_path: Path) -> None:
    rooms = {"_target_": ROOMS, "scenes": 2}
    assert build_sources(rooms)[0].config_key == "data"
    assert [s.config_key for s in build_sources({"sources": {"a": rooms, "b": rooms}})] == [
        "data.sources.a",
        "data.sources.b",
    ]


def test_sources_of_a_mixture_are_drawn_by_their_weights() -> None:
    rooms = {"_target_": ROOMS, "scenes": 2, "frames": 4}
    sources = build_sources({"sources": {"rare": rooms, "often": {**rooms, "weight": 3}, "half": {**rooms, "weight": 0.5}}})
    assert [(source.label, source.weight) for source in sources] == [("rare", 1), ("often", 3), ("half", 0.5)]
    index, rng = SceneIndex(sources, "all"), np.random.default_rng(0)
    drawn = Counter(index.draw(rng).source.label for _ in range(9000))
    for label, share in (("rare", 1 / 4.5), ("often", 3 / 4.5), ("half", 0.5 / 4.5)):
        assert abs(drawn[label] - 9000 * share) < 4 * (9000 * share * (1 - share)) ** 0.5
    for weight in (0, -1, True, "much", float("inf")):
        with pytest.raises(ConfigError, match=r"data\.sources\.a\.weight=.*expected a number above 0"):
            build_sources({"sources": {"a": {**rooms, "weight": weight}}})
