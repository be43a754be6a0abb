"""Reconstruction models as evaluation takes them: with a name, on a device, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from muskie.backbones.frozen import UNTRAINED
from muskie.backbones.load import Spec, label_of
from muskie.errors import CheckpointError, ConfigError
from muskie.evaluation.geometry.answers import Answer, answers
from muskie.evaluation.views.posed_views import PosedViews
from muskie.models.recon_load import load_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel


@dataclass
class Reconstructor:
    """A frozen reconstruction model.

    Attributes:
        name: what tables call it.
        model: set to evaluation.
        device, dtype: where, and the type of matrix products; None: float32.
    """

    name: str
    model: ReconstructionModel
    device: torch.device
    dtype: torch.dtype | None = None

    def __call__(self, views: PosedViews) -> list[Answer]:
        """What it says of each scene of a batch."""
        p = self.model.patch_size
        if views.size[0] % p or views.size[1] % p:
            near = [max(round(side / p), 1) * p for side in views.size]
            raise ConfigError(f"size={list(views.size)}: {self.name} has patches of {p} pixels; take size={near}")
        cast: AbstractContextManager = torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext()
        with torch.inference_mode(), cast:
            return answers(self.model(views.images.to(self.device)))

    def before_training(self) -> Reconstructor:
        """The same network with fresh weights."""
        return Reconstructor(
            f"{self.name}{UNTRAINED}", self.model.untrained().to(self.device).eval(), self.device, self.dtype
        )


def load_reconstructors(
    specs: Sequence[Spec], device: torch.device, dtype: torch.dtype | None = None
) -> list[Reconstructor]:
    """Several models, each under a name of its own; everything that cannot be loaded is told at once.

    Args:
        specs: folders of runs or models, names on the Hugging Face hub, or `{name: ..., label: ...}`.
        device, dtype: see `Reconstructor`.

    Raises:
        ConfigError: one or more cannot be had, or two have the same name.
    """
    found: list[Reconstructor] = []
    problems: list[str] = []
    for spec in specs:
        given: Mapping[str, Any] = spec if isinstance(spec, Mapping) else {"name": spec}
        name = str(given.get("name") or "")
        try:
            model = load_reconstruction_model(name, map_location=str(device))
            found.append(Reconstructor(str(given.get("label") or label_of(name)), model.eval(), device, dtype))
        except (ConfigError, CheckpointError) as error:
            problems.append(str(error))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"two models are called {name!r}; give each a label: {{name: ..., label: ...}}" for name in twice]
    if problems:
        raise ConfigError("\n".join(problems))
    return found
