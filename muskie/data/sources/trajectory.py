"""Poses between the poses that a recording has: a camera on its way, by time."""

from __future__ import annotations

import numpy as np

from muskie.data.sources.cameras import poses, rotations


class Trajectory:
    """Poses of one camera, in the order of time.

    Args:
        times: float64 [N], seconds, in any order.
        quaternions: float64 [N, 4], (w, x, y, z) of camera-to-world rotations, of any length but 0.
        centres: float64 [N, 3], where the camera is.
        gap: seconds; between two poses that lie further apart nothing is known.
        apart: seconds by which a time may miss a pose that has no neighbour near enough.
    """

    def __init__(self, times: np.ndarray, quaternions: np.ndarray, centres: np.ndarray, gap: float, apart: float) -> None:
        order = np.argsort(times, kind="stable")
        self._times, self._centres = times[order], centres[order]
        self._quaternions = quaternions[order] / np.linalg.norm(quaternions[order], axis=1, keepdims=True)
        self._gap, self._apart = gap, apart

    def at(self, time: float) -> np.ndarray | None:
        """Camera-to-world at a time, float64 [4, 4]: the centre on a straight line between the two poses around it, the
        rotation turning evenly from one to the other. None where there are none, or too far apart."""
        if not len(self._times):
            return None
        after = int(np.searchsorted(self._times, time, side="right"))
        if 0 < after < len(self._times) and self._times[after] - self._times[after - 1] <= self._gap:
            share = (time - self._times[after - 1]) / (self._times[after] - self._times[after - 1])
            start, end = self._centres[after - 1], self._centres[after]
            quaternion = _between(self._quaternions[after - 1], self._quaternions[after], share)
            return poses(rotations(quaternion), (1 - share) * start + share * end)
        nearest = int(np.abs(self._times - time).argmin())
        if abs(self._times[nearest] - time) > self._apart:
            return None
        return poses(rotations(self._quaternions[nearest]), self._centres[nearest])


def from_axis_angle(vectors: np.ndarray) -> np.ndarray:
    """Quaternions (w, x, y, z) [N, 4] of rotations [N, 3] about an axis by the vector's length in radians."""
    half = np.linalg.norm(vectors, axis=1, keepdims=True) / 2
    return np.concatenate([np.cos(half), vectors * np.sinc(half / np.pi) / 2], axis=1)


def _between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """Spherical interpolation of unit quaternions (Shoemake, SIGGRAPH 1985), the short way."""
    cosine = float(start @ end)
    if cosine < 0:
        end, cosine = -end, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:  # a straight line is as good, and sin(angle) is no divisor
        return (1 - share) * start + share * end
    return (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)
