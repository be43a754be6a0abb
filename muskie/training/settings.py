"""The settings of pre-training: the composed configuration, checked and turned into the objects that it describes."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from muskie.config import Schema, Sections, schema
from muskie.data.images import Augmentation
from muskie.data.index import HoldOut
from muskie.data.loading import read_sources
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError
from muskie.evaluation.cross_view_gain import GainConfig
from muskie.masking import MaskPolicy
from muskie.models.decoder import DecoderConfig
from muskie.models.encoder import EncoderConfig
from muskie.objectives.pixels import MaskedPixels
from muskie.training.optim import OptimConfig
from muskie.training.trainer_config import TrainerConfig

ROOT = {"output_dir": str | None, "log_dir": str | None, "seed": int, "resume": str | None, "init_from": str | None}
"""Keys outside of sections. `log_dir`: where TensorBoard's files go; null: into the run's folder."""

MODEL: Schema = {**schema(EncoderConfig), "name": str, "init": str, "decoder": schema(DecoderConfig)}

SECTIONS = Sections(
    fixed={
        "holdout": HoldOut,
        "augment": Augmentation,
        "masks": MaskPolicy,
        "objective": MaskedPixels,
        "optim": OptimConfig,
        "trainer": TrainerConfig,
        "evaluation": GainConfig,
    },
    arguments={"plan": schema(StepPlan, without=("patch_size", "steps", "seed")), "model": MODEL},
    open=("data",),
)


def read_settings(config: DictConfig) -> dict[str, Any]:
    """Root keys and sections by name: fixed sections as objects, `plan` and `model` as checked arguments, `data` as given.

    Args:
        config: composed by Hydra from `configs/pretrain.yaml`.

    Raises:
        ConfigError: all settings that are unknown, mistyped or missing, at once.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(f"{', '.join(missing)} must be given, e.g. {missing[0]}=PATH")
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items()}
    problems, built = [], {}
    try:
        built = SECTIONS.build(settings, ROOT)
    except ConfigError as error:
        problems.append(str(error))
    try:
        read_sources(settings.get("data") or {})
    except ConfigError as error:
        problems.append(str(error))
    if "name" not in (settings.get("model") or {}):
        problems.append("model.name must be given, e.g. model=muskie_base")
    if problems:
        raise ConfigError("\n".join(problems))
    if built["seed"] < 0:
        raise ConfigError(f"seed={built['seed']}: expected 0 or more")
    return built
