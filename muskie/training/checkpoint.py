"""Checkpoints that a killed write cannot harm, and which one a run continues from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muskie.errors import CheckpointError

FORMAT = "muskie-checkpoint-1"
_NAME = re.compile(r"step-(\d{8})\.pt")


def save(folder: Path, step: int, state: dict[str, Any], keep_every: int = 0) -> Path:
    """Writes `folder/step-<step>.pt` beside, flushes it to the disk, renames it, then drops older ones.

    Args:
        folder: made if missing.
        step: optimiser steps done.
        state: tensors, numbers, strings, and lists and dicts of them; what `torch.load(weights_only=True)` reads.
        keep_every: older checkpoints stay if their step is a multiple of this; 0: only the newest stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    beside = folder / f".{path.name}.{os.getpid()}.part"
    with beside.open("wb") as file:
        torch.save({"format": FORMAT, "step": step, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    for old_step, old in _numbered(folder):
        if old_step < step and not (keep_every and old_step % keep_every == 0):
            old.unlink(missing_ok=True)
    for part in folder.glob(".step-*.part"):
        part.unlink(missing_ok=True)
    return path


def newest(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps, or None. Unfinished writes have other names."""
    numbered = _numbered(folder)
    return max(numbered)[1] if numbered else None


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.pt"))
    return [(int(match[1]), path) for match, path in found if match]


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint of ours; nothing in it is executed.

    Raises:
        CheckpointError: missing, broken, or not ours.
    """
    path = Path(path)
    if path.is_dir():
        inside = newest(path) or newest(path / "checkpoints")
        if inside is None:
            raise CheckpointError(f"resume={path}: no checkpoint (step-*.pt) in this folder or its checkpoints/")
        path = inside
    if not path.is_file():
        raise CheckpointError(f"resume={path}: there is no such file; give a step-*.pt or the folder of a run")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        # Whatever a broken zip file, a foreign pickle or an old format raises: it is the file that cannot be used.
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {str(error).splitlines()[0][:160]}); "
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


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], origin: str) -> None:
    """Loads weights that must fit exactly.

    Raises:
        CheckpointError: names every missing, unexpected and mis-shaped key.
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
            f"{what}: {', '.join(keys)}"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("other shape", shapes))
            if keys
        )
        raise CheckpointError(f"{origin} does not fit the model ({report}); set model= and its keys as they were")
    model.load_state_dict(weights)
