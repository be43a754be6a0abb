"""Depth and cameras are looked for in the samples that were chosen, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from PIL import Image

from muskie.data.index import SceneIndex
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.errors import DataError
from muskie.evaluation.material import Material
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.sample_geometry import LOOKS, check_samples
from muskie.evaluation.views.view_sets import ViewChoice, ViewSet

SIZE = (16, 16)


class Partly(SceneSource):
    """Scenes of grey pictures, of which some have geometry.

    Args:
        depth: scenes, or (scene, frame) pairs, whose depth is known; others have a map that is 0 everywhere.
        scenes, frames: how many.
        cameras: scenes with a camera; None: all.
        broken: scenes that cannot be read.
        name: of the source.
    """

    def __init__(
        self,
        depth: Collection[object],
        scenes: int = 4,
        frames: int = 6,
        cameras: Collection[int] | None = None,
        broken: Collection[int] = (),
        name: str = "partly",
    ) -> None:
        self.depth, self.scenes, self.frames, self.broken, self.name = depth, scenes, frames, broken, name
        self.cameras = range(scenes) if cameras is None else cameras
        self.read_of: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self.scenes

    def scene(self, index: int) -> Scene:
        return Scene(f"scene{index}", [str(frame) for frame in range(self.frames)])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        number = int(scene.name.removeprefix("scene"))
        self.read_of.append((number, int(frame)))
        if number in self.broken:
            raise OSError("lost")
        known = number in self.depth or (number, int(frame)) in self.depth
        camera = Camera(np.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]), np.eye(4)) if number in self.cameras else None
        return Frame(Image.new("RGB", SIZE), np.full(SIZE, 2.0 * known, np.float32), camera)


def material(source: SceneSource, *more: SceneSource, **views: object) -> Material:
    choice = ViewChoice(**{"views": 2, "distance": 1, **views})  # type: ignore[arg-type]
    pairs = PairChoice(distance=1, scenes=choice.scenes)
    return Material(SceneIndex([source, *more], "all"), SIZE, views=choice, pairs=pairs)


def test_a_first_scene_without_depth_is_none_of_the_samples() -> None:
    found = material(Partly(depth=[1, 2, 3]), scenes=["scene2"]).view_sets()
    assert {views.scene.name for views in found} == {"scene2"}
    found = material(Partly(depth=[1, 2, 3]), scenes=["scene2"]).pair_sets().sets
    assert {views.scene.name for views in found} == {"scene2"}


def test_chosen_scenes_without_depth_are_told_before_anything_is_measured() -> None:
    source = Partly(depth=[0])
    with pytest.raises(DataError, match=r"partly/scene2: no frame has known depth.* \(6 of the 6 frames of the samples"):
        material(source, scenes=["scene2"], samples=None).view_sets()
    with pytest.raises(DataError, match=r"partly/scene2: no frame has known depth"):
        material(source, scenes=["scene2"]).pair_sets()
    assert {scene for scene, _ in source.read_of} == {2}
    assert material(source, scenes=["scene2"]).view_sets(depth=False), "cameras alone are there"


def test_some_depth_anywhere_among_the_samples_will_do() -> None:
    """Samples without are left out later, and told."""
    assert material(Partly(depth=[(3, 4)]), samples=None).view_sets()
    with pytest.raises(DataError, match="no frame has known depth"):
        material(Partly(depth=[]), samples=None).view_sets()


def test_every_source_of_samples_is_looked_at() -> None:
    one, other = Partly(depth=[0], name="one"), Partly(depth=[0], name="other")
    assert material(one, other, views=3).view_sets()
    with pytest.raises(DataError, match=r"^other/scene1: no frame has known depth"):
        material(Partly(depth=[1], name="one"), other, scenes=["scene1"]).view_sets()


def test_cameras_are_needed_in_any_case() -> None:
    with pytest.raises(DataError, match=r"partly/scene1: frame '\d' has no camera, which the evaluation of geometry needs"):
        material(Partly(depth=[1], cameras=[0]), scenes=["scene1"]).view_sets(depth=False)


def test_what_cannot_be_read_is_no_evidence() -> None:
    assert material(Partly(depth=[], broken=range(4))).view_sets()
    with pytest.raises(DataError, match="partly/scene1: no frame has known depth"):
        material(Partly(depth=[], broken=[0])).view_sets()


def test_no_advice_about_views_where_there_is_no_depth() -> None:
    with pytest.raises(DataError, match="no frame has known depth"):
        material(Partly(depth=[]), distance=9).view_sets()
    with pytest.raises(DataError, match=r"take fewer views or a smaller distance, at most 5"):
        material(Partly(depth=[3]), distance=9).view_sets()


def test_only_so_many_frames_are_read() -> None:
    source = Partly(depth=[], scenes=50, frames=20)
    sets = [ViewSet(source, scene, tuple(scene.frames)) for scene in map(source.scene, range(50))]
    with pytest.raises(DataError, match=rf"\({LOOKS} of the 1000 frames of the samples were looked at\)"):
        check_samples(sets, SIZE, depth=True)
    assert len(source.read_of) == LOOKS and {scene for scene, _ in source.read_of} == set(range(50))
    source = Partly(depth=[0], scenes=50, frames=20)
    check_samples([ViewSet(source, views.scene, views.frames) for views in sets], SIZE, depth=True)
    assert len(source.read_of) == 1


def test_what_notes_tell_of_named_scenes() -> None:
    given = material(Partly(depth=[1]), scenes=["scene1"])
    sets = given.view_sets()
    assert list(given.batches(sets, "test"))
    assert (
        "5 samples of 2 views, 1 frames apart, of 1 named scene (scene1), 16 x 16 px." in given.notes(sets, given.views)[0]
    )
