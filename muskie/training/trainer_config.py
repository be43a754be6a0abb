"""How a task is trained: length, batch, device, precision, and how often what is logged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from muskie.devices import PRECISIONS, autocast_dtype
from muskie.errors import ConfigError, nearest


@dataclass(frozen=True)
class TrainerConfig:
    """How a task is trained.

    Attributes:
        steps: optimiser steps; None: from `epochs` and `epoch_size`.
        epochs: passes of `epoch_size` loaded scenes each, over all ranks; None: 1. `steps` goes before.
        epoch_size: scenes; with `plan.frames`, images.
        batch_size: scenes that a rank loads for one micro-batch, at each size; None: `plan.frames` says how many images.
        accumulate: micro-batches of an optimiser step.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `auto` (bf16 on GPUs that have it, else fp32), `fp32`, `bf16`, `fp16`.
        workers: data loading processes of a rank; 0: load in the training process.
        cache_mb: memory for decoded images, of each data worker.
        compile: `torch.compile` each transformer block and the objective.
        checkpointing: recompute activations in the backward pass.
        log_every, eval_every, save_every, picture_every: steps between log lines, evaluations, checkpoints, pictures;
            0: only at the end (pictures: also before training).
        keep_every: checkpoints at multiples of this many steps stay; 0: only the newest stays.
    """

    steps: int | None = None
    epochs: float | None = None
    epoch_size: int = 100_000
    batch_size: int | None = 8
    accumulate: int = 1
    device: str = "auto"
    precision: str = "auto"
    workers: int = 2
    cache_mb: int = 0
    compile: bool = False
    checkpointing: bool = False
    log_every: int = 20
    eval_every: int = 0
    save_every: int = 1000
    picture_every: int = 0
    keep_every: int = 0

    def __post_init__(self) -> None:
        least = dict.fromkeys(("accumulate", "log_every", "epoch_size"), 1)
        least |= {} if self.batch_size is None else {"batch_size": 1}
        least |= dict.fromkeys(("workers", "cache_mb", "eval_every", "save_every", "picture_every", "keep_every"), 0)
        problems = [
            f"trainer.{n}={getattr(self, n)}: expected at least {k}" for n, k in least.items() if getattr(self, n) < k
        ]
        for name, value in (("steps", self.steps), ("epochs", self.epochs)):
            if value is not None and not 0 < value < math.inf:
                problems.append(f"trainer.{name}={value}: expected more than 0")
        if self.keep_every and (not self.save_every or self.keep_every % self.save_every):
            problems.append(
                f"trainer.keep_every={self.keep_every}: expected a multiple of trainer.save_every={self.save_every}, which "
                "says when checkpoints are written"
            )
        if self.precision not in ("auto", *PRECISIONS):
            problems.append(f"trainer.precision={self.precision!r}{nearest(self.precision, ('auto', *PRECISIONS))}")
        if problems:
            raise ConfigError("\n".join(problems))

    def batch(self, frames: int | None = None) -> int:
        """A rank's micro-batch, in scenes, or with `plan.frames` in images.

        Raises:
            ConfigError: both are given, or none.
        """
        if self.batch_size is None and frames is None:
            raise ConfigError("trainer.batch_size=null: give a number of scenes, or with plan.frames one of images")
        if self.batch_size is not None and frames is not None:
            raise ConfigError(
                f"plan.frames={frames} counts images, and trainer.batch_size={self.batch_size} scenes: give plan.frames "
                "alone, and trainer.batch_size=null"
            )
        return self.batch_size or frames or 1

    def steps_per_epoch(self, world: int, reuse: int, frames: int | None = None) -> int:
        """Optimiser steps in which `epoch_size` scenes are loaded once; with `plan.frames`, so many images."""
        return max(self.epoch_size // (self.batch(frames) * self.accumulate * world), 1) * reuse

    def total_steps(self, world: int, reuse: int, frames: int | None = None) -> int:
        """Optimiser steps of the run."""
        if self.steps is not None:
            return self.steps
        epochs = 1.0 if self.epochs is None else self.epochs
        return max(round(epochs * self.steps_per_epoch(world, reuse, frames)), 1)

    def autocast_dtype(self, device: torch.device) -> torch.dtype | None:
        """The type that matrix products run in, or None: float32."""
        return autocast_dtype(device, self.precision, "trainer.precision")
