"""Tar shards that `scripts/pack_shards.py` has written of another source: scenes are chunks of neighbouring frames."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np

from muskie.data.listing.table_file import Unusable
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.shards.chunk import Chunk
from muskie.data.shards.contents import INDEX, Contents
from muskie.data.shards.order import ShardOrder, Turn
from muskie.data.shards.reader import ShardReader
from muskie.data.shards.stream import in_words, is_url, need_webdataset, opened, url_of
from muskie.data.unusable import FIRST
from muskie.errors import ConfigError, DataError
from muskie.paths import typed_path


class Shards(SceneSource):
    """Chunks in WebDataset's tar files, streamed by the `webdataset` library.

    `root` is a folder, or `file:///folder`; or a URL that the library can open with the name of a file behind it:
    `http://`, `https://` (by `curl`), `gs://` (`gsutil`), `hf://datasets/USER/NAME/folder`, `sftp://`, `ais://`; or a URL or
    a command in which `{}` stands for that name: `https://host/folder/{}?token=T`, `pipe:aws s3 cp s3://bucket/folder/{} -`.

    Training reads each shard from front to back: every epoch, the shards are shuffled and dealt to the data workers of all
    ranks. What a sample sees then depends on the number of ranks and workers, unlike with other sources; with the same
    numbers, a run that goes on reads on where it was. Evaluation looks single chunks up, for which a folder is best; servers
    of `http(s)` give parts of a file, all else is read up to the chunk.

    What is held out was decided when the shards were packed: it has shards of its own, and `holdout` cannot change it.

    Args:
        root: where the shards and `index.safetensors` are.
        samples_per_chunk: how many samples are drawn from each chunk that is read, >= 1, a batch apart. A chunk of 32 frames
            that serves one sample of 8 views is read four times too much.
        min_images: chunks of fewer frames are left out, >= 1.
        max_lost: the share of the frames that may lie in files of a folder that are missing or cut short, in [0, 1]. They
            are left out, and told. Elsewhere, and within a file, what is broken is found when it is read.

    Raises:
        ConfigError: an argument is out of range, or the library is missing.
        DataError: there is no index there, it is broken or of another version, or more is lost.
    """

    name = "shards"
    streams = True

    def __init__(self, root: str, samples_per_chunk: int = 4, min_images: int = 1, max_lost: float = 0.05) -> None:
        for argument, value in (("samples_per_chunk", samples_per_chunk), ("min_images", min_images)):
            if value < 1:
                raise ConfigError(f"data.{argument}={value}: expected 1 or more")
        if not 0 <= max_lost <= 1:
            raise ConfigError(f"data.max_lost={max_lost}: expected a share in [0, 1], e.g. 0.05")
        need_webdataset("data=shards")
        self.samples_per_chunk, self.min_images = samples_per_chunk, min_images
        path = url2pathname(urlparse(root).path) if root.startswith("file:") else root
        self.root = root if is_url(path) else str(typed_path(path, "data.root").resolve())
        self.contents = _contents(self.root, root)
        counts = self.contents.counts
        lost = np.zeros(len(counts), dtype=bool) if is_url(self.root) else self._lost(max_lost)
        short = ~lost & (counts < min_images)
        self.left_out = int(short.sum())
        self._chunks = np.flatnonzero(~lost & ~short)
        """Those that are there, by their numbers in the index."""
        self.heldout_from = int(np.searchsorted(self._chunks, self.contents.heldout_from))
        if not self.heldout_from:
            least = f" of data.min_images={min_images} frames or more" if self.left_out else ""
            raise DataError(f"data.root={root!r}: it holds nothing to train on{least}; the largest chunk has {counts.max()}")
        ends = np.searchsorted(self._chunks, self.contents.shard_ends[: self.contents.trained_shards()])
        self._starts = np.unique(np.append(0, ends))  # of shards of which something is there
        self._order: ShardOrder | None = None
        self._reader = ShardReader(self.root, self.contents)
        self.window = min(self.contents.window, int(counts.max()))

    def _lost(self, most: float) -> np.ndarray:
        """bool [chunks], what lies in files that are missing or cut short."""
        lost, self.problems = self.contents.lost(Path(self.root))
        counts = self.contents.counts
        frames, share = int(counts[lost].sum()), float(counts[lost].sum() / counts.sum())
        if share > most:
            listed = "\n  ".join(self.problems[:FIRST])
            files = f"The first {min(FIRST, len(self.problems))} of {len(self.problems)} files"
            raise DataError(
                f"source {self.name!r} ({self.root}): {frames:,} of {counts.sum():,} frames are lost, more than "
                f"data.max_lost={most:g}; training on the rest may be biased. {files}:\n  {listed}\n"
                f"Copy them anew, or allow more: data.max_lost={min(1.0, round(share + 0.005, 2)):g}"
            )
        return lost

    def __len__(self) -> int:
        return len(self._chunks)

    def lengths(self) -> np.ndarray:
        return self.contents.counts[self._chunks]

    def scene(self, index: int) -> Scene:
        chunk = int(self._chunks[index])
        name = f"{chunk:07d} {self.contents.names[chunk]}"
        return Scene(name, _numbers(int(self.contents.counts[chunk])), self.contents.rooms[chunk])

    def streamed(self, turn: Turn, seed: int) -> int:
        """The chunk whose turn it is, read on to."""
        if self._order is None or self._order.seed != seed:
            self._order = ShardOrder(np.diff(self._starts).tolist(), seed, self.samples_per_chunk)
        shard, place = self._order.chunk(turn)
        number = int(self._starts[shard]) + place
        self._reader.stream_to(int(self._chunks[number]), turn.batch)  # which come back a batch later
        return number

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return self._chunk(scene, frame).frame(int(frame), at_least, geometry)

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._chunk(scene, frame).camera(int(frame))

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        return self._chunk(scene, frame).mask(int(frame))

    def overlaps(self, scene: Scene) -> np.ndarray | None:
        return self._chunk(scene, scene.frames[0]).overlaps()

    def identity(self, scene: Scene, frame: str) -> str:
        """By where the shards are; the files that were packed have identities of their own."""
        return f"{type(self).__module__}.{type(self).__qualname__}({self.root})/{scene.name}/{frame}"

    def _chunk(self, scene: Scene, frame: str) -> Chunk:
        try:
            return self._reader.get(int(scene.name.partition(" ")[0]))
        except OSError as error:
            raise OSError(f"{scene.name}/{frame}: {error}") from error


def _numbers(count: int) -> Sequence[str]:
    return [f"{number:03d}" for number in range(count)]


def _contents(root: str, given: str) -> Contents:
    """The index of shards, from a folder or a URL."""
    where = url_of(root, INDEX)
    try:
        if not is_url(root):
            return Contents.read(Path(where))
        with tempfile.TemporaryDirectory() as folder:  # mapped, it outlives its name
            copy = Path(folder) / INDEX
            with closing(opened(where)) as remote, copy.open("wb") as local:
                shutil.copyfileobj(remote, local)
            return Contents.read(copy)
    except Unusable as error:
        raise DataError(f"data.root={given!r}: {INDEX}: {error}; pack the shards anew") from error
    except FileNotFoundError as error:
        if is_url(root):
            raise DataError(f"data.root={given!r} cannot be opened: there is no program {error.filename!r} here") from error
        raise DataError(
            f"data.root={given!r}: there is no {INDEX}; give the folder or URL that scripts/pack_shards.py has written"
        ) from error
    except OSError as error:
        raise DataError(
            f"data.root={given!r}: {where} cannot be read ({in_words(error)}); give the folder or URL that "
            "scripts/pack_shards.py has written"
        ) from error
