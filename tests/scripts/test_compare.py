"""Comparing recipes by the script: equal time, what is told, what is refused, and a call that goes on."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from muskie.errors import ConfigError

SCRIPTS = Path(__file__).parents[2] / "scripts"

TINY = [
    *("data=synthetic", "data.scenes=6", "data.frames=20", "data.image_size=16", "holdout.by=frames"),
    *("plan.sizes=[16]", "model.width=24", "model.depth=1", "model.heads=2", "model.patch_size=4"),
    *("trainer.precision=fp32", "trainer.workers=0", "trainer.log_every=1", "trainer.device=cpu"),
    *("evaluation.samples=4", "evaluation.sets=2", "evaluation.views=2", "evaluation.distance=1"),
]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    script = importlib.import_module("compare")
    clock = importlib.import_module("comparing.clock")
    monkeypatch.setattr(clock, "TRIAL_STEPS", 4)
    monkeypatch.setattr(clock, "TRIAL_LINES", 4)
    return script


def refused(compare: ModuleType, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        compare.main([*words])
    return str(ended.value)


def test_two_recipes_side_by_side_and_the_same_command_again(
    compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ["small_muskie", "small_mae", *TINY, "--minutes", "0.004", "--out", str(out)]
    compare.main(words)
    told, log = capsys.readouterr()
    assert "## What they took" in told and "## Held out: synthetic" in told
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if line.startswith("|")]
    assert {"same pixel", "random features, patch 4", "perfect matcher, patch 4"} < {row[0] for row in table}
    rows = [row for row in table if row[0].startswith("small")]
    assert [row[0] for row in rows] == ["small_muskie", "small_mae"] * 2
    found = json.loads((out / "comparison.json").read_text())
    assert list(found) == ["small_muskie", "small_mae"]
    for name, row in zip(found, rows, strict=False):
        trial = json.loads((out / name / "trial.json").read_text())
        assert found[name]["steps"] == max(round(0.24 / trial["seconds_per_step"]), 1) == int(row[3].replace(",", ""))
        lines = (out / name / "run" / "metrics.jsonl").read_text().splitlines()
        spent = [line["train/seconds_per_step"] for line in map(json.loads, lines) if "train/seconds_per_step" in line]
        assert found[name]["seconds"] == pytest.approx(sum(spent)) and len(spent) == found[name]["steps"]
        assert row[4] == "32", "images a step, of both"
        heldout = found[name]["heldout"]["synthetic"]
        assert heldout["gain"]["samples"] == heldout["all_masked"]["samples"] == 4
        assert heldout["gain"] != heldout["all_masked"]
        assert heldout["pck"]["metric"] == heldout["untrained"]["metric"] == "PCK@25px"
    # A model of single views is told nothing by the others.
    alone = found["small_mae"]["heldout"]["synthetic"]["gain"]
    assert alone["gain"] == pytest.approx(0, abs=1e-5) and alone["true"] == pytest.approx(alone["absent"], rel=1e-5)
    assert Image.open(out / "fill_ins.png").width > 100
    assert (out / "comparison.md").read_text().startswith(told.rstrip()[:200]) and str(out) in told
    assert "small_muskie: " in log and "ms a step" in log

    clock = importlib.import_module("comparing.clock")
    monkeypatch.setattr(clock, "_run", lambda *_: pytest.fail("what is there is not trained again"))
    compare.main(words)
    assert capsys.readouterr().out == told
    lost = refused(compare, "small_mae", *TINY, "--minutes", "0.004", "--out", str(out))
    assert "holds a comparison of small_muskie too; name them as well, or give another --out" in lost
    for other in (["optim.lr=1e-5"], ["--minutes", "3"]):
        assert "is of another comparison: 0.004 min, " in refused(compare, *words, *other)


def test_a_run_that_was_stopped_goes_on(compare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = importlib.import_module("comparing.clock")
    recipes = importlib.import_module("comparing.recipes")
    (recipe,) = recipes.read_recipes(["small_mae"], [*TINY, "trainer.save_every=1"])
    (tmp_path / "trial.json").write_text(
        json.dumps({"words": list(recipe.words), "seconds": 0.08, "steps": 4, "seconds_per_step": 0.01}), encoding="utf-8"
    )
    run, stopped = clock._run, []

    def stop_once(words: Sequence[str], log: Path) -> None:
        if not stopped:
            stopped.append(words)
            process = subprocess.Popen([sys.executable, str(clock.MAIN), *words], stdout=subprocess.DEVNULL)
            while not list((tmp_path / "run" / "checkpoints").glob("step-*.pt")) and process.poll() is None:
                time.sleep(0.01)
            process.terminate()
            process.wait()
            raise ConfigError("stopped")
        run(words, log)

    monkeypatch.setattr(clock, "_run", stop_once)
    with pytest.raises(ConfigError, match="stopped"):
        clock.train(recipe, tmp_path, 0.08)
    before = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    took = clock.train(recipe, tmp_path, 0.08)
    after = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert before and after[0] == before[0], "its seconds, too, are those of the first call: it was not trained again"
    assert took.steps == 8 and took.processor_seconds is None, "not all of it was seen"
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == list(range(1, 9))


def test_a_recipe_that_fails_says_why(compare: ModuleType, tmp_path: Path) -> None:
    message = refused(compare, "small_mae", *TINY, "--minutes", "1", "--out", str(tmp_path / "o"), "trainer.device=cuda:77")
    assert "small_mae failed after " in message and "cuda" in message and "trial.log" in message


def test_photographs_for_single_views(compare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuM and MAE read them; Muskie cannot, which is told before anything is trained; nothing is measured on them."""
    (tmp_path / "configs" / "data").mkdir(parents=True)
    rooms = "_target_: muskie.data.sources.synthetic.SyntheticRooms, scenes: 6, image_size: 16"
    (tmp_path / "configs" / "data" / "mixed.yaml").write_text(
        f"sources:\n  rooms: {{{rooms}, frames: 20}}\n  photos: {{{rooms}, frames: 1, single: true}}\n"
    )
    measures, recipes = (importlib.import_module(f"comparing.{name}") for name in ("measures", "recipes"))
    words = ["data=mixed", *(word for word in TINY if not word.startswith("data"))]
    found = recipes.read_recipes(["small_mum", "small_mae", "small_muskie"], words, tmp_path / "configs")
    for recipe in found[:2]:
        measures.check_data(recipe.name, recipe.settings)
    with pytest.raises(ConfigError, match=r"small_muskie: data.sources.photos.single=true: no load of this run"):
        measures.check_data(found[2].name, found[2].settings)
    asked: list[str] = []
    monkeypatch.setattr(measures, "_of_source", lambda backbones, source, *_: asked.append(source.label))
    measures.measure([], found[0].settings, None)
    assert asked == ["rooms"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=synthetic", "--minutes", "1"], "no recipe is named"),
        (["small_mum", "--minutes", "0"], "--minutes 0: expected more than 0"),
        (["small_mum", "small_mum", "--minutes", "1"], "small_mum: named twice"),
        (["small_mumm", "--minutes", "1"], "did you mean 'small_mum'"),
        (["small_mum", "trainer.steps=5", "--minutes", "1"], "trainer.steps=5: the comparison sets that itself"),
        (["small_mum", "mae", "--minutes", "1"], "holdout.share=0.2 and 0.02, "),
        (["small_mum", "mae", "--minutes", "1"], "append plan.sizes=[64] holdout.share=0.2 evaluation.samples=128"),
        (["small_mum", "holdout.share=0", "--minutes", "1"], "holdout.share=0 leaves nothing"),
        (["small_mum", "optim.lrr=1", "--minutes", "1"], "did you mean 'optim.lr'"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    compare: ModuleType, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = importlib.import_module("comparing.clock")
    monkeypatch.setattr(clock, "_run", lambda *_: pytest.fail("trained"))
    assert message in refused(compare, *words)
