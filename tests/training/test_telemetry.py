"""What a run leaves behind, and what it shows."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import ONE, train
from torch.utils.data import get_worker_info

from muskie.data.dataset import ViewDataset
from muskie.data.unusable import Unusable
from muskie.training.telemetry import Telemetry
from muskie.training.window import Window

SCALARS = ["loss", "mse", "grad_norm", "lr", "images_per_s", "seconds_per_step", "data_wait", "unreadable_images"]


@pytest.fixture(scope="module")
def run(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two sizes that measures the cross-view gain and draws pictures on its way."""
    folder = tmp_path_factory.mktemp("telemetry")
    often = ["trainer.steps=6", "trainer.log_every=2", "trainer.eval_every=3", "trainer.picture_every=3"]
    heldout = ["holdout.share=0.25", "evaluation.samples=2", "plan.sizes=[16,32]"]
    train([*tiny, *often, *heldout, f"output_dir={folder / 'run'}", f"log_dir={folder / 'tb'}"])
    return folder


def test_metrics_are_json_lines(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "run" / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if "train/loss" in line]
    assert [line["step"] for line in training] == [2, 4, 6]
    for line in training:
        assert {f"train/{name}" for name in SCALARS} <= line.keys()
        assert 0 <= line["train/data_wait"] <= 1 and line["train/images_per_s"] > 0
    assert [line["step"] for line in lines if "heldout/cross_view_gain" in line] == [3, 6]


def test_tensorboard_holds_the_same(run: Path) -> None:
    events = EventAccumulator(str(run / "tb"), size_guidance={"images": 0})
    events.Reload()
    lines = [json.loads(line) for line in (run / "run" / "metrics.jsonl").read_text().splitlines()]
    expected = {(key, line["step"]): value for line in lines for key, value in line.items() if key != "step"}
    held = {(tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    assert held.keys() == expected.keys()
    assert all(held[key] == pytest.approx(expected[key], rel=1e-5) for key in expected)
    pictures = {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}
    name = "masked_views"
    held_out = {f"held_out-{page}": [0, 3, 6] for page in ("masked_views", "pca", "attention")}
    batches = {f"before_training_0-{name}": [0], f"before_training_1-{name}": [0], f"train-{name}": [3, 6]}
    assert pictures == {**batches, **held_out}


def test_the_before_training_of_each_size_is_a_picture(run: Path) -> None:
    names = sorted(p.name for p in (run / "run" / "pictures").iterdir() if not p.name.startswith("held_out"))
    assert names == [
        "before_training_0-masked_views-00000000.png",
        "before_training_1-masked_views-00000000.png",
        "train-masked_views-00000003.png",
        "train-masked_views-00000006.png",
    ]
    picture = Image.open(run / "run" / "pictures" / names[0])
    # Originals, what is seen, the prediction alone and among the rest, its confidence, of 4 views enlarged to 128 pixels.
    assert picture.mode == "RGB" and picture.width >= 4 * 128 and picture.height >= 5 * 128


def test_the_resolved_configuration_lies_beside(run: Path) -> None:
    text = (run / "run" / "config.yaml").read_text()
    assert "name: muskie_tiny" in text and "eval_every: 3" in text and "${" not in text


def lines_of(path: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2, "a": 1}\n{"step": 4, "a": 2}\n\nnonsense\n[4]\n{"step": 6, "a": 3}\n{"step": 8, "a')
    telemetry = Telemetry(tmp_path, 10, 4)
    telemetry.scalars(6, {"a": 5.0})
    telemetry.close()
    assert lines_of(path) == [{"step": 2, "a": 1}, {"step": 4, "a": 2}, {"step": 6, "a": 5.0}]


def test_tensorboard_forgets_the_same_steps(tmp_path: Path) -> None:
    for start in (0, 4):
        telemetry = Telemetry(tmp_path, 10, start)
        for step in range(start + 1, 7):
            telemetry.scalars(step, {"a": start + step / 10})
        telemetry.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("a")] == [
        (1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4), (5, 4.5), (6, 4.6),
    ]  # fmt: skip


def test_what_is_not_finite_stays_json(tmp_path: Path) -> None:
    telemetry = Telemetry(tmp_path, 10)
    telemetry.scalars(1, {"nan": float("nan"), "inf": float("inf"), "pi": 3.14159265358979})
    telemetry.close()
    assert lines_of(tmp_path / "metrics.jsonl") == [{"step": 1, "nan": None, "inf": None, "pi": 3.141593}]


def test_other_ranks_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    telemetry = Telemetry(None, 10)
    telemetry.say("word")
    telemetry.scalars(1, {"a": 1.0}, show=True)
    telemetry.picture(1, "a", torch.zeros(3, 4, 4, dtype=torch.uint8))
    telemetry.progress(1)
    telemetry.close()
    assert capsys.readouterr() == ("", "") and not list(tmp_path.iterdir())


def shown(folder: Path) -> None:
    telemetry = Telemetry(folder, 4)
    telemetry.say("a word")
    telemetry.scalars(2, {"train/loss": 0.25}, show=True)
    telemetry.progress(2, {"loss": 0.25, "data wait %": 12.0})
    telemetry.close()


def test_plain_lines_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    shown(tmp_path)
    assert written.getvalue() == "a word\nstep 2/4  loss 0.25\n"


def test_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = pty.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        shown(tmp_path)
    text = ""
    with suppress(OSError):  # what Linux says at the end of a terminal
        while part := os.read(reading, 65536):
            text += part.decode()
    os.close(reading)
    assert "a word" in text and "2/4" in text and "50%" in text and "\r" in text
    assert "loss 0.25  data wait % 12" in text and "step 2/4" not in text


def test_rates_know_waiting_from_training_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    window = Window(torch.device("cpu"))
    assert window.read(ONE, 0.1) == {}
    for loss, seconds in ((1.0, 2.0), (3.0, 4.0)):
        with window.waiting():
            clock[0] += 1.0
        clock[0] += seconds - 1.0
        window.add({"loss": torch.tensor(loss)}, images=12, steps=1)
    with window.aside():
        clock[0] += 1000.0
    expected = {"loss": 2.0, "lr": 0.1, "images_per_s": 24 / 6, "seconds_per_step": 3.0, "data_wait": 2 / 6}
    assert window.read(ONE, 0.1) == pytest.approx(expected)
    window.reset()
    clock[0] += 5.0
    window.add({"loss": torch.tensor(5.0)}, images=10, steps=1)
    expected = {"loss": 5.0, "lr": 0.2, "images_per_s": 2.0, "seconds_per_step": 5.0, "data_wait": 0.0}
    assert window.read(ONE, 0.2) == pytest.approx(expected)


def test_unreadable_images_are_counted_and_named(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = ViewDataset.__getitem__

    def broken(dataset: ViewDataset, request):  # type: ignore[no-untyped-def]
        assert get_worker_info() is None
        views = read(dataset, request)
        broken_files = (f"scene/{request.load}-{request.sample}.png: cut off", "scene/always.png: cut off")
        views.unreadable += [Unusable("folder", message) for message in broken_files]
        return views

    monkeypatch.setattr(ViewDataset, "__getitem__", broken)
    train([*tiny, f"output_dir={tmp_path}", "trainer.steps=2"])
    assert [line["train/unreadable_images"] for line in lines_of(tmp_path / "metrics.jsonl")] == [4, 8]
    said = capsys.readouterr().err
    assert "skipped: scene/1-0.png: cut off" in said
    assert said.count("skipped: scene/always.png") == 1, "each is named once"
