"""How much memory a device has left for tensors."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def free_bytes(device: torch.device) -> int | None:
    """Memory that tensors on a device can still get; None where the system does not tell.

    CUDA: what the driver has free, and what this process holds unused. CPU: `MemAvailable` of Linux, or less in a container
    with a limit. MPS: what Metal recommends at most, less what is taken.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    amounts = [amount for amount in (_available(), _container()) if amount is not None]
    return min(amounts, default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # no Linux
        return None
    amounts = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return amounts[0] if amounts else None


def _container() -> int | None:
    """What a limit by cgroups (version 2 or 1) leaves; files that were read only fill what is free."""
    second, first = Path(os.sep, "sys", "fs", "cgroup"), Path(os.sep, "sys", "fs", "cgroup", "memory")
    for limit, used in (
        (second / "memory.max", second / "memory.current"),
        (first / "memory.limit_in_bytes", first / "memory.usage_in_bytes"),
    ):
        try:
            stat = dict(line.split() for line in (used.parent / "memory.stat").read_text().splitlines())
            files = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
            return max(int(limit.read_text()) - int(used.read_text()) + files, 0)
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return None
