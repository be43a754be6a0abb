"""Reconstruction models as evaluation takes them: with a name, on a device, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from muskie.errors import CheckpointError, ConfigError
from muskie.evaluation.geometry.answers import Answer, answers
from muskie.evaluation.geometry.trivial import FLOORS
from muskie.evaluation.views.posed_views import PosedViews
from muskie.models.geometry_output import Geometry
from muskie.models.named import UNTRAINED, Spec, label_of
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
        """What it says of each scene of a batch, at the size of the truth (`looks_at`)."""
        images, size = views.images.to(self.device), self.looks_at(views.size)
        if size != views.size:
            images = F.interpolate(images.flatten(0, 1).float() / 255, size, mode="bicubic", antialias=True)
            images = images.clamp(0, 1).unflatten(0, views.images.shape[:2])
        cast: AbstractContextManager = torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext()
        with torch.inference_mode(), cast:
            return answers(_resized(self.model(images), views.size))

    def looks_at(self, size: tuple[int, int]) -> tuple[int, int]:
        """H and W that it is given pictures of `size` at: the nearest multiples of its patch size. Its maps then come back
        to `size`, bilinear, as published evaluations bring them to the size of the truth."""
        p = self.model.patch_size
        height, width = (max(round(side / p), 1) * p for side in size)
        return height, width

    def before_training(self) -> Reconstructor:
        """The same network with fresh weights."""
        return Reconstructor(
            f"{self.name}{UNTRAINED}", self.model.untrained().to(self.device).eval(), self.device, self.dtype
        )


def _resized(geometry: Geometry, size: tuple[int, int]) -> Geometry:
    """Points and depth as maps of another size; pixels between two surfaces then have a point between them."""
    if tuple(geometry.local_points.shape[2:4]) == size:
        return geometry
    points, depth = geometry.local_points, geometry.depth
    flat = points.flatten(0, 1).permute(0, 3, 1, 2)
    points = F.interpolate(flat, size, mode="bilinear").permute(0, 2, 3, 1).unflatten(0, points.shape[:2])
    confidence = F.interpolate(geometry.confidence, size, mode="bilinear")
    return Geometry(
        points, confidence, geometry.cam2world, None if depth is None else F.interpolate(depth, size, mode="bilinear")
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
        if extra := sorted(set(given) - {"name", "label"}):
            problems.append(
                f"backbone {name!r}: {', '.join(extra)} means nothing here; a saved model has a name and a label"
            )
        try:
            model = load_reconstruction_model(name, map_location=str(device))
            found.append(Reconstructor(str(given.get("label") or label_of(name)), model.eval(), device, dtype))
        except (ConfigError, CheckpointError) as error:
            problems.append(str(error))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    taken = [name for name in names if name.removesuffix(UNTRAINED) in FLOORS]
    problems += [f"a model is called {name!r}, as a floor is; give it a label: {{name: ..., label: ...}}" for name in taken]
    problems += [f"two models are called {name!r}; give each a label: {{name: ..., label: ...}}" for name in twice]
    if problems:
        raise ConfigError("\n".join(problems))
    return found
