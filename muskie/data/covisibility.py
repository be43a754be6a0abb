"""How much of what one frame shows another one shows too, from depth and cameras, or from what a source knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from muskie.data.geometry_check import geometry_problem, known_depth, size_problem
from muskie.data.images import decode
from muskie.data.index import Place
from muskie.data.listing.listed import ListedSource
from muskie.data.listing.table import FrameNames
from muskie.data.scene import Frame, Scene, SceneSource
from muskie.errors import ConfigError

GRID = 24
"""Points along each side of a picture that are looked for in the others."""

NEARER = 0.95
"""What is measured nearer than this share of a point's depth hides it."""


def neighbours(place: Place, anchor: int) -> np.ndarray:
    """float32 [frames of the place], which share of what frame `anchor` shows each frame shows, 0 where it is not known.

    Raises:
        ConfigError: the overlaps of this source were never measured.
    """
    source = place.source
    if source.streams:  # which carries them with its frames
        try:
            packed = source.overlaps(place.scene)
        except OSError:  # its frames will say so
            return np.zeros(len(place.frames), dtype=np.float32)
        if packed is not None:
            return packed[anchor, : len(place.frames)].astype(np.float32)
    if not isinstance(source, ListedSource) or not isinstance(place.frames, FrameNames) or source.overlap_table is None:
        raise ConfigError(
            f"plan.sampling=covisible: the overlaps of {source.label!r} are not known; measure them once: "
            f"python scripts/index_scenes.py data=... --overlaps (sources that list a folder, with depth and cameras or "
            f"shared points); or plan.sampling=window"
        )
    return source.overlap_table.of(place.frames, anchor)


def scene_overlaps(source: SceneSource, scene: Scene) -> np.ndarray | None:
    """float32 [frames, frames], which share of what frame i shows frame j shows; None where nothing says it."""
    known = source.overlaps(scene)
    if known is not None:
        return known.astype(np.float32)
    views = [_look(source, scene, name) for name in scene.frames]
    if sum(view is not None for view in views) < 2:
        return None
    return overlaps(views)


class View:
    """What is kept of a frame: points [3, N] in the world that it shows, and a coarse depth map with its camera.

    Args:
        depth: [H, W], z, 0 = unknown.
        intrinsics: [3, 3], of that size.
        cam2world: [4, 4].
    """

    def __init__(self, depth: np.ndarray, intrinsics: np.ndarray, cam2world: np.ndarray) -> None:
        height, width = depth.shape
        y, x = ((np.arange(GRID) + 0.5) * side / GRID for side in (height, width))
        self.depth = depth[y.astype(int)[:, None], x.astype(int)]  # [GRID, GRID]
        self.intrinsics = np.diag([GRID / width, GRID / height, 1]) @ intrinsics
        self.world2cam = np.linalg.inv(cam2world)
        row, column = np.nonzero(self.depth)
        z = self.depth[row, column].astype(np.float64)
        # At the centres of the pixels that were looked up, which are not those of the grid.
        pixels = np.stack([x.astype(int)[column] + 0.5, y.astype(int)[row] + 0.5, np.ones_like(z)])
        self.points = cam2world[:3, :3] @ (np.linalg.inv(intrinsics) @ pixels * z) + cam2world[:3, 3:]

    def shows(self, points: np.ndarray) -> np.ndarray:
        """bool [N], which points [3, N] of the world it shows: inside the picture, and not behind what was measured."""
        x, y, z = self.intrinsics @ (self.world2cam[:3, :3] @ points + self.world2cam[:3, 3:])
        in_front = z > 0
        column, row = (np.floor(axis / np.where(in_front, z, 1)) for axis in (x, y))
        inside = in_front & (column >= 0) & (column < GRID) & (row >= 0) & (row < GRID)
        measured = self.depth[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
        return inside & ((measured == 0) | (measured > NEARER * z))


def overlaps(views: list[View | None]) -> np.ndarray:
    """float32 [V, V] of views, 0 for those that are not known."""
    result = np.zeros((len(views), len(views)), dtype=np.float32)
    counts = [0 if view is None else view.points.shape[1] for view in views]
    if not sum(counts):
        return result
    points = np.concatenate([view.points for view in views if view is not None], axis=1)
    starts = np.cumsum([0, *counts])
    for number, view in enumerate(views):
        if view is not None:
            seen = np.concatenate([[0], np.cumsum(view.shows(points))])
            result[:, number] = (seen[starts[1:]] - seen[starts[:-1]]) / np.maximum(counts, 1)
    return result


def _look(source: SceneSource, scene: Scene, name: str) -> View | None:
    """A frame's depth and camera; None where it has none that can be used."""
    try:
        frame: Frame = source.read(scene, name, at_least=1, geometry=True)
        frame = replace(frame, image=decode(frame.image))
    except OSError:
        return None
    if geometry_problem(frame) or size_problem(frame) or frame.depth is None or frame.camera is None:
        return None
    return View(known_depth(frame.depth), frame.camera.intrinsics, frame.camera.cam2world)
