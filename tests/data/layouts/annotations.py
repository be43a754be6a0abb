"""Annotated sequences of pictures, as MuM has them of MegaDepth."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from walk import Shot

from muskie.data.sources.annotations import AnnotatedSequences

SOURCE = AnnotatedSequences
SIZE = (48, 64)
DEPTH, UNIT = None, 1.0
POSES, MASKS, PLAIN = False, False, False


def annotate(file: Path, scenes: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Sequences of paths, by scenes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {scene: [[{"filepath": p} for p in paths] for paths in sequences] for scene, sequences in scenes.items()}
    file.write_bytes(gzip.compress(json.dumps(content).encode()))


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    folder = root / "pictures" / "0001" / "images"
    folder.mkdir(parents=True)
    paths = []
    for number, shot in enumerate(shots):
        Image.fromarray(shot.rgb).save(folder / f"{number}.png")
        paths.append(f"0001/images/{number}.png")
    annotate(root / "train.jgz", {"0001": [paths]})
    return {"root": root / "pictures", "annotations": root / "train.jgz"}
