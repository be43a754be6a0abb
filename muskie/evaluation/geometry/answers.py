"""What is said of the geometry of a scene, by a model, by the truth, or by nobody, and how it is scored: one place for
suites and for validation while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from muskie.evaluation.geometry import depth_metrics, pointmap_metrics, pose_metrics
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.geometry.trivial import constant_depth, identity_poses, wall_points
from muskie.evaluation.intervals import interval, ratio_of_sums, resampled
from muskie.evaluation.results import Row
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import transform_points, unproject
from muskie.models.geometry_output import Geometry


class Answer(NamedTuple):
    """Of one scene, float64 on the CPU: `cam2world` [V, 4, 4], `points` [V, H, W, 3] in the world, `depth` [V, H, W]."""

    cam2world: Tensor
    points: Tensor
    depth: Tensor


def answers(geometry: Geometry) -> list[Answer]:
    """What a model says of every scene of a batch; depth is that of the depth head, or z of the points without one."""
    z = geometry.depth if geometry.depth is not None else geometry.local_points[..., 2]
    parts = [x.detach().double().cpu() for x in (geometry.cam2world, geometry.points, z)]
    return [Answer(*scene) for scene in zip(*parts, strict=True)]


def truths(views: PosedViews) -> list[Answer]:
    """What is true of every scene of a batch; points mean nothing where depth is 0."""
    depth, intrinsics, cam2world = (x.double().cpu() for x in (views.depth, views.intrinsics, views.cam2world))
    local = unproject(depth, intrinsics)
    points = transform_points(cam2world, local.flatten(2, 3)).view_as(local)
    return [Answer(*scene) for scene in zip(cam2world, points, depth, strict=True)]


def trivial_answers(views: PosedViews) -> list[Answer]:
    """A wall before every camera, all cameras at one place: what no model is needed for."""
    depth, intrinsics, cam2world = (x.double().cpu() for x in (views.depth, views.intrinsics, views.cam2world))
    walls = identity_poses(cam2world), wall_points(depth, intrinsics), constant_depth(depth)
    return [Answer(*scene) for scene in zip(*walls, strict=True)]


def pose_part(found: Answer, true: Answer, config: PointMapConfig) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.pose_metrics`, and `pairs`."""
    scores = pose_metrics.pose_scores(pose_metrics.pair_errors(found.cam2world.numpy(), true.cam2world.numpy()))
    return {name: float(value) for name, value in scores.items()}


def pointmap_part(found: Answer, true: Answer, config: PointMapConfig) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.pointmap_metrics`."""
    return pointmap_metrics.pointmap_errors(found.points.numpy(), true.points.numpy(), true.depth.numpy() > 0, config)


def depth_part(found: Answer, true: Answer, config: PointMapConfig) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.depth_metrics`, one robust scale a scene."""
    return depth_metrics.depth_errors(found.depth.numpy(), true.depth.numpy(), "scale", "scene")


PARTS: Mapping[str, Callable[[Answer, Answer, PointMapConfig], dict[str, float]]] = {
    "pose": pose_part,
    "pointmap": pointmap_part,
    "depth": depth_part,
}
"""What is measured, by name."""

HEADLINES = {
    "pose": ("AUC@5", "AUC@15", "AUC@30", "RRA@15", "RTA@15"),
    "pointmap": ("accuracy", "completeness", "normal consistency", "L1"),
    "depth": ("AbsRel", "δ<1.25"),
}
"""The metrics that a short table has."""

SHARES = frozenset(
    {
        *pose_metrics.columns(),
        *depth_metrics.DELTAS,
        *(f"normal consistency{of}" for of in ("", " (median)", " after ICP")),
        "missing",
    }
)
"""Metrics that are shares in 0 to 1."""


def columns(part: str, config: PointMapConfig | None = None) -> list[str]:
    """All metrics of a part, in the order of the table."""
    if part == "pose":
        return pose_metrics.columns()
    return pointmap_metrics.columns(config or PointMapConfig()) if part == "pointmap" else list(depth_metrics.COLUMNS)


class SceneScores:
    """Scores of models scene by scene, until they become rows: means over scenes, with intervals by bootstrap over rooms."""

    def __init__(self, part: str) -> None:
        self.part = part
        self._groups: list[str] = []
        self._scores: dict[str, list[dict[str, float]]] = {}

    def scenes(self, groups: Sequence[str]) -> None:
        """The rooms of the scenes whose scores come next."""
        self._groups += groups

    def add(self, model: str, scores: dict[str, float]) -> None:
        """The scores of one scene more."""
        self._scores.setdefault(model, []).append(scores)

    def means(self, model: str) -> dict[str, float]:
        """Metric -> mean over scenes; those that have none, such as of a single view, are left out."""
        found = self._scores.get(model, [])
        names = found[0] if found else ()
        return {name: _nanmean([scores[name] for scores in found]) for name in names}

    def rows(self, data: str, seed: int = 0, config: PointMapConfig | None = None) -> list[Row]:
        """A row for every model and metric."""
        weights = resampled(self._groups, seed=seed)
        rows = []
        for model, found in self._scores.items():
            for metric in columns(self.part, config):
                values = np.array([scores[metric] for scores in found])
                known = ~np.isnan(values)
                statistic = ratio_of_sums(np.where(known, values, 0.0), known.astype(float))
                numbers = interval(statistic, weights)
                rows.append(Row(self.part, data, model, "", None, "", metric, *numbers, int(known.sum())))
        return rows


def _nanmean(values: Sequence[float]) -> float:
    known = torch.tensor(values, dtype=torch.float64)
    return float(known[~known.isnan()].mean())
