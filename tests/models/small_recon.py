"""Reconstruction models small enough for tests, and what is compared of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from muskie.models.geometry_output import Geometry
from muskie.models.reconstruction import ReconstructionModel

OURS: dict[str, Any] = {"kind": "muskie", "width": 32, "depth": 2, "heads": 2, "patch_size": 4}
VIT: dict[str, Any] = {"kind": "timm", "name": "test_vit", "arguments": {"img_size": 32, "patch_size": 8}}
SMALL = {"name": "muskie_tiny", "width": 32, "depth": 2, "heads": 2, "patch_size": 4}
needs_timm = pytest.mark.usefixtures("timm")


def small(**settings: Any) -> ReconstructionModel:
    return ReconstructionModel(**{"backbone": OURS, "depth_head": True, **settings})


def lively(model: ReconstructionModel) -> ReconstructionModel:
    """Weights with which views differ; fresh ones say nearly the same of all. In float64, so that laws hold closely."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def outputs(geometry: Geometry) -> dict[str, Tensor]:
    return {name: value for name, value in vars(geometry).items() if value is not None}


def agree(first: Geometry, second: Geometry) -> None:
    for name, value in outputs(first).items():
        torch.testing.assert_close(value, outputs(second)[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
