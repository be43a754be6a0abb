"""Scenes and their frames as a few flat arrays: what a source lists, in memory or mapped from a file.

A list of a hundred million strings takes gigabytes in every data worker. Flat arrays in a mapped file are shared by all
processes, and cost nothing until a scene is looked at.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from muskie.data.scene import Scene

TEXTS = ("names", "rooms", "frames")
"""What is text: UTF-8, one after the other, beside where each ends."""


class Texts:
    """Strings in one block of bytes.

    Args:
        block: uint8 [bytes], UTF-8 (with surrogates, for names of files that are none).
        ends: int64 [N], where each ends.
    """

    def __init__(self, block: np.ndarray, ends: np.ndarray) -> None:
        self.block, self.ends = block, ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> str:
        start = int(self.ends[number - 1]) if number else 0
        return bytes(self.block[start : int(self.ends[number])]).decode("utf-8", "surrogateescape")

    @staticmethod
    def of(texts: Iterable[str]) -> Texts:
        """The same strings."""
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        ends = np.cumsum([len(part) for part in encoded], dtype=np.int64)
        return Texts(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)


class FrameNames(Sequence[str]):
    """The names of some frames that stand side by side in a table, as `numbers` says. They are decoded when asked for."""

    __slots__ = ("_texts", "numbers")

    def __init__(self, texts: Texts, numbers: range) -> None:
        self._texts, self.numbers = texts, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> FrameNames: ...
    def __getitem__(self, index: int | slice) -> str | FrameNames:
        if isinstance(index, slice):
            return FrameNames(self._texts, self.numbers[index])
        return self._texts[self.numbers[index]]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def __repr__(self) -> str:
        return repr(list(self)) if len(self) < 6 else f"[{self[0]!r}, {self[1]!r}, ..., {self[-1]!r}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)  # of these frames alone, not of the whole table


class SceneTable(Sequence[Scene]):
    """Scenes as arrays.

    Args:
        arrays: `names` and `rooms`, of scenes, and `frames`, of all frames one after the other, as uint8 blocks of text
            with int64 `names_ends`, `rooms_ends` and `frames_ends`; `scene_ends` int64 [S], the frame with which each scene
            ends; if the source notes numbers of its frames, `numbers` float64 [frames, K]. An empty room is none.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = dict(arrays)
        self._texts = {name: Texts(self.arrays[name], self.arrays[f"{name}_ends"]) for name in TEXTS}
        self._ends, self._numbers = self.arrays["scene_ends"], self.arrays.get("numbers")

    @staticmethod
    def of(scenes: Sequence[Scene]) -> SceneTable:
        """The same scenes. Either all or none of them have `numbers`, of one width."""
        columns: dict[str, Iterable[str]] = {
            "names": (scene.name for scene in scenes),
            "rooms": (scene.room or "" for scene in scenes),
            "frames": (frame for scene in scenes for frame in scene.frames),
        }
        arrays: dict[str, np.ndarray] = {}
        for name, texts in columns.items():
            packed = Texts.of(texts)
            arrays |= {name: packed.block, f"{name}_ends": packed.ends}
        arrays["scene_ends"] = np.cumsum([len(scene.frames) for scene in scenes], dtype=np.int64)
        noted = [scene.numbers for scene in scenes if scene.numbers is not None]
        if noted:
            arrays["numbers"] = np.concatenate(noted).astype(np.float64)
            if len(arrays["numbers"]) != len(arrays["frames_ends"]):
                raise ValueError(f"{len(arrays['frames_ends'])} frames, and numbers of {len(arrays['numbers'])} of them")
        return SceneTable(arrays)

    def __len__(self) -> int:
        return len(self._ends)

    def digest(self, noted: bool = False) -> str:
        """Tells tables of other scenes or frames apart; `noted`: also of other numbers that sources note."""
        names = ["names", "names_ends", "frames", "frames_ends", "scene_ends"]
        parts = (self.arrays[name] for name in (*names, *(["numbers"] if noted and "numbers" in self.arrays else [])))
        return "-".join(f"{zlib.crc32(part.tobytes()):08x}" for part in parts)

    @property
    def frames(self) -> int:
        """How many frames there are in all."""
        return int(self._ends[-1]) if len(self) else 0

    @property
    def lengths(self) -> np.ndarray:
        """int64 [S], frames of each scene."""
        return np.diff(self._ends, prepend=0)

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index: int | slice) -> Scene | list[Scene]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        start, end = int(self._ends[number - 1]) if number else 0, int(self._ends[number])
        numbers = None if self._numbers is None else self._numbers[start:end]
        names = FrameNames(self._texts["frames"], range(start, end))
        return Scene(self._texts["names"][number], names, self._texts["rooms"][number] or None, numbers)

    def __iter__(self) -> Iterator[Scene]:
        return (self[number] for number in range(len(self)))
