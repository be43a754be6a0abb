"""Means of a run between two log lines, kept on the device until they are read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from muskie.training.distributed import Ranks


class Window:
    """Means between two log lines, kept on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sample: Any = None
        self.unreadable: list[str] = []
        self.skipped = 0
        self.reset()

    def reset(self) -> None:
        self.skipped += len(self.unreadable)
        self.unreadable = []
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.images, self.waited, self.started, self.rate = 0, 0.0, time.perf_counter(), 0.0

    def waiting(self) -> AbstractContextManager:
        return Stopwatch(self)

    def add(self, loss: Tensor, scalars: Mapping[str, Tensor], images: int) -> None:
        self.images += images
        for key, value in {"loss": loss, **scalars}.items():
            self.sums[key] = self.sums.get(key, 0) + value
            self.counts[key] = self.counts.get(key, 0) + 1

    def add_norm(self, norm: Tensor, rate: float) -> None:
        self.rate = rate
        self.sums["grad_norm"] = self.sums.get("grad_norm", 0) + norm
        self.counts["grad_norm"] = self.counts.get("grad_norm", 0) + 1

    def read(self, ranks: Ranks) -> dict[str, float]:
        """All means over steps and ranks, by one transfer from the device."""
        if not self.sums:
            return {}
        means = torch.stack([self.sums[k].float() / self.counts[k] for k in self.sums])
        values = dict(zip(self.sums, ranks.mean(means).tolist(), strict=True))
        elapsed = time.perf_counter() - self.started
        values |= {
            "lr": self.rate,
            "images_per_s": self.images * ranks.world / elapsed,
            "data_wait": self.waited / elapsed,
        }
        values["unreadable_images"] = self.skipped + len(self.unreadable)
        if self.device.type == "cuda":
            values["peak_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return values


class Stopwatch:
    def __init__(self, window: Window) -> None:
        self.window = window

    def __enter__(self) -> None:
        self.begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.window.waited += time.perf_counter() - self.begun
