"""What weights were trained on, in all their trainings: kept with them, so that no evaluation calls such frames held out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from muskie.data.index import SceneIndex
from muskie.data.scene import SceneSource
from muskie.errors import CheckpointError
from muskie.models.variants import list_models
from muskie.paths import typed_path

FILE = "trained_on.yaml"
"""Beside `model.safetensors`; checkpoints hold the same under `"past"`. A list of `{data: ..., holdout: ..., listed: ...}`:
the sections of a configuration and the fingerprint of the frames that were trained on; and of `{unknown: NAME}` for weights
of which nothing is known."""

Entry = Mapping[str, Any]


def history(path: Path) -> list[Entry] | None:
    """What the weights of a run's `model/`, a model folder or a checkpoint were trained on; None: nothing tells.

    Raises:
        CheckpointError: the file that tells is broken.
    """
    if path.is_file():
        return _of_checkpoint(path)
    for folder in (path / "model", path):
        if (folder / FILE).is_file():
            return _read(folder / FILE)
    configs = [path / "config.yaml", *([path.resolve().parent / "config.yaml"] if path.resolve().name == "model" else [])]
    return next((_of_config(file) for file in configs if file.is_file()), None)  # of runs of before the file


def of_weights(name: str, key: str) -> list[Entry]:
    """As `history`, of weights as somebody named them; `key` is the setting that names them."""
    path = typed_path(name, key)
    return (history(path) if path.exists() else None) or [{"unknown": name}]


def of_backbone(given: Any) -> list[Entry]:
    """As `history`, of a backbone as `muskie.models.named.named_model` takes it; nothing for fresh weights."""
    spec: Mapping[str, Any] = given if isinstance(given, Mapping) else {"name": given}
    name = str(spec.get("published") or spec.get("name") or "")
    if name.startswith("timm/"):
        return [{"unknown": name}] if spec.get("pretrained", True) else []
    if "published" not in spec and name in list_models() and not Path(name).is_dir():
        return []
    return of_weights(name, "backbone")


def of_state(state: Mapping[str, Any]) -> list[Entry]:
    """As `history`, of a checkpoint's content."""
    return list(state["past"]) if "past" in state else _of_text(str(state["settings"]))


def extended(before: Sequence[Entry], settings: str, index: SceneIndex | None = None) -> list[Entry]:
    """A history and one training more, which comes last.

    Args:
        before: the history.
        settings: the configuration of the training (YAML).
        index: the frames that it trains on.
    """
    config: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
    listed = fingerprint(index) if index is not None else None
    now: dict[str, Any] = {"data": config["data"], "holdout": config["holdout"]}
    if listed is not None:
        now["listed"] = listed
    same = {key: now[key] for key in ("data", "holdout")}

    def is_now(entry: Entry) -> bool:
        if {key: entry.get(key) for key in same} != same:
            return False
        known = entry.get("listed")
        return known is None or known == listed or (index is not None and lists_the_same(index, known))

    return [*(entry for entry in before if not is_now(entry)), now]


def lists_the_same(index: SceneIndex, listed: str) -> bool:
    """Whether a fingerprint is that of a part, of now or as it was made at first, of the names alone."""
    return listed in (fingerprint(index), _of_names(index))


def _of_names(index: SceneIndex) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for source in index.sources:
        if not source.uniform_length:
            _add_names(digest, index, source)
    return digest.hexdigest()


def _add_names(digest: Any, index: SceneIndex, source: SceneSource) -> None:
    for number in range(index.places(source)):
        place = index.place(source, number)
        digest.update("\n".join([place.scene.name, *place.frames, ""]).encode())


def fingerprint(index: SceneIndex) -> str:
    """Of the names of all scenes and frames of a part, in their order, or of what their source knows them by; those of
    sources without end are what their settings say."""
    digest = hashlib.blake2b(digest_size=12)
    for source in index.sources:
        if source.uniform_length:
            continue
        if (known := source.digest()) is not None:
            digest.update(f"{known} {index.part} {index.by} {index.holdout}\n".encode())
            continue
        _add_names(digest, index, source)
    return digest.hexdigest()


def write(folder: Path, entries: Sequence[Entry]) -> None:
    """Keeps a history in the folder of a model, which is made if missing; beside first, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{FILE}.part"
    OmegaConf.save(OmegaConf.create([dict(entry) for entry in entries]), beside)
    beside.replace(folder / FILE)


def _read(file: Path) -> list[Entry]:
    mend = "have the model written anew, or remove the file, and nothing is known of what it was trained on"
    try:
        entries = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:  # YAML's own, OmegaConf's and Python's for bytes that are no text
        raise CheckpointError(f"{file}: cannot be read ({type(error).__name__}); {mend}") from error
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise CheckpointError(f"{file}: expected a list of {{data: ..., holdout: ...}}; {mend}")
    return entries


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and ("unknown" in entry or {"data", "holdout"} <= set(entry))


def _of_checkpoint(file: Path) -> list[Entry] | None:
    try:
        return of_state(torch.load(file, map_location="cpu", weights_only=True, mmap=True))
    except Exception:  # no checkpoint of ours; whoever loads it says so
        return None


def _of_config(file: Path) -> list[Entry] | None:
    try:
        return _of_text(file.read_text())
    except Exception:  # some other program's configuration
        return None


def _of_text(settings: str) -> list[Entry]:
    """Of a configuration alone: its data, and before it whatever it started from, of which less may be known by now."""
    config: Any = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
    started = [str(name) for name in (config.get("init_from"), config.get("resume")) if name and name != "auto"]
    before: list[Entry] = [] if "backbone" not in config else list(of_backbone(config["backbone"]))
    for name in started:
        try:
            folder = typed_path(name, "init_from")
            # Not a checkpoint: it may have been written over since, even by this run.
            before += (history(folder) if folder.is_dir() else None) or [{"unknown": name}]
        except Exception:
            before.append({"unknown": name})
    return extended(before, settings)
