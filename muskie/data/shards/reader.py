"""The chunks of a set of shards, the last ones kept in memory: streamed, or looked up one by one."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from muskie.data.shards.chunk import Chunk
from muskie.data.shards.contents import Contents
from muskie.data.shards.stream import ShardStream, chunk_at, url_of

LOOKED_UP = 4
"""Chunks that are kept of those that were looked up."""


class ShardReader:
    """The chunks of a set of shards. Those that are streamed to, in order, are read once; others are looked up.

    Args:
        root: the folder or URL of the shards, see `url_of`.
        contents: of them.
    """

    def __init__(self, root: str, contents: Contents) -> None:
        self.root, self.contents = root, contents
        self._streamed, self._looked_up = _Kept(), _Kept()
        self._stream: ShardStream | None = None
        self._at = (-1, 0)
        """The shard that is streamed, and the process that opened it."""

    def stream_to(self, chunk: int, kept: int) -> None:
        """Reads on to a chunk, in the shard that is streamed or a new one; a failure is kept, and told by `get`.

        Args:
            kept: how many of the last chunks that were streamed to are kept.
        """
        self._streamed.read(chunk, lambda: self._stream_at(*self.contents.address(chunk)), kept)

    def _stream_at(self, shard: int, place: int) -> Chunk:
        here, stream = (shard, os.getpid()), self._stream
        # What another process has opened before this one was forked from it would be read by both.
        if stream is None or self._at != here or place < stream.place:
            self.close()
            stream = self._stream = ShardStream(url_of(self.root, self.contents.shards[shard]))
            self._at = here
        return stream.chunk(place)

    def get(self, chunk: int) -> Chunk:
        """A chunk.

        Raises:
            OSError: it cannot be read.
        """
        if chunk in self._streamed.chunks:
            found = self._streamed.chunks[chunk]
        else:
            found = self._looked_up.read(chunk, lambda: self._look_up(chunk), LOOKED_UP)
        if isinstance(found, str):
            raise OSError(found)
        return found

    def _look_up(self, chunk: int) -> Chunk:
        shard, place = self.contents.address(chunk)
        return chunk_at(url_of(self.root, self.contents.shards[shard]), place, int(self.contents.offsets[chunk]))

    def close(self) -> None:
        """Ends the stream, if there is one."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def __getstate__(self) -> dict[str, Any]:
        """A data worker begins with streams of its own."""
        return {"root": self.root, "contents": self.contents}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class _Kept:
    """The last chunks by number, or why they cannot be read: an error itself would keep all that it came through."""

    def __init__(self) -> None:
        self.chunks: OrderedDict[int, Chunk | str] = OrderedDict()

    def read(self, chunk: int, read: Callable[[], Chunk], most: int) -> Chunk | str:
        """A chunk, read if it is not there."""
        if chunk not in self.chunks:
            try:
                self.chunks[chunk] = read()
            except OSError as error:
                self.chunks[chunk] = str(error)
        self.chunks.move_to_end(chunk)
        while len(self.chunks) > most:
            self.chunks.popitem(last=False)
        return self.chunks[chunk]
