"""A run continued from any of its checkpoints ends with the bits of the run that was never stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny import VARIED, metrics, same_bits, state, train

STEPS = 8


@pytest.fixture(scope="module")
def whole(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, with the checkpoint of every step."""
    folder = tmp_path_factory.mktemp("whole")
    train([*tiny, *VARIED, f"output_dir={folder}", "trainer.save_every=1", "trainer.keep_every=1"])
    return folder


def stopped_at(whole: Path, step: int, folder: Path) -> Path:
    """What lies in the folder of the same run if it is killed in step `step + 1`, or later but before it saves."""
    (folder / "checkpoints").mkdir(parents=True)
    shutil.copy(whole / "checkpoints" / f"step-{step:08d}.pt", folder / "checkpoints")
    shutil.copy(whole / "config.yaml", folder)
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[: step + 2]) + '{"step": 9')
    return folder


def same_run(folder: Path, whole: Path) -> bool:
    one, other = state(folder), state(whole)
    assert one["step"] == other["step"] == STEPS
    moments = [
        {f"{number}.{key}": tensor for number, entry in run["optimizer"]["state"].items() for key, tensor in entry.items()}
        for run in (one, other)
    ]
    return same_bits(one["model"], other["model"]) and same_bits(*moments) and metrics(folder) == metrics(whole)


@pytest.mark.parametrize("step", range(1, STEPS))
def test_every_step_between_and_within_loads(step: int, whole: Path, tiny: list[str], tmp_path: Path) -> None:
    folder = stopped_at(whole, step, tmp_path / "run")
    train([*tiny, *VARIED, f"output_dir={folder}", "trainer.save_every=1", "trainer.keep_every=1"])
    assert same_run(folder, whole)


def test_with_another_number_of_data_workers(whole: Path, tiny: list[str], tmp_path: Path) -> None:
    folder = stopped_at(whole, 3, tmp_path / "run")
    train([*tiny, *VARIED, f"output_dir={folder}", "trainer.workers=2", "trainer.save_every=1"])
    assert same_run(folder, whole)


def test_into_another_folder(whole: Path, tiny: list[str], tmp_path: Path) -> None:
    train([*tiny, *VARIED, f"output_dir={tmp_path}", f"resume={whole / 'checkpoints' / 'step-00000005.pt'}"])
    assert same_bits(state(tmp_path)["model"], state(whole)["model"])
    assert [line["step"] for line in metrics(tmp_path)] == [6, 7, 8]


def test_auto_takes_the_newest_run_of_outputs(
    whole: Path, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = stopped_at(whole, 4, tmp_path / "outputs" / "older")
    run = train([*tiny, *VARIED, "resume=auto", "trainer.save_every=1"])
    assert run.folder == Path("outputs/older")
    assert same_run(folder, whole)


def test_checkpoints_far_between_cut_no_line_short(tiny: list[str], tmp_path: Path) -> None:
    """Lines every 4 steps, a checkpoint at 6: the line of step 8 stands for steps 7 and 8, stopped or not."""
    command = [*tiny, "trainer.steps=8", "trainer.log_every=4", "trainer.save_every=6", "trainer.keep_every=6"]
    train([*command, f"output_dir={tmp_path / 'whole'}"])
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "checkpoints" / "step-00000006.pt", tmp_path / "run" / "checkpoints")
    shutil.copy(tmp_path / "whole" / "metrics.jsonl", tmp_path / "run")
    train([*command, f"output_dir={tmp_path / 'run'}"])
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert [line["step"] for line in metrics(tmp_path / "run")] == [4, 6, 8]


def test_changed_settings_are_named_and_take_effect(
    whole: Path, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped_at(whole, 7, tmp_path / "run")
    train([*tiny, *VARIED, f"output_dir={folder}", "optim.weight_decay=0.5", "trainer.steps=9", "optim.beta2=0.9"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"continues from {folder}/checkpoints/step-00000007.pt; run folder {folder}"
    assert lines[1].startswith("settings changed since the checkpoint: ")
    for change in ("optim.weight_decay 0.05 -> 0.5", "trainer.steps 8 -> 9", "optim.beta2 0.95 -> 0.9"):
        assert change in lines[1]
    assert "output_dir" not in lines[1]
    groups = state(folder)["optimizer"]["param_groups"]
    assert [(group["weight_decay"], group["betas"][1]) for group in groups] == [(0.5, 0.9), (0.0, 0.9)]
