"""The masked-pixel objective: a confidence-weighted squared error over hidden patches (Muskie, arXiv 2511.18115)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from muskie.errors import ConfigError
from muskie.objectives.loss import Loss


@dataclass(frozen=True)
class MaskedPixels:
    """Squared error of hidden pixels, weighted by the predicted confidence, and a price on low confidence.

    With error e = (prediction − target)² and confidence c in (0, 1) of every colour value, a hidden patch costs
    mean((c + floor)·e) and the regulariser mean(−log c). A scene costs the mean over its hidden patches, a batch the mean
    over its scenes: the weight of the regulariser does not depend on how much is hidden, and splitting a batch over ranks
    or micro-batches changes nothing.

    Attributes:
        floor: added to the confidence, ε of the paper.
        regulariser: weight of −log c, λ of the paper.
        colour: weight of the error of a patch's mean colour against that of its structure (what is left without the
            mean; the two add up to the squared error, so 1 is the plain error). A colour cast is easily copied and
            dominates the plain error; less of it leaves more of the gradient to structure.
        confidence: weigh by confidence at all; off: the plain error.
        published: divide as the published code does: errors by the hidden patches of the whole batch, the regulariser by
            *all* patches, so that its weight falls with the share that is hidden.
    """

    floor: float = 0.1
    regulariser: float = 0.1
    colour: float = 1.0
    confidence: bool = True
    published: bool = False

    def __post_init__(self) -> None:
        for name in ("floor", "regulariser", "colour"):
            if not 0 <= getattr(self, name) < math.inf:  # NaN is neither
                raise ConfigError(f"objective.{name}={getattr(self, name)}: expected 0 or more")

    def __call__(self, prediction: Tensor, confidence: Tensor, target: Tensor, hidden: Tensor, mask: Tensor) -> Loss:
        """The loss of a batch.

        Args:
            prediction, confidence, target: float32 [M, 3·p·p], the hidden patches in the order of `hidden`, values
                channel-major.
            hidden: int64 [M], their places among the B·V·L patches.
            mask: bool [B, V, h, w] that they come from, on any device; only its shape is used.
        """
        scenes, patches = mask.shape[0], mask[0].numel()
        weighted, price, squared, confident = self._patch_terms(prediction, confidence, target)  # each [M]
        total = max(len(hidden), 1)  # nothing hidden costs nothing
        scene = hidden // patches  # [M], which scene each patch belongs to
        count = torch.zeros(scenes, device=scene.device).index_add_(0, scene, torch.ones_like(weighted))  # [B]
        per_scene = torch.zeros_like(count).index_add_(0, scene, weighted) / count.clamp(min=1)  # [B]
        if self.published:
            main, regulariser = weighted.sum() / total, price.sum() / mask.numel()
        else:
            main = per_scene.mean()
            regulariser = (torch.zeros_like(count).index_add_(0, scene, price) / count.clamp(min=1)).mean()
        loss = main + self.regulariser * regulariser if self.confidence else main
        scalars = {"mse": squared.sum().detach() / total}
        if self.confidence:
            scalars["confidence_price"] = regulariser.detach()
            scalars["confidence"] = confident.sum().detach() / total
        return Loss(loss, per_scene.detach(), scalars)

    def compile(self, **options: Any) -> None:
        """`torch.compile`, with these options, what is computed for every colour value and any number of hidden patches."""
        object.__setattr__(self, "_patch_terms", torch.compile(self._patch_terms, dynamic=True, **options))

    def _patch_terms(self, prediction: Tensor, confidence: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        """Weighted error, price of the confidence, squared error and confidence of each patch, [M] each."""
        difference = prediction - target
        squared = difference.square()
        error = squared if self.colour == 1 else self._error(difference)
        weighted = (confidence + self.floor) * error if self.confidence else error
        price = -(confidence + 1e-6).log()
        return weighted.mean(-1), price.mean(-1), squared.detach().mean(-1), confidence.detach().mean(-1)

    def _error(self, difference: Tensor) -> Tensor:
        """Squared error of every colour value, [M, 3·p·p], with the share of the mean colour weighted."""
        channels = difference.unflatten(-1, (3, -1))  # [M, 3, p·p]
        mean = channels.mean(-1, keepdim=True)
        return ((channels - mean).square() + self.colour * mean.square()).flatten(-2)
