"""What a run starts from, in order of precedence, and where it writes."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny import pretraining, same_bits, state, train

from muskie.errors import CheckpointError, ConfigError, MuskieError
from muskie.models.variants import create_model, from_pretrained
from muskie.training.initial import take_weights
from muskie.training.run_folder import changes, choose_start, make_folder


@pytest.fixture(scope="module")
def finished(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train([*tiny, "seed=7", f"output_dir={folder}"])
    return folder


def test_order_of_precedence(finished: Path, tmp_path: Path) -> None:
    """Each source alone, and with all that come after it."""
    own, model, new = str(finished), str(finished / "model"), str(tmp_path / "new")
    path = finished / "checkpoints" / "step-00000004.pt"
    for resume, init_from in ((None, None), ("auto", None), (None, model), ("auto", model)):
        start = choose_start(own, resume, init_from)
        assert (start.folder, start.checkpoint, start.reason) == (finished, path, f"continues from {path}")
    start = choose_start(own, str(tmp_path / "anything"), model)
    assert start.checkpoint == path and "anything is not used: a run's own folder comes first" in start.reason
    for init_from in (None, model):
        for resume in (str(finished), str(finished / "checkpoints"), str(path)):
            start = choose_start(new, resume, init_from)
            assert (start.folder, start.checkpoint, start.reason) == (Path(new), path, f"continues from {path} (resume=)")
    for resume in (None, "", "auto"):
        start = choose_start(new, resume, model)
        assert (start.checkpoint, start.reason) == (None, f"starts with the weights of {model} (init_from=)")
        assert choose_start(new, resume, None).reason.startswith("starts from scratch")


def test_nothing_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"resume=auto: no run with a checkpoint in .*outputs; .*or give output_dir="):
        choose_start(None, "auto", None)
    start = choose_start("run", "auto", None)
    assert start.checkpoint is None and start.reason == "starts from scratch (resume=auto: no checkpoint in run)"
    with pytest.raises(ConfigError, match=r"output_dir='~nobody_of_this_name/x': there is no such home folder"):
        choose_start("~nobody_of_this_name/x", None, None)
    with pytest.raises(CheckpointError, match="there is no such file"):
        choose_start(str(tmp_path), "gone.pt", None)


def test_a_cut_off_checkpoint_is_mentioned(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "step-00000005.pt").write_bytes(b"PK")
    assert choose_start(str(tmp_path), None, None).reason.endswith("step-00000004.pt (step-00000005.pt is cut off)")


def test_the_first_line_says_it(finished: Path, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*tiny, "trainer.steps=5"]
    shutil.copytree(finished, tmp_path / "own")
    run_of = {
        "own": [f"continues from {tmp_path}/own/checkpoints/step-00000004.pt", f"resume={tmp_path}/else"],
        "resumed": [f"continues from {finished}/checkpoints/step-00000004.pt (resume=)", f"resume={finished}"],
        "initialised": [f"starts with the weights of {finished} (init_from=)", f"init_from={finished}"],
        "scratch": ["starts from scratch"],
    }
    for name, (line, *extra) in run_of.items():
        capsys.readouterr()
        train([*command, *extra, f"output_dir={tmp_path / name}"])
        first = capsys.readouterr().err.splitlines()[0]
        assert first.startswith(line) and first.endswith(f"; run folder {tmp_path / name}")


def test_init_from_takes_weights_alone(finished: Path, tiny: list[str], tmp_path: Path) -> None:
    saved = state(finished)["model"]
    for given in (finished, finished / "model", finished / "checkpoints" / "step-00000004.pt"):
        run = pretraining([*tiny, f"init_from={given}", f"output_dir={tmp_path}"])
        assert run.done == 0 and same_bits(dict(run.model.state_dict()), saved)
    assert same_bits(dict(from_pretrained(finished / "model").state_dict()), saved)


def test_init_from_a_model_with_other_settings(finished: Path, tiny: list[str], tmp_path: Path) -> None:
    """The shapes are the same, what the model computes is not."""
    config = json.loads((finished / "model" / "config.json").read_text())
    config["encoder"] |= {"rope_angles_in": "float16", "image_mean": [0.5, 0.4, 0.5]}
    shutil.copytree(finished / "model", tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    command = [*tiny, f"init_from={tmp_path / 'other'}", f"output_dir={tmp_path / 'run'}"]
    with pytest.raises(CheckpointError) as raised:
        pretraining(command)
    settings = ["model.rope_angles_in=float16", "model.image_mean=[0.5,0.4,0.5]"]
    assert ", ".join(settings) + ", this run null, [0.5,0.5,0.5]" in str(raised.value)
    assert pretraining([*command, *settings]).done == 0


@pytest.mark.parametrize("key", ["resume", "init_from"])
def test_a_checkpoint_of_a_model_with_other_settings(key: str, finished: Path, tiny: list[str], tmp_path: Path) -> None:
    given = finished / "checkpoints" / "step-00000004.pt"
    command = [*(word for word in tiny if "model.heads" not in word), "model.heads=4", "trainer.steps=6"]
    with pytest.raises(CheckpointError, match=r"its model has model\.heads=2, this run 4; add the former"):
        pretraining([*command, f"{key}={given}", f"output_dir={tmp_path / 'new'}"])
    assert not (tmp_path / "new").exists()


def test_a_missing_file_is_named_by_its_key(tiny: list[str], tmp_path: Path) -> None:
    for key, value, more in (("init_from", "gone.pt", ""), ("resume", "https://somewhere/x.pth", "; download it first")):
        with pytest.raises(CheckpointError, match=rf"^{key}=.*: there is no such file{more}; give"):
            pretraining([*tiny, f"{key}={value}", f"output_dir={tmp_path}"])


def test_another_optimiser_is_refused_before_anything_is_written(finished: Path, tiny: list[str], tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_text()
    command = [*(word for word in tiny if "optim.name" not in word), "optim.name=muon", "trainer.steps=6"]
    with pytest.raises(CheckpointError, match=r"was trained with optim\.name=adamw, this run has muon; set it as it was"):
        train([*command, f"output_dir={tmp_path / 'run'}"])
    assert (tmp_path / "run" / "config.yaml").read_text() == before


@pytest.mark.parametrize("given", ["not/a/model", "gone.pt", "{folder}"])
def test_init_from_nothing(given: str, tmp_path: Path) -> None:
    with pytest.raises(MuskieError) as raised:
        take_weights(create_model("muskie_tiny", depth=1), given.format(folder=tmp_path))
    assert given.format(folder=tmp_path) in str(raised.value)


def test_another_model_is_refused_before_anything_is_written(finished: Path, tiny: list[str], tmp_path: Path) -> None:
    for key, kind in (("resume", " of a muskie_tiny"), ("init_from", "")):
        decoder = ("model.decoder.depth=1", "model.decoder.width=16", "model.decoder.heads=1")
        for settings, said in (
            (("model.width=48",), "model.width=32, this run 48"),
            (decoder, "model.decoder.depth=0, this run 1"),
        ):
            message = rf"{kind}: its model has {said}; add the former to the command line"
            with pytest.raises(CheckpointError, match=rf"{message}$"):
                pretraining([*tiny, *settings, f"{key}={finished}", f"output_dir={tmp_path / 'new'}"])
            with pytest.raises(CheckpointError, match=rf" of a muskie_tiny: .*{said}.*choose another output_dir"):
                pretraining([*tiny, *settings, f"output_dir={finished}"])
    assert not (tmp_path / "new").exists()


def test_a_finished_run_is_left_as_it_is(finished: Path, tiny: list[str]) -> None:
    def files() -> dict[str, tuple[float, bytes]]:
        return {str(p): (p.stat().st_mtime, p.read_bytes()) for p in finished.rglob("*") if p.is_file()}

    before = files()
    for steps in (3, 4):
        run = pretraining([*tiny, f"trainer.steps={steps}", f"output_dir={finished}"])
        assert run.finished and run.run()
    assert files() == before


def test_a_run_killed_before_its_model_was_written_is_completed(finished: Path, tiny: list[str], tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    written = tmp_path / "run" / "model" / "config.json"
    written.unlink()
    assert pretraining([*tiny, f"output_dir={tmp_path / 'run'}"]).run()
    assert same_bits(dict(from_pretrained(tmp_path / "run" / "model").state_dict()), state(finished)["model"])
    # Of an earlier, shorter training: the checkpoint is younger.
    os.utime(written, (0, 0))
    torch.save({}, written.with_name("model.safetensors"))
    assert pretraining([*tiny, f"output_dir={tmp_path / 'run'}"]).run()
    assert same_bits(dict(from_pretrained(tmp_path / "run" / "model").state_dict()), state(finished)["model"])


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            ConfigError, match=rf"^output_dir='{re.escape(str(path))}' cannot be written \(.*\); give another one"
        ):
            make_folder(path, "name")


def test_runs_begun_in_one_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    folders = [make_folder(None, "muskie_tiny-folder") for _ in range(3)]
    assert [str(folder) for folder in folders] == [
        f"outputs/muskie_tiny-folder-20260101-000000{end}" for end in ("", "-2", "-3")
    ]


def test_changes() -> None:
    before = "seed: 0\nresume: null\ntrainer: {steps: 5, workers: 1}\nplan: {window: 16}\n"
    now = "seed: 0\nresume: auto\ntrainer: {steps: 6, compile: true}\nplan: {window: {start: 4}}\noutput_dir: x\n"
    assert changes(before, now) == [
        "trainer.steps 5 -> 6",
        "trainer.workers 1 -> (not given)",
        "plan.window 16 -> (not given)",
        "trainer.compile (not given) -> True",
        "plan.window.start (not given) -> 4",
    ]
    assert changes(now, now) == []
