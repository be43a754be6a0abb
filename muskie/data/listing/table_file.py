"""The file that a table of scenes is kept in: safetensors, mapped into memory, so that all processes share it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from muskie.data.listing.table import TEXTS, SceneTable

VERSION = 2
"""Of the layout; a file of another one is made anew."""

NEEDED = {"scene_ends", *TEXTS, *(f"{name}_ends" for name in TEXTS)}


class Unusable(Exception):
    """A file that is no table of this version, in words."""


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray], noted: Mapping[str, Any]) -> None:
    """Writes arrays and what is `noted` of them (for JSON) beside, flushes, then renames: a killed write harms nothing.

    Raises:
        OSError: the folder cannot be written to.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{secrets.token_hex(4)}")  # processes of two machines may have one number
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        save_file(whole, beside, metadata={"muskie": json.dumps({**noted, "version": VERSION})})
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.chmod(0o666 & ~_umask())  # the library lets nobody else read it
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_arrays(file: Path, needed: Collection[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays, mapped and not read, and what was noted of them.

    Raises:
        FileNotFoundError: there is no such file.
        Unusable: it is broken, cut short, of another version, or lacks an array.
    """
    try:
        with safe_open(file, framework="numpy") as opened:  # which checks that nothing is missing
            noted = json.loads((opened.metadata() or {}).get("muskie", "{}"))
            names = set(opened.keys())
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, ValueError) as error:
        raise Unusable(f"it is broken ({error})") from error
    if not isinstance(noted, dict) or "version" not in noted:
        raise Unusable("it is another program's")
    if noted["version"] != VERSION:
        raise Unusable(f"it is of version {noted['version']}, and this is {VERSION}")
    if missing := set(needed) - names:
        raise Unusable(f"it lacks {', '.join(sorted(missing))}")
    try:
        return _map(file), noted
    except KeyError as error:
        raise Unusable(f"it holds numbers of another kind ({error})") from error


def write_table(file: Path, table: SceneTable, noted: Mapping[str, Any]) -> None:
    """Writes a table, see `write_arrays`."""
    write_arrays(file, table.arrays, noted)


def read_table(file: Path) -> tuple[SceneTable, dict[str, Any]]:
    """A table and what was noted with it, see `read_arrays`."""
    arrays, noted = read_arrays(file, NEEDED)
    return SceneTable(arrays), noted


def _map(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, mapped: the library would copy them. The file begins with the length of its header
    and the header, in which every array has its place (https://huggingface.co/docs/safetensors)."""
    everything = np.memmap(file, dtype=np.uint8, mode="r")
    length = int(everything[:8].view("<u8")[0])
    header = json.loads(bytes(everything[8 : 8 + length]))
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            plain = np.asarray(everything[start:end])  # shares the memory; a memmap would be slower to cut
            arrays[name] = plain.view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


_TYPES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64, "F64": np.float64}
