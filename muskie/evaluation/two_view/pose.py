"""Relative pose of two calibrated views from matches, by poselib's LO-RANSAC (Larsson; 5-point solver, local refinement)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from muskie.errors import ConfigError

LEAST = 5
"""Matches that an essential matrix needs."""


class TwoViewPose(NamedTuple):
    """What maps camera coordinates of view 0 to those of view 1, `x1 = rotation @ x0 + s translation` with an unknown s > 0.

    Attributes:
        rotation: float64 [3, 3].
        translation: float64 [3], of length 1.
        inliers: bool [M], which matches agree with it.
    """

    rotation: np.ndarray
    translation: np.ndarray
    inliers: np.ndarray


def poselib_or_error() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import poselib
    except ImportError as error:
        raise ConfigError(
            f"relative pose is estimated by poselib, which cannot be imported ({error}); install it: pip install poselib"
        ) from error
    return poselib


def estimate_pose(
    first: np.ndarray,
    second: np.ndarray,
    intrinsics: np.ndarray,
    other_intrinsics: np.ndarray,
    threshold: float,
    iterations: int = 10_000,
    confidence: float = 0.9999,
    seed: int = 0,
) -> TwoViewPose | None:
    """The pose that most matches agree with; the same arguments give the same result.

    Args:
        first, second: float64 [M, 2], matched positions (x, y) in pixels of view 0 and view 1.
        intrinsics, other_intrinsics: float64 [3, 3] of view 0 and view 1.
        threshold: Sampson distance in pixels up to which a match agrees.
        iterations: at most.
        confidence: that a sample free of outliers was drawn, at which fewer iterations do.
        seed: of the samples.

    Returns:
        None if there are fewer than 5 matches, or no pose that 5 of them agree with.

    Raises:
        ConfigError: poselib is not installed.
    """
    poselib = poselib_or_error()
    if len(first) < LEAST:
        return None
    ransac = {
        "max_epipolar_error": threshold,
        "max_iterations": iterations,
        "success_prob": confidence,
        "seed": seed,
    }
    # Within their patches true matches are off by anything alike, so all that agree weigh the same; a loss that is steep
    # near 0 (poselib's own) suits keypoints.
    refinement = {"loss_type": "TRUNCATED", "loss_scale": threshold}
    cameras = [_pinhole(matrix) for matrix in (intrinsics, other_intrinsics)]
    points = [_without_skew(x, matrix) for x, matrix in ((first, intrinsics), (second, other_intrinsics))]
    pose, report = poselib.estimate_relative_pose(*points, *cameras, ransac, refinement)
    rotation, translation = np.array(pose.R), np.array(pose.t)
    length = np.linalg.norm(translation)
    if report["num_inliers"] < LEAST or not np.isfinite(rotation).all() or not 0 < length < np.inf:
        return None
    return TwoViewPose(rotation, translation / length, np.array(report["inliers"], dtype=bool))


def _pinhole(intrinsics: np.ndarray) -> dict[str, Any]:
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    # The size is noted and not used.
    return {"model": "PINHOLE", "width": round(2 * cx), "height": round(2 * cy), "params": [fx, fy, cx, cy]}


def _without_skew(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Positions [M, 2] as the same camera without skew would see them: PINHOLE has none."""
    points = np.array(points, dtype=np.float64)
    points[:, 0] -= intrinsics[0, 1] / intrinsics[1, 1] * (points[:, 1] - intrinsics[1, 2])
    return points
