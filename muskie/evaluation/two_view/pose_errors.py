"""Errors of relative poses in degrees, and what tables say of them: the area under the curve of accuracy, and the median."""

from __future__ import annotations

import numpy as np

from muskie.evaluation.intervals import Statistic


def rotation_error(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles between rotations [..., 3, 3] in degrees, [...], 0 to 180.

    From sine and cosine together: the arc cosine of the trace alone loses half of all digits at small angles.
    """
    between = np.swapaxes(one, -1, -2) @ other
    skew = between - np.swapaxes(between, -1, -2)
    sine = np.sqrt(skew[..., 2, 1] ** 2 + skew[..., 0, 2] ** 2 + skew[..., 1, 0] ** 2)
    return np.degrees(np.arctan2(sine, np.trace(between, axis1=-2, axis2=-1) - 1))


def direction_error(one: np.ndarray, other: np.ndarray, signed: bool = True) -> np.ndarray:
    """Angles between translations [..., 3] in degrees, [...]; NaN where one has no length, and so no direction.

    Args:
        one, other: of any length.
        signed: a translation and its opposite differ by 180 degrees. False: they are the same, as in SuperGlue's tables
            (Sarlin et al., CVPR 2020), and no error is above 90.
    """
    sine = np.linalg.norm(np.cross(one, other), axis=-1)
    cosine = (one * other).sum(-1)
    angle = np.degrees(np.arctan2(sine, cosine if signed else np.abs(cosine)))
    return np.where(np.any(one != 0, axis=-1) & np.any(other != 0, axis=-1), angle, np.nan)


def auc(errors: np.ndarray, threshold: float) -> Statistic:
    """Area under the share of errors below t, for t from 0 to `threshold`, divided by `threshold`: 0 to 1.

    The curve joins its points (error number k, k / N) by straight lines, and is flat behind the last one below
    `threshold`, as in SuperGlue (Sarlin et al., CVPR 2020). A weight of w means that a sample is there w times.

    Args:
        errors: [N], 0 or more.
        threshold: above 0.

    Returns:
        Weights [R, N] -> [R]; NaN where all weights are 0.
    """
    order = np.argsort(errors, kind="stable")
    below = order[errors[order] < threshold]
    knots = np.concatenate([[0.0], errors[below], [threshold]])
    widths = np.diff(knots)  # [K + 1], before each error, and behind the last

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(1)
        reached = np.concatenate([np.zeros((len(weights), 1)), weights[:, below].cumsum(1)], axis=1)  # [R, K + 1]
        # Where an error is there many times the line rises to the first of them, and then at once. Before an error the
        # curve is so half a sample higher than behind the last, and one that is not there changes nothing.
        height = reached + 0.5 * (reached < reached[:, -1:])
        return np.divide(height @ widths, total * threshold, out=np.full(len(weights), np.nan), where=total > 0)

    return statistic


def median(values: np.ndarray) -> Statistic:
    """The median of [N] numbers; a weight of w means that a sample is there w times. NaN is left out.

    Returns:
        Weights [R, N] -> [R]; NaN where nothing is left.
    """
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order])]

    def statistic(weights: np.ndarray) -> np.ndarray:
        reached = weights[:, order].cumsum(1)  # [R, K]
        if not reached.shape[1]:
            return np.full(len(weights), np.nan)
        total = reached[:, -1:]
        middle = [np.minimum((reached <= half).sum(1), len(order) - 1) for half in ((total - 1) // 2, total // 2)]
        found = (values[order][middle[0]] + values[order][middle[1]]) / 2
        return np.where(total[:, 0] > 0, found, np.nan)

    return statistic
