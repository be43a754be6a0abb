"""One helper says which device and which precision, and names the setting that is wrong."""

from __future__ import annotations

import pytest
import torch

from muskie import devices
from muskie.errors import ConfigError
from muskie.training import distributed, trainer_config


def test_a_setting_is_named_as_its_user_calls_it() -> None:
    with pytest.raises(ConfigError, match=r"^--device='nonsense' is no device"):
        devices.choose_device("nonsense", "--device")
    with pytest.raises(ConfigError, match=r"^--device='cuda:99' is not there .*available: auto, cpu"):
        devices.choose_device("cuda:99", "--device")
    with pytest.raises(
        ConfigError, match=r"^--precision='bf61'; did you mean 'bf16' or 'fp16'\? Allowed: 'auto', 'bf16', 'fp16', 'fp32'$"
    ):
        devices.autocast_dtype(torch.device("cpu"), "bf61", "--precision")
    with pytest.raises(ConfigError, match=r"^precision=fp16 needs a CUDA device, this one is mps"):
        devices.autocast_dtype(torch.device("mps"), "fp16")


def test_precision_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    of = {name: devices.autocast_dtype(torch.device(name)) for name in ("cpu", "mps", "cuda")}
    assert of == {"cpu": None, "mps": None, "cuda": torch.bfloat16}
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert devices.autocast_dtype(torch.device("cuda")) is None
    for device in ("cpu", "mps", "cuda"):
        assert devices.autocast_dtype(torch.device(device), "bf16") == torch.bfloat16
        assert devices.autocast_dtype(torch.device(device), "fp32") is None


def test_training_asks_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(devices, "choose_device", lambda *given: asked.append(given) or torch.device("cpu"))
    monkeypatch.setattr(trainer_config, "autocast_dtype", lambda *given: asked.append(given))
    device = distributed.choose_device("cuda:1")
    trainer_config.TrainerConfig(precision="bf16").autocast_dtype(device)
    assert asked == [("cuda:1", "trainer.device"), (device, "bf16", "trainer.precision")]
