"""Learning rates of fine-tuning: pre-trained weights slower than new ones, early layers slower than late ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from muskie.errors import ConfigError
from muskie.training.optim import OptimConfig


class Layered(Protocol):
    """A model whose parameters lie in layers, see `muskie.models.reconstruction.ReconstructionModel.layer_of`."""

    @property
    def depth(self) -> int:
        """The number of the heads in `layer_of`."""

    def layer_of(self, name: str) -> tuple[str, int]:
        """The part of a parameter, `"backbone"`, `"decoder"` or `"heads"`, and how deep it lies."""


@dataclass(frozen=True)
class FinetuneOptim(OptimConfig):
    """As `OptimConfig`, whose rate is that of new weights, and

    Attributes:
        backbone_rate: learning rate of the backbone over that of new weights, >= 0; 0 freezes it.
        layer_decay: each layer of the backbone learns by this factor slower than the one after it, in (0, 1].
        frozen_layers: how many of the backbone's first layers stay as they are, the embedding of patches with them; 0: none.
    """

    backbone_rate: float = 1.0
    layer_decay: float = 1.0
    frozen_layers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        if not 0 <= self.backbone_rate < float("inf"):
            problems.append(f"optim.backbone_rate={self.backbone_rate}: expected 0 (frozen) or more")
        if not 0 < self.layer_decay <= 1:
            problems.append(f"optim.layer_decay={self.layer_decay}: expected a factor in (0, 1]")
        if self.frozen_layers < 0:
            problems.append(f"optim.frozen_layers={self.frozen_layers}: expected 0 or more")
        if problems:
            raise ConfigError("\n".join(problems))

    def scales(self, model: nn.Module) -> dict[nn.Parameter, float]:
        layers = _backbone_layers(model)
        last = max(layers.values(), default=0)
        return {p: self.backbone_rate * self.layer_decay ** (last - layer) for p, layer in layers.items()}

    def freeze(self, model: nn.Module) -> None:
        """Takes what does not learn out of training. A frozen parameter needs no gradient, and no memory for one.

        Raises:
            ConfigError: more layers than the backbone has.
        """
        layers = _backbone_layers(model)
        most = max(layers.values(), default=0)
        if self.frozen_layers > most:
            raise ConfigError(f"optim.frozen_layers={self.frozen_layers}: the backbone has {most} layers")
        for parameter, layer in layers.items():
            parameter.requires_grad_(self.backbone_rate > 0 and not (self.frozen_layers and layer <= self.frozen_layers))


def _backbone_layers(model: nn.Module) -> dict[nn.Parameter, int]:
    layered: Layered = model  # type: ignore[assignment]
    found = {}
    for name, parameter in model.named_parameters():
        part, layer = layered.layer_of(name)
        if part == "backbone":
            found[parameter] = layer
    return found
