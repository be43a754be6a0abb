"""Depth and confidence of each view: as numbers (`.npy`) and as coloured pictures (`.png`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from muskie.reconstruction.coloured import colour_bar, coloured
from muskie.reconstruction.names import file_stems
from muskie.reconstruction.result import Reconstruction


def write_maps(folder: Path, reconstruction: Reconstruction) -> dict[str, list[str]]:
    """Writes `depth/NAME.npy` and `confidence/NAME.npy`, float32 [H, W], 0 where there is no point, and coloured `.png`
    beside them. (Floats hold near and far with the same relative precision, which 16-bit images do not.)

    Returns:
        `{"depth": [...], "confidence": [...]}`: the `.npy` files of all views, as paths from the folder.
    """
    written: dict[str, list[str]] = {}
    stems, valid = file_stems(reconstruction.names), reconstruction.valid
    for kind, values in (("depth", reconstruction.depth), ("confidence", reconstruction.confidence)):
        bar = colour_bar(values, valid)
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for stem, value, known in zip(stems, values, valid, strict=True):
            numbers = torch.where(known, value, 0).float().cpu().numpy()
            np.save(folder / kind / f"{stem}.npy", numbers)
            picture = coloured(value, known, bar).cpu().permute(1, 2, 0).contiguous().numpy()
            Image.fromarray(picture).save(folder / kind / f"{stem}.png")
        written[kind] = [f"{kind}/{stem}.npy" for stem in stems]
    return written
