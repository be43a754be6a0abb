"""From a result to the files that viewers, COLMAP and other programs open."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from muskie.errors import ConfigError, nearest
from muskie.reconstruction.cloud import cloud
from muskie.reconstruction.confidence import EDGE, PERCENTILE, check_filters
from muskie.reconstruction.export.cameras import cameras_content
from muskie.reconstruction.export.colmap import MAX_POINTS, RESOLUTIONS, write_colmap
from muskie.reconstruction.export.folder import check_output, replace_result
from muskie.reconstruction.export.glb import write_glb
from muskie.reconstruction.export.maps import write_maps
from muskie.reconstruction.export.ply import write_ply
from muskie.reconstruction.result import Reconstruction
from muskie.visualization.contact_sheet import contact_sheet

FORMATS = ("glb", "ply", "colmap", "maps", "sheet")
"""`scene.glb`; `points.ply`; `sparse/0`; `depth` and `confidence`; `contact_sheet.png`. `cameras.json` is always written."""
GLB_POINTS = 1_000_000
"""Points in `scene.glb`: 20 MB, what a viewer in a browser turns smoothly."""

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
        glb_points, ply_points, colmap_points: at most so many, evenly spread over the pictures; None: all that are kept.
        colmap_resolution: `"original"` or `"processed"`, see `write_colmap`.
        title: above the contact sheet.

    Returns:
        The files that were written.

    Raises:
        ConfigError: an unknown format, a setting out of range, or a folder that must not be written to.
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
    filters: dict[str, Any] = {"percentile": confidence_percentile, "edge": edge}

    def write(beside: Path) -> dict[str, Any]:
        to_file: Tensor | None = None
        maps: dict[str, list[str]] = {}
        if "glb" in formats:
            points = cloud(reconstruction, max_points=glb_points, **filters)
            to_file = write_glb(beside / "scene.glb", reconstruction, points)
        if "ply" in formats:
            write_ply(beside / "points.ply", cloud(reconstruction, max_points=ply_points, **filters))
        if "colmap" in formats:
            write_colmap(beside, reconstruction, resolution=colmap_resolution, max_points=colmap_points, **filters)
        if "maps" in formats:
            maps = write_maps(beside, reconstruction)
        if "sheet" in formats:
            sheet = contact_sheet(reconstruction, title=title, **filters)
            Image.fromarray(sheet.permute(1, 2, 0).contiguous().numpy()).save(beside / "contact_sheet.png")
        return cameras_content(reconstruction, to_file, maps)

    return replace_result(Path(folder), write, overwrite)
