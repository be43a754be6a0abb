"""The settings of a run: the composed configuration, checked and turned into the objects that it describes.

What a configuration consists of differs from task to task; `Settings` says it, `PRETRAINING` that of pre-training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from muskie.config import Schema, Sections, defaults, resolve_target, schema
from muskie.data.augmentation import Augmentation
from muskie.data.index import MAX_UNUSABLE, HoldOut
from muskie.data.loading import read_sources
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError, MuskieError
from muskie.masking import MaskPolicy
from muskie.models.masked_view import MaskedViewModel, shapes
from muskie.models.parts import DECODERS, ENCODERS, every_field, part_settings
from muskie.models.variants import OF_THE_MODEL, create_model, model_settings
from muskie.objectives.pixels import MaskedPixels
from muskie.training.evaluation_config import EvaluationConfig
from muskie.training.optim import OptimConfig
from muskie.training.trainer_config import TrainerConfig

ROOT = {
    "output_dir": str | None,
    "log_dir": str | None,
    "seed": int,
    "resume": str | None,
    "init_from": str | None,
    "max_unusable": float,
}
"""Keys outside of sections. `log_dir`: where TensorBoard's files go; null: into the run's folder. `max_unusable`: the share
of a source's scenes, and of its frames, that may be left out as too short or unusable; more is an error."""

OF_THE_RUN = ("patch_size", "steps", "seed")
"""Arguments of `StepPlan` that come from elsewhere."""


@dataclass(frozen=True)
class Settings:
    """What a configuration consists of.

    Attributes:
        sections: all of them.
        model_in_full: the `model` section with the defaults of the code written out.
        problems: what is wrong with a plain configuration beyond types, in words.
        root: keys outside of sections.
    """

    sections: Sections
    model_in_full: Callable[[dict[str, Any]], dict[str, Any]]
    problems: Callable[[Mapping[str, Any]], list[str]] = lambda config: []
    root: Schema = field(default_factory=lambda: ROOT)


MODEL: Schema = {
    **every_field(ENCODERS),
    **{key: schema(MaskedViewModel)[key] for key in OF_THE_MODEL},
    "name": str,
    "init": str,
    "decoder": every_field(DECODERS),
}

SECTIONS = Sections(
    fixed={
        "holdout": HoldOut,
        "augment": Augmentation,
        "masks": MaskPolicy,
        "objective": MaskedPixels,
        "optim": OptimConfig,
        "trainer": TrainerConfig,
        "evaluation": EvaluationConfig,
    },
    arguments={"plan": schema(StepPlan, without=OF_THE_RUN), "model": MODEL},
    open=("data",),
)


def _model_in_full(given: dict[str, Any]) -> dict[str, Any]:
    settings = model_settings(**{key: value for key, value in given.items() if key != "init"})
    encoder, decoder = map(part_settings, shapes(settings["encoder"], settings["decoder"]))
    init = given.get("init", defaults(create_model)["init"])
    whole = {key: settings.get(key, defaults(MaskedViewModel)[key]) for key in OF_THE_MODEL}
    return {"name": given["name"], "init": init, **encoder, **whole, "decoder": decoder}


def _without_name(config: Mapping[str, Any]) -> list[str]:
    return [] if "name" in (config.get("model") or {}) else ["model.name must be given, e.g. model=muskie_base"]


PRETRAINING = Settings(SECTIONS, _model_in_full, _without_name)


