"""What is said of the geometry of a scene, by a model, by the truth, or by nobody, and how it is scored: one place for
suites and for validation while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from muskie.evaluation.geometry import depth_metrics, pointmap_metrics, pose_metrics, trajectory
from muskie.evaluation.geometry.columns import HEADLINES, SHARES, columns
from muskie.evaluation.geometry.depth_metrics import DepthConfig
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig, in_first_camera
from muskie.evaluation.geometry.scene_scores import SceneScores
from muskie.evaluation.geometry.trajectory import TrajectoryConfig
from muskie.evaluation.geometry.trivial import constant_depth, identity_poses, poses_in_a_row, wall_points
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import transform_points, unproject
from muskie.models.geometry_output import Geometry

__all__ = [
    "HEADLINES",
    "PARTS",
    "SHARES",
    "Answer",
    "SceneScores",
    "answers",
    "columns",
    "row_answers",
    "trivial_answers",
    "truths",
]


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


def row_answers(views: PosedViews) -> list[Answer]:
    """As `trivial_answers`, with the cameras in a row: what a direction of translation is worth that never changes."""
    rows = poses_in_a_row(views.cam2world.double().cpu())
    return [said._replace(cam2world=row) for said, row in zip(trivial_answers(views), rows, strict=True)]


def pose_part(found: Answer, true: Answer, config: Any = None) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.pose_metrics`, and `pairs`, how many pairs of views there are."""
    errors = pose_metrics.pair_errors(found.cam2world.numpy(), true.cam2world.numpy())
    scores = {name: float(value) for name, value in pose_metrics.pose_scores(errors).items()}
    return scores | {pose_metrics.PAIRS: float(errors.rotation.shape[-1])}


def trajectory_part(found: Answer, true: Answer, config: Any = None) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.trajectory`: the views are taken to be in the order of time.

    Raises:
        ConfigError: a sample has too few views for `delta`.
    """
    settings = config if isinstance(config, TrajectoryConfig) else TrajectoryConfig()
    trajectory.check_delta(settings.delta, [len(true.cam2world)])
    poses = found.cam2world.numpy(), true.cam2world.numpy()
    return trajectory.trajectory_errors(*poses, settings.alignment, settings.delta).scores()


def pointmap_part(found: Answer, true: Answer, config: Any = None) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.pointmap_metrics`. Clouds that are aligned without a rotation are compared in
    the frame of the first camera."""
    settings = config if isinstance(config, PointMapConfig) else PointMapConfig()
    clouds = [said.points for said in (found, true)]
    if settings.alignment in ("median", "none"):
        clouds = [in_first_camera(said.points, said.cam2world) for said in (found, true)]
    return pointmap_metrics.pointmap_errors(clouds[0].numpy(), clouds[1].numpy(), true.depth.numpy() > 0, settings)


def depth_part(found: Answer, true: Answer, config: Any = None) -> dict[str, float]:
    """Metrics of `muskie.evaluation.geometry.depth_metrics`, and `pixels`, how many of them are valid."""
    settings = config if isinstance(config, DepthConfig) else DepthConfig()
    depths = found.depth.numpy(), true.depth.numpy()
    return depth_metrics.depth_errors(*depths, settings.alignment, settings.per, settings.max_depth)


PARTS: Mapping[str, Callable[[Answer, Answer, Any], dict[str, float]]] = {
    "pose": pose_part,
    "trajectory": trajectory_part,
    "pointmap": pointmap_part,
    "depth": depth_part,
}
"""What is measured, by name; the third argument are the settings of the part: those of another one are as good as none."""
