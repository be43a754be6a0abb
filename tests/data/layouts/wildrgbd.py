"""WildRGB-D, as its archives unpack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot

from muskie.data.sources.wildrgbd import WildRGBD

SOURCE = WildRGBD
SIZE = (64, 48)
DEPTH = 0.0005001
POSES, MASKS, PLAIN = True, True, False


def near(shot: Shot) -> np.ndarray:
    """What is written as the object, bool [H, W]: the nearer half of what is seen."""
    return shot.depth < np.median(shot.depth)


def write_scene(folder: Path, shots: Sequence[Shot]) -> None:
    for part in ("rgb", "depth", "masks"):
        (folder / part).mkdir(parents=True)
    lines = []
    for number, shot in enumerate(shots):
        values = {"rgb": shot.rgb, "depth": np.round(shot.depth * 1000).astype(np.uint16)}
        values["masks"] = near(shot).astype(np.uint8) * 255
        for part, array in values.items():
            Image.fromarray(array).save(folder / part / f"{number:05d}.png")
        lines.append(" ".join(map(repr, (number, *shot.cam2world.ravel().tolist()))))
    (folder / "cam_poses.txt").write_text("\n".join(lines) + "\n")
    height, width = shots[0].depth.shape
    stated = {"K": shots[0].intrinsics.T.ravel().tolist(), "fps": 30, "w": width, "h": height}
    (folder / "metadata").write_text(json.dumps(stated))


def write(root: Path, shots: Sequence[Shot], scene: str = "apple/scenes/scene_000") -> dict[str, Any]:
    write_scene(root / scene, shots)
    return {"root": root}
