"""Which device a process takes, and what is said of one that is not there."""

from __future__ import annotations

import pytest
import torch

from muskie.errors import ConfigError
from muskie.training.distributed import choose_device
from muskie.training.trainer_config import TrainerConfig


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def has(gpus: int = 0, mps: bool = False, rank: int = 0, world: int = 1) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))

    return has


def test_a_device_that_is_there(machine) -> None:  # type: ignore[no-untyped-def]
    machine()
    assert choose_device() == choose_device("cpu") == torch.device("cpu")
    machine(gpus=4)
    assert choose_device() == torch.device("cuda:0") and choose_device("cuda:3") == torch.device("cuda:3")
    machine(gpus=4, rank=2, world=4)
    assert choose_device() == choose_device("cuda") == torch.device("cuda:2")
    machine(mps=True)
    assert choose_device() == torch.device("mps")
    machine(mps=True, world=2)
    assert choose_device() == torch.device("cpu")


def test_a_device_that_is_not(machine) -> None:  # type: ignore[no-untyped-def]
    def message(name: str) -> str:
        with pytest.raises(ConfigError) as raised:
            choose_device(name)
        return str(raised.value)

    machine()
    for name in ("cuda", "cuda:7", "mps", "meta"):
        assert message(name).startswith(f"trainer.device='{name}' is not there for process 0 of 1: this machine has 0 CUDA")
        assert message(name).endswith("available: auto, cpu")
    assert "is no device; allowed: auto, cpu, cuda, cuda:0, mps" in message("nonsense")
    machine(gpus=2)
    assert message("cuda:2").endswith("available: auto, cpu, cuda:0, cuda:1")
    machine(gpus=2, rank=2, world=4)
    assert "is not there for process 2 of 4: this machine has 2 CUDA devices" in message("auto")
    assert "would put 4 processes on one GPU" in message("cuda:1")


def test_precision(machine, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    cpu, gpu = torch.device("cpu"), torch.device("cuda:0")
    machine(gpus=1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert TrainerConfig().autocast_dtype(gpu) == torch.bfloat16
    assert TrainerConfig().autocast_dtype(cpu) is TrainerConfig(precision="fp32").autocast_dtype(gpu) is None
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert TrainerConfig().autocast_dtype(gpu) is None
    assert TrainerConfig(precision="bf16").autocast_dtype(cpu) == torch.bfloat16
    assert TrainerConfig(precision="fp16").autocast_dtype(gpu) == torch.float16
    with pytest.raises(ConfigError, match=r"trainer.precision=fp16 needs a CUDA device"):
        TrainerConfig(precision="fp16").autocast_dtype(cpu)
