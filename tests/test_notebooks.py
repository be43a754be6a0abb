"""The notebooks run from their first cell to their last, and are committed with their outputs."""

from __future__ import annotations

import ast
import base64
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from muskie import create_model
from muskie.models.recon_load import create_reconstruction_model

MISSING = "notebooks need nbformat, nbclient, ipykernel and matplotlib: pip install -e '.[dev]'"
nbformat = pytest.importorskip("nbformat", reason=MISSING)
nbclient = pytest.importorskip("nbclient", reason=MISSING)
pytest.importorskip("ipykernel", reason=MISSING)
pytest.importorskip("matplotlib.font_manager", reason=MISSING)  # makes its cache of fonts, which would tell so in a cell

REPOSITORY = Path(__file__).parents[1]
NAMES = ("1_masked_views", "2_features", "3_pretrain", "4_reconstruct")
Run = Callable[[str, dict[str, Any]], Any]


def read(name: str) -> Any:
    """A notebook as it is committed."""
    return nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters_cell(notebook: Any) -> Any:
    (cell,) = (cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", []))
    return cell


def assigned(source: str) -> set[str]:
    """The names that a cell assigns."""
    targets = [node.targets[0] for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def printed(notebook: Any, name: str = "stdout") -> str:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == name)


def pictures(notebook: Any) -> list[bytes]:
    """The pictures of all outputs that show something, as files, in order; one that shows no picture fails."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    shown = [output.data for output in outputs if output.output_type != "stream"]
    return [base64.b64decode(data.get("image/png") or data["image/jpeg"]) for data in shown]


def cells_with_output(notebook: Any) -> list[str]:
    return [cell.id for cell in code_cells(notebook) if cell.outputs]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the notebooks need of a run's folder."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    create_model("muskie_tiny", width=32, depth=2, heads=2).save_pretrained(folder / "model")
    (folder / "config.yaml").write_text("plan: {sizes: [24, 32]}\n")
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Executes a notebook in an empty folder, with other parameters."""
    # Whatever kernels are installed, this one runs the Python of the tests.
    kernel = tmp_path / "jupyter" / "kernels" / "this-python"
    kernel.mkdir(parents=True)
    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": words, "display_name": "this Python", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    where = tmp_path / "notebooks"
    where.mkdir()

    def execute(name: str, parameters: dict[str, Any]) -> Any:
        notebook = read(name)
        given = parameters_cell(notebook)
        assert assigned(given.source) == set(parameters), "the parameters of the notebook, and no others"
        given.source = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
        for cell in code_cells(notebook):
            cell.outputs = []
        resources = {"metadata": {"path": str(where)}}
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="this-python", resources=resources).execute()
        return notebook

    return execute


def check_run(name: str, notebook: Any) -> None:
    """What holds for all of them: silence on stderr, pages that show something, outputs where the committed one has some."""
    assert printed(notebook, "stderr") == ""
    for file in pictures(notebook):
        picture = Image.open(io.BytesIO(file)).convert("L")
        assert min(picture.size) > 100
        assert len(picture.getcolors()) > 10, "an empty page"
    assert cells_with_output(notebook) == cells_with_output(read(name)), "execute the notebook again, and commit it"


def test_masked_views(run: Run, checkpoint: Path, image_root: Path) -> None:
    parameters = {
        "CHECKPOINT": str(checkpoint),
        "PHOTOGRAPHS": str(image_root / "scene0"),
        "SIZE": None,
        "WHOLE": 1,
        "HIDDEN": 0.75,
        "SEED": 3,
    }
    notebook = run("1_masked_views", parameters)
    check_run("1_masked_views", notebook)
    text = printed(notebook)
    assert "images of 32 x 32 pixels in patches of 8 x 8" in text, "the largest size of the run"
    assert "00.png\n01.png\n02.png\n03.png\n(4, 3, 32, 32)" in text
    assert "[0, 12, 12, 12] of 16" in text
    assert len(re.findall(r"E 0\.\d{4}   PSNR \d+\.\d dB", text)) == 2
    assert len(pictures(notebook)) == 2


def test_features(run: Run, checkpoint: Path, image_root: Path) -> None:
    pytest.importorskip("timm", reason="compares with a ViT of timm: pip install -e '.[dev]'")
    timm = {"name": "timm/vit_tiny_patch16_224", "pretrained": False, "patch_size": 8, "depth": 2}
    parameters = {
        "CHECKPOINT": str(checkpoint),
        "BACKBONES": [{"name": str(checkpoint), "label": "ours"}, timm],
        "PHOTOGRAPHS": str(image_root / "scene0"),
        "SOURCES": {"rooms": {"_target_": "muskie.data.sources.synthetic.SyntheticRooms"}},
        "SIZE": 32,
        "FINE": 40,
    }
    notebook = run("2_features", parameters)
    check_run("2_features", notebook)
    text = printed(notebook)
    assert "ours: 2 layers, features [B, V, C, h, w] = [1, 4, 32, 4, 4]" in text
    assert "timm/vit_tiny_patch16_224, untrained: 2 layers, features [B, V, C, h, w] = [1, 4, 192, 4, 4]" in text
    assert len(pictures(notebook)) == 2 + 2, "principal components, attention, and the matches of both backbones"


