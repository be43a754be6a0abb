"""Relative poses of all pairs of views: RRA, RTA and AUC, as the tables of VGGT (Wang et al., CVPR 2025) have them.

A pair i < j has the relative pose W_i · W_j⁻¹ of world-to-camera poses: what moves points of camera j to camera i; its
translation is the centre of camera j in camera i. Neither the world frame nor the scale of a prediction matters.

The direction of translation is compared without its sign, as published: opposite directions are the same, and no error is
above 90 degrees. *Signed* metrics tell them apart, and go up to 180. Where a true or predicted pair has no translation,
there is no direction, and the error is 90 degrees either way, as the published code has it up to rounding. A prediction
that is not finite, or whose rotation is none (scaled, skewed, or mirrored; `can_be_cameras`), has errors of 180 degrees
(rotation, signed translation) and 90 (translation): it counts.

All metrics are shares in 0 to 1. That of several scenes is either pooled over pairs (`ratio_of_sums` of score · pairs and
pairs) or the mean over scenes: both are in use, so a table says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from muskie.evaluation.geometry.camera_check import can_be_cameras, check_true_cameras
from muskie.evaluation.two_view.pose_errors import direction_error, rotation_error

DEGREES = (5, 15, 30)
PAIRS = "pairs"

NO_DIRECTION = 90.0


class PairErrors(NamedTuple):
    """Errors of the P = V · (V - 1) / 2 pairs of views, float64 [..., P], in degrees; pairs (0, 1), (0, 2), ..., (1, 2), ...

    Attributes:
        rotation: 0 to 180.
        translation: 0 to 90, whatever the sign.
        signed: of the translation, 0 to 180.
    """

    rotation: np.ndarray
    translation: np.ndarray
    signed: np.ndarray


def pair_errors(prediction: ArrayLike, truth: ArrayLike) -> PairErrors:
    """Errors of the relative poses of all pairs.

    Args:
        prediction, truth: cam2world [..., V, 4, 4], on the CPU. Where a prediction cannot be a camera, all pairs of this
            view count as failed.

    Raises:
        DataError: a true pose is not finite, or its rotation is none.
    """
    found, true = np.asarray(prediction, np.float64), np.asarray(truth, np.float64)
    check_true_cameras(true)
    known = np.asarray(can_be_cameras(found))
    first, second = np.triu_indices(true.shape[-3], k=1)
    failed = ~(known[..., first] & known[..., second])
    found = np.where(known[..., None, None], found, np.eye(4))
    turned, moved = _relative(found, first, second)
    true_turn, true_move = _relative(true, first, second)
    rotation = rotation_error(turned, true_turn)
    translation, signed = (
        np.nan_to_num(direction_error(moved, true_move, signed=signed), nan=NO_DIRECTION) for signed in (False, True)
    )
    return PairErrors(*(np.where(failed, worst, x) for x, worst in ((rotation, 180), (translation, 90), (signed, 180))))


def _relative(cam2world: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and translations of W_i · W_j⁻¹. Cameras at one place have exactly none."""
    back = np.swapaxes(cam2world[..., first, :3, :3], -1, -2)
    away = cam2world[..., second, :3, 3:] - cam2world[..., first, :3, 3:]
    return back @ cam2world[..., second, :3, :3], (back @ away)[..., 0]


def histogram_auc(errors: np.ndarray, threshold: int) -> np.ndarray:
    """The published area under the curve of accuracy: [..., P] errors in degrees -> [...], 0 to 1; NaN without pairs.

    A histogram of bins of one degree, the last one closed on the right, its cumulative sums as shares of all pairs, and
    their mean. So an error in bin k, from k on, scores (threshold - k) / threshold: more than the integral gives.

    Args:
        errors: 0 or more.
        threshold: whole degrees, 1 or more.
    """
    if int(threshold) != threshold or threshold < 1:
        raise ValueError(f"threshold={threshold}: the published form has bins of one degree; expected 1, 2, 3, ...")
    bins = np.where(errors == threshold, threshold - 1, np.floor(errors))
    return _mean(np.clip(threshold - bins, 0, None) / threshold)


def exact_auc(errors: np.ndarray, threshold: float) -> np.ndarray:
    """The integral of the share of errors up to t, for t from 0 to `threshold`, divided by it: [..., P] -> [...]."""
    return _mean(np.clip(threshold - errors, 0, None) / threshold)


def pose_scores(errors: PairErrors, degrees: Sequence[int] = DEGREES) -> dict[str, np.ndarray]:
    """Metrics of every scene, by name (see `columns`): [...], shares in 0 to 1; NaN for a scene of one view.

    `RRA@τ` and `RTA@τ` are shares of errors below τ degrees. `AUC@τ` is of the larger of both errors (`histogram_auc`),
    *exact* by the integral; *signed* with the signed translation.

    Args:
        errors: from `pair_errors`.
        degrees: thresholds τ.
    """
    both = np.maximum(errors.rotation, errors.translation)
    signed = np.maximum(errors.rotation, errors.signed)
    scores = {f"AUC@{angle}": histogram_auc(both, angle) for angle in degrees}
    scores |= {f"RRA@{angle}": _mean(errors.rotation < angle) for angle in degrees}
    scores |= {f"RTA@{angle}": _mean(errors.translation < angle) for angle in degrees}
    scores |= {f"AUC@{angle} exact": exact_auc(both, angle) for angle in degrees}
    scores |= {f"AUC@{angle} signed": histogram_auc(signed, angle) for angle in degrees}
    return scores | {f"RTA@{angle} signed": _mean(errors.signed < angle) for angle in degrees}


def columns(degrees: Sequence[int] = DEGREES) -> list[str]:
    """All metrics in the order of the table."""
    return list(pose_scores(PairErrors(*[np.zeros(1)] * 3), degrees))


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)
