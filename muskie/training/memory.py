"""How much memory a training step takes, and memory that a CPU need not fetch anew in every step."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that it frees, for its next step, instead of handing it back to the system.

    By default glibc hands large blocks back at once, so that on a CPU every step begins by having all its activations
    mapped and zeroed again, page by page: about a tenth of a step's time. The peak does not change.

    Returns:
        Whether this had an effect; without glibc it has none.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    return bool(kept and libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20))  # the largest that it takes


def resident_bytes() -> int:
    """Memory that this process has now, on the CPU; where the system does not tell, the most it had so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most memory that this process had at once, on the CPU."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the process that started this one had
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def step_bytes(step: Callable[[], None], device: torch.device) -> int:
    """The most that tensors take during a step, beyond what there was before it: activations, gradients, temporaries.

    Counted where tensors are allocated, to the byte: neither the machine's load nor malloc's habits change it.

    Args:
        step: has run before, so that the optimiser's state is there.
        device: where its tensors are, a CUDA device or the CPU.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded:
        step()
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak
