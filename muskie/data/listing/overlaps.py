"""The frames that overlap most with each frame, kept beside the index of a source and mapped like it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from muskie.data.listing.table import FrameNames
from muskie.data.listing.table_file import Unusable, read_arrays, write_arrays

KEPT = 48
"""Neighbours that are kept of each frame: 240 bytes a frame."""

LEAST = 0.02
"""The smallest overlap that is kept."""


class OverlapTable:
    """Neighbours of frames.

    Args:
        steps: int32 [frames, KEPT], how many frames on in the table each neighbour stands; 0: none.
        shares: uint8 [frames, KEPT], the overlap with it, in 1/255.
    """

    def __init__(self, steps: np.ndarray, shares: np.ndarray) -> None:
        self.steps, self.shares = steps, shares

    def of(self, frames: FrameNames, anchor: int) -> np.ndarray:
        """float32 [len(frames)], the overlap of frame `anchor` of some frames of one scene with each of them; with
        itself, 1."""
        row = frames.numbers[anchor]
        result = np.zeros(len(frames), dtype=np.float32)
        position = anchor + self.steps[row]
        known = (self.steps[row] != 0) & (position >= 0) & (position < len(frames))
        result[position[known]] = self.shares[row][known] / np.float32(255)
        result[anchor] = 1
        return result

    @staticmethod
    def unknown(frames: int) -> tuple[np.ndarray, np.ndarray]:
        """`steps` and `shares` of so many frames of which nothing is known."""
        return np.zeros((frames, KEPT), dtype=np.int32), np.zeros((frames, KEPT), dtype=np.uint8)

    @staticmethod
    def rows(overlaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`steps` and `shares` of the frames of one scene from all overlaps [N, N]: of more than `KEPT` neighbours, so many
        spread evenly from the most to the least overlap, so that far ones are among them."""
        steps, shares = OverlapTable.unknown(len(overlaps))
        for row, values in enumerate(overlaps):
            order = np.argsort(-values, kind="stable")
            order = order[(values[order] >= LEAST) & (order != row)]
            if len(order) > KEPT:
                order = order[np.linspace(0, len(order) - 1, KEPT).round().astype(int)]
            steps[row, : len(order)] = order - row
            shares[row, : len(order)] = np.rint(255 * values[order].clip(0, 1))
        return steps, shares


def write_overlaps(file: Path, of: str, rows: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes those of all scenes of a table, in their order; `of` tells what they were measured of from anything else.

    Raises:
        OSError: the folder cannot be written to.
    """
    steps, shares = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    write_arrays(file, {"steps": steps, "shares": shares}, {"of": of})


def read_overlaps(file: Path, of: str) -> OverlapTable | None:
    """Those of a table; None where there are none, or they were measured of something else."""
    try:
        arrays, noted = read_arrays(file, {"steps", "shares"})
    except (OSError, Unusable):
        return None
    return OverlapTable(arrays["steps"], arrays["shares"]) if noted.get("of") == of else None
