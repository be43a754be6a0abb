"""Measuring once which frames of a source overlap, for `plan.sampling=covisible`."""

from __future__ import annotations

from typing import Any

import numpy as np

from muskie.data.covisibility import scene_overlaps
from muskie.data.listing.listed import ListedSource
from muskie.data.listing.overlaps import OverlapTable, write_overlaps
from muskie.data.listing.processes import in_processes
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError, DataError
from muskie.paths import check_writable


def measure_overlaps(source: SceneSource, workers: int = 0) -> None:
    """Measures the overlaps of all scenes and keeps them beside the source's index.

    Args:
        source: which is from then on one whose overlaps are known.
        workers: processes that measure; 0: this one.

    Raises:
        ConfigError: the source keeps no index.
        DataError: they cannot be written, or no two frames are known to overlap.
    """
    if not isinstance(source, ListedSource):
        raise ConfigError(
            f"--overlaps: source {source.label!r} ({type(source).__name__}) keeps no index, beside which overlaps are kept; "
            "only sources that list a folder do. Leave --overlaps out, and train with plan.sampling=window or random"
        )
    file = source.overlaps_file
    try:
        check_writable(file.parent)  # before hours of work
    except OSError as error:
        raise DataError(f"{file.parent} cannot be written to ({error}); set MUSKIE_CACHE to a folder that can") from error
    numbers = range(len(source.table))
    rows = list(in_processes(source, _rows, numbers, workers, f"overlaps of {source.label}"))
    if not any(steps.any() for steps, _ in rows):
        raise DataError(
            f"--overlaps: source {source.label!r}: no two frames of a scene are known to overlap; its frames lack depth or "
            "cameras, and share no points. Train with plan.sampling=window or random"
        )
    try:
        write_overlaps(file, source.measured_of, rows)
    except OSError as error:
        raise DataError(f"{file} cannot be written ({error})") from error
    vars(source).pop("overlap_table", None)  # what was known before


def told_overlaps(source: SceneSource, wanted: tuple[float, float]) -> dict[str, Any] | None:
    """How many neighbours the frames of a source have, and how many that overlap by `wanted` shares; None where nothing can
    be kept of it, empty where nothing is."""
    if not isinstance(source, ListedSource):
        return None
    table = source.overlap_table
    if table is None:
        return {}
    shares = np.asarray(table.shares) / 255  # [frames, KEPT], 0 where there is no neighbour
    neighbours = (np.asarray(table.steps) != 0).sum(1)
    within = ((np.asarray(table.steps) != 0) & (shares >= wanted[0]) & (shares <= wanted[1])).sum(1)
    return {
        "file": str(source.overlaps_file),
        "least": int(neighbours.min()),
        "median": float(np.median(neighbours)),
        "most": int(neighbours.max()),
        "without": float((neighbours == 0).mean()),
        "range": list(wanted),
        "median_within": float(np.median(within)),
    }


def _rows(source: SceneSource, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Of one scene of its table."""
    assert isinstance(source, ListedSource)
    scene = source.table[number]
    found = scene_overlaps(source, scene)
    return OverlapTable.unknown(len(scene.frames)) if found is None else OverlapTable.rows(found)
