"""Means of a run between two log lines, kept on the device until they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from muskie.training.distributed import Ranks


class Window:
    """Means between two log lines, kept on the device until they are read.

    Args:
        device: of what is added.
        labels: of the sources that scenes come from; of several, `loss_of/<label>` is the mean of their scenes:
            of what each costs alone, which leaves out what the objective asks of a batch as a whole.
    """

    def __init__(self, device: torch.device, labels: Sequence[str] = ()) -> None:
        self.device, self.labels = device, list(labels)
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self._by_source = torch.zeros(2, len(self.labels), device=self.device)
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._images, self._steps, self._waited, self._aside = 0, 0, 0.0, 0.0
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

    def add(self, values: Mapping[str, Tensor], images: int = 0, steps: int = 0) -> None:
        """Scalars on the device, and how many images and optimiser steps they stand for."""
        self._images += images
        self._steps += steps
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0) + value.detach()
            self._counts[key] = self._counts.get(key, 0) + 1

    def add_scenes(self, values: Tensor, sources: Sequence[str]) -> None:
        """What each scene costs, [B] on the device, and the labels of their sources."""
        if len(self.labels) > 1:
            numbers = torch.tensor([self.labels.index(label) for label in sources])
            numbers = (numbers.pin_memory() if self.device.type == "cuda" else numbers).to(self.device, non_blocking=True)
            values = values.detach().float()
            self._by_source.index_add_(1, numbers, torch.stack([values, torch.ones_like(values)]))

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
        host = torch.tensor([self._waited / elapsed]).to(self.device, non_blocking=True)
        joined = ranks.mean(torch.cat([torch.stack(means), host, self._by_source.flatten()])).tolist()
        values = dict(zip(self._sums, joined, strict=False))
        waited, *by_source = joined[len(means) :]
        costs, counts = by_source[: len(self.labels)], by_source[len(self.labels) :]
        values |= {
            "lr": rate,
            "images_per_s": self._images * ranks.world / elapsed,
            "seconds_per_step": elapsed / max(self._steps, 1),
            "data_wait": waited,
        }
        if len(self.labels) > 1:
            drawn = zip(self.labels, costs, counts, strict=True)
            values |= {f"loss_of/{label}": cost / count for label, cost, count in drawn if count}
        if self.device.type == "cuda":
            values["peak_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return values
