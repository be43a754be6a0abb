"""What the tests of the pictures share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture
def noise() -> Callable[..., Tensor]:
    """Pictures uint8 of the shape asked for, every pixel drawn at random."""

    def draw(*shape: int, seed: int = 0) -> Tensor:
        return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))

    return draw
