"""Shared by the tests of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """The same random tensors in every run, whatever other tests draw."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
