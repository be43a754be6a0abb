"""What a corpus costs on a disk and at the start of a run, as files and as shards; measured at a size that fits, and
extrapolated to a hundred million frames by the frames alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

FRAMES_OF_A_SCENE, STORED = 300, (360, 480)
GOAL = 100_000_000


def measure(folder: Path, frames: int) -> dict[str, Any]:
    """Writes scenes of 300 JPEGs, lists them, opens their index again, packs them, and opens the shards.

    Args:
        folder: to write into.
        frames: how many there are, at least 600; different pictures are a few, linked under many names.
    """
    from muskie.data.shards.pack import What
    from muskie.data.shards.packing import ShardPlan, divided, pieces, write_index, write_shards
    from muskie.data.sources.folder import ImageFolders
    from muskie.data.sources.shards import Shards

    os.environ["MUSKIE_CACHE"] = str(folder / "cache")
    scenes = max(frames // FRAMES_OF_A_SCENE, 2)
    root, packed = folder / "corpus", folder / "shards"
    size = _write(root, scenes)
    source, list_s = _timed(lambda: ImageFolders(root))
    again, open_s = _timed(lambda: ImageFolders(root))
    plan = ShardPlan(shard_mb=64, what=What(geometry=False))
    packed.mkdir()
    parts = {part: pieces(places, plan, part) for part, places in divided([again], 0.05).items()}
    (outcomes, _), pack_s = _timed(lambda: write_shards(packed, parts, plan, workers=1))
    contents = write_index(packed, outcomes, parts)
    shards, open_shards_s = _timed(lambda: Shards(str(packed)))
    count = int(source.lengths().sum())
    return {
        "frames": count,
        "file_kilobytes": size / 1e3,
        "list_us_a_frame": 1e6 * list_s / count,
        "index_bytes_a_frame": source.index_file.stat().st_size / count,
        "open_s": open_s,
        "pack_us_a_frame": 1e6 * pack_s / count,
        "tar_overhead": sum(file.stat().st_size for file in packed.glob("*.tar")) / (count * size) - 1,
        "chunks": len(shards),
        "shard_index_bytes_a_chunk": (packed / "index.safetensors").stat().st_size / len(contents),
        "open_shards_s": open_shards_s,
    }


def extrapolated(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of a table for `GOAL` frames: what, as files, as shards of 1 GB. By multiplication alone."""
    size = GOAL * found["file_kilobytes"] * 1e3
    packed = size * (1 + found["tar_overhead"])
    chunks = GOAL * found["chunks"] / found["frames"]
    return [
        ("inodes", f"{GOAL / 1e6:.0f} million", f"{packed / 1e9:,.0f}"),
        ("bytes", f"{size / 1e12:.2f} TB", f"{packed / 1e12:.2f} TB"),
        (
            "index",
            f"{GOAL * found['index_bytes_a_frame'] / 1e9:.2f} GB, mapped",
            f"{chunks * found['shard_index_bytes_a_chunk'] / 1e6:.0f} MB, mapped",
        ),
        ("listed once", f"{GOAL * found['list_us_a_frame'] / 6e7:.0f} minutes of one disk", "not at all"),
        ("packed once", "", f"{GOAL * found['pack_us_a_frame'] / 3.6e9:.1f} hours of one process"),
    ]


def _write(root: Path, scenes: int) -> float:
    """Scenes of linked JPEGs, aged so that their index is trusted; the mean size of a file."""
    from muskie.data.images import decode
    from muskie.data.sources.synthetic import SyntheticRooms

    rooms = SyntheticRooms(scenes=8, frames=1, image_size=STORED)
    originals = []
    root.mkdir()
    for number in range(8):
        originals.append(root / f".picture{number}.jpg")  # hidden, no scene
        decode(rooms.read(rooms.scene(number), "000000").image).pillow().save(originals[-1], quality=90)
    for number in range(scenes):
        scene = root / f"scene{number:06d}"
        scene.mkdir()
        for frame in range(FRAMES_OF_A_SCENE):
            (scene / f"frame{frame:06d}.jpg").hardlink_to(originals[frame % len(originals)])
    old = time.time() - 3600
    for path in (root, *root.glob("scene*")):
        os.utime(path, (old, old))
    return sum(file.stat().st_size for file in originals) / len(originals)


def _timed(action: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    return action(), time.perf_counter() - started
