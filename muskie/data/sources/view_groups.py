"""Files that name pictures to be seen together: one group a line."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from muskie.errors import DataError
from muskie.paths import typed_path


def read_groups(given: str | Path) -> list[tuple[int, list[str]]]:
    """The groups of a text file: the number of the line, from 1, and the pictures that stand in it, each once.

    A line has the paths of pictures below the root of the data set, with blanks between them, or a JSON list of them.
    Empty lines, and those that begin with `#`, are passed over.

    Raises:
        ConfigError: `~name` is nobody's.
        DataError: the file is missing or no text, or a line is broken; the message names it.
    """
    file, found = typed_path(given, "data.groups"), []
    expected = "expected a text file of one group a line: the paths of its pictures below data.root, or a JSON list of them"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        pickled = "; object arrays are pickled, and not read" if file.suffix in (".npz", ".npy", ".pkl") else ""
        raise DataError(f"data.groups={str(given)!r}: cannot be read ({error}){pickled}; {expected}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            named = json.loads(line) if line.lstrip()[0] == "[" else line.split()
        except ValueError as error:
            raise DataError(f"{file}, line {number}: {error}; {expected}") from error
        if not named or not all(isinstance(name, str) and _below(name) for name in named):
            raise DataError(f"{file}, line {number}: {line[:80]!r}; {expected}")
        found.append((number, list(dict.fromkeys(named))))
    if not found:
        raise DataError(f"{file}: names no picture; {expected}")
    return found


def _below(name: str) -> bool:
    """Whether it is the path of a file below a folder."""
    path = PurePosixPath(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
