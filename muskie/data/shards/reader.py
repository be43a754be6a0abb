"""Reading chunks out of shards: in a stream, by the `webdataset` library, or one alone, where it lies on a disk."""

from __future__ import annotations

import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muskie.data.shards.chunk import Chunk
from muskie.data.shards.contents import Contents
from muskie.errors import ConfigError

WAY_OUT = "pip install webdataset, or pip install -e '.[data]'"


class ShardReader:
    """The chunks of a set of shards.

    Chunks of one shard that are asked for in order are streamed; one that is asked for out of order is looked up by its
    place in the file, or, where the shard is no file here, streamed to. The last ones are kept.

    Args:
        root: the folder or URL of the shards.
        contents: of them.
        kept: how many chunks are kept in memory.
    """

    def __init__(self, root: str, contents: Contents, kept: int) -> None:
        self.root, self.contents, self.kept = root, contents, kept
        self._chunks: OrderedDict[int, Chunk | OSError] = OrderedDict()
        self._stream: Iterator[dict[str, Any]] | None = None
        self._at = (-1, 0)
        """The shard that is streamed, and the place that comes next."""

    def stream_to(self, chunk: int) -> None:
        """Reads on to a chunk, in the shard that is streamed or a new one; a failure is kept, and told by `get`."""
        if chunk in self._chunks:
            return
        shard, place = self.contents.address(chunk)
        if self._at[0] != shard or place < self._at[1]:
            self._stream, self._at = samples(self.url(shard)), (shard, 0)
        assert self._stream is not None
        first = chunk - place
        while self._at[1] <= place:
            number, where = first + self._at[1], f"{self.url(shard)}, chunk {self._at[1]}"
            try:
                found: Chunk | OSError = Chunk(next(self._stream), where)
            except StopIteration:
                found = OSError(f"{where}: the shard ends before it; was it cut short?")
            except OSError as error:
                found = error
            except Exception as error:  # what a broken archive raises differs from place to place
                found = OSError(f"{where}: {error}; was the shard cut short?")
            self._keep(number, found)
            self._at = (shard, self._at[1] + 1)

    def get(self, chunk: int) -> Chunk:
        """A chunk.

        Raises:
            OSError: it cannot be read.
        """
        if chunk not in self._chunks:
            shard, place = self.contents.address(chunk)
            url = self.url(shard)
            if Path(url).is_file():
                self._keep(chunk, _read_at(Path(url), int(self.contents.offsets[chunk]), f"{url}, chunk {place}"))
            else:
                self.stream_to(chunk)
        found = self._chunks[chunk]
        if isinstance(found, OSError):
            raise found
        return found

    def url(self, shard: int) -> str:
        """Where a shard is."""
        return f"{self.root.rstrip('/')}/{self.contents.shards[shard]}"

    def _keep(self, number: int, found: Chunk | OSError) -> None:
        self._chunks[number] = found
        self._chunks.move_to_end(number)
        while len(self._chunks) > self.kept:
            self._chunks.popitem(last=False)

    def __getstate__(self) -> dict[str, Any]:
        """A data worker begins with streams of its own."""
        return {"root": self.root, "contents": self.contents, "kept": self.kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def samples(url: str) -> Iterator[dict[str, Any]]:
    """The samples of one shard, by the `webdataset` library, from whatever it can open.

    Raises:
        ConfigError: the library is not installed.
    """
    try:
        import webdataset
    except ImportError as error:
        raise ConfigError(f"data=shards reads by the webdataset library, which is not installed; {WAY_OUT}") from error
    # Ranks and workers were given their shards already: the library shall not deal them again.
    return iter(webdataset.DataPipeline(webdataset.SimpleShardList([url]), webdataset.tarfile_to_samples()))


def _read_at(file: Path, offset: int, where: str) -> Chunk | OSError:
    """The chunk that begins at a byte of a shard."""
    files: dict[str, bytes] = {}
    key = None
    try:
        with file.open("rb") as raw:
            raw.seek(offset)
            with tarfile.open(fileobj=raw, mode="r|") as archive:
                for member in archive:
                    its_key, _, name = member.name.partition(".")
                    if key not in (None, its_key):
                        break
                    key, content = its_key, archive.extractfile(member)
                    files[name] = content.read() if content else b""
        return Chunk(files, where)
    except (tarfile.TarError, EOFError) as error:
        return OSError(f"{where}: {error}; was the shard cut short?")
    except OSError as error:
        return error
