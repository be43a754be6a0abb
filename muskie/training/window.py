"""Means of a run between two log lines, kept on the device until they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from muskie.training.distributed import Ranks


class Window:
    """Means between two log lines, kept on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.unreadable: list[str] = []
        self._unreadable_before = 0
        self.reset()

    def reset(self) -> None:
        """Begins anew; only the number of unreadable images goes on."""
        self._unreadable_before += len(self.unreadable)
        self.unreadable = []
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._images, self._waited, self._aside = 0, 0.0, 0.0
        self._started = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around waiting for data."""
        begun = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begun

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around what is no training: evaluation, pictures, checkpoints. Rates leave its time out."""
        begun = time.perf_counter()
        yield
        self._aside += time.perf_counter() - begun

    def add(self, values: Mapping[str, Tensor], images: int = 0) -> None:
        """Scalars on the device, and how many images they stand for."""
        self._images += images
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0) + value.detach()
            self._counts[key] = self._counts.get(key, 0) + 1

    def read(self, ranks: Ranks, rate: float) -> dict[str, float]:
        """All means over steps and ranks, by one transfer from the device; empty before the first step.

        Args:
            ranks: all of them read at once.
            rate: the learning rate of the last step.
        """
        if not self._sums:
            return {}
        means = [self._sums[key].float() / self._counts[key] for key in self._sums]
        elapsed = max(time.perf_counter() - self._started - self._aside, 1e-9)
        host = torch.tensor([self._waited / elapsed, self._unreadable_before + len(self.unreadable)])
        joined = ranks.mean(torch.cat([torch.stack(means), host.to(self.device, non_blocking=True)])).tolist()
        values = dict(zip(self._sums, joined, strict=False))
        values |= {
            "lr": rate,
            "images_per_s": self._images * ranks.world / elapsed,
            "data_wait": joined[-2],
            "unreadable_images": round(joined[-1] * ranks.world),
        }
        if self.device.type == "cuda":
            values["peak_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return values
