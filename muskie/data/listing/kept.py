"""Where index files lie, who may write one, and whether what is kept is used at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

ANEW = "MUSKIE_INDEX_ANEW"
"""Environment: whether to look anew at every source, whatever is kept of it."""

_anew: ContextVar[bool] = ContextVar("anew", default=False)


@contextmanager
def looking_anew(wanted: bool = True) -> Iterator[None]:
    """Sources that are made inside look at their folders, whatever is kept of them, and keep what they find."""
    token = _anew.set(wanted)
    try:
        yield
    finally:
        _anew.reset(token)


def anew_is_wanted() -> bool:
    """Whether sources shall look at their folders, whatever is kept of them."""
    return _anew.get() or bool(os.environ.get(ANEW))


def index_file(name: str, made_of: Mapping[str, Any]) -> Path:
    """Where the index of a source is kept, by its class, root and arguments."""
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
    return _folder() / "indexes" / f"{name}-{digest}.safetensors"


def _folder() -> Path:
    given = os.environ.get("MUSKIE_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "muskie")  # noqa: PTH118
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError:  # whoever runs this has no home, as in many containers
        return Path(tempfile.gettempdir()) / f"muskie-{os.getuid()}"


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Keeps the other processes that want the same file waiting. False: there is no place to write."""
    try:
        import fcntl

        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_suffix(".lock").open("w")
    except (OSError, ImportError):
        yield False
        return
    with lock:
        with suppress(OSError):  # without locks, two may do the same work, and the later file replaces the earlier one
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield True
