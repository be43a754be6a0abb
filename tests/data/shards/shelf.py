"""Small sets of shards, packed of numbered pictures or of any source."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from muskie.data.scene import SceneSource
from muskie.data.shards.contents import Contents
from muskie.data.shards.packing import ShardPlan, divided, pieces, write_index, write_shards
from muskie.data.sources.folder import ImageFolders


def numbered(root: Path, lengths: Sequence[int], size: tuple[int, int] = (24, 16)) -> ImageFolders:
    """Folders of plain pictures: red is the number of the scene, green that of the frame."""
    for scene, count in enumerate(lengths):
        (root / f"scene{scene:03d}").mkdir(parents=True)
        for frame in range(count):
            Image.new("RGB", size, (scene, frame, 0)).save(root / f"scene{scene:03d}" / f"{frame:03d}.png")
    return ImageFolders(root)


def packed(
    out: Path, sources: Sequence[SceneSource], chunks_of_a_shard: int | None = None, holdout: float = 0, **plan: Any
) -> Contents:
    """Shards of some sources; so many chunks in each, if that is said."""
    out.mkdir(parents=True, exist_ok=True)
    settings = ShardPlan(**{"frames": 4, **plan})
    parts = {part: pieces(places, settings, part) for part, places in divided(sources, holdout).items()}
    with pinned(chunks_of_a_shard):
        outcomes, ledger = write_shards(out, parts, settings, workers=1)
    assert not ledger.skipped
    return write_index(out, outcomes, parts)


def pinned(chunks: int | None) -> Any:
    """While it lasts, a shard holds so many chunks, whatever their size."""
    from contextlib import nullcontext
    from unittest.mock import patch

    return patch("muskie.data.shards.packing._pieces_of_a_shard", lambda *_: chunks) if chunks else nullcontext()


def members(file: Path) -> dict[str, bytes]:
    """The files of a shard, by Python's own reader."""
    with tarfile.open(file) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def colour(image: Any) -> tuple[int, int]:
    """Scene and frame of a numbered picture."""
    pixels = np.asarray(image).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return int(pixels[0, 0]), int(pixels[0, 1])
