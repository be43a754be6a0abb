"""Photographs in, files out: what `reconstruct` gives, what the script writes, and what is told about mistakes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.errors import CheckpointError, ConfigError, DataError
from muskie.models.recon_load import create_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel
from muskie.models.variants import create_model
from muskie.reconstruction.reconstruct import infer, reconstruct

SMALL = {"name": "muskie_tiny", "width": 24, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def model() -> ReconstructionModel:
    return create_reconstruction_model(SMALL, decoder_depth=1, features=8).eval()


@pytest.fixture
def saved(model: ReconstructionModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three photographs of several sizes and kinds, one of them upright by EXIF alone, and a text file."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size, mode in (("a.png", (80, 60), "RGB"), ("b.png", (90, 60), "RGBA"), ("c.jpg", (60, 80), "L")):
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)).convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "c.jpg" else 1
        image.save(folder / name, **({"exif": exif} if name == "c.jpg" else {}))
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_what_comes_out(model: ReconstructionModel, photographs: Path) -> None:
    found = reconstruct(photographs, model, 48, device="cpu")
    assert found.names == ["a.png", "b.png", "c.jpg"] and found.size == (32, 48)
    assert found.points.shape == (3, 32, 48, 3) and found.points.isfinite().all()
    assert (found.confidence > 1).all() and found.extrinsics.shape == (3, 3, 4)
    both = torch.cat([found.extrinsics, torch.tensor([[[0.0, 0, 0, 1]]] * 3)], dim=1) @ found.cam2world
    assert torch.allclose(both, torch.eye(4).expand(3, 4, 4), atol=1e-5)
    assert [m.original_size for m in found.pixel_maps] == [(80, 60), (90, 60), (80, 60)], "upright"
    with torch.inference_mode():
        straight = model(found.images[None])
    assert torch.allclose(straight.local_points[0], found.local_points, atol=1e-5)


def test_one_image_alone(model: ReconstructionModel) -> None:
    found = reconstruct(torch.rand(1, 3, 16, 24), model, 24, device="cpu")
    assert len(found) == 1 and found.points.isfinite().all() and found.intrinsics.shape == (1, 3, 3)


def test_the_model_is_left_as_it_was(model: ReconstructionModel) -> None:
    model.train()
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    one, other = (infer(model, images, torch.device("cpu"), chunk=chunk) for chunk in (1, 5))
    assert torch.allclose(one.points, other.points, atol=1e-6) and model.training and model.chunk == 8
    assert not one.points.requires_grad and not one.points.is_inference()
    model.eval()


def test_a_run_says_its_size(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("plan: {sizes: [16, 32]}")
    assert reconstruct(torch.rand(2, 3, 64, 64), tmp_path, device="cpu").size == (32, 32)
    assert reconstruct(torch.rand(2, 3, 64, 64), saved, 16, device="cpu").size == (16, 16)


def test_the_script_writes_all(saved: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trimesh", reason="trimesh is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    script, out = importlib.import_module("reconstruct"), tmp_path / "out"
    words = [str(photographs), "--model", str(saved), "--out", str(out), "--size", "32", "--device", "cpu"]
    script.main(words)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {
        "scene.glb",
        "points.ply",
        "cameras.json",
        "contact_sheet.png",
        "sparse/0/cameras.bin",
        "sparse/0/images.txt",
    } <= names
    assert len(json.loads((out / "cameras.json").read_text())["views"]) == 3
    with pytest.raises(SystemExit, match="overwrite"):
        script.main(words)
    script.main([*words, "--overwrite", "--formats", "ply"])
    assert not (out / "scene.glb").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SystemExit, match=r"thesis\.txt"):
        script.main([*words[:4], str(tmp_path / "mine"), "--overwrite"])
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_mistakes(model: ReconstructionModel, saved: Path, photographs: Path, tmp_path: Path) -> None:
    create_model("muskie_tiny", width=24, depth=1, heads=2).save_pretrained(tmp_path / "pre")
    with pytest.raises(CheckpointError, match=r"is a pre-training model, .* fine-tune it by train_ffrecon\.py first"):
        reconstruct(photographs, tmp_path / "pre")
    (tmp_path / "empty").mkdir()
    for given, message in ((tmp_path / "empty", "no"), (tmp_path / "nothing", "nothing"), ([], "")):
        with pytest.raises(DataError, match=message):
            reconstruct(given, model, 32)
    for settings, message in (
        ({"chunk": 0}, "chunk=0: expected 1"),
        ({"fit": "stretch"}, "fit='stretch'"),
        ({"size": 4}, ""),
    ):
        with pytest.raises(ConfigError, match=message):
            reconstruct(photographs, model, **{"size": 32, **settings})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="limit="):
        reconstruct(torch.zeros(1, 3, 8, 8).expand(100_000, 3, 8, 8), model, 512)
