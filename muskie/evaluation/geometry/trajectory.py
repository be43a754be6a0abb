"""Errors of a trajectory after alignment, as evo (Grupp, 2017) counts them: ATE, and RPE of translation and rotation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from muskie.alignment import Similarity, one_place, umeyama
from muskie.errors import ConfigError
from muskie.evaluation.geometry.camera_check import can_be_cameras, check_true_cameras
from muskie.evaluation.two_view.pose_errors import rotation_error
from muskie.geometry import invert

ATE, RPE_TRANSLATION, RPE_ROTATION, FAILED = "ATE", "RPE translation", "RPE rotation (deg)", "failed"
COLUMNS = (ATE, RPE_TRANSLATION, RPE_ROTATION, FAILED)

MIN_POSES = 3

STILL = 8 * float(np.finfo(np.float32).eps)
"""Centres none of which is farther from their mean than this share of the largest coordinate stand still: poses are kept,
and said by models, in float32, and what its rounding leaves of a place is no motion that a scale could be told by."""

Alignment = Literal["sim3", "se3", "none"]


@dataclass(frozen=True)
class TrajectoryConfig:
    """How trajectories are compared.

    Attributes:
        alignment: of camera centres: `"sim3"`, `"se3"` or `"none"`.
        delta: views from one pose to the next of RPE.
    """

    alignment: Alignment = "sim3"
    delta: int = 1

    def __post_init__(self) -> None:
        problems = []
        if self.alignment not in get_args(Alignment):
            allowed = ", ".join(map(repr, get_args(Alignment)))
            problems.append(f"trajectory.alignment={self.alignment!r}: expected one of {allowed}")
        if self.delta < 1:
            problems.append(f"trajectory.delta={self.delta}: expected at least 1")
        if problems:
            raise ConfigError("\n".join(problems))


class TrajectoryErrors(NamedTuple):
    """Errors of one sequence.

    Attributes:
        ate: root mean square of the distances of camera centres, in the truth's unit.
        rpe_translation: root mean square of the errors of translation from each frame to the next, in the truth's unit.
        rpe_rotation: that of rotation, in degrees.
        scale: of the alignment; NaN if there is none.
        failed: the prediction could not be aligned. The other numbers are then those of a camera that stands still.
    """

    ate: float
    rpe_translation: float
    rpe_rotation: float
    scale: float
    failed: bool

    def scores(self) -> dict[str, float]:
        """By name, in the order of `COLUMNS`; *failed* is 0 or 1, or NaN where nothing could be measured."""
        failed = np.nan if np.isnan(self.ate) else float(self.failed)
        return {ATE: self.ate, RPE_TRANSLATION: self.rpe_translation, RPE_ROTATION: self.rpe_rotation, FAILED: failed}


def trajectory_errors(
    prediction: ArrayLike, truth: ArrayLike, alignment: Alignment = "sim3", delta: int = 1
) -> TrajectoryErrors:
    """Errors of one sequence, every frame of which counts. The score of several is the mean over sequences.

    Fewer than 3 true poses, or true ones that stand still (up to rounding, `STILL`), measure nothing: all errors are NaN,
    and such a sequence is the data's fault. A prediction that stands still leaves the scale open, and one that cannot be
    cameras somewhere (`can_be_cameras`: not finite, or a rotation that is none) is no trajectory: it *failed*, and counts as
    a camera that stands still at the best place. That is an ATE that no prediction exceeds after Sim(3). The rotation of
    one that cannot be cameras has an RPE of 180 degrees. Positions on one line leave a turn about it open, which changes no
    error here (evo refuses them).

    Args:
        prediction, truth: cam2world [V, 4, 4], in the order of time, on the CPU.
        alignment: of the predicted centres to the true ones. `"sim3"`: with scale (evo's `align` and `correct_scale`);
            `"se3"`: without; `"none"`.
        delta: frames from one pose to the next of RPE; all such pairs count.

    Raises:
        DataError: a true pose is not finite, or its rotation is none.
        ValueError: there is no frame `delta` after the first.
    """
    found, true = (torch.from_numpy(np.asarray(poses, np.float64).copy()) for poses in (prediction, truth))
    check_true_cameras(true.numpy())
    centres = true[:, :3, 3]
    if len(true) < MIN_POSES or one_place(centres, rounding=STILL):
        return TrajectoryErrors(np.nan, np.nan, np.nan, np.nan, failed=False)
    if not 1 <= delta < len(true):
        raise ValueError(f"delta={delta}: expected 1 to {len(true) - 1}, for there are {len(true)} poses")
    sound = bool(can_be_cameras(found.numpy()).all())
    failed = not sound or (alignment == "sim3" and bool(one_place(found[:, :3, 3], rounding=STILL)))
    if failed:
        standing = (found if sound else true).clone()
        standing[:, :3, 3] = centres.mean(0)
        translation, rotation = _relative_errors(standing, true, delta)
        ate = _rms(standing[:, :3, 3] - centres)
        return TrajectoryErrors(ate, translation, rotation if sound else 180.0, scale=np.nan, failed=True)
    by = _alignment(found[:, :3, 3], centres, alignment)
    moved = by.poses(found)
    return TrajectoryErrors(
        _rms(moved[:, :3, 3] - centres), *_relative_errors(moved, true, delta), scale=float(by.scale), failed=False
    )


def check_delta(delta: int, lengths: Iterable[int]) -> None:
    """To be called before models run. Sequences that are too short to be measured at all may be of any length.

    Args:
        delta: see `TrajectoryConfig`.
        lengths: views of each sequence.

    Raises:
        ConfigError: one that is measured has no frame `delta` after its first.
    """
    shortest = min((length for length in lengths if length >= MIN_POSES), default=None)
    if shortest is not None and delta >= shortest:
        raise ConfigError(
            f"trajectory.delta={delta}: expected 1 to {shortest - 1}, for a sample has {shortest} views; take a smaller "
            f"delta, or more views"
        )


def _alignment(source: Tensor, target: Tensor, alignment: Alignment) -> Similarity:
    if alignment == "none":
        return Similarity(source.new_ones(()), torch.eye(3).to(source), source.new_zeros(3))
    return umeyama(source, target, with_scale=alignment == "sim3")


def _relative_errors(found: Tensor, true: Tensor, delta: int) -> tuple[float, float]:
    """Root mean squares of translation and rotation of what is left between the relative poses."""
    steps, true_steps = (invert(poses[:-delta]) @ poses[delta:] for poses in (found, true))
    left = invert(true_steps) @ steps
    turned = rotation_error(true_steps[:, :3, :3].numpy(), steps[:, :3, :3].numpy())
    return _rms(left[:, :3, 3]), float(np.sqrt(np.mean(turned**2)))


def _rms(vectors: Tensor) -> float:
    return float(vectors.square().sum(-1).mean().sqrt())
