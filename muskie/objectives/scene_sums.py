"""Sums of each scene, from which either mean is made: over scenes, or over all that a batch holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SceneSums:
    """What each scene of a batch costs.

    Attributes:
        total: [B], the sum over what counts; 0 where nothing does.
        count: [B], over how much.
    """

    total: Tensor
    count: Tensor

    @staticmethod
    def of(values: Tensor, counts: Tensor) -> SceneSums:
        """Of values [B, ...], those where bool `counts` [B, ...] holds; others may be anything, NaN as well."""
        kept = torch.where(counts, values, 0)
        return SceneSums(kept.flatten(1).sum(1), counts.flatten(1).sum(1).to(values.dtype))

    @property
    def scenes(self) -> Tensor:
        """[B], the mean of each scene; 0 where nothing counts."""
        return self.total / self.count.clamp(min=1)

    def mean(self, pooled: bool = False) -> Tensor:
        """The mean over scenes, so that splitting a batch changes nothing; `pooled`: over all that counts in the batch."""
        return self.total.sum() / self.count.sum().clamp(min=1) if pooled else self.scenes.mean()
