"""What an objective says of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Loss:
    """Scalars of a batch, and its parts.

    Attributes:
        loss: what is minimised.
        scenes: float32 [B], what each scene costs alone, detached; tells which scene went wrong.
        scalars: further scalars for the log, detached.
    """

    loss: Tensor
    scenes: Tensor
    scalars: dict[str, Tensor]
