"""`muskie.reconstruct`: from photographs to a result in one call."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import muskie
from muskie.errors import CheckpointError, ConfigError
from muskie.models.recon_load import create_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel

TINY = {"name": "muskie_tiny", "width": 32, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def model() -> ReconstructionModel:
    return create_reconstruction_model(TINY, decoder_depth=1, features=16)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three photographs, one of them taller than wide."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (width, height) in {"1.png": (80, 60), "2.png": (64, 48), "10.png": (60, 80)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_what_comes_back(model: ReconstructionModel, photographs: Path) -> None:
    model.train()
    found = muskie.reconstruct(photographs, model, 32)
    assert isinstance(found, muskie.Reconstruction) and found.names == ["1.png", "2.png", "10.png"]
    height, width = found.size
    assert max(height, width) == 32 and height % 8 == width % 8 == 0
    shapes = {
        "images": (3, 3, height, width),
        "points": (3, height, width, 3),
        "depth": (3, height, width),
        "confidence": (3, height, width),
        "cam2world": (3, 4, 4),
        "extrinsics": (3, 3, 4),
        "intrinsics": (3, 3, 3),
    }
    for name, shape in shapes.items():
        value = getattr(found, name)
        assert value.shape == shape and value.device.type == "cpu" and not value.requires_grad, name
        (value.float() + 1).sum()  # no tensor of inference mode, with which nothing could be learned later
        assert not value.is_inference(), name
    assert model.training and all(p.grad is None for p in model.parameters()), "the model is left as it was"


def test_a_run_says_the_size(model: ReconstructionModel, photographs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    model.save_pretrained(run / "model")
    (run / "config.yaml").write_text("plan: {sizes: [16, 24]}\n")
    for given in (run, run / "model", str(run)):
        assert max(muskie.reconstruct(photographs, given).size) == 24
    assert max(muskie.reconstruct(photographs, run, 40).size) == 40


def test_a_model_says_the_size_wherever_its_folder_lies(photographs: Path, tmp_path: Path) -> None:
    network = create_reconstruction_model(TINY, decoder_depth=1, features=16)
    network.note_training([16, 24], [4])
    network.save_pretrained(tmp_path / "model")
    for given in (network, tmp_path / "model"):
        assert max(muskie.reconstruct(photographs, given).size) == 24
    for size, told in ((48, 0), (56, 1)):
        notes = muskie.reconstruct(photographs, network, size).notes
        assert sum(note.startswith(f"views of {size} px by a model that was trained at 24 px") for note in notes) == told


def test_arguments_of_another_type_are_told(model: ReconstructionModel, photographs: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model=MaskedViewModel.* is a pre-training model.*train_ffrecon"):
        muskie.reconstruct(photographs, muskie.create_model(**TINY))  # type: ignore[arg-type]
    for given, settings, message in (
        (torch.nn.Linear(1, 1), {}, "model is of type Linear: expected a reconstruction model"),
        (model, {"size": "32"}, "size='32': expected a whole number of pixels"),
        (model, {"size": 32.5}, "size=32.5: expected a whole number"),
        (model, {"chunk": "2"}, "chunk='2': expected a whole number of frames"),
    ):
        with pytest.raises(ConfigError, match=message):
            muskie.reconstruct(photographs, given, **settings)  # type: ignore[arg-type]
    assert max(muskie.reconstruct(photographs, model, np.int64(32)).size) == 32  # type: ignore[arg-type]


def test_the_newest_run_is_the_default(
    model: ReconstructionModel, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no fine-tuning run has ended in .*outputs; train one by python train_ffrecon"):
        muskie.reconstruct(photographs)
    for number, name in enumerate(("older", "newer")):
        model.save_pretrained(Path("outputs") / name / "model")
        os.utime(Path("outputs") / name / "model" / "config.json", (number, number))
        (Path("outputs") / name / "config.yaml").write_text(f"plan: {{sizes: [{16 + 8 * number}]}}\n")
    found = muskie.reconstruct(photographs)
    assert max(found.size) == 24
    assert f"model: {Path('outputs') / 'newer'}, the newest fine-tuning run here" in found.notes
