"""The backbone that is fine-tuned: what somebody names, or the newest pre-training run, or fresh weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muskie.errors import CheckpointError, ConfigError
from muskie.models.convert import convert, read_published
from muskie.models.masked_view import MaskedViewModel
from muskie.models.model_kind import MASKED_VIEWS
from muskie.models.variants import list_models
from muskie.paths import typed_path
from muskie.runs import OUTPUTS, newest_run

FRESH = "muskie_tiny"

PUBLISHED_DIR = "./checkpoints"
"""Where the published recipe looks for weights, which need not be there."""


def choose_backbone(given: Any, pretrained_dir: str | None = None) -> tuple[Any, str]:
    """The backbone as `muskie.models.recon_load.create_reconstruction_model` takes it, and a line for people.

    Args:
        given: a name or a mapping, see `muskie.models.named.named_model`; `"auto"`: the newest pre-training run of
            `outputs/` that has ended, or, where there is none, `muskie_tiny` with fresh weights.
        pretrained_dir: where the published weights lie: the name of a model of ours then takes `<name with dashes>.pth`
            there, if there is such a file. It must be there, unless it is `PUBLISHED_DIR`.

    Raises:
        ConfigError: nothing is named, `pretrained_dir` is no folder, or the shape of a model is set that has weights there.
    """
    folder = typed_path(pretrained_dir, "pretrained_dir") if pretrained_dir else None
    if folder is not None and not folder.is_dir() and pretrained_dir != PUBLISHED_DIR:
        raise ConfigError(
            f"pretrained_dir={pretrained_dir}: there is no such folder; give the one that holds muskie-large.pth and the "
            "like, or pretrained_dir=null"
        )
    if given in (None, ""):
        raise ConfigError("backbone is empty; give a run, a model folder, a model of ours, timm/NAME, or auto")
    if given == "auto":
        newest = newest_run(MASKED_VIEWS)
        if newest is not None:
            return str(newest), f"backbone: {newest}, the newest pre-training run here"
        return FRESH, f"backbone: {FRESH} with fresh weights; no pre-training run has ended in {OUTPUTS.absolute()}"
    name = str(given.get("name", "")) if isinstance(given, Mapping) else str(given)
    if name in list_models() and not Path(name).is_dir():
        return _of_ours(name, given, folder)
    return given, f"backbone: {name}"


def _of_ours(name: str, given: Any, folder: Path | None) -> tuple[Any, str]:
    """The published weights of a model of ours, if they lie in the folder, else fresh ones."""
    if folder is None:
        return given, f"backbone: {name} with fresh weights; for pre-trained ones, name a run or a model folder"
    file = folder / f"{name.replace('_', '-')}.pth"
    if not file.is_file():
        return given, f"backbone: {name} with fresh weights, for there is no {file}"
    beside = {key: value for key, value in given.items() if key != "name"} if isinstance(given, Mapping) else {}
    if fixed := sorted(set(beside) - {"label"}):
        raise ConfigError(
            f"backbone {name}: {', '.join(fixed)} cannot be set, for {file} has its weights; leave that out, or begin with "
            "fresh weights by pretrained_dir=null"
        )
    return {"name": name, **beside, "published": str(file)}, f"backbone: {name} with the weights of {file}"


def published_backbone(file: Path, name: str) -> MaskedViewModel:
    """The model of a published checkpoint.

    Args:
        file: the checkpoint.
        name: of the model that it is said to hold.

    Raises:
        CheckpointError: it is none, not complete, or of another size.
    """
    model, report = convert(read_published(file))
    report.check(file)
    if report.variant != name:
        raise CheckpointError(
            f"{file} holds a {report.variant} and no {name}; put the weights of {name} there, or name the file by its size "
            f"and give backbone={report.variant}"
        )
    return model
