"""Sources that find their scenes by looking at a disk: they look once, in parallel, and keep what they found."""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from muskie.data.listing.kept import alone, anew_is_wanted, index_file
from muskie.data.listing.overlaps import OverlapTable, read_overlaps
from muskie.data.listing.table import SceneTable
from muskie.data.listing.table_file import Unusable, read_table, write_table
from muskie.data.listing.watch import WATCHED, changed, folders_in, times
from muskie.data.scene import Scene, SceneSource
from muskie.errors import ConfigError, DataError

THREADS = 16
"""That look at folders side by side: it is waiting for the disk that takes long."""


class ListedSource(SceneSource):
    """A source whose scenes are found in the parts of a folder, and kept in an index file.

    A subclass names its `parts`, which is quick, and lists the scenes of one part, which is not; its constructor ends with
    `self._list(...)`. Nothing is looked at if an index file of the same class, root and arguments is there and the folders
    that it was made of have not changed (of many, those of a sample of `WATCHED`), and what could not be opened then still
    cannot. Index files lie in the folder `MUSKIE_CACHE`, or `~/.cache/muskie`; without one that can be written to, every
    start looks anew.

    What cannot be opened is left out and kept in `problems`; all of it is an error.
    """

    root: Path
    problems: list[str]
    """What could not be listed, and why."""

    index_file: Path  # where the index is kept, if there is a place to write
    index_seconds: float  # that it took to read or make it
    looked_for: str | None
    """Why the folders were looked at, in words, empty where nothing was kept; None: they were not."""

    @abstractmethod
    def parts(self) -> Sequence[str]:
        """What is listed one by one, in order, e.g. the folders of scenes. Quick.

        Raises:
            DataError: there is none.
        """

    @abstractmethod
    def scenes_in(self, part: str) -> Sequence[Scene]:
        """The scenes of one part, in order, none without frames. It runs in a thread beside others.

        Raises:
            OSError: the part cannot be read, and is left out.
            DataError: it is broken, which is told.
        """

    def arranged(self, scenes: Sequence[Scene]) -> Sequence[Scene]:
        """All scenes in the order that they shall have; those that are left out here are no scenes."""
        return scenes

    def watched(self, scene: Scene) -> Sequence[Path]:
        """Folders, and files that may be rewritten, of which one has changed when the scene has. The folders above them, up
        to the root, are watched too."""
        file = self.file(scene, scene.frames[0])
        return [] if file is None else [file.parent]

    def _list(self, min_images: int = 1, **arguments: Any) -> None:
        """Finds the scenes, or reads what was found before.

        Args:
            min_images: scenes of fewer frames are left out.
            arguments: those of the constructor that change what is found; fit for JSON.

        Raises:
            ConfigError: `min_images` is out of range.
            DataError: there is no scene, or none of enough frames.
        """
        if min_images < 1:
            raise ConfigError(f"{self.config_key}.min_images={min_images}: expected 1 or more")
        self.min_images = min_images
        self._open(arguments)
        lengths = self._table.lengths
        enough = lengths >= min_images
        if not len(lengths):
            first = f"; the first: {self.problems[0]}" if self.problems else ""
            raise DataError(f"data.root={str(self.root)!r}: {self._nothing()}{first}")
        if not enough.any():
            raise DataError(
                f"data.root={str(self.root)!r}: no scene of data.min_images={min_images} images or more; the largest has "
                f"{lengths.max()}"
            )
        self.left_out = int((~enough).sum())
        self._kept = np.flatnonzero(enough) if self.left_out else None

    def _nothing(self) -> str:
        """What to say where no scene was found at all."""
        return "no scene with images found there"

    def __len__(self) -> int:
        return len(self._table) if self._kept is None else len(self._kept)

    @property
    def table(self) -> SceneTable:
        """All scenes, those included that `min_images` leaves out."""
        return self._table

    def scene(self, index: int) -> Scene:
        return self._table[index if self._kept is None else int(self._kept[index])]

    def digest(self) -> str:
        return self._table.digest()

    def lengths(self) -> np.ndarray:
        lengths = self._table.lengths
        return lengths if self._kept is None else lengths[self._kept]

    @cached_property
    def overlap_table(self) -> OverlapTable | None:
        """Which frames overlap, if that was measured (`scripts/index_scenes.py --overlaps`)."""
        return read_overlaps(self.overlaps_file, self.measured_of)

    @property
    def measured_of(self) -> str:
        """What overlaps are measured of: other frames, notes, or files that have changed since make another one."""
        return f"{self._table.digest(noted=True)}-{self._state}"

    @property
    def overlaps_file(self) -> Path:
        """Where that is kept."""
        return self.index_file.with_suffix(".overlaps.safetensors")

    # The index file

    def _open(self, arguments: Mapping[str, Any]) -> None:
        made_of = {
            "source": f"{type(self).__module__}.{type(self).__qualname__}",
            "root": os.path.realpath(self.root),
            "arguments": json.loads(json.dumps(arguments, sort_keys=True)),
        }
        self.index_file = index_file(self.name, made_of)
        began = time.perf_counter()
        self.problems = []
        self._made: int | None = None
        self._state = ""
        self.failed: list[str] = []
        self.bare: list[str] = []
        with alone(self.index_file) as can_write:
            self.looked_for = "it was asked for" if anew_is_wanted() else self._read(made_of)
            if self.looked_for is not None:
                self._make(made_of, can_write)
        self.index_seconds = time.perf_counter() - began

    def _read(self, made_of: Mapping[str, Any]) -> str | None:
        """Takes the file's table; or why not, in words, empty where there is none."""
        try:
            table, noted = read_table(self.index_file)
        except FileNotFoundError:
            return ""
        except (OSError, Unusable) as error:
            return f"its index {self.index_file} cannot be used: {error}"
        if noted.get("made_of") != made_of:
            return f"its index {self.index_file} is of another source: {noted.get('made_of')}"
        if what := changed(noted["watched"], noted["made"]):
            return what
        if what := self._mended(noted.get("failed", []), noted.get("bare", [])):
            return what
        self._table, self._made, self.problems = table, noted["made"], list(noted["problems"])
        self._state, self.listed_parts = noted["state"], noted["parts"]
        self.failed, self.bare = list(noted["failed"]), list(noted["bare"])
        return None

    def _mended(self, failed: Sequence[str], bare: Sequence[str]) -> str | None:
        """Which part has scenes now that had none, in words. Whoever gave the right to read one has changed no folder, and
        pictures may be put where nothing was looked at."""
        if not failed and not bare:
            return None
        self.parts()  # which notes what listing a part may need
        # Of those that are folders, these are watched.
        asked = [*failed, *(part for part in bare if not (self.root / part).exists())][:WATCHED]
        with ThreadPoolExecutor(THREADS) as pool:
            for part, found in zip(asked, pool.map(self._try, asked), strict=True):
                if not isinstance(found, OSError) and (part in failed or any(scene.frames for scene in found)):
                    return f"{part} {'can be read' if part in failed else 'has pictures'} now"
        return None

    def _make(self, made_of: Mapping[str, Any], can_write: bool) -> None:
        """Looks at everything, and keeps what it finds."""
        if self.looked_for:
            print(f"{self.name}: looks at {self.root} anew, for {self.looked_for}", file=sys.stderr)
        made = time.time_ns()
        found, self.failed, bare, self.bare = self._look()
        scenes = self.arranged(found)
        self._table = SceneTable.of(scenes)
        # An empty root is not worth keeping: whoever mends it shall not have to know of the file.
        if not can_write or not scenes:
            return
        watched = self._times(scenes, bare)
        self._state = f"{zlib.crc32(json.dumps(watched, sort_keys=True).encode()):08x}"
        noted = {"made_of": made_of, "problems": self.problems, "failed": self.failed, "made": made, "watched": watched}
        noted |= {"state": self._state, "bare": self.bare, "parts": self.listed_parts}
        try:
            write_table(self.index_file, self._table, noted)
            self._table, _ = read_table(self.index_file)
            self._made = made
        except (OSError, Unusable) as error:
            print(f"{self.name}: its index cannot be kept in {self.index_file.parent} ({error})", file=sys.stderr)

    def _look(self) -> tuple[list[Scene], list[str], list[str], list[str]]:
        """Lists all parts, in their order: scenes, parts that could not be opened, parts and scenes without frames, and
        parts without any scene."""
        self.problems = []
        parts = self.parts()
        self.listed_parts = len(parts)
        scenes, failed, bare, hollow = [], [], [], []
        bar = tqdm(total=len(parts), desc=f"indexing {self.name}", unit=" parts", delay=1, disable=None, leave=False)
        with ThreadPoolExecutor(THREADS) as pool, bar:
            for part, found in zip(parts, pool.map(self._try, parts), strict=True):
                bar.update()
                if isinstance(found, OSError):
                    # A part may be deep: which of its folders it is.
                    where = f" ({found.filename})" if found.strerror and found.filename else ""
                    self.problems.append(f"{part}: {found.strerror or found}{where}")
                    failed.append(part)
                else:
                    scenes += [scene for scene in found if scene.frames]
                    bare += [scene.name for scene in found if not scene.frames]
                    bare += [] if found else [part]
                    hollow += [] if any(scene.frames for scene in found) else [part]
        return scenes, failed, bare, hollow

    def _try(self, part: str) -> Sequence[Scene] | OSError:
        try:
            return self.scenes_in(part)
        except OSError as error:
            return error

    def _times(self, scenes: Sequence[Scene], bare: Sequence[str]) -> dict[str, int]:
        """When what was looked at had last changed; where nothing was found, something may be put."""
        root = self.root.absolute()  # who reads the index may stand in another folder
        watched = {path.absolute() for scene in scenes for path in self.watched(scene)}
        above = {folder for path in watched for folder in path.parents if folder.is_relative_to(root)}
        inside = [folder for name in bare for folder in folders_in(root / name)]
        return times({root} | (above - watched)) | times(inside) | times(watched)

    def __getstate__(self) -> dict[str, Any]:
        """A data worker that is started anew maps the file itself, if it still is that of this table: pickling copies it."""
        state = {name: value for name, value in vars(self).items() if name != "overlap_table"}
        if self._made is not None and self._mapped()[1] == self._made:
            del state["_table"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "_table" not in state:
            table, made = self._mapped()
            if table is None or made != self._made:
                raise DataError(f"{self.name}: its index {self.index_file} was replaced while it was handed on; start again")
            self._table = table

    def _mapped(self) -> tuple[SceneTable | None, int | None]:
        """What the index file holds now, and when that was made."""
        try:
            table, noted = read_table(self.index_file)
        except (OSError, Unusable):
            return None, None
        return table, noted.get("made")
