"""Run in a process of its own: a reconstruction of noise, what it took, and what was estimated before.

`peak.py WIDTH DEPTH FEATURES VIEWS SIDE`, of a small model and square pictures; prints `{"taken", "libraries", "estimate"}`
in bytes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import torch

from muskie.inputs.memory import ModelSize, estimate_memory
from muskie.models.reconstruction import ReconstructionModel
from muskie.models.variants import model_config
from muskie.reconstruction.reconstruct import infer
from muskie.training.memory import peak_resident_bytes, resident_bytes

CPU = torch.device("cpu")


def main(width: int, depth: int, features: int, views: int, side: int) -> dict[str, Any]:
    """What was taken with the model and the pictures, how much of it a first small pass took, and the estimate's parts."""
    encoder, _ = model_config("muskie_tiny", width=width, depth=depth, heads=width // 64)
    model = ReconstructionModel({"kind": "muskie", **asdict(encoder)}, decoder_depth=1, features=features)
    images = torch.randint(0, 256, (views, 3, side, side), dtype=torch.uint8)
    before = resident_bytes()
    infer(model, images[:1, :, :16, :16], CPU)
    libraries = peak_resident_bytes() - before
    infer(model, images, CPU)
    taken = peak_resident_bytes() - before + ModelSize.of(model).weights + images.nbytes
    estimate = estimate_memory(views, (side, side), model, device=CPU)
    return {"taken": taken, "libraries": libraries, "estimate": estimate.parts}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(*map(int, sys.argv[1:]))))
