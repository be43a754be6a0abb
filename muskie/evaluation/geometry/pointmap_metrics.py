"""Point maps against true ones: accuracy, completeness, normal consistency, and L1, after alignment.

A scene's valid pixels are those whose true point is known; none is left out for its confidence. The predicted cloud is
aligned to the true one by all of them, pixel by pixel. Then (π³'s protocol, Wang et al., 2025):

- *accuracy*: distance of predicted points to the nearest true one; *completeness*: the reverse; *overall*: their mean.
- *normal consistency*: |cosine| of the normals of a point and its nearest one in the other cloud; both ways, then the mean.
  Normals of both clouds are those of open3d's defaults, by 30 neighbours.
- *L1*: distance of each aligned point to the true one of the same pixel, mean over all valid pixels; before ICP. The Muskie
  paper has such a column, but no definition; this one is ours.

All distances are in the truth's unit. Mean and median over points; a score of several scenes is the mean over scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from muskie.alignment import Similarity, umeyama
from muskie.errors import ConfigError, DataError
from muskie.evaluation.geometry.camera_check import can_be_cameras
from muskie.evaluation.geometry.nearest import NEIGHBOURS, Cloud, icp
from muskie.geometry import invert, transform_points
from muskie.streams import stream

ACCURACY, COMPLETENESS, OVERALL, CONSISTENCY = "accuracy", "completeness", "overall", "normal consistency"
L1, MISSING = "L1", "missing"
CLOUD_COLUMNS = tuple(f"{name}{of}" for of in ("", " (median)") for name in (ACCURACY, COMPLETENESS, OVERALL, CONSISTENCY))
AFTER_ICP = " after ICP"

MIN_POINTS = 3

Alignment = Literal["sim3", "se3", "median", "none"]


@dataclass(frozen=True)
class PointMapConfig:
    """How point maps are compared.

    Attributes:
        alignment: of all valid pixels. `"sim3"`: Umeyama, with scale; `"se3"`: without; `"none"`. `"median"`, after the
            tables of the Spann3R line: no rotation; the median of each coordinate is moved, and the median distance to it
            scaled, to the true one. Both clouds must then be in the frame of the same camera (`in_first_camera`). Its
            numbers do not compare with those of Sim(3).
        icp: also count clouds after registration by point-to-point ICP, which hides errors of poses. It registers the
            `queries` of the prediction to all true points.
        icp_distance: up to which ICP takes points for the same, in the truth's unit; published: 0.1 m, and 100 mm for DTU.
        points: of each cloud, at most; above it, those of the same pixels are drawn from both. Distances to the nearest
            point depend on how dense a cloud is.
        queries: points of each cloud, at most, whose distances and normals are measured, against all of the other. The
            same pixels in both; drawing them changes no expected value.
        neighbours: of a normal.
        seed: of what is drawn.
    """

    alignment: Alignment = "sim3"
    icp: bool = False
    icp_distance: float = 0.1
    points: int = 500_000
    queries: int = 20_000
    neighbours: int = NEIGHBOURS
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = ", ".join(map(repr, get_args(Alignment)))
        rules = {
            "alignment": (self.alignment in get_args(Alignment), f"one of {allowed}"),
            "icp_distance": (self.icp_distance > 0, "a distance above 0"),
            "points": (self.points >= MIN_POINTS, f"at least {MIN_POINTS}"),
            "queries": (self.queries >= 1, "at least 1"),
            "neighbours": (self.neighbours >= 3, "at least 3, which make a plane"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        problems = [f"pointmap.{n}={getattr(self, n)!r}: expected {text}" for n, (holds, text) in rules.items() if not holds]
        if problems:
            raise ConfigError("\n".join(problems))


def pointmap_errors(
    prediction: ArrayLike, truth: ArrayLike, valid: ArrayLike, config: PointMapConfig | None = None
) -> dict[str, float]:
    """Errors of one scene.

    A predicted point that is not finite takes no part in the alignment, and then counts as one at the mean of the true
    points. So do all if fewer than 3 are finite. *missing* is the share of such points.

    Args:
        prediction: [..., 3], e.g. [V, H, W, 3], points in a world of any frame and scale (see `PointMapConfig.alignment`),
            on the CPU. One for each true point: resize maps before.
        truth: as `prediction`, in the unit of the results.
        valid: bool [...], whose true points are known; others may be anything.
        config: None: the defaults.

    Returns:
        The metrics of `columns`, by name; NaN where fewer than 3 pixels are valid.

    Raises:
        ConfigError: scipy is not installed.
        DataError: a valid true point is not finite.
        ValueError: shapes differ.
    """
    config = config or PointMapConfig()
    where = torch.from_numpy(np.asarray(valid, bool))
    found, true = (torch.from_numpy(np.asarray(points, np.float64)) for points in (prediction, truth))
    if not found.shape == true.shape == (*where.shape, 3):
        shapes = ", ".join(str(tuple(x.shape)) for x in (found, true, where))
        raise ValueError(f"prediction, truth and valid have shapes {shapes}: expected [..., 3], the same, and [...]")
    found, true = found[where], true[where]
    if len(true) < MIN_POINTS:
        return dict.fromkeys(columns(config), float("nan"))
    if not true.isfinite().all():
        raise DataError("a true point is not finite; mark it as not valid")
    known = found.isfinite().all(-1)
    if known.sum() < MIN_POINTS:
        known = torch.zeros_like(known)
    by = _alignment(found, true, known, config.alignment)
    aligned = torch.where(known[:, None], by.points(found), true.mean(0))
    apart = (aligned - true).norm(dim=-1)
    scores = {L1: float(apart.mean()), f"{L1} (median)": float(np.median(apart)), MISSING: float((~known).double().mean())}
    return scores | _cloud_scores(aligned.numpy(), true.numpy(), known.numpy(), config)


def in_first_camera(points: Tensor, cam2world: Tensor) -> Tensor:
    """Points of the world [V, H, W, 3] in the frame of the first of the cameras [V, 4, 4]; NaN if that can be none, for what
    a mirror sees would be right again in a mirrored world (`can_be_cameras`)."""
    if not can_be_cameras(cam2world[0].numpy()):
        return torch.full_like(points, torch.nan)
    return transform_points(invert(cam2world[0]), points.flatten(0, -2)).view_as(points)


def columns(config: PointMapConfig) -> list[str]:
    """All metrics in the order of the table."""
    after = [f"{name}{AFTER_ICP}" for name in CLOUD_COLUMNS] if config.icp else []
    return [L1, f"{L1} (median)", MISSING, *CLOUD_COLUMNS, *after]


def _alignment(found: Tensor, true: Tensor, known: Tensor, alignment: Alignment) -> Similarity:
    if alignment in ("sim3", "se3"):
        return umeyama(found, true, known, with_scale=alignment == "sim3")
    turn, scale, offset = torch.eye(3, dtype=true.dtype), torch.ones((), dtype=true.dtype), torch.zeros(3, dtype=true.dtype)
    if alignment == "median" and known.any():
        (centre, size), (goal, wanted) = (_centre_and_size(points[known].numpy()) for points in (found, true))
        scale = torch.tensor(wanted / size if size > 0 else 1.0, dtype=true.dtype)
        offset = torch.from_numpy(goal - float(scale) * centre)
    return Similarity(scale, turn, offset)


def _centre_and_size(points: np.ndarray) -> tuple[np.ndarray, float]:
    centre = np.median(points, axis=0)
    return centre, float(np.median(np.linalg.norm(points - centre, axis=-1)))


def _cloud_scores(aligned: np.ndarray, true: np.ndarray, known: np.ndarray, config: PointMapConfig) -> dict[str, float]:
    order = stream(config.seed, "pointmap").permutation(len(true))[: config.points]
    aligned, true, known = aligned[order], true[order], known[order]
    # Points that are missing are all at one place, and one of them is enough to be found.
    kept = known.copy()
    kept[np.argmin(known)] = True
    asked, target = slice(config.queries), Cloud(true)
    scores = _compare(Cloud(aligned[kept]), target, aligned[asked], true[asked], config.neighbours)
    if config.icp:
        # Missing points are no surface to register.
        by = icp(aligned[asked][known[asked]], target, config.icp_distance) if known[asked].any() else None
        moved = aligned if by is None else by.points(torch.from_numpy(aligned)).numpy()
        after = _compare(Cloud(moved[kept]), target, moved[asked], true[asked], config.neighbours)
        scores |= {f"{name}{AFTER_ICP}": value for name, value in after.items()}
    return scores


def _compare(found: Cloud, true: Cloud, asked: np.ndarray, wanted: np.ndarray, neighbours: int) -> dict[str, float]:
    """The metrics of `CLOUD_COLUMNS` of two clouds, by some points of each."""
    distances, angles = [], []
    for queries, own, other in ((asked, found, true), (wanted, true, found)):
        distance, partner = other.nearest(queries)
        normals = own.normals(queries, neighbours), other.normals(other.points[partner], neighbours)
        distances.append(distance)
        angles.append(np.abs((normals[0] * normals[1]).sum(-1)))
    scores: dict[str, float] = {}
    for of, pool in (("", np.mean), (" (median)", np.median)):
        accuracy, completeness = (float(pool(distance)) for distance in distances)
        scores |= {f"{ACCURACY}{of}": accuracy, f"{COMPLETENESS}{of}": completeness}
        scores |= {f"{OVERALL}{of}": (accuracy + completeness) / 2}
        scores |= {f"{CONSISTENCY}{of}": float(np.mean([pool(angle) for angle in angles]))}
    return scores
