"""All settings of a run with their documentation, for `python main.py --settings`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from muskie.config import resolve_target
from muskie.data.plan import StepPlan
from muskie.models.encoder import EncoderConfig
from muskie.training.settings import SECTIONS, in_full


def describe(config: DictConfig) -> str:
    """The settings in full, as YAML, each section below the docstring of the class that it configures.

    Raises:
        ConfigError: a class that cannot be imported, or a model that is unknown.
    """
    parts = []
    for key, value in OmegaConf.create(in_full(config)).items():
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        words = _documentation(_documented(str(key), plain)) if isinstance(plain, Mapping) else ""
        parts.append(words + OmegaConf.to_yaml(OmegaConf.create({key: plain})))
    return "".join(parts)


def _documented(section: str, node: Mapping[Any, Any]) -> Callable[..., Any] | None:
    if "_target_" in node:
        return resolve_target(dict(node), section)
    return {**SECTIONS.fixed, "plan": StepPlan, "model": EncoderConfig}.get(section)


def _documentation(target: Callable[..., Any] | None) -> str:
    """The docstring as lines of comment."""
    if target is None:
        return "\n"
    lines = [f"{target.__module__}.{target.__qualname__}", *(inspect.getdoc(target) or "").splitlines()]
    return "\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines)
