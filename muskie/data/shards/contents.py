"""What a set of shards holds: the file `index.safetensors` beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muskie.data.listing.table import Texts
from muskie.data.listing.table_file import Unusable, read_arrays, write_arrays

INDEX = "index.safetensors"
ARRAYS = ("names", "names_ends", "rooms", "rooms_ends", "counts", "offsets", "shard_ends", "sizes")


@dataclass(frozen=True)
class Packed:
    """A chunk that was written: its scene, what the scene shows, how many frames it has, where in its shard it begins."""

    scene: str
    room: str
    count: int
    offset: int


@dataclass(frozen=True)
class Shard:
    """A file that was written: its name, its chunks, and the byte with which the last of them ends."""

    name: str
    chunks: Sequence[Packed]
    size: int


class Contents:
    """The chunks of a set of shards, those that are trained on first, then those that are held out.

    Attributes:
        shards: names of the files.
        counts: int64 [chunks], frames of each.
        offsets: int64 [chunks], the byte of its shard where each begins.
        shard_ends: int64 [shards], the chunk with which each ends.
        sizes: int64 [shards], the byte with which the last chunk of each ends.
        heldout_from: the first chunk that is held out.
        source: what was packed, for people.
        window: how many neighbouring frames still show much the same, see `SceneSource.window`.
    """

    def __init__(
        self, arrays: dict[str, np.ndarray], shards: Sequence[str], heldout_from: int, source: str, window: int
    ) -> None:
        self.shards, self.heldout_from, self.source, self.window = list(shards), heldout_from, source, window
        self.counts, self.offsets = arrays["counts"], arrays["offsets"]
        self.shard_ends, self.sizes = arrays["shard_ends"], arrays["sizes"]
        self.names, self.rooms = (Texts(arrays[name], arrays[f"{name}_ends"]) for name in ("names", "rooms"))
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self.counts)

    def address(self, chunk: int) -> tuple[int, int]:
        """The shard that a chunk is in, and its place there."""
        shard = int(np.searchsorted(self.shard_ends, chunk, side="right"))
        return shard, chunk - (int(self.shard_ends[shard - 1]) if shard else 0)

    def trained_shards(self) -> int:
        """How many shards, the first ones, are trained on; those that are held out have shards of their own."""
        return int(np.searchsorted(self.shard_ends, self.heldout_from, side="right"))

    def lost(self, folder: Path) -> tuple[np.ndarray, list[str]]:
        """bool [chunks], which of them lie behind the end of their file in a folder, and what is wrong with which files, in
        words. Files are not opened."""
        lost, problems = np.zeros(len(self), dtype=bool), []
        start = 0
        for name, stop, size in zip(self.shards, self.shard_ends.tolist(), self.sizes.tolist(), strict=True):
            ends = np.append(self.offsets[start + 1 : stop], size)
            try:
                lost[start:stop] = ends > (folder / name).stat().st_size
                what = "cut short"
            except OSError as error:
                lost[start:stop] = True
                what = str(error.strerror)
            if count := int(lost[start:stop].sum()):
                problems.append(f"{folder / name}: {what}, {count} of its {stop - start} chunks are lost")
            start = stop
        return lost, problems

    @staticmethod
    def of(shards: Sequence[Shard], heldout_shards: int, source: str, window: int) -> Contents:
        """Of files and what each holds, the last `heldout_shards` being held out."""
        chunks = [chunk for shard in shards for chunk in shard.chunks]
        names, rooms = Texts.of(c.scene for c in chunks), Texts.of(c.room for c in chunks)
        ends = np.cumsum([len(shard.chunks) for shard in shards], dtype=np.int64)
        arrays = {
            "names": names.block,
            "names_ends": names.ends,
            "rooms": rooms.block,
            "rooms_ends": rooms.ends,
            "counts": np.array([c.count for c in chunks], dtype=np.int64),
            "offsets": np.array([c.offset for c in chunks], dtype=np.int64),
            "shard_ends": ends,
            "sizes": np.array([shard.size for shard in shards], dtype=np.int64),
        }
        trained = len(shards) - heldout_shards
        return Contents(arrays, [shard.name for shard in shards], int(ends[trained - 1]) if trained else 0, source, window)

    def write(self, folder: Path) -> None:
        """Beside the shards."""
        noted = {
            "shards": self.shards,
            "heldout_from": self.heldout_from,
            "source": self.source,
            "window": self.window,
        }
        write_arrays(folder / INDEX, self._arrays, noted)

    @staticmethod
    def read(file: Path) -> Contents:
        """
        Raises:
            FileNotFoundError, muskie.data.listing.table_file.Unusable: see `read_arrays`.
        """
        arrays, noted = read_arrays(file, ARRAYS)
        try:
            found = Contents(arrays, noted["shards"], noted["heldout_from"], noted["source"], noted["window"])
        except KeyError as error:
            raise Unusable(f"it says nothing of {error}") from error
        shards, chunks = len(found.shards), len(found)
        agree = len(found.shard_ends) == len(found.sizes) == shards > 0 and int(found.shard_ends[-1]) == chunks
        if not agree or not len(found.offsets) == len(found.names) == len(found.rooms) == chunks:
            raise Unusable("it is broken (its parts differ in length)")
        return found
