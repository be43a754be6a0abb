"""Processes ended by SIGKILL, and continued by the same command."""

from __future__ import annotations

import signal
from pathlib import Path

from tiny import REPOSITORY, VARIED, metrics, process, same_bits, state, train

KILLED = Path(__file__).with_name("killed.py")


def test_killed_in_a_step_then_in_a_write_then_finished(tiny: list[str], tmp_path: Path) -> None:
    """Step 6 is the second use of its load; the last good checkpoint then is that of step 4, in the middle of the epoch."""
    # Lines every 3 steps: that of step 6 is on the other side of the checkpoint.
    command = [*tiny, *VARIED, "trainer.save_every=2", "trainer.log_every=3"]
    train([*command, f"output_dir={tmp_path / 'whole'}"])

    folder = tmp_path / "run"
    first = process(KILLED, ["step", "6", *command, f"output_dir={folder}", "trainer.workers=2"], tmp_path)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000004.pt"]

    second = process(KILLED, ["save", "6", *command, f"output_dir={folder}", "resume=auto"], tmp_path)
    assert second.returncode == -signal.SIGKILL, second.stderr
    assert second.stderr.startswith(f"continues from {folder}/checkpoints/step-00000004.pt;")
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert len(names) == 2 and names[0].startswith(".step-00000006.pt.") and names[1] == "step-00000004.pt"

    third = process(REPOSITORY / "main.py", [*command, f"output_dir={folder}"], tmp_path)
    assert third.returncode == 0, third.stderr
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000008.pt"]
    assert same_bits(state(folder)["model"], state(tmp_path / "whole")["model"])
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert [line["step"] for line in metrics(folder)] == [2, 3, 4, 6, 8]


def test_an_error_ends_the_process_and_its_data_workers(tiny: list[str], tmp_path: Path) -> None:
    """Workers ignore signals: left to themselves, they would keep the process waiting for ever."""
    command = [*tiny, "trainer.workers=2", "trainer.steps=50", f"output_dir={tmp_path / 'run'}"]
    ended = process(KILLED, ["fail", "2", *command], tmp_path)
    assert ended.returncode == 1 and "RuntimeError: out of memory" in ended.stderr
