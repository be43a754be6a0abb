"""What only a CUDA device can show: torch itself raises where the host waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import VARIED, pretraining

from muskie.training.distributed import Ranks
from muskie.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_waits_for_nothing(name: str, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer._step

    def watched(trainer: Trainer, loaded: Any) -> None:
        # The first steps draw pictures and choose kernels.
        torch.cuda.set_sync_debug_mode("error" if trainer.step > 4 else "default")
        try:
            step(trainer, loaded)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "_step", watched)
    words = [
        *tiny,
        *VARIED,
        f"optim.name={name}",
        "trainer.device=cuda",
        "trainer.steps=12",
        "trainer.workers=1",
    ]
    assert pretraining([*words, f"output_dir={tmp_path}"], Ranks(0, 1, torch.device("cuda:0"))).run()
