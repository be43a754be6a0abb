"""Reading a published `.pth` safely: tensors are read, and nothing in the file is executed."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from muskie.errors import CheckpointError
from muskie.models.convert import INERT, _Inert


def read_weights(path: Path) -> dict[str, Any]:
    """The weights of a published checkpoint by their names, without a `module.` prefix, whatever model they are of.

    Raises:
        CheckpointError: not a file, unreadable, needs classes that are not known, or holds no weights.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; give the published .pth")
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in INERT]):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        # PyTorch wraps the cause in advice to load unsafely.
        cause = error.__context__ if isinstance(error, pickle.UnpicklingError) and error.__context__ else error
        foreign = re.findall(r"GLOBAL (\S+)", str(cause))
        if foreign:
            raise CheckpointError(
                f"{path} holds a pickled {foreign[0]}, which is not read: unpickling may run any code. If you trust the "
                "file, load it where that class is known and save its weights alone: torch.save({'model': weights}, ...)"
            ) from error
        reason = (str(cause).splitlines() or [""])[0][:160]
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({type(cause).__name__}: {reason})") from error
    weights = loaded.get("model", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise CheckpointError(f"{path} holds no weights: expected a dict with a state dict under 'model'")
    if str(loaded.get("format", "")).startswith("muskie-checkpoint"):
        raise CheckpointError(f"{path} is a checkpoint of a run of this framework already; use it by resume= or init_from=")
    keys = [str(key) for key in weights]
    if all(key.startswith("module.") for key in keys):
        keys = [key.removeprefix("module.") for key in keys]
    return dict(zip(keys, weights.values(), strict=True))
