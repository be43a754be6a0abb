"""RealEstate10K: text files of cameras, and pictures named by their timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import RELATIVE, Shot

from muskie.data.sources.realestate10k import RealEstate10K

SOURCE = RealEstate10K
SIZE = (48, 64)
DEPTH = None
POSES, MASKS, PLAIN = True, False, False

SHARES = (RELATIVE[0, 0], RELATIVE[1, 1], RELATIVE[0, 2], RELATIVE[1, 2])


def time(number: int) -> int:
    """Microseconds."""
    return 33367 * (number + 1)


def line(shot: Shot, number: int) -> str:
    world2cam = np.linalg.inv(shot.cam2world)[:3]
    return " ".join([f"{time(number)}", *(f"{value:.9f}" for value in (*SHARES, 0, 0, *world2cam.ravel()))])


def write_clip(
    root: Path,
    clip: str,
    shots: Sequence[Shot],
    numbers: Sequence[int] | None = None,
    split: str = "test",
    video: str = "a",
    pictures: str = ".",
) -> None:
    """Picture i is that of frame `numbers[i]` of the video; they go below the folder `pictures` of `root`."""
    numbers = range(len(shots)) if numbers is None else numbers
    folder = root / pictures / split / clip
    folder.mkdir(parents=True)
    for number, shot in zip(numbers, shots, strict=True):
        Image.fromarray(shot.rgb).save(folder / f"{time(number)}.jpg", quality=95)
    (root / split).mkdir(exist_ok=True)
    lines = [f"https://www.youtube.com/watch?v={video}", *map(line, shots, numbers)]
    (root / split / f"{clip}.txt").write_text("\n".join(lines) + "\n")


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_clip(root, "0000cc6d8b108390", shots)
    return {"root": root, "split": "test"}
