"""One command, one table: what is measured, on what, and what is told about mistakes."""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError
from muskie.evaluation.results import Table
from muskie.evaluation.views.view_sets import ViewChoice
from muskie.models.variants import create_model
from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS

REPOSITORY = Path(__file__).parents[2]
SMALL = "views.samples=3 views.views=3 views.distance=2 correspondence.queries=20"
ALL_SETS = SMALL.replace("samples=3", "samples=10")
Evaluate = Callable[[str], list[Table]]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Evaluate:
    """Runs `evaluate.py` with these words, in a folder of its own."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("evaluate")
    return lambda words: script.evaluate(words.split())


@pytest.fixture(scope="module")
def run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on rooms that has ended."""
    import torch

    folder = tmp_path_factory.mktemp("runs") / "one"
    kept = [word for word in tiny if not word.startswith(("data", "holdout"))]
    words = [*kept, "data=synthetic", "data.scenes=10", "data.frames=8", "holdout.share=0.4", "trainer.steps=2"]
    overrides = read_overrides([*words, f"output_dir={folder}"], REPOSITORY / "configs", "pretrain", SECTIONS.names())
    config = compose_config(REPOSITORY / "configs", "pretrain", overrides)
    assert Pretraining(config, Ranks(0, 1, torch.device("cpu"))).run()
    return folder


def test_a_run_is_measured_on_what_it_held_out(run: Path, evaluate: Evaluate, capsys: pytest.CaptureFixture[str]) -> None:
    (table,) = evaluate(f"{run} {SMALL}")
    (out,) = (run / "evaluation").iterdir()
    content = json.loads((out / "results.json").read_text())
    rows = content["tables"][0]["rows"]
    assert {row["model"] for row in rows} == {
        "one", "one, untrained", "same pixel", "random features, patch 8", "perfect matcher, patch 8",
    }  # fmt: skip
    assert "synthetic, held-out frames: 3 samples of 3 views, 2 frames apart, 16 x 16 px" in table.notes[0]
    with (out / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows) == len(table.rows)
    printed = capsys.readouterr().out
    assert table.short() in printed and table.short() in (out / "results.md").read_text()
    assert str(out) in printed
    assert content["settings"]["holdout"] == {"share": 0.4, "by": "scenes"} and content["settings"]["part"] == "heldout"
    # The rooms that were held out, and no other ones.
    index = SceneIndex([SyntheticRooms(scenes=10, frames=8)], "heldout", HoldOut(0.4, "scenes"))
    sets = ViewChoice(views=3, distance=2, samples=3).choose(index)
    assert {views.scene.name for views in sets} <= {f"room-{n:06d}" for n in range(6, 10)}


