"""Sequences that annotation files name: lists of pictures that show the same, as somebody found (MuM, arXiv 2511.17309)."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Frame, Scene
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.natural import natural_key, naturally
from muskie.data.sources.there import lacking, there
from muskie.errors import DataError
from muskie.paths import typed_path

SUFFIXES = (".jgz", ".json.gz", ".json")
EXPECTED = "JSON, packed by gzip or not: scene -> list of sequences -> list of {'filepath': a path below data.root}"


class AnnotatedSequences(ListedSource):
    """The sequences of annotation files; a sequence is a scene, `<scene>/<its number>`, with the file's name before it where
    there are several.

    Layout: pictures anywhere below `root`; `annotations`, a file or a folder of files (`.jgz`, `.json.gz`, `.json`), each
    `{scene: [[{"filepath": path below root}, ...], ...]}`, as MuM annotates MegaDepth: a sequence is a picture and those
    that share most points of a reconstruction with it. All sequences of a scene are of one room. Since they share
    pictures, hold out scenes (`holdout.by=scenes`), not frames.

    Frames keep the order of the file, each once; that order means nothing, so `window` covers the longest sequence. Pictures
    that are not there are left out, which `problems` tells. There are no cameras and no depth.

    Args:
        root: the folder that the paths begin in.
        annotations: the file, or the folder of files.
        min_images: sequences of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range.
        DataError: `root` or `annotations` is missing, or no sequence with pictures is found.
    """

    name = "annotations"
    shares_frames = True
    min_images: int

    def __init__(self, root: str | Path, annotations: str | Path, min_images: int = 1) -> None:
        self.root = existing_folder(root, "the pictures that data.annotations names").resolve()
        self.annotations = typed_path(annotations, "data.annotations").resolve()
        self._list(min_images, annotations=str(self.annotations))
        self.window = int(self.lengths().max())

    def parts(self) -> Sequence[str]:
        given = f"data.annotations={str(self.annotations)!r}"
        if self.annotations.is_file():
            return [self.annotations.name]
        if not self.annotations.is_dir():
            raise DataError(f"{given} does not exist; give a file, or a folder of files, of {EXPECTED}")
        found = naturally(name for name in os.listdir(self.annotations) if name.endswith(SUFFIXES) and name[0] != ".")  # noqa: PTH208
        if not found:
            raise DataError(f"{given} holds no {', '.join(SUFFIXES)} file; expected {EXPECTED}")
        return found

    def scenes_in(self, part: str) -> Sequence[Scene]:
        sequences = _read(self._folder / part)
        named = dict.fromkeys(name for lists in sequences.values() for frames in lists for name in frames)
        present = set(there(self.root, named))
        if named and len(present) < len(named):
            missing = next(name for name in named if name not in present)
            if not present:
                raise OSError(
                    f"none of its {len(named)} pictures is there, e.g. {self.root / missing}; data.root is the folder that "
                    f"the paths begin in"
                )
            self.problems.append(f"{part}: {lacking(len(named), len(present), missing)}")
        before = "" if self.annotations.is_file() else f"{part.partition('.')[0]}/"
        return [
            Scene(f"{before}{scene}/{number}", kept, room=scene)
            for scene in naturally(sequences)
            for number, frames in enumerate(sequences[scene])
            if (kept := [name for name in dict.fromkeys(frames) if name in present])
        ]

    def arranged(self, scenes: Sequence[Scene]) -> Sequence[Scene]:
        """Those of a room side by side, though several files may have some of it."""
        return sorted(scenes, key=lambda scene: natural_key(scene.room or ""))

    def watched(self, scene: Scene) -> Sequence[Path]:
        files = [self.annotations] if self.annotations.is_file() else [self.annotations / part for part in self.parts()]
        return [*files, self.annotations, self.file(scene, scene.frames[0]).parent]

    def _nothing(self) -> str:
        return f"no sequence found in data.annotations={str(self.annotations)!r}; expected {EXPECTED}"

    @property
    def _folder(self) -> Path:
        return self.annotations.parent if self.annotations.is_file() else self.annotations

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return Frame(open_image(self.file(scene, frame), None if geometry else at_least))

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / frame

    def camera(self, scene: Scene, frame: str) -> None:
        return None


def _read(file: Path) -> dict[str, list[list[str]]]:
    """Paths of the pictures of the sequences of each scene. Millions of entries are turned into paths as they are read, and
    each path is kept once.

    Raises:
        OSError: the file is missing or broken; the message names it.
    """
    once: dict[str, str] = {}

    def path(entry: dict[str, Any]) -> Any:
        return once.setdefault(entry["filepath"], entry["filepath"]) if "filepath" in entry else entry

    try:
        content = file.read_bytes()
        text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        scenes = json.loads(text, object_hook=path)
    except (OSError, ValueError, TypeError, EOFError, zlib.error) as error:
        raise OSError(f"{file}: cannot be read ({error}); expected {EXPECTED}") from error
    if not isinstance(scenes, dict) or not all(_are_sequences(sequences) for sequences in scenes.values()):
        raise OSError(f"{file}: expected {EXPECTED}")
    return scenes


def _are_sequences(found: Any) -> bool:
    return isinstance(found, list) and all(
        isinstance(frames, list) and all(isinstance(name, str) for name in frames) for frames in found
    )
