"""All settings of a run with their documentation, for `python main.py --settings`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from muskie.config import resolve_target
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError
from muskie.models.decoder import DecoderConfig
from muskie.models.encoder import EncoderConfig
from muskie.models.variants import create_model
from muskie.training.settings import SECTIONS, in_full, read_settings

ROOT_HELP = {
    "output_dir": "folder of this run; null: outputs/<model>-<data>-<time>",
    "log_dir": "folder for TensorBoard's files; null: into the run's folder",
    "seed": "of weights, data and masks, >= 0",
    "resume": "auto: the newest run of outputs/, or that of output_dir if it has begun; or a checkpoint or run folder",
    "init_from": "folder, checkpoint or hub name of a model to take weights from",
}


def describe(config: DictConfig) -> str:
    """The settings in full, as YAML, each section below the docstrings of what it configures.

    Keys of `data` that must be given may be missing.

    Raises:
        ConfigError: whatever else cannot be used.
    """
    checked, missing = config.copy(), OmegaConf.missing_keys(config)
    for path in missing:
        OmegaConf.update(checked, path, ".")  # a folder, most likely; if it is not, that is told below, and no problem
    try:
        read_settings(checked)
    except ConfigError as error:
        stand_ins = tuple(f"{path}='.'" for path in missing)
        problems = [line for line in str(error).splitlines() if not (stand_ins and line.startswith(stand_ins))]
        if problems:
            raise ConfigError("\n".join(problems)) from error
    parts = []
    for key, value in OmegaConf.create(in_full(config)).items():
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        words = _documentation(str(key), plain) if isinstance(plain, Mapping) else f"# {ROOT_HELP[str(key)]}\n"
        parts.append(words + OmegaConf.to_yaml(OmegaConf.create({key: plain})))
    return "".join(parts)


def _documentation(section: str, node: Mapping[Any, Any]) -> str:
    """The docstrings of a section as lines of comment."""
    lines = []
    for target in _documented(section, node):
        lines += [f"{target.__module__}.{target.__qualname__}", *(inspect.getdoc(target) or "").splitlines()]
    return "\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _documented(section: str, node: Mapping[Any, Any]) -> list[Callable[..., Any]]:
    if section == "model":
        return [create_model, EncoderConfig, DecoderConfig]
    if "sources" in node:
        return [resolve_target(dict(part), section) for part in node["sources"].values()]
    return [resolve_target(dict(node), section) if "_target_" in node else {**SECTIONS.fixed, "plan": StepPlan}[section]]
