"""A suite from outside that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muskie.backbones.frozen import FrozenBackbone
from muskie.evaluation.material import Material
from muskie.evaluation.results import Table
from muskie.evaluation.suite_registry import suite


@dataclass(frozen=True)
class Nothing:
    """It has no settings."""


@suite(Nothing)
def fails(backbones: Sequence[FrozenBackbone], material: Material, config: Nothing) -> Table:
    """Measures nothing."""
    raise RuntimeError("as it must")
