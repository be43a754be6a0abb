"""What a source holds, as numbers and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from muskie.data.listing.listed import ListedSource
from muskie.data.listing.look import Run, everything, look_at, spread
from muskie.data.listing.measure import told_overlaps
from muskie.data.listing.processes import in_processes
from muskie.data.listing.summary import FIRST, summary
from muskie.data.scene import SceneSource

SHORT = (8, 24)
"""Frames that recipes ask of a scene; scenes of fewer are counted."""

ENDLESS = 1_000_000
"""Frames of a source without files from which on looking at all of them is refused: they are made when they are read."""


def describe(
    source: SceneSource,
    looks: int = 64,
    everywhere: bool = False,
    workers: int = 0,
    overlap: tuple[float, float] = (0.1, 0.8),
) -> dict[str, Any]:
    """What a source holds, fit for JSON.

    Args:
        source: of any kind; one that is no `ListedSource` has no `index`.
        looks: about how many frames are looked at, spread evenly over the scenes; 0: none.
        everywhere: look at all of them, but of endless sources.
        workers: processes that look; 0: this one.
        overlap: neighbours that overlap so much are counted, where overlaps were measured.
    """
    lengths = source.lengths()
    endless = source.uniform_length and lengths.sum() >= ENDLESS
    root = getattr(source, "root", None)
    found: dict[str, Any] = {
        "source": source.label,
        "class": f"{type(source).__module__}.{type(source).__qualname__}",
        "root": None if root is None else str(root),
        "index": _index(source) if isinstance(source, ListedSource) else None,
        "scenes": len(source),
        "left_out": source.left_out,
        "min_images": source.min_images,
        "rooms": None if endless else _rooms(source),
        "frames": int(lengths.sum()),
        "frames_a_scene": [int(lengths.min()), float(np.median(lengths)), int(lengths.max())],
        "shorter_than": {str(frames): int((lengths < frames).sum()) for frames in SHORT},
        "problems": {"count": len(source.problems), "first": list(source.problems[:FIRST])},
        "endless": bool(endless),
    }
    runs: list[Run] = list(everything(source)) if everywhere and not endless else spread(source, looks)
    found["all"] = everywhere and not endless
    if runs:
        side_by_side = in_processes(source, look_at, runs, workers, f"looking at {source.label}")
        found["looked"] = summary(look for some in side_by_side for look in some)
    found["overlaps"] = told_overlaps(source, overlap)
    return found


def too_much(found: dict[str, Any], max_unusable: float) -> str:
    """What to tell of a description of all frames if more than this share of them is unusable, in words; else empty."""
    looked = found.get("looked")
    if not found["all"] or not looked:
        return ""
    unreadable, wrong = looked["unreadable"]["count"], looked["wrong"]["count"]
    share = (unreadable + wrong) / max(looked["frames"], 1)
    if share <= max_unusable:
        return ""
    return (
        f"source {found['source']!r}: {unreadable + wrong:,} of {looked['frames']:,} frames are unusable, more than "
        f"max_unusable={max_unusable:g}: {unreadable:,} pictures cannot be read, depth, cameras or masks of {wrong:,} are "
        f"wrong. Mend or remove them, or allow more: max_unusable={min(1.0, round(share + 0.05, 2)):g}"
    )


def lines(found: dict[str, Any]) -> Iterator[str]:
    """A description for people; names that cannot be printed are escaped."""
    for title, text in _rows(found):
        # Line by line: a name may hold a line break, and bytes that are no text.
        yield f"{title:<16}{text}".replace("\n", "\\n").encode("utf-8", "backslashreplace").decode().rstrip()


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    where = f" of {found['root']}" if found["root"] is not None else ""
    yield f"{found['source']}: ", f"{found['class']}{where}"
    if index := found["index"]:
        how = "read" if index["looked_for"] is None else "made now"
        kept = f"{index['file']} ({index['bytes'] / 1e6:.2f} MB)" if index["bytes"] else f"cannot be kept in {index['file']}"
        yield "  index", f"{kept}, {how} in {index['seconds']:.2f} s"
    out = f", {found['left_out']:,} of fewer than min_images={found['min_images']} left out" if found["left_out"] else ""
    rooms = f", {found['rooms']:,} rooms" if found["rooms"] is not None else ""
    yield "  scenes", f"{found['scenes']:,}{rooms}{out}"
    least, middle, most = found["frames_a_scene"]
    yield "  frames", f"{found['frames']:,}; of a scene {least:,} / {middle:,g} / {most:,} (fewest, median, most)"
    short = [f"{count:,} of fewer than {frames} frames" for frames, count in found["shorter_than"].items()]
    yield "  short scenes", ", ".join(short)
    yield from _named("  not listed", found["problems"])
    if found["endless"]:
        yield "  endless", "its frames are made when they are read: some were looked at"
    yield from _looked(found["looked"]) if "looked" in found else ()
    if overlaps := found["overlaps"]:
        low, high = overlaps["range"]
        counts = f"{overlaps['least']} / {overlaps['median']:g} / {overlaps['most']} (fewest, median, most)"
        within = f"{overlaps['median_within']:g} of them in {low:g} to {high:g}"
        yield "  overlaps", f"{overlaps['file']}"
        yield "", f"neighbours of a frame: {counts}, {within}; {overlaps['without']:.1%} of the frames have none"
    elif overlaps is not None:
        yield "  overlaps", "not measured (--overlaps)"


def _looked(looked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "  looked at", f"{looked['frames']:,} frames"
    sizes = [f"{width}x{height} {share:.1%}" for width, height, share in looked["sizes"]]
    yield "  pictures", ", ".join([*sizes, *([f"and {n} other sizes"] if (n := looked["other_sizes"]) else [])]) or "none"
    yield from _named("  unreadable", looked["unreadable"])
    if looked["depth"]:
        near, middle, far = looked["depth_range"]
        yield (
            "  depth",
            (
                f"{looked['depth']:.1%} of the frames, {looked['depth_known']:.1%} of its pixels known; {near:.3g} / "
                f"{middle:.3g} / {far:.3g} (5, 50, 95 %)"
            ),
        )
    if looked["camera"]:
        (least, _, most), (narrow, _, wide) = looked["focal"], looked["focal_of_width"]
        focal = f"focal length {least:.4g} to {most:.4g} pixels, {narrow:.3g} to {wide:.3g} of the width"
        yield "  cameras", f"{looked['camera']:.1%} of the frames; {focal}"
    if looked["mask"]:
        yield "  masks", f"{looked['mask']:.1%} of the frames"
    if lacking := [name for name in ("depth", "camera", "mask") if looked[name] == 0]:
        yield "  without", ", ".join(lacking)
    yield from _named("  wrong", looked["wrong"])
    if looked["disagreement"] is not None:
        yield (
            "  neighbours",
            f"their depth disagrees by {looked['disagreement']:.2%} (median of {looked['compared']:,} pairs)",
        )


def _named(title: str, what: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield title, f"{what['count']:,}"
    yield from (("", one) for one in what["first"])


def _index(source: ListedSource) -> dict[str, Any]:
    file = source.index_file
    size = file.stat().st_size if file.is_file() else 0
    return {"file": str(file), "bytes": size, "looked_for": source.looked_for, "seconds": source.index_seconds}


def _rooms(source: SceneSource) -> int:
    """How many rooms the scenes show; those that show one lie side by side."""
    scenes = (source.scene(number) for number in range(len(source)))
    return sum(1 for _ in groupby(scene.name if scene.room is None else ("room", scene.room) for scene in scenes))
