"""Processes and devices: one process needs nothing; `torchrun` starts several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as dist

from muskie.errors import ConfigError

T = TypeVar("T")


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

    def share(self, value: T) -> T:
        """The first rank's value, on all ranks."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, group=_control_group())
        return box[0]

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.world > 1:
            dist.barrier(group=_control_group())


_control: dist.ProcessGroup | None = None


def _control_group() -> dist.ProcessGroup:
    assert _control is not None, "start() makes the group"
    return _control


def choose_device(name: str = "auto") -> torch.device:
    """The device by name; `"auto"`: a GPU if there is one, then Apple's, else the CPU.

    Raises:
        ConfigError: a device that is not there.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"trainer.device={name!r} is no device; allowed: auto, cpu, cuda, cuda:0, mps") from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or local) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.type, False):
        there = [kind for kind, present in available.items() if present]
        raise ConfigError(
            f"trainer.device={name!r} is not there (process {local} of this machine; CUDA devices: "
            f"{torch.cuda.device_count()}); available: auto, {', '.join(there)}"
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local)
    return device


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
    _control = cast(dist.ProcessGroup, dist.new_group(backend="gloo"))
    try:
        yield Ranks(rank, world, device)
    finally:
        _control = None
        dist.destroy_process_group()
