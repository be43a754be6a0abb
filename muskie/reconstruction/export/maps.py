"""Depth and confidence of each view: as numbers (`.npy`) and as coloured pictures (`.png`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muskie.reconstruction.result import Reconstruction
from muskie.visualization.colours import ColourBar, to_bytes

NOTHING = (214, 214, 212)
"""The colour where there is no point."""
_SHOWN = (2.0, 98.0)
"""Percentiles of all views that get the ends of the colours; what lies beyond has the colour of the end."""
_SAMPLE = 4_000_000
_LONGEST = 120
"""Letters of a file's name, without its suffix: file systems allow 255 bytes."""


def colour_bar(values: Tensor, valid: Tensor) -> ColourBar:
    """The colours for values [V, H, W]: one range for all views, so that they compare."""
    known = values[valid]
    if not known.numel():
        return ColourBar(0.0, 0.0)
    sample = known[:: -(-known.numel() // _SAMPLE)].float().cpu().numpy()
    low, high = np.percentile(sample, _SHOWN)
    return ColourBar(float(low), float(high))


def coloured(values: Tensor, valid: Tensor, bar: ColourBar) -> Tensor:
    """Values [..., H, W] as pictures uint8 [..., 3, H, W]; grey where bool [..., H, W] is False."""
    nothing = torch.tensor(NOTHING, dtype=torch.uint8, device=values.device)[:, None, None]
    return torch.where(valid[..., None, :, :], to_bytes(bar.colours(torch.where(valid, values, 0).float())), nothing)


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


def file_stems(names: Sequence[str]) -> list[str]:
    """A file name without suffix for each view, all different: `a/b.jpg` becomes `a_b`; all with a number before them where
    some would fall together (also where a file system knows no capitals)."""
    stems = []
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        plain = str(path.with_suffix("") if path.name else path)
        stems.append("".join(c if c.isalnum() or c in "-_. " else "_" for c in plain).strip("._ ")[-_LONGEST:])
    lower = [stem.lower() for stem in stems]
    if len(set(lower)) == len(lower) and all(lower):
        return stems
    return [f"{number:04d}_{stem}" for number, stem in enumerate(stems)]