def test_two_checkpoints_in_one_table(run: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    create_model("muskie_tiny", width=32, depth=2, heads=2, seed=5).save_pretrained(tmp_path / "other")
    (table,) = evaluate(f"{run} {tmp_path}/other untrained=false floors=false out=both {SMALL}")
    assert list(dict.fromkeys(row.model for row in table.rows)) == ["one", "other"]
    assert (tmp_path / "both" / "results.md").is_file()
    (again,) = evaluate(f"{run} untrained=false floors=false out=again {SMALL}")
    alone = {(row.readout, row.layer, row.metric, row.pooling): row.value for row in again.rows}
    beside = {(row.readout, row.layer, row.metric, row.pooling): row.value for row in table.rows if row.model == "one"}
    assert str(alone) == str(beside), "a model's numbers do not depend on what is measured beside it"


def test_what_a_run_was_trained_on_is_not_measured_as_held_out(run: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    script = importlib.import_module("evaluate")
    for words in (
        "holdout.share=0.6",
        "data=synthetic data.scenes=5 data.frames=8 part=heldout",
        "data=synthetic data.scenes=10 data.frames=8 holdout.by=frames holdout.share=0.75",
    ):
        with pytest.raises(SystemExit, match=r"one was trained on \d+ of the \d+ frames that would be measured as held out"):
            script.main(f"{run} {words} {SMALL}".split())
    pairs = "suite=probe3d pairs.distance=1 pairs.samples=9"
    with pytest.raises(SystemExit, match=r"one was trained on \d+ of the \d+ frames that would be measured as held out"):
        script.main(f"{run} holdout.share=0.6 {pairs}".split())
    assert len(list((run / "evaluation").iterdir())) == len(list((run / "evaluation").glob("*/results.json")))
    (table,) = evaluate(f"{run} holdout.share=0.2 floors=false untrained=false out=fewer {SMALL}")
    assert "held-out frames" in table.notes[0], "the last two rooms of ten are among the four that it held out"
    (table,) = evaluate(f"{run} part=all floors=false untrained=false out=all {ALL_SETS}")
    assert "all frames" in table.notes[0] and "one was trained on 18 of these 30 frames." in table.notes
    (table,) = evaluate(f"{run} data=sevenscenes data.root={sequence(tmp_path)} floors=false untrained=false out=o {SMALL}")
    assert "all frames" in table.notes[0], "nothing of other data was trained on"
    assert not any("trained" in note for note in table.notes)


def test_a_model_of_which_nothing_is_known(run: Path, evaluate: Evaluate, tmp_path: Path) -> None:
    create_model("muskie_tiny", width=32, depth=1, heads=2).save_pretrained(tmp_path / "given")
    (table,) = evaluate(f"{tmp_path}/given data=synthetic data.frames=8 size=16 untrained=false floors=false {SMALL}")
    assert "Whether it was on others is not known of given." in table.notes
    shutil.copytree(run / "model", tmp_path / "copied")
    (tmp_path / "linked").symlink_to(run / "model")
    for name, label in (("copied", "copied"), ("linked", "one")):
        words = f"{tmp_path / name} data=synthetic data.scenes=10 data.frames=8 part=all size=16 out={name}"
        (table,) = evaluate(f"{words} untrained=false floors=false {ALL_SETS}")
        assert f"{label} was trained on 18 of these 30 frames." in table.notes


def test_results_are_not_overwritten(run: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "now")
    before = set((run / "evaluation").glob("*"))
    for _ in range(2):
        evaluate(f"{run} untrained=false floors=false {SMALL}")
    assert {path.name for path in set((run / "evaluation").glob("*")) - before} == {"now", "now-2"}
    evaluate(f"{run} untrained=false floors=false out=mine {SMALL}")
    with pytest.raises(ConfigError, match=r"out='mine' holds the results of an earlier evaluation"):
        evaluate(f"{run} untrained=false floors=false out=mine {SMALL}")


def test_a_name_is_no_run(run: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    evaluate(f"muskie_tiny data=synthetic data.scenes=2 data.frames=8 size=16 floors=false {SMALL}")
    assert not any(path.name == "results.md" for path in run.glob("evaluation/*.md"))


def sequence(root: Path) -> Path:
    """A sequence in the layout of 7-Scenes, of a wall."""
    folder = root / "scenes" / "wall" / "seq-01"
    folder.mkdir(parents=True)
    texture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for number in range(6):
        stem = folder / f"frame-{number:06d}"
        Image.fromarray(texture).save(f"{stem}.color.png")
        Image.fromarray(np.full((48, 64), 2000, dtype=np.uint16)).save(f"{stem}.depth.png")
        np.savetxt(f"{stem}.pose.txt", np.eye(4))
    return root / "scenes"


def test_untrained_models_by_name_and_other_data(evaluate: Evaluate, tmp_path: Path) -> None:
    words = "muskie_tiny data=synthetic data.frames=6 size=[16,24] floors=false device=cpu precision=bf16"
    (table,) = evaluate(f"{words} {SMALL} correspondence.layers=[0,-1] correspondence.readouts=[l2]")
    assert {(row.model, row.readout, row.layer) for row in table.rows} == {
        ("muskie_tiny, untrained", "l2", layer) for layer in (0, 3)
    }
    assert "all frames" in table.notes[0] and "24 x 16 px" in table.notes[0]
    (folder,) = (tmp_path / "evaluations").iterdir()
    assert (folder / "results.json").is_file()


def test_a_timm_model(evaluate: Evaluate) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    spec = "{name:timm/vit_tiny_patch16_224,pretrained:false,patch_size:8,label:vit}"
    (table,) = evaluate(f"{spec} data.frames=6 data=synthetic size=20 {SMALL}")
    assert {row.readout for row in table.rows if row.model == "vit, untrained"} == {"cosine"}, "it attends to one view"


def test_two_view_suites(run: Path, evaluate: Evaluate) -> None:
    pytest.importorskip("poselib", reason="poselib is not installed")
    suites = "suite=[dense_matching,probe3d,relative_pose] pairs.distance=2 pairs.samples=4 untrained=false"
    probe = "dense_matching.probe=true dense_matching.probe_pairs=6 dense_matching.steps=2 dense_matching.rates=[0.001]"
    tables = evaluate(f"{run} {suites} {probe} dense_matching.checks=1 dense_matching.bins=[0,180] out=two")
    assert [table.title for table in tables] == [
        "Two-view dense matching", "Correspondence as in Probe3D", "Relative pose from features alone",
    ]  # fmt: skip
    dense, _, pose = tables
    assert {row.readout for row in dense.rows if row.model == "one"} == {"knn", "probe"}
    assert "Probe of one, layer 0: learning rate 0.001" in dense.short() and "on the validation split" in dense.short()
    assert "PCK@32px [0, 180]°" in dense.short()
    assert {row.metric for row in pose.rows if row.model == "one"} >= {"AUC@5", "AUC@10", "AUC@20"}
    for table in tables:
        assert "4 samples of 2 views, 2 frames apart" in table.notes[0]
        assert all(0 <= row.value <= 1 for row in table.rows if row.metric in table.percent and row.count)


def test_a_suite_from_outside(run: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside_suite.py").write_text(
        "from dataclasses import dataclass\n"
        "from muskie.evaluation.results import Row, Table\n"
        "from muskie.evaluation.suite_registry import suite\n"
        "@dataclass\n"
        "class Config:\n"
        "    answer: float = 0.42\n"
        "@suite(Config)\n"
        "def mine(backbones, material, config):\n"
        "    rows = [Row('mine', material.data, b.name, '', None, '', 'x', config.answer, 0.4, 0.5, 1) for b in backbones]\n"
        "    return Table('Mine', [], rows, ['x'], [('x', '', 'x')])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "outside_suite", raising=False)
    tables = evaluate(f"{run} suite=[outside_suite.mine,correspondence] out=o {SMALL}")
    assert [table.title for table in tables] == ["Mine", "Multi-view correspondence"]
    assert "0.420 (0.400–0.500)" in (tmp_path / "o" / "results.md").read_text()


def test_help_names_every_setting(evaluate: Evaluate, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("evaluate").main(["--help"])
    printed = capsys.readouterr().out
    for key in ("views:", "  distance: 4", "  samples: 64", "  rates: ", "  degrees: (5, 10, 20)", "backbone:", "suite:"):
        assert key in printed, key


def test_mistakes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_root: Path) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("evaluate")
    for words, message in {
        "": "no backbone is named; give a run",
        f"{run} suite=corespondence": "suite 'corespondence' is unknown; did you mean 'correspondence'",
        f"{run} correspondence.querries=5": "correspondence.querries is unknown; did you mean 'correspondence.queries'",
        f"{run} views.views=1": "views.views=1: expected at least 2",
        f"{run} batch=0": "batch=0: expected at least 1",
        f"{run} part=test": "part='test': expected heldout, train, all, or null",
        f"{run} size=[1,2,3]": "size=[1, 2, 3]: expected a side in pixels or [height, width]",
        f"{run} {SMALL} correspondence.layers=[7]": "layer 7 of one: expected -1 to 0",
        f"{run} {run}": "two backbones are called 'one'; give each a label",
        f"{run} views.distance=9": "at most 1 (now views.views=8, views.distance=9)",
        f"muskie_tiny data=folder data.root={image_root} {SMALL}": "has no depth, which the evaluation of geometry needs",
        "nowhere/at/all": "there is no such folder",
        "timm/vit_tiny_patch16_22": "timm knows no model 'vit_tiny_patch16_22'; did you mean 'vit_tiny_patch16_224'",
        f"{run} out={run}/config.yaml {SMALL}": "cannot be written",
        f"{run} --fast": "--fast: unknown",
        f"{run} part=all suite=dense_matching pairs.distance=2 dense_matching.probe=true": "probes are fitted to frames",
        f"{run} suite=relative_pose pairs.rule=listed": "takes the pairs of a list: data=pairs",
        f"{run} relative_pose.degrees=[0]": "relative_pose.degrees=[0.0]: expected angles above 0",
    }.items():
        with pytest.raises(SystemExit) as left:
            script.main(words.split())
        assert message in str(left.value), words
