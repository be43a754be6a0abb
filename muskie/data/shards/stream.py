"""Opening a shard: in a stream from front to back, by the `webdataset` library, or at one of its chunks."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from typing import IO, Any, cast
from urllib.request import Request, urlopen

from muskie.data.shards.chunk import Chunk
from muskie.errors import ConfigError

WAY_OUT = "pip install webdataset, or pip install -e '.[data]'"
TIMEOUT = 60.0
"""Seconds without an answer, after which a server is given up."""
BLOCK = 2**20


def is_url(root: str) -> bool:
    """Whether it is no path."""
    return "://" in root or root.startswith("pipe:")


def url_of(root: str, name: str) -> str:
    """Where a file of a set of shards is; `{}` in a URL stands for its name, which else goes behind it."""
    return root.replace("{}", name) if "{}" in root and is_url(root) else f"{root.rstrip('/')}/{name}"


def need_webdataset(what: str) -> None:
    """
    Raises:
        ConfigError: the library is not installed; `what` says what needs it.
    """
    if find_spec("webdataset") is None:
        raise ConfigError(f"{what} needs the webdataset library, which is not installed; {WAY_OUT}")


def opened(url: str) -> Any:
    """What a URL or path holds, as a stream of bytes that must be closed, by the `webdataset` library.

    Raises:
        OSError: it cannot be opened, or `curl`, `gsutil` or the like, which do it, are not there.
    """
    from webdataset.gopen import gopen

    try:
        return gopen(url)
    except OSError:
        raise
    except Exception as error:  # an unknown scheme, or whatever the client of a cloud raises
        raise OSError(str(error)) from error


def in_words(error: Exception) -> str:
    """What went wrong. Of a program that fetches, the library tells the whole command, which may hold a password."""
    ended = re.search(r": exit (-?\d+) \(read\)", str(error))
    return f"the program that fetches it ended with status {ended[1]}" if ended else str(error)


def samples(url: str) -> Iterator[dict[str, Any]]:
    """The samples of one shard, from front to back; closed, it closes the stream."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with closing(opened(url)) as stream:
        yield from group_by_keys(tar_file_expander([{"url": url, "stream": stream}]))


class ShardStream:
    """The chunks of one shard, from front to back.

    Args:
        url: of the shard, or its path.
    """

    def __init__(self, url: str) -> None:
        self.url, self.place = url, 0
        """`place`: the first that has not been passed."""
        self._samples = samples(url)
        self._ahead: dict[str, Any] | None = None

    def chunk(self, place: int) -> Chunk:
        """The chunk at a place that has not been passed. Those before it are passed; their keys say which they are.

        Raises:
            OSError: it cannot be read.
        """
        self.place = place + 1
        where = f"{self.url}, chunk {place}"
        try:
            while self._ahead is None or int(self._ahead["__key__"]) < place:
                self._ahead = next(self._samples)
        except StopIteration:
            raise OSError(f"{where}: the shard ends before it; was it cut short?") from None
        except Exception as error:  # what a broken archive raises differs from place to place
            self._ahead = None
            raise OSError(f"{where}: {in_words(error)}; was the shard cut short?") from error
        if int(self._ahead["__key__"]) > place:
            raise OSError(f"{where}: it is not in the shard")
        sample, self._ahead = self._ahead, None
        return Chunk(sample, where)

    def close(self) -> None:
        """Ends the program that reads, if it is one."""
        with suppress(Exception):  # it may complain of being ended
            self._samples.close()  # type: ignore[attr-defined]


def chunk_at(url: str, place: int, offset: int) -> Chunk:
    """One chunk, which begins at a byte of its shard: a path, or `http://` or `https://`, where no more than it is fetched
    if the server knows ranges; of other URLs, the shard is read up to it.

    Raises:
        OSError: it cannot be read.
    """
    where = f"{url}, chunk {place}"
    if is_url(url) and not url.startswith(("http://", "https://")):
        with closing(ShardStream(url)) as stream:
            return stream.chunk(place)
    try:
        with _opened_at(url, offset) as raw:
            return Chunk(_sample(raw, f"{place:06d}"), where)
    except OSError as error:
        raise OSError(f"{where}: {error.strerror or error}") from error
    except Exception as error:  # of the archive or the connection
        raise OSError(f"{where}: {error}; was the shard cut short?") from error


def _opened_at(url: str, offset: int) -> IO[bytes]:
    if not is_url(url):
        raw = io.FileIO(url)
        raw.seek(offset)
        return io.BufferedReader(raw)
    answer: Any = urlopen(Request(url, headers={"Range": f"bytes={offset}-"}), timeout=TIMEOUT)
    if answer.status != 206:  # all of it
        while offset > 0 and (passed := answer.read(min(offset, BLOCK))):
            offset -= len(passed)
    return cast(IO[bytes], answer)


def _sample(raw: IO[bytes], key: str) -> dict[str, bytes]:
    """The files of the sample that a stream begins with, if it is the one meant."""
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=raw, mode="r|") as archive:
        for member in archive:
            its_key, _, name = member.name.partition(".")
            if its_key != key:
                break
            content = archive.extractfile(member)
            files[name] = content.read() if content else b""
    return files
