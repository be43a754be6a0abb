"""The folder of a result: written beside and moved in, and never over what somebody else has put there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from muskie.errors import ConfigError
from muskie.paths import check_writable

CAMERAS = "cameras.json"
KIND = "muskie reconstruction"
"""What `cameras.json` has under `format`; by this a folder is known as ours."""


def earlier_files(folder: Path) -> list[str] | None:
    """The files of an earlier result in a folder, as it lists them itself; None if it holds none."""
    try:
        told = json.loads((folder / CAMERAS).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or told.get("format") != KIND:
        return None
    return [name for name in told.get("files", []) if isinstance(name, str) and _within(folder, name)]


def check_output(folder: Path, overwrite: bool = False) -> None:
    """To be called before any work: makes the folder if it is missing.

    Raises:
        ConfigError: it cannot be written to, holds an earlier result and `overwrite` is off, or holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output {str(folder)!r} is a file; give a folder that is new or empty")
    present = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if present:
        earlier = earlier_files(folder)
        if earlier is None:
            shown = ", ".join(present[:3]) + (f" and {len(present) - 3} more" if len(present) > 3 else "")
            raise ConfigError(
                f"output folder {str(folder)!r} is not empty ({shown}), and holds no earlier reconstruction; "
                "give one that is new or empty"
            )
        if not overwrite:
            raise ConfigError(
                f"output folder {str(folder)!r} holds an earlier reconstruction; replace it with overwrite=True, "
                "or give another folder"
            )
    try:
        check_writable(folder)
    except OSError as error:
        raise ConfigError(f"output folder {str(folder)!r} cannot be written to: {error.strerror or error}") from error


def replace_result(folder: Path, write: Callable[[Path], dict[str, Any]], overwrite: bool = False) -> list[Path]:
    """Writes a result beside the folder's content, and moves it in when it is whole.

    Only the files of an earlier result are removed; what else lies there stays. `cameras.json` comes last, so that a folder
    with `"complete": true` is whole.

    Args:
        folder: of the result.
        write: fills an empty folder and returns the content of `cameras.json` without `format`, `complete` and `files`.
        overwrite: see `check_output`.

    Returns:
        The files, `cameras.json` among them.

    Raises:
        ConfigError: see `check_output`.
    """
    check_output(folder, overwrite)
    earlier = earlier_files(folder) or []
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as name:
        beside = Path(name)
        told = write(beside)
        files = sorted(str(path.relative_to(beside).as_posix()) for path in beside.rglob("*") if path.is_file())
        _write_cameras(folder, {"complete": False, "files": sorted({*earlier, *files})})
        for old in earlier:
            (folder / old).unlink(missing_ok=True)
        for new in files:
            (folder / new).parent.mkdir(parents=True, exist_ok=True)
            (beside / new).replace(folder / new)
        for old in earlier:
            _remove_empty((folder / old).parent, folder)
    _write_cameras(folder, {"complete": True, "files": files, **told})
    return [folder / name for name in [*files, CAMERAS]]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives another path to write a file to, and renames it when all has gone well: nobody sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_cameras(folder: Path, content: dict[str, Any]) -> None:
    with written_whole(folder / CAMERAS) as path:
        path.write_text(json.dumps({"format": KIND, "version": 1, **content}, indent=1, allow_nan=False) + "\n")


def _within(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder.resolve())


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder)
        folder = folder.parent
