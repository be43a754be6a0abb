"""What a run measures and draws on held-out data while it trains."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import ONE, metrics, pretraining, same_bits, state, train
from torch.utils.tensorboard import SummaryWriter

from muskie.errors import ConfigError, DataError
from muskie.evaluation.results import Row, Table
from muskie.training.evaluation_config import EvaluationConfig
from muskie.training.heldout import HeldOut
from muskie.training.heldout_suites import headline
from muskie.training.report import already_finished
from muskie.training.telemetry import Telemetry

CPU = torch.device("cpu")
SUITES = ["evaluation.every=1", "evaluation.sets=2", "evaluation.views=3", "evaluation.distance=2", "evaluation.samples=2"]


@pytest.fixture
def rooms(tiny: list[str]) -> list[str]:
    """The overrides of a run that takes milliseconds a step, on rendered rooms."""
    kept = [word for word in tiny if not word.startswith(("data", "holdout"))]
    return [*kept, "data=synthetic", "data.scenes=8", "data.frames=8", "trainer.steps=2", *SUITES]


def test_suites_while_training_and_at_the_end(rooms: list[str], tmp_path: Path) -> None:
    run = train([*rooms, "evaluation.at_end=true", f"output_dir={tmp_path}"])
    name = "heldout/correspondence_PCK@10px/scores"
    assert [line["step"] for line in metrics(tmp_path) if name in line] == [1, 2]
    content = json.loads((tmp_path / "evaluation" / "step-00000002" / "results.json").read_text())
    (table,) = content["tables"]
    models = {row["model"] for row in table["rows"]}
    floors = {"same pixel", "random features, patch 8", "perfect matcher, patch 8"}
    assert models == {*floors, "this run", "this run, untrained"}
    (row,) = [
        r
        for r in table["rows"]
        if (r["model"], r["readout"], r["metric"]) == ("this run", "scores", "PCK@10px") and "without" in r["pooling"]
    ]
    (logged,) = [line[name] for line in metrics(tmp_path) if name in line and line["step"] == 2]
    assert row["value"] == pytest.approx(logged, rel=1e-6) and row["count"] > 50
    again, _ = run.heldout.run_suites(CPU, None)
    assert again[name] == row["value"], "the same samples each time"
    assert "published" in (tmp_path / "evaluation" / "step-00000002" / "results.md").read_text()


def test_measuring_changes_no_bit_of_training(rooms: list[str], tmp_path: Path) -> None:
    train([*rooms, "trainer.eval_every=1", "trainer.picture_every=1", f"output_dir={tmp_path / 'measured'}"])
    plain = [word for word in rooms if not word.startswith("evaluation.every")]
    train([*plain, f"output_dir={tmp_path / 'plain'}"])
    assert not (tmp_path / "plain" / "evaluation").exists()
    assert same_bits(
        state(tmp_path / "measured" / "checkpoints")["model"], state(tmp_path / "plain" / "checkpoints")["model"]
    )


def test_every_without_at_end_writes_no_tables(rooms: list[str], tmp_path: Path) -> None:
    train([*rooms, f"output_dir={tmp_path}"])
    assert not (tmp_path / "evaluation").exists()
    assert sum("heldout/correspondence_PCK@10px/scores" in line for line in metrics(tmp_path)) == 2


def test_pictures_are_those_of_one_sample(rooms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[tuple[int, torch.Tensor]]] = {}

    def keep(writer: SummaryWriter, tag: str, pixels: torch.Tensor, step: int) -> None:
        shown.setdefault(tag, []).append((step, pixels))

    monkeypatch.setattr(SummaryWriter, "add_image", keep)
    train([*rooms, "trainer.picture_every=1", f"output_dir={tmp_path}"])
    assert {tag for tag in shown if tag.startswith("held_out")} == {
        "held_out-masked_views", "held_out-pca", "held_out-tracks", "held_out-attention",
    }  # fmt: skip
    for tag in ("held_out-masked_views", "held_out-pca", "held_out-attention"):
        steps, pages = zip(*shown[tag], strict=True)
        assert steps == (0, 1, 2)
        top = [page[:, :150] for page in pages]  # headings and the originals
        assert torch.equal(top[0], top[1]) and torch.equal(top[0], top[2]), "the same sample each time"
        assert not torch.equal(pages[0], pages[2]), "the model has changed"


def test_autocast_of_the_caller_does_not_reach_the_geometry(rooms: list[str], tmp_path: Path) -> None:
    run = pretraining([*rooms, f"output_dir={tmp_path}"], ONE)
    run.heldout.draw()
    run.model.eval()
    plain, _ = run.heldout.run_suites(CPU, None)
    with torch.autocast("cpu", torch.bfloat16):
        within, _ = run.heldout.run_suites(CPU, None)
    assert within == plain


def test_a_suite_that_fails_loses_nothing(rooms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **more: object) -> None:
        newest = state(tmp_path / "checkpoints")
        raise RuntimeError(f"out of memory at {newest['step']}")

    said: list[str] = []
    monkeypatch.setattr(HeldOut, "run_suites", broken)
    monkeypatch.setattr(Telemetry, "say", lambda telemetry, line: said.append(line))
    train([*rooms, "evaluation.at_end=true", f"output_dir={tmp_path}"])
    failed = [line for line in said if "not measured" in line]
    assert failed == [f"step {n}: not measured (RuntimeError: out of memory at {n}); training goes on" for n in (1, 2)], (
        "each after its checkpoint was written"
    )
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_what_is_measured_at_the_end_may_be_stopped(
    rooms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is written before; who runs the command again is told how to have the tables."""

    def stopped(*given: object, **more: object) -> None:
        assert (tmp_path / "model" / "model.safetensors").is_file()
        raise KeyboardInterrupt

    words = [*rooms, "evaluation.every=0", "evaluation.at_end=true", f"output_dir={tmp_path}"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(HeldOut, "run_suites", stopped)
        train(words)
    again = pretraining(words)
    line = f"no tables were written at its end; to make them now: python scripts/evaluate.py {tmp_path}"
    assert again.finished and line in already_finished(again)


def test_the_model_trains_on_after_what_failed(rooms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[bool] = []

    def broken(heldout: HeldOut, *given: object) -> None:
        modes.append(heldout.model.training)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(HeldOut, "run_suites", broken)
    run = train([*rooms, f"output_dir={tmp_path}"])
    assert modes == [False, False] and run.model.training
    monkeypatch.setattr(HeldOut, "measure_gain", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        train([*rooms, "trainer.eval_every=1", f"output_dir={tmp_path / 'gain'}"])


def test_the_headline_is_the_best_share() -> None:
    rows = [
        Row("s", "d", "me", "knn", layer, "", metric, value, 0, 0, 1)
        for layer, error, share in ((0, 70.0, 0.3), (1, 90.0, 0.2), (2, 10.0, math.nan))
        for metric, value in (("EPE", error), ("PCK", share))
    ]
    columns = [("EPE", "", "EPE"), ("PCK", "", "PCK@8")]
    table = Table("Matching", [], rows, ["EPE", "PCK"], columns, frozenset({"PCK"}))
    backbone = SimpleNamespace(name="me")
    assert headline(table, backbone) == "Matching: PCK@8 30.0 % (knn, layer 0, the best of its read-outs)"  # type: ignore[arg-type]
    assert "measured" in headline(Table("Own", [], [], []), backbone)  # type: ignore[arg-type]


def test_data_without_geometry(tiny: list[str], tmp_path: Path) -> None:
    folder = [*tiny, "holdout.share=0.5", "evaluation.views=2", f"output_dir={tmp_path / 'run'}"]
    with pytest.raises(DataError, match="has no depth, which the evaluation of geometry needs"):
        train([*folder, "evaluation.at_end=true"])
    for suite in ("probe3d", "muskie.evaluation.multi_view_suites.correspondence"):
        with pytest.raises(DataError, match="has no depth, which the evaluation of geometry needs"):
            train([*folder, "evaluation.at_end=true", f"evaluation.suites=[{suite}]"])
    assert not (tmp_path / "run").exists(), "told before anything is trained or written"
    train([*folder, "trainer.picture_every=1"])
    names = {path.name.rsplit("-", 1)[0] for path in (tmp_path / "run" / "pictures").iterdir()}
    assert "held_out-pca" in names and "held_out-tracks" not in names


def test_scenes_that_are_too_short(rooms: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"span 9 frames.*at most 3 \(now evaluation.views=3, evaluation.distance=4\)"):
        train([*rooms, "evaluation.distance=4", f"output_dir={tmp_path / 'run'}"])


def test_mistakes(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holdout\.share=0 leaves none"):
        pretraining([*tiny, "evaluation.at_end=true"])
    with pytest.raises(
        ConfigError, match=r"evaluation\.every=-1: expected at least 0\nevaluation\.views=1: expected at least 2"
    ):
        EvaluationConfig(every=-1, views=1)
    with pytest.raises(ConfigError, match="suite 'corespondence' is unknown; did you mean 'correspondence'"):
        EvaluationConfig(suites=["corespondence"])
    with pytest.raises(ConfigError, match=r"evaluation\.suites=\[\] leaves nothing to run"):
        EvaluationConfig(suites=[], at_end=True)
