"""Timing several things against each other on a noisy machine: in turns, so that whatever else it does weighs on all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch


class Seconds(NamedTuple):
    """Time of one call: by the clock, and of all processors together that worked for this process."""

    wall: float
    processors: float


def in_turns(
    parts: Mapping[str, Callable[[], None]], rounds: int, device: torch.device, least: float = 0.2
) -> dict[str, list[Seconds]]:
    """What a call of each part takes, once a round, the parts one after the other in every round.

    Args:
        parts: by name; each is called before anything is timed.
        rounds: how many.
        device: awaited before the clock is read.
        least: seconds; a part that is quicker is called several times a round, and the mean taken.
    """

    def timed(part: Callable[[], None], calls: int) -> Seconds:
        _wait(device)
        wall, processors = time.perf_counter(), time.process_time()
        for _ in range(calls):
            part()
        _wait(device)
        return Seconds((time.perf_counter() - wall) / calls, (time.process_time() - processors) / calls)

    calls = {}
    for name, part in parts.items():
        part()
        calls[name] = min(max(math.ceil(least / timed(part, 1).wall), 1), 1000)
    times: dict[str, list[Seconds]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            times[name].append(timed(part, calls[name]))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
