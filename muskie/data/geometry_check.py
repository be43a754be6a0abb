"""Whether data has the depth and cameras that training reconstruction needs, asked before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from muskie.data.images import decode
from muskie.data.index import Place, SceneIndex
from muskie.data.scene import Camera, Frame, SceneSource
from muskie.errors import DataError

WITH_GEOMETRY = (
    "data=synthetic, sevenscenes, scannet, scannetpp, arkitscenes, blendedmvs, hypersim, wildrgbd, megadepth, waymo, "
    "vkitti2, navi, nrgbd, co3d, tum, eth3d, dtu, colmap, nerfstudio, shards"
)
"""Sources that have depth and cameras."""

RIGID = 1e-2
"""How far R^T R of a rotation may be from the identity, in any of its numbers."""


def check_geometry(index: SceneIndex) -> None:
    """Looks at a few frames of every source, until one of it has both.

    Raises:
        DataError: a source none of whose frames looked at has depth and a camera that can be one. What cannot be read is no
            evidence.
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
        problem = geometry_problem(frame) or size_problem(replace(frame, image=decode(frame.image)))
    except OSError:
        return None
    if not problem and frame.depth is not None and not known_depth(frame.depth).any():
        problem = "its depth is known nowhere"
    return f"{place.scene.name}/{name}: {problem}" if problem else ""


def geometry_problem(frame: Frame) -> str:
    """Why a frame cannot be trained on, in words; empty where it can. Its picture may be undecoded: `size_problem` is asked
    of the decoded one."""
    if frame.depth is None:
        return "it has no depth"
    if frame.camera is None:
        return "it has no camera"
    problem = camera_problem(frame.camera)
    return f"its camera has {problem}" if problem else ""


def camera_problem(camera: Camera) -> str:
    """What a camera as read, before any mirroring, has that none can have, in words; empty where it is sound."""
    intrinsics, pose = np.asarray(camera.intrinsics), np.asarray(camera.cam2world)
    if intrinsics.shape != (3, 3) or pose.shape != (4, 4):
        return f"intrinsics of shape {intrinsics.shape} and a pose of shape {pose.shape}; (3, 3) and (4, 4) are needed"
    if not (np.isfinite(intrinsics).all() and np.isfinite(pose).all()):
        return "numbers that are not finite"
    focal = intrinsics[0, 0], intrinsics[1, 1]
    if min(focal) <= 0:
        return f"focal lengths of {focal[0]:g} and {focal[1]:g} pixels; they must be above 0"
    rotation = pose[:3, :3]
    off = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if off > RIGID:
        return f"a pose whose rotation R is none: R^T R is {off:.2g} from the identity, more than {RIGID:g} (is it scaled?)"
    if np.linalg.det(rotation) < 0:
        return "a pose whose rotation has determinant -1; axes must be right-handed: x right, y down, z forward"
    return ""


def size_problem(frame: Frame) -> str:
    """Why the depth of a frame with a decoded picture does not belong to it, in words; empty where it does."""
    width, height = frame.size
    if frame.depth is None or frame.depth.shape == (height, width):
        return ""
    return f"its depth has shape {frame.depth.shape} and its picture {(height, width)} (height, width); they must be equal"


def known_depth(depth: np.ndarray) -> np.ndarray:
    """Depth in float32, with 0 where it is not known: where it is not finite, or not above 0."""
    depth = depth.astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
