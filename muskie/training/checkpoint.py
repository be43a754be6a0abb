"""Checkpoints that a killed write cannot harm, and which of them a run continues from."""

from __future__ import annotations

import os
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muskie.errors import CheckpointError

FORMAT = "muskie-checkpoint-1"
PUBLISHED_LATEST = "checkpoint-latest.pth"
_NAME = re.compile(r"step-(\d{8,})\.pt")


def save(folder: Path, step: int, state: dict[str, Any], keep_every: int = 0) -> Path:
    """Writes `folder/step-<step>.pt` beside, flushes it to the disk, renames it, then drops older ones.

    Args:
        folder: made if missing.
        step: optimiser steps done.
        state: tensors, numbers, strings, and lists and dicts of them; what `torch.load` reads without running code.
        keep_every: older checkpoints stay if their step is a multiple of this; 0: only the newest stays.

    Raises:
        CheckpointError: it cannot be written; the older ones are unharmed.
    """
    path = folder / f"step-{step:08d}.pt"
    beside = folder / f".{path.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            torch.save({"format": FORMAT, "step": step, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError | RuntimeError):  # the latter is torch's own when a write fails
            reason = f"the checkpoint of step {step} cannot be written to {folder} ({error}); is the disk full?"
            raise CheckpointError(
                f"{reason} Older checkpoints are unharmed: make room and continue with resume=auto"
            ) from error
        raise
    _flush_names(folder)
    for old_step, old in _numbered(folder):
        if old_step < step and not (keep_every and old_step % keep_every == 0):
            old.unlink(missing_ok=True)
    for part in folder.glob(".step-*.part"):  # of writes that were killed
        part.unlink(missing_ok=True)
    return path


def _flush_names(folder: Path) -> None:
    """The new name reaches the disk before an older checkpoint is dropped, so that a power cut leaves one of them."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # not every system opens folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps, or None where there is none at all.

    Unfinished writes have other names; a file that was cut off later, by a full disk or a broken copy, is passed over.

    Raises:
        CheckpointError: there are checkpoints, and none of them is complete.
    """
    numbered = sorted(_numbered(folder), reverse=True)
    complete = next((path for _, path in numbered if zipfile.is_zipfile(path)), None)
    if numbered and complete is None:
        names = ", ".join(path.name for _, path in numbered)
        raise CheckpointError(
            f"{folder}: no checkpoint there is complete ({names}); remove them to start anew, or put one back"
        )
    return complete


def passed_over(path: Path) -> list[str]:
    """Names of the incomplete checkpoints beside `path` that have more steps than it."""
    step = int(_NAME.fullmatch(path.name)[1])  # type: ignore[index]
    return [other.name for other_step, other in sorted(_numbered(path.parent)) if other_step > step]


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.pt")) if folder.is_dir() else ()
    return [(int(match[1]), path) for match, path in found if match]


def find(path: Path, key: str = "resume") -> Path:
    """A checkpoint itself, or the newest one of a run's folder, which `checkpoint-latest.pth` in it also stands for, as in
    published commands; `key` is what errors call it.

    Raises:
        CheckpointError: there is none.
    """
    if path.is_dir():
        inside = newest(path) or newest(path / "checkpoints")
        if inside is None:
            raise CheckpointError(f"{key}={path}: no checkpoint (step-*.pt) in this folder or its checkpoints/")
        return inside
    if path.name == PUBLISHED_LATEST and not path.exists() and path.parent.is_dir():
        return find(path.parent, key)
    if not path.is_file():
        web = "; download it first" if str(path).startswith(("http:", "https:")) else ""
        raise CheckpointError(f"{key}={path}: there is no such file{web}; give a step-*.pt or the folder of a run")
    return path


def load(path: Path, device: torch.device | str = "cpu", key: str = "resume") -> dict[str, Any]:
    """Reads a checkpoint of ours, see `find`; nothing in it is executed.

    Raises:
        CheckpointError: missing, broken, or not ours.
    """
    path = find(Path(path), key)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # Whatever a broken zip file, a foreign pickle or an old format raises: it is the file that cannot be used.
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {_first_line(error)}); "
            "it may be cut off or come from elsewhere. Give an earlier step-*.pt; for published weights see "
            "scripts/convert_checkpoint.py"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        keys = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(
            f"{path} is no checkpoint of a muskie run (found: {keys[:160]}); to start from the weights of a model "
            "folder use init_from=, for published weights first scripts/convert_checkpoint.py"
        )
    return state


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].split(". ")[0][:160]


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], origin: str) -> None:
    """Loads weights that must fit exactly.

    Raises:
        CheckpointError: counts the missing, unexpected and mis-shaped keys, and names the first of them.
    """
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(own.keys() & weights.keys())
        if weights[key].shape != own[key].shape
    ]
    if missing or unexpected or shapes:
        report = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if keys
        )
        raise CheckpointError(f"{origin} does not fit the model; set model= and its keys as they were. Weights {report}")
    model.load_state_dict(weights)