def read_settings(config: DictConfig, kind: Settings = PRETRAINING) -> dict[str, Any]:
    """Root keys and sections by name: fixed sections as objects, `plan` and `model` as checked arguments, `data` as given.

    Args:
        config: composed by Hydra.
        kind: what it consists of.

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
        built = kind.sections.build(settings, kind.root)
    except ConfigError as error:
        problems.append(str(error))
    try:
        read_sources(settings.get("data") or {})
    except ConfigError as error:
        problems.append(str(error))
    problems += kind.problems(settings)
    if problems:
        raise ConfigError("\n".join(problems))
    if built["max_unusable"] is None:
        built["max_unusable"] = MAX_UNUSABLE
    if not 0 <= built["max_unusable"] <= 1:
        raise ConfigError(f"max_unusable={built['max_unusable']}: expected a share in [0, 1], e.g. {MAX_UNUSABLE}")
    if built["seed"] < 0:
        raise ConfigError(f"seed={built['seed']}: expected 0 or more")
    return built


def in_full(config: DictConfig, kind: Settings = PRETRAINING) -> str:
    """A configuration that `read_settings` has accepted, as YAML with the defaults of the code written out, so far as
    YAML can say them, and the roots of data sets as absolute paths: a run's folder still says what was done when a default
    has changed, and from any folder."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    for section, known in {**kind.sections.fixed, "plan": StepPlan}.items():
        plain[section] = _with_defaults(plain.get(section) or {}, section, known, OF_THE_RUN if section == "plan" else ())
    data = plain["data"]
    if "sources" in data:
        data["sources"] = {name: _source(node, f"data.sources.{name}") for name, node in data["sources"].items()}
    else:
        plain["data"] = _source(data, "data")
    plain["model"] = kind.model_in_full(plain["model"])
    return OmegaConf.to_yaml(OmegaConf.create(plain))


def saved_settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a checkpoint holds as YAML, as plain sections and keys; `state` is its content."""
    plain: Any = OmegaConf.to_container(OmegaConf.create(state["settings"]))
    return plain or {}


def as_if_now(settings: str, kind: Settings = PRETRAINING) -> str:
    """The settings of an earlier run, YAML, with what came since at its default; as they are where they no longer fit."""
    try:
        return in_full(DictConfig(OmegaConf.create(settings)), kind)
    except (MuskieError, OmegaConfBaseException, TypeError, KeyError):
        return settings


def _source(given: dict[str, Any], key: str) -> dict[str, Any]:
    """The node of a data source in full. A `root` that is no path here, of a source of the user's own, stays as it is."""
    given = _with_defaults(given, key)
    root = given.get("root")
    # No home folder of that name, no right to look, no name that a file could have: it stays as it is.
    with suppress(OSError, RuntimeError, ValueError):
        if isinstance(root, str) and root and Path(root).expanduser().exists():
            given = {**given, "root": str(Path(root).expanduser().resolve())}
    return given


def _with_defaults(given: dict[str, Any], key: str, known: Any = None, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """A section with the defaults of its class, so far as YAML can say them."""
    target = resolve_target(given, key) if known is None or "_target_" in given else known
    values = {name: value for name, value in defaults(target).items() if name not in left_out and name not in given}
    for name, value in values.items():
        with suppress(TypeError):
            given = {**given, name: _plain(value)}
    return given


def _plain(value: Any) -> Any:
    """A default as YAML says it.

    Raises:
        TypeError: YAML, or Hydra's reading of it, would take it for something else.
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    meant = isinstance(value, str) and ("${" in value or value == "???")  # another setting, or none yet, to Hydra
    if value is None or (type(value) in (bool, int, float, str) and not meant):
        return value
    raise TypeError(f"{value!r} has no plain form")


def without_effect(trainer: TrainerConfig, optim: OptimConfig) -> list[str]:
    """Lines for people about settings that were given and that others overrule."""
    rules = [
        ("trainer.steps", trainer.steps, "trainer.epochs", trainer.epochs, None),
        ("optim.lr", optim.lr, "optim.base_lr", optim.base_lr, OptimConfig.base_lr),
    ]
    if optim.warmup_epochs is not None:
        rules.append(("optim.warmup_epochs", optim.warmup_epochs, "optim.warmup", optim.warmup, OptimConfig.warmup))
    else:
        rules.append(("trainer.steps", trainer.steps, "trainer.epoch_size", trainer.epoch_size, TrainerConfig.epoch_size))
    return [
        f"{key}={value} goes before {other}={given}; {key}=null lets the latter count"
        for key, value, other, given, default in rules
        if value is not None and given != default
    ]