def test_pretrain(run: Run, tmp_path: Path) -> None:
    small = ["model.width=32", "model.depth=1", "model.heads=2", "plan.sizes=[16]", "trainer.batch_size=2"]
    few = [
        "trainer.device=cpu",
        "trainer.precision=fp32",
        "trainer.workers=0",
        "trainer.log_every=1",
        "evaluation.samples=2",
    ]
    folder = tmp_path / "outputs" / "small"
    parameters = {"REPOSITORY": str(REPOSITORY), "RUN": str(folder), "STEPS": 4, "SETTINGS": [*small, *few]}
    notebook = run("3_pretrain", parameters)
    check_run("3_pretrain", notebook)
    text = printed(notebook)
    assert text.startswith(f"python main.py output_dir={folder} trainer.steps=4 ")
    assert "step 4/4  loss " in text and "step 4: cross-view gain " in text
    assert "[1, 4, 96, 32] = [B, V, L, C]" in text, "the model that was trained"
    assert len(pictures(notebook)) == 2
    drawn = sorted(path.stem for path in (folder / "pictures").glob("held_out-masked_views-*"))
    assert [int(stem[-8:]) for stem in drawn] == [0, 2, 4]


def test_reconstruct(run: Run, tmp_path: Path, image_root: Path) -> None:
    pytest.importorskip("scipy", reason="measures clouds: pip install -e '.[recon]'")
    model, out = tmp_path / "fine-tuned", tmp_path / "reconstruction"
    backbone = create_model("muskie_tiny", width=32, depth=2, heads=2)
    create_reconstruction_model(backbone, decoder_depth=1, features=8).save_pretrained(model / "model")
    (model / "config.yaml").write_text("plan: {sizes: [24, 32]}\n")
    photographs = [str(image_root / "scene0" / f"{number:02d}.png") for number in (0, 4, 8)]
    parameters = {
        "PHOTOGRAPHS": photographs,
        "MODEL": str(model),
        "SIZE": None,
        "OUT": str(out),
        "SOURCES": {"rooms": {"_target_": "muskie.data.sources.synthetic.SyntheticRooms"}},
        "SAMPLES": 2,
    }
    notebook = run("4_reconstruct", parameters)
    check_run("4_reconstruct", notebook)
    text = printed(notebook)
    assert "3 views of 32 x 32 px: 00.png, 04.png, 08.png" in text, "the largest size of the run"
    assert re.search(r"cam2world  float32 +\[3, 4, 4\]\n +extrinsics  float32 +\[3, 3, 4\]", text)
    (off,) = re.findall(r"identity up to (\S+)\n", text)
    assert float(off) < 1e-5
    assert "spans [0.0, 0.0] to [40.0, 40.0] of an original of 40 x 40 px" in text
    (here, there) = re.findall(r"focal length: (\S+) px of the view, (\S+) px of the original", text)[0]
    assert float(there) == pytest.approx(float(here) * 40 / 32, abs=0.2)
    files = [path for path in out.rglob("*") if path.is_file()]
    listed = re.findall(r"^\S+ +(\d+) files? ", text, re.MULTILINE)
    assert f"\n{len(files)} files in all" in text and sum(map(int, listed)) == len(files), "each is in one line of the list"
    assert "rooms: 2 samples" in text
    (floors,) = re.findall(r"^ *AUC@30  \d\.\d{3} \(.*\) +(\S+) +\S+ +(\S+)$", text, re.MULTILINE)
    assert floors == ("0.000", "1.000"), "of cameras at one place, and of the true ones"
    errors = re.findall(r"\d\.\d{3} of (?:all pixels|the surest \d+ %)", text)
    assert len(errors) == 4, "of all pixels, and of ever fewer"
    assert len(pictures(notebook)) == 3


@pytest.mark.parametrize("name", NAMES)
def test_committed_outputs(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "executed once, from the top"
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"stream", "display_data"}, "neither errors nor values that nobody asked for"
    assert printed(notebook, "stderr") == ""
    assert pictures(notebook)
    assert all(len(file) < 400_000 for file in pictures(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_committed_text(name: str) -> None:
    """Nothing of the machine that they ran on, and no progress bars."""
    path = REPOSITORY / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < 1_500_000
    notebook = read(name)
    for cell in code_cells(notebook):
        for output in cell.outputs:
            for kind in ("image/png", "image/jpeg"):
                output.get("data", {}).pop(kind, None)
    text = json.dumps(notebook)
    assert not re.findall(r"/(?:tmp|work|home|root|Users)\b", text)
    assert not re.findall(r"Traceback|Warning|it/s\]|step/s\]|\\u001b|\\r", text)
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and set(notebook.metadata.language_info) == {"name"}


def test_all_notebooks_are_tested() -> None:
    assert sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb")) == sorted(NAMES)
