"""The folder of a result: written beside and moved in, and never over what somebody else has put there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from muskie.errors import ConfigError
from muskie.paths import check_writable

CAMERAS = "cameras.json"
KIND = "muskie reconstruction"
"""What `cameras.json` has under `format`; by this a folder is known as ours."""
_WRITING = ".muskie-writing-"
"""How folders begin in which a result is being written. One that a killed process left counts for nothing."""


def earlier_files(folder: Path) -> list[str] | None:
    """The files of an earlier result in a folder, as it lists them itself; None if it holds none."""
    try:
        told = json.loads((folder / CAMERAS).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or told.get("format") != KIND:
        return None
    listed = [name for name in told.get("files", []) if isinstance(name, str)]
    return [name for name in listed if _within(folder, name) and not (folder / name).is_dir()]


def check_output(folder: Path, overwrite: bool = False) -> None:
    """To be called before any work; nothing is left behind.

    Raises:
        ConfigError: it cannot be written to, holds an earlier result and `overwrite` is off, or holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output {str(folder)!r} is a file; give a folder that is new or empty")
    missing = _missing(folder)
    try:
        present = [] if missing else sorted(e.name for e in folder.iterdir() if not e.name.startswith(_WRITING))
        if present:
            _check_earlier(folder, present, overwrite)
        check_writable(folder)
    except OSError as error:
        raise ConfigError(f"output folder {str(folder)!r} cannot be written to: {error.strerror or error}") from error
    finally:
        _remove_empty(missing)


def _check_earlier(folder: Path, present: list[str], overwrite: bool) -> None:
    if earlier_files(folder) is None:
        shown = ", ".join(present[:3]) + (f" and {len(present) - 3} more" if len(present) > 3 else "")
        raise ConfigError(
            f"output folder {str(folder)!r} is not empty ({shown}), and holds no earlier reconstruction; "
            "give one that is new or empty"
        )
    if not overwrite:
        raise ConfigError(
            f"output folder {str(folder)!r} holds an earlier reconstruction; replace it with overwrite=True "
            "(--overwrite), or give another folder"
        )


def replace_result(folder: Path, write: Callable[[Path], dict[str, Any]], overwrite: bool = False) -> list[Path]:
    """Writes a result beside the folder's content, and moves it in when it is whole.

    Only the files of an earlier result are removed; what else lies there stays. Whatever goes wrong, the folder is as it was
    before. `cameras.json` comes last, so that a folder with `"complete": true` is whole even where the process was killed.

    Args:
        folder: of the result.
        write: fills an empty folder and returns the content of `cameras.json` without `format`, `complete` and `files`.
        overwrite: see `check_output`.

    Returns:
        The files, `cameras.json` among them.

    Raises:
        ConfigError: see `check_output`; or the disk is full; or a file would take the place of one that is not of the
            earlier result.
    """
    check_output(folder, overwrite)
    missing = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_WRITING}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_WRITING, dir=folder) as name:
            beside, aside = Path(name) / "new", Path(name) / "earlier"
            beside.mkdir()
            told = write(beside)
            files = sorted(path.relative_to(beside).as_posix() for path in beside.rglob("*") if path.is_file())
            _write_cameras(beside, {"complete": True, "files": files, **told})
            exchange(folder, beside, aside, earlier_files(folder) or [], files)
    except OSError as error:
        raise ConfigError(f"the result cannot be written to {str(folder)!r}: {error.strerror or error}") from error
    finally:
        _remove_empty(missing)
    return [folder / name for name in [*files, CAMERAS]]


def exchange(folder: Path, beside: Path, aside: Path, earlier: list[str], files: list[str]) -> None:
    """Moves the earlier files of a folder aside, and new ones in from beside; all back, if anything goes wrong.

    Raises:
        ConfigError: a new file would take the place of one that is not among the earlier ones.
    """
    above = [parent.as_posix() for name in files for parent in PurePosixPath(name).parents]
    taken = {name for name in files if (folder / name).exists()} | {name for name in above if (folder / name).is_file()}
    foreign = sorted(taken.difference(earlier))
    if foreign:
        raise ConfigError(
            f"{str(folder / foreign[0])!r} is not of the earlier reconstruction, and would be replaced; "
            "move it away, or give another folder"
        )
    cameras = folder / CAMERAS
    before = cameras.read_bytes() if cameras.exists() else None
    moves = [(folder / name, aside / name) for name in earlier] + [(beside / name, folder / name) for name in files]
    done: list[tuple[Path, Path]] = []
    try:
        _write_cameras(folder, {"complete": False, "files": sorted({*earlier, *files})})
        for source, target in moves:
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                done.append((source, target))
                source.replace(target)
        (beside / CAMERAS).replace(cameras)
    except BaseException:  # Ctrl-C, too
        for source, target in reversed(done):
            if target.exists():
                target.replace(source)
        if before is None:
            cameras.unlink(missing_ok=True)
        else:
            cameras.write_bytes(before)
        raise
    finally:
        for name in sorted({*earlier, *files}):
            _remove_empty([folder / parent for parent in PurePosixPath(name).parents[:-1]])


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


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, the deepest first."""
    return list(takewhile(lambda path: not path.exists(), (folder, *folder.parents)))


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes folders, the deepest first, up to the first one that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
