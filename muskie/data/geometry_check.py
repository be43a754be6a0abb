"""Whether data has the depth and cameras that training reconstruction needs, asked before anything is trained."""

from __future__ import annotations

import numpy as np

from muskie.data.index import Place, SceneIndex
from muskie.data.scene import Frame, SceneSource
from muskie.errors import DataError

WITH_GEOMETRY = "data=synthetic, sevenscenes, scannet, navi, nrgbd, co3d, tum, eth3d, dtu"
"""Sources that have depth and cameras."""


def check_geometry(index: SceneIndex) -> None:
    """Looks at a few frames of every source, until one of it has both.

    Raises:
        DataError: a source none of whose frames looked at has depth and a camera with finite numbers. What cannot be read is
            no evidence.
    """
    for source in index.sources:
        told = _lacking(index, source)
        if told:
            root = getattr(source, "root", None)
            where = f"{source.config_key}, {root}" if root is not None else source.config_key
            raise DataError(
                f"source {source.name!r} ({where}): {told[0]}, and so for all {len(told)} frames looked at. Training "
                f"reconstruction needs depth and cameras; sources with both: {WITH_GEOMETRY}, or one of your own "
                "(docs/data.md)"
            )


def _lacking(index: SceneIndex, source: SceneSource) -> list[str]:
    """What the frames looked at lack; nothing if one lacks nothing."""
    told = []
    for place in _some(index, source):
        for name in dict.fromkeys((place.frames[0], place.frames[-1])):
            lack = _lack(place, name)
            if lack == "":
                return []
            told += [lack] if lack else []
    return told


def _some(index: SceneIndex, source: SceneSource) -> list[Place]:
    """The first, the middle and the last place of a source."""
    last = index.places(source) - 1
    return [index.place(source, number) for number in sorted({0, last // 2, last})]


def _lack(place: Place, name: str) -> str | None:
    """What a frame lacks; empty for nothing, None where it cannot be read."""
    try:
        frame = place.source.read(place.scene, name, at_least=1, geometry=True)
    except OSError:
        return None
    problem = geometry_problem(frame)
    if not problem and frame.depth is not None and not (frame.depth > 0).any():
        problem = "its depth is known nowhere"
    return f"{place.scene.name}/{name}: {problem}" if problem else ""


def geometry_problem(frame: Frame) -> str:
    """Why a frame cannot be trained on, in words; empty where it can."""
    if frame.depth is None:
        return "it has no depth"
    if frame.camera is None:
        return "it has no camera"
    finite = np.isfinite(frame.camera.intrinsics).all() and np.isfinite(frame.camera.cam2world).all()
    return "" if finite else "its camera has numbers that are not finite"
