"""Which frames a fine-tuning run measures: none that it trains on, and as many as can be read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.data.geometry_check import WITH_GEOMETRY
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset
from muskie.data.requests import Request
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.errors import ConfigError, DataError
from muskie.models.recon_load import create_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel
from muskie.training.recon_heldout import ReconstructionEvaluation, ReconstructionHeldOut

FRAMES = 10


class Walls(SceneSource):
    """Frames that lack something, by scene and frame; keeps which were read."""

    name = "walls"

    def __init__(self, scenes: int = 4, lacks: dict[tuple[int, int], str] | None = None, everywhere: str = "") -> None:
        self.scenes, self.lacks, self.everywhere = scenes, lacks or {}, everywhere
        self.read_so_far: set[str] = set()

    def __len__(self) -> int:
        return self.scenes

    def scene(self, index: int) -> Scene:
        return Scene(str(index), [str(number) for number in range(FRAMES)])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        self.read_so_far.add(self.identity(scene, frame))
        place = int(scene.name), int(frame)
        lack = self.lacks.get(place, self.everywhere)
        pose = np.eye(4)
        pose[:3, 3] = 0.1 * place[1], 0.05 * place[1] ** 2, 0
        depth = (2 + np.random.default_rng(place).random((20, 30))).astype(np.float32)
        camera = Camera(np.array([[20.0, 0, 15], [0, 20, 10], [0, 0, 1]]), pose)
        if lack == "left-handed":
            pose[1, 1] = -1
        return Frame(Image.new("RGB", (30, 20)), None if lack == "depth" else depth, None if lack == "camera" else camera)


@pytest.fixture(scope="module")
def model() -> ReconstructionModel:
    small = {"name": "muskie_tiny", "width": 24, "heads": 2, "depth": 2}
    return create_reconstruction_model(small, features=8, decoder_depth=1).eval()


def plan(views: int = 2) -> StepPlan:
    return StepPlan(patch_size=8, steps=4, sizes=(16,), views=max(views, 2), views_per_scene=(views,), window=3)


def heldout(source: SceneSource, model: ReconstructionModel, holdout: HoldOut, views: int = 2, **more: Any) -> Any:
    config = ReconstructionEvaluation(**{"scenes": 8, "distance": 1, "parts": ("pose", "depth"), **more})
    return ReconstructionHeldOut(config, [source], holdout, plan(views), model)


@pytest.mark.parametrize("by", ["frames", "scenes"])
def test_what_is_measured_is_not_trained_on(model: ReconstructionModel, by: str) -> None:
    """By what both really read; what is held out are the last frames of each scene, or the last scenes."""
    holdout = HoldOut(0.4 if by == "frames" else 0.5, by)
    trained, measured = Walls(), Walls()
    dataset = PosedDataset(SceneIndex([trained], "train", holdout), plan(), GeometryCrops())
    for sample in range(60):
        dataset[Request(0, 0, sample)]
    found = heldout(measured, model, holdout)
    found.draw()
    ours = {
        (scene, frame) for scene in range(4) for frame in range(FRAMES) if (frame >= 6 if by == "frames" else scene >= 2)
    }
    of = {measured.identity(measured.scene(scene), str(frame)) for scene, frame in ours}
    assert measured.read_so_far and measured.read_so_far <= of
    assert len(trained.read_so_far) > 15 and not trained.read_so_far & of
    assert {identity for views in found._sets for identity in views.identities} == measured.read_so_far


@pytest.mark.parametrize("lack", ["depth", "camera", "left-handed"])
def test_samples_that_lack_something_are_left_out_and_told(model: ReconstructionModel, lack: str) -> None:
    """As in training, where such frames are no reason to stop."""
    found = heldout(Walls(lacks={(1, 8): lack, (3, 9): lack}), model, HoldOut(0.2))
    found.draw()
    assert sum(len(views.images) for views in found._batches) == 2 and len(found.unreadable) == 2
    what = "a pose whose rotation has determinant -1" if lack == "left-handed" else f"has no {lack}"
    assert all(what in told for told in found.unreadable) and "walls/1" in found.unreadable[0]
    scalars, line = found.measure(torch.device("cpu"), None)
    assert "held out, 2 samples of 2 views" in line and all(math.isfinite(value) for value in scalars.values())


@pytest.mark.parametrize("lack", ["depth", "camera", "left-handed"])
def test_no_sample_is_left(model: ReconstructionModel, lack: str) -> None:
    found = heldout(Walls(lacks={(n, 8): lack for n in range(4)}), model, HoldOut(0.2))
    with pytest.raises(DataError, match=r"held out: none of 4 sets of views can be read; walls/.*holdout\.share=0") as error:
        found.draw()
    assert str(error.value).count(WITH_GEOMETRY) == 1


def test_one_view_has_no_relative_pose_and_two_are_measured(model: ReconstructionModel) -> None:
    found = heldout(Walls(), model, HoldOut(0.4), views=1)
    found.draw()
    scalars, line = found.measure(torch.device("cpu"), None)
    assert "held out, 8 samples of 2 views" in line
    assert "heldout/AUC@30" in scalars and all(math.isfinite(value) for value in scalars.values())


@pytest.mark.parametrize("size", [0, -8])
def test_sizes_that_are_none(size: int) -> None:
    with pytest.raises(ConfigError, match=f"evaluation.size={size}: expected at least one patch"):
        ReconstructionEvaluation(size=size)
