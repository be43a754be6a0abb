"""Photographs in, files out: what `reconstruct` gives, what the script writes, and what is told about mistakes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.errors import CheckpointError, ConfigError, DataError
from muskie.models.heldout_scores import HeldOutScores, write_scores
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
    for given, message in ((tmp_path / "empty", "no"), (tmp_path / "nothing", "nothing"), ([], "empty list")):
        with pytest.raises(DataError, match=message):
            reconstruct(given, model, 32)
    for settings, message in (
        ({"chunk": 0}, "chunk=0: expected 1"),
        ({"fit": "stretch"}, "fit='stretch'"),
        ({"size": 4}, "size=4: expected at least one patch"),
        ({"size": 0}, "size=0: expected at least one patch"),
    ):
        with pytest.raises(ConfigError, match=message):
            reconstruct(photographs, model, **{"size": 32, **settings})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="limit="):
        reconstruct(torch.zeros(1, 3, 8, 8).expand(20_000, 3, 8, 8), model, 512)


def test_no_view_is_inferred_where_one_camera_cannot_be_shared(
    model: ReconstructionModel, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReconstructionModel, "forward", lambda *_: pytest.fail("time is lost"))
    with pytest.raises(ConfigError, match=r"shared_camera=True, but .* different sizes \(80 x 60, 90 x 60\)"):
        reconstruct(photographs, model, 32, device="cpu", shared_camera=True)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return importlib.import_module("reconstruct")


def test_mistakes_end_in_a_line_and_leave_nothing(
    script: ModuleType, saved: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.docx").write_text("text")
    (tmp_path / "clip.mp4").write_bytes(bytes(5000))
    (tmp_path / "bad.jpg").write_text("no picture")
    Image.new("RGB", (3, 2)).save(tmp_path / "tiny.png")
    create_model("muskie_tiny", width=24, depth=1, heads=2).save_pretrained(tmp_path / "pre")
    out = tmp_path / "deep" / "out"
    usual = ["--model", str(saved), "--out", str(out), "--size", "32", "--device", "cpu"]
    for words, message in (
        ([str(tmp_path / "text"), *usual], r"holds no image .* found: 1 \.docx"),
        ([str(tmp_path / "clip.mp4"), *usual], "cannot be read as a video"),
        ([str(tmp_path / "bad.jpg"), *usual], r"bad\.jpg: no image that can be read"),
        ([str(tmp_path / "tiny.png"), *usual], "3 x 2 px, smaller than a patch"),
        ([str(photographs), *usual, "--model", str(tmp_path / "pre")], "is a pre-training model"),
        ([str(photographs), *usual, "--model", str(tmp_path / "text")], r"no config\.json"),
        ([str(photographs), *usual, "--confidence", "100"], "confidence_percentile=100.0: expected 0"),
        ([str(photographs), *usual, "--edge", "-1"], "edge=-1.0: expected 0"),
        ([str(photographs), *usual, "--shared-camera"], "different sizes"),
    ):
        with pytest.raises(SystemExit, match=message):
            script.main(words)
        assert not (tmp_path / "deep").exists(), words


def test_files_of_somebody_else_are_refused_before_a_model_is_loaded(
    script: ModuleType, saved: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = [str(photographs), "--model", str(saved), "--out", str(out), "--size", "32", "--device", "cpu"]
    script.main([*words, "--formats", "ply"])
    (out / "depth").mkdir()
    (out / "depth" / "a.png").write_text("mine")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(script, "reconstruct", lambda *_, **__: pytest.fail("time is lost"))
        with pytest.raises(SystemExit, match=r"depth/a\.png' is not of the earlier reconstruction, and might be replaced"):
            script.main([*words, "--formats", "ply", "maps", "--overwrite"])
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    script.main([*words, "--formats", "ply", "--overwrite"])
    assert (out / "depth" / "a.png").read_text() == "mine"


def test_what_the_script_tells(
    script: ModuleType, saved: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "broken.jpg").write_text("no picture")
    out = tmp_path / "out"
    words = ["--model", str(saved), "--out", str(out), "--size", "32", "--device", "cpu"]
    script.main([str(photographs), *words, "--formats", "colmap", "--colmap", "processed"])
    told = capsys.readouterr().out
    assert "note: left out" in told and "broken.jpg: no image that can be read" in told
    assert told.splitlines()[-1].endswith("cameras.json"), "the first file to open is one that was written"
    images = sorted(path.name for path in (out / "images").iterdir())
    assert images == ["a.png", "b.png", "c.png"] and Image.open(out / "images" / "a.png").size == (32, 24)
    script.main([str(photographs / "a.png"), *words, "--formats", "ply", "--overwrite"])
    assert "1 view of 32 x 24 px" in capsys.readouterr().out


def test_it_says_that_a_model_is_bad(
    script: ModuleType, saved: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what its own run has measured: printed, and in the file."""
    write_scores(saved, HeldOutScores(320, 32, 4, {"AUC@30": 0.044}, {"AUC@30": 0.0}, {"AUC@30": 0.132}))
    out = tmp_path / "out"
    words = [str(photographs), "--model", str(saved), "--out", str(out), "--size", "32", "--device", "cpu"]
    script.main([*words, "--formats", "ply"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "cannot be relied on" in line)
    assert line.startswith("note: the cameras cannot") and "0.044, and 0.132" in line
    assert line.removeprefix("note: ") in json.loads((out / "cameras.json").read_text())["notes"]
