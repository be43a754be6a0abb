"""The folder of a run, and what the run starts from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.errors import CheckpointError, ConfigError
from muskie.paths import check_writable, make_new, typed_path
from muskie.runs import OUTPUTS
from muskie.training import checkpoint

OF_THE_COMMAND = ("output_dir", "log_dir", "resume", "init_from")
"""Keys that say where a run lies and what it starts from, and not how it trains."""


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        folder: of the run; None: a new one, see `make_folder`.
        checkpoint: to continue from, or None.
        reason: a line for people.
    """

    folder: Path | None
    checkpoint: Path | None
    reason: str

    @property
    def in_own_folder(self) -> bool:
        """Whether the checkpoint is one of the run's own folder."""
        return (
            self.checkpoint is not None and self.folder is not None and self.checkpoint.parent == self.folder / "checkpoints"
        )


def choose_start(output_dir: str | None, resume: str | None, init_from: str | None) -> Start:
    """Where a run writes and what it starts from: its own folder, then `resume`, then `init_from`, then nothing.

    Args:
        output_dir: the run's folder; None: a new one.
        resume: None; a checkpoint or a run's folder; or `"auto"`: the newest complete checkpoint of `output_dir`, or,
            without `output_dir`, of the runs in `outputs/`, whose folder then is the run's. In an `output_dir` without
            one the run starts from scratch, so that one command serves a job's first start and all later ones.
        init_from: a model folder, checkpoint or hub name to take weights from.

    Raises:
        CheckpointError: `resume` names nothing that can be continued.
    """
    folder = typed_path(output_dir, "output_dir") if output_dir else None
    named = None if resume in (None, "", "auto") else typed_path(str(resume), "resume")
    if folder is None and resume == "auto":
        folder = _newest_run()
        if folder is None:
            raise CheckpointError(
                f"resume=auto: no run with a checkpoint in {OUTPUTS.absolute()}; leave it out to begin one, or give "
                "output_dir=, in which it begins one itself"
            )
    own = checkpoint.newest(folder / "checkpoints") if folder else None
    if own is not None:
        cut = checkpoint.passed_over(own)
        notes = [f"{', '.join(cut)} is cut off"] if cut else []
        notes += [f"resume={resume} is not used: a run's own folder comes first"] if named else []
        return Start(folder, own, f"continues from {own}" + (f" ({'; '.join(notes)})" if notes else ""))
    if named is not None:
        path = checkpoint.find(named)
        return Start(folder, path, f"continues from {path} (resume=)")
    if init_from:
        return Start(folder, None, f"starts with the weights of {init_from} (init_from=)")
    asked = f" (resume=auto: no checkpoint in {folder})" if resume == "auto" else ""
    return Start(folder, None, f"starts from scratch{asked}")


def _newest_run() -> Path | None:
    found = []
    for run in OUTPUTS.glob("*"):
        try:
            path = checkpoint.newest(run / "checkpoints")
        except CheckpointError:  # of a run that nobody asked for
            continue
        if path is not None:
            found.append((path.stat().st_mtime, run))
    return max(found)[1] if found else None


def make_folder(folder: Path | None, name: str, log_dir: Path | None = None) -> Path:
    """Makes the run's folder, and that of TensorBoard's files.

    Args:
        folder: where; None: `outputs/<name>-<time>`, with a number behind it where that is taken.
        name: of the run.
        log_dir: for TensorBoard's files; None: within the run's.

    Raises:
        ConfigError: one of them cannot be written.
    """
    try:
        if folder is None:
            folder = make_new(OUTPUTS / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
        check_writable(folder)
    except OSError as error:
        raise ConfigError(
            f"output_dir={str(folder or OUTPUTS)!r} cannot be written ({error.strerror}); give another one"
        ) from error
    try:
        if log_dir:
            check_writable(log_dir)
    except OSError as error:
        raise ConfigError(f"log_dir={str(log_dir)!r} cannot be written ({error.strerror}); give another one") from error
    return folder


def changes(before: str, now: str) -> list[str]:
    """What differs between two configurations in YAML, as `"trainer.steps 500 -> 1000"`; keys of the command left out."""
    old, new = (dict(_leaves(OmegaConf.to_container(OmegaConf.create(text)))) for text in (before, now))
    keys = [key for key in {**old, **new} if key not in OF_THE_COMMAND]
    absent = "(not given)"
    return [
        f"{key} {old.get(key, absent)} -> {new.get(key, absent)}"
        for key in keys
        if old.get(key, absent) != new.get(key, absent)
    ]


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
