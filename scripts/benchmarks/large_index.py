"""What an index of many scenes costs, in a process of its own: `python -m benchmarks.large_index SCENES` prints JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

FRAMES, SAMPLES = 300, 2000


def measure(scenes: int) -> dict[str, Any]:
    """Lists scenes that are folders without files, opens the index again, and draws from it in a forked worker."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MUSKIE_CACHE"] = str(Path(folder) / "cache")
        root = Path(folder) / "scenes"
        for number in range(scenes):
            (root / f"scene{number:06d}").mkdir(parents=True)
        old = time.time() - 3600
        for path in (root, *root.iterdir()):
            os.utime(path, (old, old))  # what has just changed is never trusted
        started = time.perf_counter()
        listed = _source(root)
        list_s = time.perf_counter() - started
        started = time.perf_counter()
        source = _source(root)
        open_s = time.perf_counter() - started
        context = get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(root, sender))
        worker.start()
        megabytes, draw_s = receiver.recv()
        worker.join()
        return {
            "scenes": len(source),
            "frames": int(source.lengths().sum()),
            "megabytes": listed.index_file.stat().st_size / 1e6,
            "list_s": list_s,
            "open_s": open_s,
            "worker_megabytes": megabytes,
            "draw_s": draw_s,
        }


def _source(root: Path) -> Any:
    """A source whose frames are names alone: it is the index that is measured, and not the disk."""
    from muskie.data.listing.listed import ListedSource
    from muskie.data.scene import Frame, Scene

    class Named(ListedSource):
        name = "named"

        def __init__(self) -> None:
            self.root = root
            self._list()

        def parts(self) -> Sequence[str]:
            return sorted(entry.name for entry in os.scandir(root))

        def scenes_in(self, part: str) -> Sequence[Scene]:
            return [Scene(part, [f"frame{number:06d}.jpg" for number in range(FRAMES)])]

        def watched(self, scene: Scene) -> Sequence[Path]:
            return [root / scene.name]

        def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
            raise OSError("names alone")

    return Named()


def _work(root: Path, sender: Any) -> None:
    """As a data worker does: opens, draws; what memory that took of its own, and seconds a draw."""
    import numpy as np

    from muskie.data.index import SceneIndex
    from muskie.data.plan import LoadShape
    from muskie.data.sampling import choose_views

    before = _private()
    index = SceneIndex([_source(root)], "all", min_frames=8)
    shape = LoadShape(224, 224, 8, None, 1)
    started = time.perf_counter()
    for number in range(SAMPLES):
        rng = np.random.default_rng(number)
        place = index.draw(rng)
        _ = [place.frames[frame] for frame in choose_views(rng, place, shape)[:8]]
    elapsed = (time.perf_counter() - started) / SAMPLES
    sender.send(((_private() - before) / 1e6, elapsed))


def _private() -> int:
    """Bytes of this process that are no mapped file: those that nobody shares with it."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
    return values.get("Anonymous", values.get("Pss_Anon", 0))


if __name__ == "__main__":
    json.dump(measure(int(sys.argv[1])), sys.stdout)
