"""Nearest neighbours in clouds of points, normals from them, and registration by them (ICP). Needs scipy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from muskie.alignment import Similarity, umeyama
from muskie.errors import ConfigError

NEIGHBOURS = 30


def tree_or_error() -> Any:
    """The class `scipy.spatial.cKDTree`, or an error that says how to get it."""
    try:
        return importlib.import_module("scipy.spatial").cKDTree
    except ImportError as error:
        raise ConfigError(
            f"points are compared by scipy, which cannot be imported ({error}); install it: pip install 'muskie[recon]'"
        ) from error


class Cloud:
    """Points that are searched; `points` float64 [N, 3], N >= 1, finite."""

    def __init__(self, points: np.ndarray) -> None:
        # The tree cannot part equal points, and to search a cloud that has collapsed into one would take minutes.
        self.points = points[:1] if np.ptp(points, axis=0).max() == 0 else points
        self._tree = tree_or_error()(self.points, balanced_tree=False, compact_nodes=False)

    def nearest(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances [Q] of queries [Q, 3] to their nearest points, and the numbers of these, int64 [Q]."""
        return self._tree.query(queries)

    def normals(self, queries: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
        """Normals of the surface at queries [Q, 3], unit vectors [Q, 3] of either sign.

        The direction in which the nearest points vary least, as open3d's `estimate_normals` has it. Where they are fewer
        than 3 it is (0, 0, 1).
        """
        count = min(neighbours, len(self.points))
        if count < 3:
            return np.tile([0.0, 0.0, 1.0], (len(queries), 1))
        found = np.empty((len(queries), 3))
        for start in range(0, len(queries), 1 << 16):
            part = slice(start, start + (1 << 16))
            near = self.points[self._tree.query(queries[part], k=count)[1]]  # [Q, k, 3]
            near = near - near.mean(1, keepdims=True)
            found[part] = np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][..., 0]  # the least eigenvalue comes first
        return found


def icp(source: np.ndarray, target: Cloud, max_distance: float, iterations: int = 30) -> Similarity:
    """Registers points to a cloud, from where they are: iterative closest points, point to point (Besl and McKay, 1992).

    Each step moves the source rigidly to the nearest points of the target, of those up to `max_distance` away. It ends when
    share and root mean square distance of these both change by less than 1e-6 (the latter in the unit of the points), as in
    open3d's `registration_icp`.

    Args:
        source: float64 [N, 3].
        target: what it is registered to.
        max_distance: in the unit of the points.
        iterations: at most.

    Returns:
        A rigid motion (scale 1) of the source; none where fewer than 3 points have a partner.
    """
    moved, last = source, (np.inf, np.inf)
    for step in range(iterations + 1):
        distance, partner = target.nearest(moved)
        near = distance <= max_distance
        now = (near.mean(), np.sqrt(np.mean(distance[near] ** 2)) if near.any() else 0.0)
        done = step == iterations or max(abs(now[0] - last[0]), abs(now[1] - last[1])) < 1e-6
        if done or near.sum() < 3:
            break
        pair = torch.from_numpy(moved[near]), torch.from_numpy(target.points[partner[near]])
        moved, last = umeyama(*pair, with_scale=False).points(torch.from_numpy(moved)).numpy(), now
    return umeyama(torch.from_numpy(source), torch.from_numpy(moved), with_scale=False)
