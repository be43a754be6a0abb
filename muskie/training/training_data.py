"""What a configuration trains on, without a model: settings, step plan, sources and the frames to train on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muskie.data.index import SceneIndex
from muskie.data.loading import build_sources
from muskie.data.plan import StepPlan
from muskie.data.scene import SceneSource
from muskie.models.variants import list_models, model_config
from muskie.overrides import compose_config, read_overrides, split_flags
from muskie.training.settings import PRETRAINING, Settings, read_settings

PATCHES = (16, 14, 8)
"""Sides of patches in pixels that backbones have."""


@dataclass(frozen=True)
class TrainingData:
    """What one process that trains would draw its samples from.

    Attributes:
        settings: as `read_settings` gives them.
        plan: of the whole run.
        sources, index: what there is, and what of it is trained on.
    """

    settings: Mapping[str, Any]
    plan: StepPlan
    sources: Sequence[SceneSource]
    index: SceneIndex


def settings_of(
    words: Sequence[str], configs: Path, name: str = "pretrain", kind: Settings = PRETRAINING, more: Path | None = None
) -> dict[str, Any]:
    """The settings that a script trains with that is given these words.

    Args:
        words: overrides, e.g. `["data=folder", "data.root=PATH"]`.
        configs: folder of the YAML files.
        name: the root file, without suffix.
        kind: what it consists of.
        more: a folder with YAML files of the user's own, as of `--config-dir`.

    Raises:
        ConfigError: what of it cannot be used, in words.
    """
    given = [*(["--config-dir", str(more)] if more is not None else []), *words]
    _, overrides = split_flags(read_overrides(given, configs, name, kind.sections.names()))
    search = [f"hydra.searchpath=[file://{more.expanduser().resolve()}]"] if more is not None else []
    return read_settings(compose_config(configs, name, [*search, *overrides]), kind)


def training_data(settings: Mapping[str, Any], steps: int | None = None) -> TrainingData:
    """Plan, sources and index of some settings, as one process builds them that trains.

    Args:
        settings: of pre-training or of fine-tuning.
        steps: of the run; None: as the settings say.

    Raises:
        ConfigError, DataError: what of it cannot be used, in words.
    """
    plan, trainer = settings["plan"], settings["trainer"]
    trainer.batch(plan.get("frames"))  # refuses what does not go together
    steps = trainer.total_steps(1, plan.get("reuse", 1), plan.get("frames")) if steps is None else steps
    whole = StepPlan(patch_size=patch_size(settings), steps=steps, seed=settings["seed"], **plan)
    sources = build_sources(settings["data"])
    whole.check_sources(sources)
    index = SceneIndex(sources, "train", settings["holdout"], whole.min_frames, max_unusable=settings["max_unusable"])
    return TrainingData(settings, whole, sources, index)


def patch_size(settings: Mapping[str, Any]) -> int:
    """The side of a patch in pixels of the model that the settings name.

    Of a backbone that would have to be loaded: the largest usual one that divides all sizes, else 1. It matters for aspect
    ratios alone, whose sides are rounded to it.
    """
    given = settings["model"] if "backbone" not in settings else settings["backbone"]
    given = dict(given) if isinstance(given, Mapping) else {"name": given}
    if given["name"] in list_models():
        kept = {key: value for key, value in given.items() if key not in ("init", "label")}
        return model_config(**kept)[0].patch_size
    sizes = settings["plan"].get("sizes", StepPlan.sizes)
    return next((side for side in PATCHES if all(size % side == 0 for size in sizes)), 1)
