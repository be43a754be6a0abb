"""From a result to the files that viewers, COLMAP and other programs open."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from muskie.errors import ConfigError, nearest
from muskie.reconstruction.cloud import cloud_at, clouds_at
from muskie.reconstruction.confidence import EDGE, PERCENTILE, check_filters, evenly, kept_pixels
from muskie.reconstruction.contact_sheet import contact_sheet
from muskie.reconstruction.export.cameras import cameras_content
from muskie.reconstruction.export.colmap import MAX_POINTS, RESOLUTIONS, write_colmap
from muskie.reconstruction.export.folder import check_output, replace_result
from muskie.reconstruction.export.glb import write_glb
from muskie.reconstruction.export.maps import write_maps
from muskie.reconstruction.export.ply import write_ply
from muskie.reconstruction.result import Reconstruction

FORMATS = ("glb", "ply", "colmap", "maps", "sheet")
"""`scene.glb`; `points.ply`; `sparse/0`; `depth` and `confidence`; `contact_sheet.png`. `cameras.json` is always written."""
GLB_POINTS = 1_000_000
"""Points in `scene.glb`: 24 MB, what a viewer in a browser turns smoothly."""

__all__ = ["FORMATS", "check_output", "export"]


def export(
    reconstruction: Reconstruction,
    folder: Path | str,
    *,
    formats: Collection[str] = FORMATS,
    overwrite: bool = False,
    confidence_percentile: float = PERCENTILE,
    edge: float = EDGE,
    glb_points: int = GLB_POINTS,
    ply_points: int | None = None,
    colmap_points: int = MAX_POINTS,
    colmap_resolution: str = "original",
    title: str | None = None,
) -> list[Path]:
    """Writes a result into a folder; all of it, or nothing.

    Args:
        reconstruction: on any device.
        folder: new, empty, or that of an earlier result with `overwrite`, whose files alone are then removed.
        formats: which of `FORMATS`.
        confidence_percentile: this share of the points, in percent, is left out of GLB, PLY, COLMAP and the sheet, the least
            sure ones; depth and confidence maps are always whole.
        edge: so are points on edges of depth, whose surface seems to be seen at less than these degrees; 0: none.
        glb_points, ply_points, colmap_points: at most so many, evenly spread over the pictures; None, of GLB and
            PLY: all that are kept.
        colmap_resolution: `"original"` or `"processed"`, see `write_colmap`.
        title: above the contact sheet.

    Returns:
        The files that were written. `notes` of `cameras.json` are those of the result, and say if no point was left.

    Raises:
        ConfigError: an unknown format, a setting out of range, or a folder that must not or cannot be written to.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ConfigError(f"unknown format {unknown[0]!r}{nearest(unknown[0], FORMATS)}")
    check_filters(confidence_percentile, edge)
    if colmap_resolution not in RESOLUTIONS:
        raise ConfigError(f"colmap_resolution={colmap_resolution!r}: expected one of {', '.join(map(repr, RESOLUTIONS))}")
    counts: Sequence[tuple[str, int | None]] = (
        ("glb_points", glb_points),
        ("ply_points", ply_points),
        ("colmap_points", colmap_points),
    )
    for key, count in counts:
        if count is not None and count < 1:
            raise ConfigError(f"{key}={count}: expected 1 or more")
    kept = kept_pixels(reconstruction, confidence_percentile, edge)
    count = int(kept.sum())
    if not count:
        reconstruction = replace(reconstruction, notes=[*reconstruction.notes, _nothing_kept(reconstruction)])

    def write(beside: Path) -> dict[str, Any]:
        to_file: Tensor | None = None
        maps: dict[str, list[str]] = {}
        if "glb" in formats:
            points = cloud_at(reconstruction, evenly(kept, glb_points), count)
            to_file = write_glb(beside / "scene.glb", reconstruction, points)
        if "ply" in formats:
            chosen = evenly(kept, ply_points)
            write_ply(beside / "points.ply", clouds_at(reconstruction, chosen, count), int(chosen.sum()))
        if "colmap" in formats:
            write_colmap(beside, reconstruction, kept, resolution=colmap_resolution, max_points=colmap_points)
        if "maps" in formats:
            maps = write_maps(beside, reconstruction)
        if "sheet" in formats:
            sheet = contact_sheet(reconstruction, title=title, percentile=confidence_percentile, edge=edge)
            Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy()).save(beside / "contact_sheet.png")
        return cameras_content(reconstruction, to_file, maps)

    return replace_result(Path(folder), write, overwrite)


def _nothing_kept(reconstruction: Reconstruction) -> str:
    valid = int(reconstruction.valid.sum())
    if not valid:
        return "no point lies in front of its camera, so that there are cameras alone; try another model"
    return f"all of {valid:,} points lie on edges of depth, so that clouds are empty; edge=0 (--edge 0) keeps them"
