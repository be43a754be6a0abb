"""The reconstruction objective: point maps, normals, poses of all pairs of views, depth, and a confidence that is trained.

The form of π³ (arXiv 2507.13347), with which Muskie (arXiv 2511.18115) fine-tunes, and what its code leaves out: a trained
confidence, a loss of the depth head, and finite values for scenes without depth, single views and equal poses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from muskie.errors import ConfigError
from muskie.models.geometry_output import Geometry
from muskie.objectives.loss import Loss
from muskie.objectives.normals import normal_costs
from muskie.objectives.optimal_scale import optimal_scale
from muskie.objectives.point_confidence import confidence_costs
from muskie.objectives.pointmap_targets import Targets, mean_distance, targets
from muskie.objectives.relative_poses import pose_costs
from muskie.objectives.scene_sums import SceneSums


@dataclass(frozen=True)
class PointMaps:
    """Weighted sum of parts, each a mean over what a scene knows, averaged over scenes.

    Truth and prediction are divided by the mean distance of a scene's points from the cameras that see them, then the
    prediction is brought to the scale that fits the points best, found exactly and without gradient. So neither the unit of
    the truth nor the scale of the prediction matters, nor either's world frame, nor the order of views and scenes.

    - *points*: |s · point - truth|, mean over coordinates, weighted by 1 / max(depth, a tenth of the view's mean depth).
    - *normals*: see `normal_costs`.
    - *cameras*: the pose of each view in each other one: `translation` · the Huber distance of translations + the angle of
      rotations in radians.
    - *depth*: as points, of the depth head, at the scale of the points. Only where the model has that head.
    - *confidence*: makes the confidence tell the weighted distance of points (and of depth), see `confidence_costs`. The
      predicted points and poses get no gradient by it, the layers that they share with the confidence do.

    A scene without known depth costs exactly 0, its cameras and confidence too: it has no scale. A single view has no
    cameras to compare. Pictures mirrored by a crop are compared in the mirrored world, see `targets`. Predictions in half
    precision are computed with in float32.

    Attributes:
        points, normals, cameras, depth, confidence: weights of the parts. Normals come from differences of neighbouring
            points, so that their gradient is more than ten times that of the points: with equal weight it would take nearly
            all of a clipped gradient.
        translation: weight of translations against rotations within the cameras.
        huber: where the Huber distance turns from quadratic to linear, in mean distances of points.
        price: α of the confidence, which is then about α over the relative error: with 1, a confidence of 5 means an error
            of a fifth of the depth. Errors of α and above have the lowest. Published models of this form have .2, which
            suits errors of some percent: while most are larger, all confidence goes to where it has no gradient left.
        samples: the scale is found on at most so many points of a scene, spread evenly.
        published: the numerics of the published code: truth scaled by distances from the first camera (which makes the
            order of views matter), means over all points of a batch, normals by clamped angles and nearly without weight,
            rotations by a clamped arc cosine. Its objective has points=1, normals=1, cameras=0.1, confidence=0.
    """

    points: float = 1.0
    normals: float = 0.1
    cameras: float = 0.1
    depth: float = 1.0
    confidence: float = 0.1
    translation: float = 100.0
    huber: float = 0.1
    price: float = 1.0
    samples: int = 4096
    published: bool = False

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name not in ("samples", "published")):
            if not 0 <= getattr(self, name) < math.inf:  # NaN is neither
                raise ConfigError(f"objective.{name}={getattr(self, name)}: expected 0 or more")
        if self.huber == 0:
            raise ConfigError("objective.huber=0: expected more than 0")
        if self.samples < 1:
            raise ConfigError(f"objective.samples={self.samples}: expected 1 or more points")

    def __call__(self, prediction: Geometry, depth: Tensor, intrinsics: Tensor, cam2world: Tensor) -> Loss:
        """The loss of a batch.

        Args:
            prediction: of a reconstruction model.
            depth: [B, V, H, W], z; 0 = unknown.
            intrinsics: [B, V, 3, 3], pixels; negative focal lengths are those of mirrored pictures.
            cam2world: [B, V, 4, 4]; float64 is worth it.

        Returns:
            `scenes` is the cost of each scene, all parts together. `scalars` are the parts before their weights
            (`rotation` in radians), and `mean_confidence`.
        """
        dtype = torch.promote_types(prediction.local_points.dtype, torch.float32)
        truth = targets(depth, intrinsics, cam2world, dtype, self.published)
        parts = self._parts(prediction, truth, dtype)
        weights = {
            "points": self.points,
            "normals": self.normals,
            "translation": self.cameras * self.translation,
            "rotation": self.cameras,
            "confidence": self.confidence,
            "depth": self.depth,
            "depth_confidence": self.confidence,
        }
        means = {name: part.mean(self.published) for name, part in parts.items()}
        loss = torch.stack([weights[name] * mean for name, mean in means.items()]).sum()
        scenes = torch.stack([weights[name] * part.scenes.detach() for name, part in parts.items()]).sum(0)
        scalars = {name: mean.detach() for name, mean in means.items()}
        confident = SceneSums.of(prediction.confidence.detach().to(dtype), truth.valid)
        return Loss(loss, scenes, scalars | {"mean_confidence": confident.mean(self.published)})

    def _parts(self, prediction: Geometry, truth: Targets, dtype: torch.dtype) -> dict[str, SceneSums]:
        """All parts, before their weights."""
        points = torch.where(truth.valid[..., None], prediction.local_points.to(dtype), 0)
        size = mean_distance(points, truth.valid)  # with its gradient, no part asks for another scale alone
        points = points / size[:, None, None, None, None]
        scale = optimal_scale(points, truth.points, truth.weights, self.samples)
        points = points * scale[:, None, None, None, None]
        translation, rotation = self._cameras(prediction.cam2world.to(dtype), scale / size, truth)
        error = (points - truth.points).abs() * truth.weights[..., None]  # [B, V, H, W, 3]
        distance = torch.linalg.vector_norm((points - truth.points).detach(), dim=-1) * truth.weights
        parts = {
            "points": SceneSums.of(error.mean(-1), truth.valid),
            "normals": normal_costs(points, truth.points, truth.valid, self.published),
            "translation": translation,
            "rotation": rotation,
            "confidence": self._confidence(prediction.confidence.to(dtype), distance, truth),
        }
        if prediction.depth is not None:
            z = torch.where(truth.valid, prediction.depth.to(dtype), 0) * (scale / size.detach())[:, None, None, None]
            depth_error = (z - truth.points[..., 2]).abs() * truth.weights
            parts["depth"] = SceneSums.of(depth_error, truth.valid)
            if prediction.depth_confidence is not None:
                confident = prediction.depth_confidence.to(dtype)
                parts["depth_confidence"] = self._confidence(confident, depth_error, truth)
        return parts

    def _cameras(self, cam2world: Tensor, scale: Tensor, truth: Targets) -> tuple[SceneSums, SceneSums]:
        poses = torch.cat([cam2world[..., :3, :3], cam2world[..., :3, 3:] * scale[:, None, None, None]], dim=-1)
        counts = truth.valid.flatten(1).any(1)
        return pose_costs(poses, truth.cam2world, counts, truth.mirrored, self.huber, self.published)

    def _confidence(self, confidence: Tensor, error: Tensor, truth: Targets) -> SceneSums:
        known = torch.where(truth.valid, confidence, 1)  # elsewhere it may be anything
        return SceneSums.of(confidence_costs(known, error, self.price), truth.valid)
