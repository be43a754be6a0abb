"""Processes and devices: one process needs nothing; `torchrun` starts several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from muskie import devices
from muskie.errors import MuskieError

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long ranks wait for the first one to measure; if a rank dies, torchrun ends them all."""


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` of `world`, on `device`."""

    rank: int
    world: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; the same answer on all. Uses the CPU group: the device is not awaited."""
        if self.world == 1:
            return flag
        shared = torch.tensor([float(flag)])
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=_control_group())
        return bool(shared.item())

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(values)
            values /= self.world
        return values

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, on all ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=_control_group())
        return values

    def first(self, action: Callable[[], T]) -> T:
        """Runs on the first rank alone; all get its result, or all raise its error, so that none waits for ever."""
        outcome: list[Any] = [None, None]
        if self.main:
            try:
                outcome[0] = action()
            except MuskieError as error:
                outcome[1] = error
        if self.world > 1:
            dist.broadcast_object_list(outcome, group=_control_group())
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.world > 1:
            dist.barrier(group=_control_group())


_control: dist.ProcessGroup | None = None


def _control_group() -> dist.ProcessGroup:
    assert _control is not None, "start() makes the group"
    return _control


def choose_device(name: str = "auto") -> torch.device:
    """`muskie.devices.choose_device` for `trainer.device`, as its errors call it."""
    return devices.choose_device(name, "trainer.device")


@contextmanager
def start(device_name: str = "auto") -> Iterator[Ranks]:
    """Joins the processes that `torchrun` started (nccl on GPUs, gloo on CPUs), and leaves them at the end."""
    global _control
    device = choose_device(device_name)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(0, 1, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    _control = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
    try:
        yield Ranks(rank, world, device)
    finally:
        _control = None
        dist.destroy_process_group()
