"""All settings of a run with their documentation, for `--settings` of `main.py` and `train_ffrecon.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from textwrap import wrap
from typing import Any

from omegaconf import DictConfig, OmegaConf

from muskie.config import resolve_target
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError
from muskie.models.masked_view import MaskedViewModel
from muskie.models.parts import DECODERS, ENCODERS
from muskie.models.reconstruction import ReconstructionModel
from muskie.models.variants import create_model
from muskie.training.settings import PRETRAINING, Settings, in_full, read_settings

ROOT_HELP = {
    "output_dir": "folder of this run; null: outputs/<model>-<data>-<time>",
    "log_dir": "folder for TensorBoard's files; null: into the run's folder",
    "seed": "of weights, data and masks, >= 0",
    "resume": "auto: the newest run of outputs/, or that of output_dir if it has begun; or a checkpoint or run folder",
    "init_from": "folder, checkpoint or hub name of a model to take weights from",
    "max_unusable": "share of a source's scenes, and of its frames, that may be left out as unusable; more is an error",
}

FINETUNING_HELP = {
    **ROOT_HELP,
    "backbone": "a run, a model folder, a name on the hub, a model of ours with fresh weights, timm/NAME, or {name: ...} "
    "with further arguments; auto: the newest pre-training run of outputs/, else muskie_tiny",
    "pretrained_dir": "where published weights lie, muskie-large.pth for backbone=muskie_large",
    "output_dir": "folder of this run; null: outputs/ffrecon-<backbone>-<data>-<time>",
    "init_from": "run, folder or hub name of a reconstruction model to take all weights from",
}


@dataclass(frozen=True)
class Help:
    """What is told of a kind of run.

    Attributes:
        root: a line for each key outside of sections.
        model: what the section `model` configures.
    """

    root: Mapping[str, str]
    model: Sequence[Callable[..., Any]]


SHAPES = [config for table in (ENCODERS, DECODERS) for config, _ in table.values()]
OF_PRETRAINING = Help(ROOT_HELP, (create_model, MaskedViewModel, *SHAPES))
OF_FINETUNING = Help(FINETUNING_HELP, (ReconstructionModel,))


def describe(config: DictConfig, kind: Settings = PRETRAINING, told: Help = OF_PRETRAINING) -> str:
    """The settings in full, as YAML, each section below the docstrings of what it configures.

    Args:
        config: composed by Hydra. Keys of `data` that must be given may be missing.
        kind: what it consists of.
        told: about that.

    Raises:
        ConfigError: whatever else cannot be used.
    """
    checked, missing = config.copy(), OmegaConf.missing_keys(config)
    for path in missing:
        OmegaConf.update(checked, path, ".")  # a folder, most likely; if it is not, that is told below, and no problem
    try:
        read_settings(checked, kind)
    except ConfigError as error:
        stand_ins = tuple(f"{path}='.'" for path in missing)
        problems = [line for line in str(error).splitlines() if not (stand_ins and line.startswith(stand_ins))]
        if problems:
            raise ConfigError("\n".join(problems)) from error
    parts = []
    for key, value in OmegaConf.create(in_full(config, kind)).items():
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if key in kind.root:
            words = "".join(f"# {line}\n" for line in wrap(told.root[str(key)], 123))
        else:
            words = _documentation(_documented(str(key), plain, kind, told))
        parts.append(words + OmegaConf.to_yaml(OmegaConf.create({key: plain})))
    return "".join(parts)


def _documentation(targets: Sequence[Callable[..., Any]]) -> str:
    """The docstrings of what a section configures as lines of comment."""
    lines = []
    for target in targets:
        lines += [f"{target.__module__}.{target.__qualname__}", *(inspect.getdoc(target) or "").splitlines()]
    return "\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _documented(section: str, node: Any, kind: Settings, told: Help) -> Sequence[Callable[..., Any]]:
    if section == "model":
        return told.model
    if "sources" in node:
        return [resolve_target(dict(part), section) for part in node["sources"].values()]
    known = {**kind.sections.fixed, "plan": StepPlan}
    target = resolve_target(dict(node), section) if "_target_" in node else known[section]
    # What a class says of itself may begin with "as its base, and".
    bases: tuple[type, ...] = getattr(target, "__mro__", ())[1:]
    return [*(base for base in reversed(bases) if is_dataclass(base)), target]
