"""From what somebody names to a frozen backbone: a run, a folder of weights, a model of ours, or any ViT of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from muskie.backbones.frozen import UNTRAINED, FrozenBackbone
from muskie.backbones.timm_vit import TimmViT
from muskie.errors import CheckpointError, ConfigError, did_you_mean
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import create_model, from_pretrained, list_models
from muskie.paths import typed_path

TIMM = "timm/"

Spec = str | Path | Mapping[str, Any]
"""A name, or `{name: ..., label: ..., pretrained: ..., seed: ..., <arguments of the model>}`."""


def load_backbone(
    spec: Spec, device: torch.device | None = None, dtype: torch.dtype | None = None, seed: int = 0
) -> FrozenBackbone:
    """A backbone by its name.

    Args:
        spec: one of

            - the folder of a run, a folder written by `save_pretrained`, or a model of ours on the Hugging Face hub;
            - a model of ours without weights, one of `muskie.list_models()`, with `{name: muskie_tiny, width: 96}` for
              other shapes;
            - `timm/NAME`, any ViT of timm with its published weights; `{name: timm/NAME, pretrained: false}` without.

            In the form of a mapping, `label` is what tables call it, and `seed` goes before the argument of that name.
        device, dtype: see `FrozenBackbone`.
        seed: of fresh weights.

    Raises:
        ConfigError: a name or an argument that cannot be used.
        CheckpointError: weights that are not there, or cannot be downloaded.
    """
    arguments: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = arguments.pop("name", None)
    if not isinstance(name, str | Path) or not str(name):
        raise ConfigError(f"backbone={spec!r}: name must be given, e.g. {{name: timm/vit_small_patch16_224}}")
    name, label = str(name), str(arguments.pop("label", None) or "")
    if name.startswith(TIMM):
        seed = arguments.pop("seed", seed)
        return _timm(name.removeprefix(TIMM), label or name, device, dtype, seed, arguments)
    if name in list_models() and not Path(name).is_dir():
        model = _fresh(name, {"seed": seed, **arguments})
        return FrozenBackbone(label or f"{name}{UNTRAINED}", model, model.encoder.config.depth, None, device, dtype)
    if arguments:
        raise ConfigError(f"backbone {name}: {', '.join(sorted(arguments))} cannot be set, for it has weights")
    if "/" not in name and not typed_path(name, "backbone").exists():
        raise ConfigError(
            f"backbone {name!r} is no folder here and no model of ours{did_you_mean(name, list_models()) or '.'} A ViT of "
            f"timm is called timm/NAME, a model on the Hugging Face hub OWNER/NAME"
        )
    return ours(from_pretrained(name), label or label_of(name), device, dtype)


def ours(
    model: MaskedViewModel, label: str, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> FrozenBackbone:
    """A model of ours as a frozen backbone."""
    return FrozenBackbone(label, model, model.encoder.config.depth, model.untrained, device, dtype)


def _fresh(name: str, arguments: dict[str, Any]) -> MaskedViewModel:
    if arguments.pop("pretrained", False):
        raise ConfigError(f"backbone {name}: pretrained=true, and it has no published weights; name the folder of a run")
    try:
        return create_model(name, **arguments)
    except TypeError as error:
        raise ConfigError(f"backbone {name} with {arguments}: {error}") from error


def _timm(
    name: str,
    label: str,
    device: torch.device | None,
    dtype: torch.dtype | None,
    seed: int,
    arguments: dict[str, Any],
) -> FrozenBackbone:
    pretrained = arguments.pop("pretrained", True)

    def fresh() -> TimmViT:
        return TimmViT(name, False, seed, **arguments)

    model = TimmViT(name, pretrained, seed, **arguments)
    label = label if pretrained else f"{label}{UNTRAINED}"
    return FrozenBackbone(label, model, model.depth, fresh if pretrained else None, device, dtype)


def load_backbones(specs: Sequence[Spec], device: torch.device, dtype: torch.dtype | None = None) -> list[FrozenBackbone]:
    """Several backbones, each under a name of its own, which that of before its training must not have either; everything
    that cannot be loaded is told at once.

    Raises:
        ConfigError: one or more cannot be had, or two have the same name.
    """
    found, problems = [], []
    for spec in specs:
        try:
            found.append(load_backbone(spec, device, dtype))
        except (ConfigError, CheckpointError) as error:
            problems.append(str(error))
    names = [backbone.name for backbone in found]
    names += {f"{backbone.name}{UNTRAINED}" for backbone in found if backbone.fresh}
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"two backbones are called {name!r}; give each a label: {{name: ..., label: ...}}" for name in twice]
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def label_of(name: str) -> str:
    """What tables call a backbone: a run by its folder, also where its `model` folder was named."""
    path = typed_path(name, "backbone").resolve()
    return (path.parent if path.name == "model" else path).name if path.exists() else name
