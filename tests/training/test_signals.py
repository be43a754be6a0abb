"""SIGTERM and SIGINT, sent to all processes of a run at once as terminals and schedulers do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import REPOSITORY, environment, metrics, pretraining, same_bits, state, train
from torch.utils.data import Dataset

from muskie.data.dataset import Views
from muskie.data.loading import SceneLoader
from muskie.data.requests import Request
from muskie.training.signals import StopSignal

KILLED = str(Path(__file__).with_name("killed.py"))


class Running:
    """A training process in a group of its own."""

    def __init__(self, arguments: list[str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read_until(self, part: str) -> str:
        """The lines of stderr up to one with `part` in it."""
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if part in line:
                break
        else:
            raise AssertionError(f"no line with {part!r} in:\n{''.join(lines)}")
        return "".join(lines)

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Exit status, the rest of stdout and of stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def running(tiny: list[str], tmp_path: Path) -> Iterator[dict[str, Running]]:
    """Three runs without end; they start while the others do."""
    endless = [*tiny, "trainer.steps=100000", "optim.warmup=0", "trainer.workers=1"]
    main = str(REPOSITORY / "main.py")
    runs = {
        "term": Running([main, *endless, f"output_dir={tmp_path / 'term'}"], tmp_path),
        "int": Running([main, *endless], tmp_path),
        "twice": Running([KILLED, "hang", "3", *endless, f"output_dir={tmp_path / 'twice'}"], tmp_path),
    }
    yield runs
    for run in runs.values():
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.communicate()


def test_one_signal_saves_and_leaves_two_leave(running: dict[str, Running], tmp_path: Path) -> None:
    # SIGTERM: saved after the step that it came in, status 0, nobody left behind.
    run = running["term"]
    run.read_until("step 3/")
    run.send(signal.SIGTERM)
    status, out, err = run.end()
    assert status == 0, err
    step = state(tmp_path / "term")["step"]
    assert "SIGTERM: saving after this step" in err and f"SIGTERM: saved after step {step}" in err
    assert "Traceback" not in err and out == "stopped early; continue with the same command\n"
    with pytest.raises(ProcessLookupError):
        run.send(signal.SIGCONT)

    # SIGINT, without output_dir: says which folder to continue.
    run = running["int"]
    run.read_until("step 3/")
    run.send(signal.SIGINT)
    status, out, err = run.end()
    assert status == 0 and "Traceback" not in err, err
    (folder,) = (tmp_path / "outputs").iterdir()
    assert out == f"stopped early; continue with the same command and output_dir=outputs/{folder.name}\n"
    assert state(folder)["step"] >= 3

    # A second SIGINT does not wait for the step, and saves nothing.
    run = running["twice"]
    run.read_until("hangs")
    run.send(signal.SIGINT)
    run.read_until("Ctrl-C once more ends at once")
    run.send(signal.SIGINT)
    status, out, err = run.end()
    assert (status, out) == (130, "") and err.splitlines()[-1] == "interrupted" and "Traceback" not in err
    assert not (tmp_path / "twice" / "checkpoints").exists()


def test_a_stopped_run_ends_with_the_same_bits(tiny: list[str], tmp_path: Path) -> None:
    """The signal comes in step 3 of 6; and in the last step, when there is nothing to stop."""
    command = [*tiny, "trainer.steps=6", "trainer.log_every=2"]
    train([*command, f"output_dir={tmp_path / 'whole'}"])
    for step in (3, 6):
        folder = tmp_path / f"stopped-{step}"
        run = pretraining([*command, f"output_dir={folder}"])
        prepare = run.task.prepare

        def kill(views, at, group, prepare=prepare, step=step):  # type: ignore[no-untyped-def]
            if at + 1 == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return prepare(views, at, group)

        run.task.prepare = kill  # type: ignore[method-assign]
        assert run.run() is (step == 6)
        assert state(folder)["step"] == step and (folder / "model").exists() is (step == 6)
        if step < 6:
            train([*command, f"output_dir={folder}"])
            assert [line["step"] for line in metrics(folder)] == [2, 3, 4, 6]
        assert same_bits(state(folder)["model"], state(tmp_path / "whole")["model"])


class Handlers(Dataset[Views]):
    """Tells, in place of scenes, what the process that reads them does about signals."""

    def __getitem__(self, request: Request) -> Views:
        ignored = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]
        return Views(torch.zeros(1), [os.getpid()], [str(ignored)], ["handlers"], Counter(), [])


def test_data_workers_leave_signals_to_the_parent() -> None:
    """Otherwise they would be gone while the parent still waits for the batches of its last step."""
    (batch,) = SceneLoader(Handlers(), [[Request(0, 0, 0)]], workers=1, pin=False)  # type: ignore[arg-type]
    assert batch.samples != [os.getpid()] and batch.places == ["[True, True]"]
    before = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]  # SIGINT by `&`
    (batch,) = SceneLoader(Handlers(), [[Request(0, 0, 0)]], workers=0, pin=False)  # type: ignore[arg-type]
    assert batch.samples == [os.getpid()] and batch.places == [str(before)]


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
