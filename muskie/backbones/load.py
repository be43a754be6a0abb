"""Frozen backbones by their names, each with one of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import CheckpointError, ConfigError
from muskie.models.masked_view import MaskedViewModel
from muskie.models.named import UNTRAINED, Spec, named_model


def load_backbone(
    spec: Spec, device: torch.device | None = None, dtype: torch.dtype | None = None, seed: int = 0
) -> FrozenBackbone:
    """A backbone by its name.

    Args:
        spec: a run, a folder of weights, a model of ours, or `timm/NAME`, see `muskie.models.named.named_model`.
        device, dtype: see `FrozenBackbone`.
        seed: of fresh weights.

    Raises:
        ConfigError: a name or an argument that cannot be used.
        CheckpointError: weights that are not there, or cannot be downloaded.
    """
    found = named_model(spec, seed)
    return FrozenBackbone(found.label, found.model, found.depth, found.fresh, device, dtype)


def ours(
    model: MaskedViewModel, label: str, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> FrozenBackbone:
    """A model of ours as a frozen backbone."""
    return FrozenBackbone(label, model, model.encoder.config.depth, model.untrained, device, dtype)


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
