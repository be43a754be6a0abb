"""Tar shards that `scripts/pack_shards.py` has written of another source: scenes are chunks of neighbouring frames."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muskie.data.listing.table_file import Unusable
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.shards.contents import INDEX, Contents
from muskie.data.shards.order import ShardOrder, Turn
from muskie.data.shards.reader import WAY_OUT, ShardReader
from muskie.errors import ConfigError, DataError
from muskie.paths import typed_path


class Shards(SceneSource):
    """Chunks in WebDataset's tar files, streamed by the `webdataset` library from a folder or any URL that it can open
    (`https://`, `s3://` by `pipe:`, ...).

    Training reads each shard from front to back: every epoch, the shards are shuffled and dealt to the data workers of all
    ranks. What a sample sees then depends on the number of ranks and workers, unlike with other sources; with the same
    numbers, a run that goes on reads on where it was. Evaluation looks single chunks up.

    What is held out was decided when the shards were packed: it has shards of its own, and `holdout` cannot change it.

    Args:
        root: the folder or URL that holds the shards and `index.safetensors`.
        samples_per_chunk: how many samples are drawn from each chunk that is read, >= 1, a batch apart. A chunk of 32 frames
            that serves one sample of 8 views is read four times too much.
        min_images: chunks of fewer frames are left out, >= 1; of those that are streamed, passed over and counted.

    Raises:
        ConfigError: an argument is out of range, or the library is missing.
        DataError: there is no index there, or it is broken or of another version.
    """

    name = "shards"
    streams = True

    def __init__(self, root: str, samples_per_chunk: int = 4, min_images: int = 1) -> None:
        for argument, value in (("samples_per_chunk", samples_per_chunk), ("min_images", min_images)):
            if value < 1:
                raise ConfigError(f"data.{argument}={value}: expected 1 or more")
        self.samples_per_chunk, self.min_images = samples_per_chunk, min_images
        self.root = root if _is_url(root) else str(typed_path(root, "data.root").resolve())
        self.contents = _contents(self.root, root)
        if not self.contents.heldout_from:
            raise DataError(f"data.root={root!r}: it holds nothing to train on")
        self.heldout_from = self.contents.heldout_from
        ends = self.contents.shard_ends[: self.contents.trained_shards()]
        self._counts = np.diff(ends, prepend=0).tolist()
        self._reader = ShardReader(self.root, self.contents, kept=16)
        self.window = int(self.contents.counts.max())

    def __len__(self) -> int:
        return len(self.contents)

    def lengths(self) -> np.ndarray:
        return self.contents.counts

    def scene(self, index: int) -> Scene:
        name = f"{index:07d} {self.contents.names[index]}"
        return Scene(name, _numbers(int(self.contents.counts[index])), self.contents.rooms[index])

    def streamed(self, turn: Turn, seed: int) -> int:
        """The chunk whose turn it is, read on to."""
        order = ShardOrder(self._counts, seed, self.samples_per_chunk)
        shard, place = order.chunk(turn)
        chunk = (int(self.contents.shard_ends[shard - 1]) if shard else 0) + place
        # A chunk comes back a batch later.
        self._reader.kept = max(self._reader.kept, 2 * turn.batch + 1)
        self._reader.stream_to(chunk)
        return chunk

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return self._reader.get(_number(scene)).frame(int(frame), at_least, geometry)

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._reader.get(_number(scene)).camera(int(frame))

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        return self._reader.get(_number(scene)).mask(int(frame))


def _number(scene: Scene) -> int:
    return int(scene.name.partition(" ")[0])


def _numbers(count: int) -> Sequence[str]:
    return [f"{number:03d}" for number in range(count)]


def _is_url(root: str) -> bool:
    return "://" in root or root.startswith("pipe:")


def _contents(root: str, given: str) -> Contents:
    """The index of shards, from a folder or a URL."""
    try:
        if not _is_url(root):
            return Contents.read(Path(root) / INDEX)
        with tempfile.TemporaryDirectory() as folder:  # mapped, it outlives its name
            copy = Path(folder) / INDEX
            with _open(f"{root.rstrip('/')}/{INDEX}") as remote, copy.open("wb") as local:
                shutil.copyfileobj(remote, local)
            return Contents.read(copy)
    except FileNotFoundError as error:
        raise DataError(
            f"data.root={given!r}: there is no {INDEX}; give the folder or URL that scripts/pack_shards.py has written"
        ) from error
    except Unusable as error:
        raise DataError(f"data.root={given!r}: {INDEX}: {error}; pack the shards anew") from error
    except OSError as error:
        raise DataError(f"data.root={given!r}: {INDEX} cannot be read ({error})") from error


def _open(url: str):  # type: ignore[no-untyped-def]
    try:
        from webdataset.gopen import gopen
    except ImportError as error:
        raise ConfigError(f"data.root={url!r} needs the webdataset library, which is not installed; {WAY_OUT}") from error
    return gopen(url)
