"""Paths as users type them, and folders to write to."""

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


def check_writable(folder: Path) -> None:
    """Makes a folder, if missing, and writes to it. Raises `OSError` if it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.write_text("")
    probe.unlink()


def make_new(path: Path) -> Path:
    """Makes a folder that was not there, with a number behind its name where that is taken."""
    number, folder = 1, path
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:  # another run began in the same second
            number += 1
            folder = path.with_name(f"{path.name}-{number}")
