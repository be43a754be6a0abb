"""The backbone that is fine-tuned: what somebody names, or the newest pre-training run, or fresh weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muskie.errors import ConfigError
from muskie.models.convert import convert, read_published
from muskie.models.masked_view import MaskedViewModel
from muskie.models.model_kind import MASKED_VIEWS
from muskie.models.variants import list_models
from muskie.runs import OUTPUTS, newest_run

FRESH = "muskie_tiny"


def choose_backbone(given: Any, pretrained_dir: str | None = None) -> tuple[Any, str]:
    """The backbone as `muskie.models.recon_load.create_reconstruction_model` takes it, and a line for people.

    Args:
        given: a name or a mapping, see `muskie.models.named.named_model`; `"auto"`: the newest pre-training run of
            `outputs/` that has ended, or, where there is none, `muskie_tiny` with fresh weights.
        pretrained_dir: where the published weights lie: the name of a model of ours then takes `<name with dashes>.pth`
            there, if there is such a file.

    Raises:
        ConfigError: nothing is named.
    """
    if given in (None, ""):
        raise ConfigError("backbone is empty; give a run, a model folder, a model of ours, timm/NAME, or auto")
    if given == "auto":
        newest = newest_run(MASKED_VIEWS)
        if newest is not None:
            return str(newest), f"backbone: {newest}, the newest pre-training run here"
        return FRESH, f"backbone: {FRESH} with fresh weights; no pre-training run has ended in {OUTPUTS.absolute()}"
    name = str(given.get("name", "")) if isinstance(given, Mapping) else str(given)
    if name in list_models() and not Path(name).is_dir():
        published = Path(pretrained_dir or ".") / f"{name.replace('_', '-')}.pth"
        if pretrained_dir and published.is_file():
            return {"name": name, "published": str(published)}, f"backbone: {name} with the weights of {published}"
        return given, f"backbone: {name} with fresh weights; for pre-trained ones, name a run or a model folder"
    return given, f"backbone: {name}"


def published_backbone(file: Path) -> MaskedViewModel:
    """The model of a published checkpoint.

    Raises:
        CheckpointError: it is none, or not complete.
    """
    model, report = convert(read_published(file))
    report.check(file)
    return model
