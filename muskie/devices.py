"""Which device to run on, and in which precision: one place for CPU, CUDA and MPS."""

from __future__ import annotations

import os

import torch

from muskie.errors import ConfigError, nearest

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Types that matrix products can run in; None: float32, without autocast."""


def choose_device(name: str = "auto", key: str = "device") -> torch.device:
    """The device by name; `"auto"`: a GPU if there is one, then Apple's (for one process), else the CPU.

    Args:
        name: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. Of several processes (`torchrun`), each gets the GPU of its local rank.
        key: what errors call the setting.

    Raises:
        ConfigError: a device that is not there, or that several processes cannot share.
    """
    local, world = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    mps = torch.backends.mps.is_available() and world == 1  # gloo does not know it
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"{key}={name!r} is no device; allowed: auto, cpu, cuda, cuda:0, mps") from error
    if device.type == "cuda" and device.index is not None and world > 1:
        raise ConfigError(f"{key}={name!r} would put {world} processes on one GPU; give cuda, one each, or auto")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {"cpu": True, "cuda": (device.index or 0) < count, "mps": mps}
    if not there.get(device.type, False):
        others = ["auto", "cpu", *(f"cuda:{i}" for i in range(count)), *(["mps"] if mps else [])]
        raise ConfigError(
            f"{key}={name!r} is not there for process {local} of {world}: this machine has {count} CUDA devices; "
            f"available: {', '.join(others)}"
        )
    return device


def autocast_dtype(device: torch.device, precision: str = "auto", key: str = "precision") -> torch.dtype | None:
    """The type that matrix products run in, for `torch.autocast`; None: float32, without autocast.

    Args:
        device: they run on.
        precision: `auto` (bf16 on GPUs that have it, else fp32), `fp32`, `bf16`, `fp16`.
        key: what errors call the setting.

    Raises:
        ConfigError: an unknown precision, or `fp16` without a CUDA device.
    """
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    if precision not in PRECISIONS:
        raise ConfigError(f"{key}={precision!r}{nearest(precision, ('auto', *PRECISIONS))}")
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"{key}=fp16 needs a CUDA device, this one is {device}; use bf16 or fp32")
    return PRECISIONS[precision]
