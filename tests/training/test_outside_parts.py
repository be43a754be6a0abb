"""Parts that live in a file of somebody else, put into a run by their import path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import metrics, pretraining

from muskie.errors import ConfigError

MODULE = '''
from collections.abc import Sequence

import numpy as np
from PIL import Image

from muskie.data.scene import Frame, Scene, SceneSource
from muskie.masking import ShapeRequest
from muskie.objectives.loss import Loss


class Plain:
    """The mean absolute error."""

    def __init__(self, weight: float, power: int = 1) -> None:
        self.weight, self.power = weight, power

    def __call__(self, prediction, confidence, target, hidden, mask):
        scene = hidden // mask[0].numel()
        error = (prediction - target).abs().mean(-1) ** self.power
        count = error.new_zeros(len(mask)).index_add_(0, scene, error.new_ones(len(scene)))
        scenes = error.new_zeros(len(mask)).index_add_(0, scene, error) / count
        # The confidence gets a gradient, as every output of a model that several ranks train must.
        loss = self.weight * scenes.mean() + 0 * confidence.mean()
        return Loss(loss, scenes.detach(), {"absolute": scenes.mean().detach()})


class Ramps(SceneSource):
    """Grey ramps."""

    name = "ramps"

    def __init__(self, scenes: int, sides: Sequence[int] = (32, 48)) -> None:
        self.scenes, self.sides = scenes, sides

    def __len__(self):
        return self.scenes

    def scene(self, index):
        return Scene(f"ramp{index}", [str(n) for n in range(8)])

    def read(self, scene, frame, *, at_least=None, geometry=False):
        line = np.linspace(int(frame), 200, self.sides[1], dtype=np.uint8)
        return Frame(Image.fromarray(np.tile(line, (self.sides[0], 1))).convert("RGB"))


def first_column(request: ShapeRequest):
    hidden = np.zeros((len(request.rngs) * request.per_scene, *request.grid), dtype=bool)
    hidden[:, :, 0] = True
    return hidden
'''


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "their_parts.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


OBJECTIVE = ["objective._target_=their_parts.Plain", "objective.weight=2"]


def test_all_of_them_in_one_run(tiny: list[str], tmp_path: Path) -> None:
    masks = ["masks.modes=[their_parts.first_column]", "masks.ratios=[0.5]"]
    data = ["data._target_=their_parts.Ramps", "data.scenes=3"]
    without_root = [word for word in tiny if not word.startswith("data.root")]
    run = pretraining([*without_root, *OBJECTIVE, *masks, *data, f"output_dir={tmp_path}"])
    assert [source.name for source in run.sources] == ["ramps"] and len(run.sources[0]) == 3
    masked: list[torch.Tensor] = []
    prepare = run.task.prepare
    run.task.prepare = lambda *a: [batch := prepare(*a), masked.append(batch.mask)][0]  # type: ignore
    assert run.run()
    for line in metrics(tmp_path):
        assert line["train/loss"] == pytest.approx(2 * line["train/absolute"], rel=1e-5)
        assert "train/confidence_price" not in line
    assert all(mask[:, 2:, :, 0].all() and not mask[..., 1:].any() and not mask[:, :2].any() for mask in masked)


def test_their_defaults_and_types_count(tiny: list[str]) -> None:
    run = pretraining([*tiny, *OBJECTIVE, "objective.power=2"])
    assert (run.task.objective.weight, run.task.objective.power) == (2.0, 2)  # type: ignore[attr-defined]
    cases = {
        ("objective._target_=their_parts.Plain",): "objective.weight must be given",
        (*OBJECTIVE, "objective.pwer=2"): "objective.pwer is unknown; did you mean 'objective.power'",
        (*OBJECTIVE, "objective.power=much"): "objective.power='much': should be a valid integer",
        (*OBJECTIVE, "objective.floor=1"): "objective.floor is unknown",
        ("objective._target_=their_parts.Plane",): "objective._target_='their_parts.Plane' cannot be imported",
        ("data._target_=their_parts.Ramps", "data.scenes=3", "data.scene=4"): "data.scene is unknown; did you mean",
        ("data._target_=their_parts.Plain", "data.weight=1"): "data._target_ makes a Plain, which is no SceneSource",
    }
    for overrides, message in cases.items():
        with pytest.raises(ConfigError) as raised:
            pretraining([*[word for word in tiny if "data._" not in overrides[0] or "data.root" not in word], *overrides])
        assert message in str(raised.value)
