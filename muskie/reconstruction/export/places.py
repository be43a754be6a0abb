"""Where the files of a result will lie, known before there is one: would they replace what somebody else put there?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from muskie.errors import ConfigError
from muskie.reconstruction.export.folder import earlier_files

PLACES = {
    "glb": ("scene.glb",),
    "ply": ("points.ply",),
    "colmap": tuple(f"sparse/0/{name}.{kind}" for name in ("cameras", "images", "points3D") for kind in ("bin", "txt")),
    "maps": tuple(f"{kind}/*.{end}" for kind in ("depth", "confidence") for end in ("npy", "png")),
    "sheet": ("contact_sheet.png",),
}
"""Format -> patterns of its files, as paths from the folder; `*` for what depends on the views."""
PROCESSED = ("images/*.png",)
"""What `"colmap"` has beside these where its resolution is `"processed"`."""


def check_places(folder: Path, formats: Collection[str], colmap_resolution: str = "original") -> None:
    """To be called before any work, where a folder may hold an earlier result that is to be replaced. The names of views are
    not known yet: a picture that somebody put beside those of depth is refused, whatever it is called.

    Args:
        folder: of the result; may be missing.
        formats: which of `muskie.reconstruction.export.FORMATS`.
        colmap_resolution: see `muskie.reconstruction.export.colmap.write_colmap`.

    Raises:
        ConfigError: at a place of the new result lies what the earlier one has not written.
    """
    patterns = [pattern for name in formats for pattern in PLACES[name]]
    if "colmap" in formats and colmap_resolution == "processed":
        patterns += PROCESSED
    own = {folder / name for name in earlier_files(folder) or ()}
    above = {folder / parent for pattern in patterns for parent in list(Path(pattern).parents)[:-1]}
    taken = {path for pattern in patterns for path in folder.glob(pattern)} | {path for path in above if path.is_file()}
    if foreign := sorted(taken - own):
        more = f" and {len(foreign) - 1} more are" if len(foreign) > 1 else " is"
        raise ConfigError(
            f"{str(foreign[0])!r}{more} not of the earlier reconstruction, and might be replaced; "
            f"move what you want to keep away, or give another folder"
        )
