"""What a model was trained on, in all its runs: kept beside its weights, so that no evaluation calls such frames held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.errors import CheckpointError
from muskie.paths import typed_path

FILE = "trained_on.yaml"
"""In the folder of a run and in its `model/`: a list of `{data: ..., holdout: ...}`, the sections of a configuration, one for
each data that was trained on; and of `{unknown: NAME}` for weights of which nothing is known."""

Entry = Mapping[str, Any]


def history(path: Path) -> list[Entry] | None:
    """What a run, a model folder or a checkpoint was trained on; None: nothing tells.

    Raises:
        CheckpointError: the file that tells is broken.
    """
    for folder in _folders(path):
        if (folder / FILE).is_file():
            return _read(folder / FILE)
        if (folder / "config.yaml").is_file():  # a run of before this file was written
            return _of_config(folder / "config.yaml")
    return None


def of_weights(name: str, key: str) -> list[Entry]:
    """As `history`, of weights as somebody named them; `key` is the setting that names them."""
    path = typed_path(name, key)
    return (history(path) if path.exists() else None) or [{"unknown": name}]


def extended(before: Sequence[Entry], settings: str) -> list[Entry]:
    """A history and one training more, by its configuration (YAML)."""
    now = _of_text(settings)
    return [*before, *(entry for entry in now if entry not in before)]


def write(folder: Path, entries: Sequence[Entry]) -> None:
    """Keeps a history in a folder."""
    OmegaConf.save(OmegaConf.create([dict(entry) for entry in entries]), folder / FILE)


def _folders(path: Path) -> list[Path]:
    """Where a history may lie, of a run, its `model/`, or one of its checkpoints."""
    path = path.resolve()
    return (
        [path, path.parent] if path.is_dir() and path.name == "model" else [path] if path.is_dir() else [path.parent.parent]
    )


def _read(file: Path) -> list[Entry]:
    try:
        entries = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:  # YAML's own, OmegaConf's and Python's for bytes that are no text
        raise CheckpointError(
            f"{file}: cannot be read ({type(error).__name__}); it is a list of data and holdout"
        ) from error
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise CheckpointError(f"{file}: expected a list of {{data: ..., holdout: ...}}")
    return entries


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and ("unknown" in entry or {"data", "holdout"} <= set(entry))


def _of_config(file: Path) -> list[Entry] | None:
    try:
        return _of_text(file.read_text())
    except Exception:  # some other program's configuration
        return None


def _of_text(settings: str) -> list[Entry]:
    config: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
    return [{"data": config["data"], "holdout": config["holdout"]}]
