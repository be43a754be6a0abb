"""What the trainer is told of a run: how long it is, and what is measured while the model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass
class Measure:
    """Something that is measured while a model trains.

    Attributes:
        every: steps between; 0: at the end alone.
        at_end: also at the end.
        run: called with the model in evaluation mode and whether it is the end; gives scalars and lines for people. On
            the first rank alone: None on the others, which wait.
        lengthy: it may take long, and fail: a checkpoint is written before, an error is told and training goes on.
    """

    every: int
    run: Callable[[bool], tuple[Mapping[str, float], str]] | None
    at_end: bool = True
    lengthy: bool = False


@dataclass
class RunPlan:
    """What the trainer must know of the data's plan: the steps of the run, the reuse of each load, the number of sizes, and
    what counts as the batch of a rank's micro-batch in learning rates; None: the trainer's `batch_size`."""

    steps: int
    warmup_steps: int
    reuse: int = 1
    sizes: int = 1
    batch: int | None = None
