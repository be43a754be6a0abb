"""Neural RGB-D, as its authors give it: poses of OpenGL's cameras in one file, exact depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.nrgbd import NeuralRGBD

SOURCE = NeuralRGBD
SIZE = (48, 64)
DEPTH = 0.0005001
POSES, MASKS, PLAIN = True, False, True

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def write_scene(folder: Path, shots: Sequence[Shot], poses: int | None = None, focal: bool = True) -> None:
    """`poses`: so many of them alone."""
    for part in ("images", "depth"):
        (folder / part).mkdir(parents=True)
    for index, shot in enumerate(shots):
        Image.fromarray(shot.rgb).save(folder / "images" / f"img{index}.png")
        Image.fromarray(np.round(shot.depth * 1000).astype(np.uint16)).save(folder / "depth" / f"depth{index}.png")
    np.savetxt(folder / "poses.txt", np.concatenate([shot.cam2world @ OPENGL for shot in shots[:poses]]))
    if focal:
        (folder / "focal.txt").write_text(f"{shots[0].intrinsics[0, 0]}\n")


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / "kitchen", shots)
    return {"root": root}
