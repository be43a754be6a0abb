"""What a set of shards holds: the file `index.safetensors` beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muskie.data.listing.table import Texts
from muskie.data.listing.table_file import read_arrays, write_arrays

INDEX = "index.safetensors"
ARRAYS = ("names", "names_ends", "rooms", "rooms_ends", "counts", "offsets", "shard_ends")


@dataclass(frozen=True)
class Packed:
    """A chunk that was written: its scene, what the scene shows, how many frames it has, where in its shard it begins."""

    scene: str
    room: str
    count: int
    offset: int


class Contents:
    """The chunks of a set of shards, those that are trained on first, then those that are held out.

    Attributes:
        shards: names of the files.
        counts: int64 [chunks], frames of each.
        offsets: int64 [chunks], the byte of its shard where each begins.
        shard_ends: int64 [shards], the chunk with which each ends.
        heldout_from: the first chunk that is held out.
        source: what was packed, for people.
    """

    def __init__(self, arrays: dict[str, np.ndarray], shards: Sequence[str], heldout_from: int, source: str) -> None:
        self.shards, self.heldout_from, self.source = list(shards), heldout_from, source
        self.counts, self.offsets, self.shard_ends = arrays["counts"], arrays["offsets"], arrays["shard_ends"]
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

    @staticmethod
    def of(shards: Sequence[tuple[str, Sequence[Packed]]], heldout_shards: int, source: str) -> Contents:
        """Of files and what each holds, the last `heldout_shards` being held out."""
        chunks = [chunk for _, packed in shards for chunk in packed]
        names, rooms = Texts.of(c.scene for c in chunks), Texts.of(c.room for c in chunks)
        ends = np.cumsum([len(packed) for _, packed in shards], dtype=np.int64)
        arrays = {
            "names": names.block,
            "names_ends": names.ends,
            "rooms": rooms.block,
            "rooms_ends": rooms.ends,
            "counts": np.array([c.count for c in chunks], dtype=np.int64),
            "offsets": np.array([c.offset for c in chunks], dtype=np.int64),
            "shard_ends": ends,
        }
        trained = len(shards) - heldout_shards
        return Contents(arrays, [name for name, _ in shards], int(ends[trained - 1]) if trained else 0, source)

    def write(self, folder: Path) -> None:
        """Beside the shards."""
        noted = {"shards": self.shards, "heldout_from": self.heldout_from, "source": self.source}
        write_arrays(folder / INDEX, self._arrays, noted)

    @staticmethod
    def read(file: Path) -> Contents:
        """
        Raises:
            FileNotFoundError, muskie.data.listing.table_file.Unusable: see `read_arrays`.
        """
        arrays, noted = read_arrays(file, ARRAYS)
        return Contents(arrays, noted["shards"], noted["heldout_from"], noted["source"])
