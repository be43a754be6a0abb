"""The folder of a run, and what the run starts from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from muskie.errors import CheckpointError, ConfigError
from muskie.training import checkpoint

OUTPUTS = Path("outputs")


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        folder: of the run.
        checkpoint: to continue from, or None.
        reason: a line for people.
    """

    folder: Path
    checkpoint: Path | None
    reason: str


def choose_start(output_dir: str | None, resume: str | None, init_from: str | None, name: str) -> Start:
    """Where a run writes and what it starts from: its own folder, then `resume`, then `init_from`, then nothing.

    Args:
        output_dir: the run's folder; None: a new one, `outputs/<name>-<time>`.
        resume: None; a checkpoint or a run's folder; or `"auto"`: the newest complete checkpoint of `output_dir`, or,
            without `output_dir`, of the runs in `outputs/`, whose folder then is the run's.
        init_from: a model folder or hub name to take weights from.
        name: of the run.

    Raises:
        CheckpointError: `resume` names nothing that can be continued.
    """
    folder = Path(output_dir).expanduser() if output_dir else None
    if folder is None and resume == "auto":
        folder = _newest_run()
        if folder is None:
            raise CheckpointError(f"resume=auto: no run with a checkpoint in {OUTPUTS}/; give output_dir= or resume=PATH")
    own = checkpoint.newest(folder / "checkpoints") if folder else None
    folder = folder or OUTPUTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if own is not None:
        return Start(folder, own, f"continues {own}")
    if resume not in (None, "", "auto"):
        path = Path(str(resume)).expanduser()
        return Start(folder, path, f"continues {path} (resume=) in {folder}")
    if init_from:
        return Start(folder, None, f"new run in {folder}, weights of {init_from} (init_from=)")
    return Start(folder, None, f"new run in {folder}, from scratch")


def _newest_run() -> Path | None:
    found = [
        (newest.stat().st_mtime, run)
        for run in OUTPUTS.glob("*")
        if (newest := checkpoint.newest(run / "checkpoints")) is not None
    ]
    return max(found)[1] if found else None


def make_folder(folder: Path) -> None:
    """Makes the run's folder.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"output_dir={str(folder)!r} cannot be written ({error.strerror}); give another one") from error
