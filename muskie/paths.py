"""Paths as users type them."""

from __future__ import annotations

from pathlib import Path

from muskie.errors import ConfigError


def typed_path(given: str | Path, key: str) -> Path:
    """A path with `~` and `~name` written out; `key` is what errors call it.

    Raises:
        ConfigError: there is no such home folder.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{key}={str(given)!r}: there is no such home folder; write the path in full") from error
