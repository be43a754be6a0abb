"""Where results go; whether they can be written is asked before any work is done for them, and leaves no trace."""

from __future__ import annotations

import os
import time
from pathlib import Path

from muskie.errors import ConfigError
from muskie.paths import check_writable, make_new, typed_path


def unwritable(folder: Path) -> str:
    """Why nothing could be written to a folder, which may yet have to be made, in words; `""` where it probably can be."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is no folder"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"no permission to write to {folder}"


def out_problems(given: str | None, above: Path) -> list[str]:
    """What is wrong with a folder for results, for a ConfigError; nothing is made.

    Args:
        given: the folder; None: a new one in `above`.
        above: see there.
    """
    out = typed_path(given, "out") if given else above
    if given and (out / "results.json").exists():
        return [f"out={given!r} holds the results of an earlier evaluation; give another one"]
    problem = unwritable(out)
    return [f"out={str(out)!r} cannot be written ({problem}); give another one"] if problem else []


def make_out(given: str | None, above: Path) -> Path:
    """Makes the folder for results; arguments as of `out_problems`.

    Raises:
        ConfigError: it cannot be written.
    """
    out = typed_path(given, "out") if given else above
    try:
        if not given:
            return make_new(above / time.strftime("%Y-%m-%d_%H-%M-%S"))
        check_writable(out)
    except OSError as error:
        raise ConfigError(f"out={str(out)!r} cannot be written ({error.strerror}); give another one") from error
    return out
