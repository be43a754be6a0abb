"""Relative pose of two views from features alone: how good the geometry is that matches of frozen patches agree on.

Patches that are each other's nearest neighbour, the essential matrix by poselib, and the share of pairs whose pose is right
to 5, 10 and 20 degrees. The error of a pair is the larger one of rotation and direction of translation; a pair for which no
pose is found has one of 180 degrees.

Matches are patch centres, so even true ones are off by up to half a patch: the *perfect matcher* says what that allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from muskie.backbones.floors import RandomFeatures
from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import ConfigError
from muskie.evaluation.intervals import interval, ratio_of_sums, resampled
from muskie.evaluation.readout import METRICS
from muskie.evaluation.results import Row
from muskie.evaluation.tally import Line
from muskie.evaluation.tracks import TOLERANCE
from muskie.evaluation.two_view.mutual_matches import Matches, mutual_nearest, true_matches
from muskie.evaluation.two_view.pose import estimate_pose, poselib_or_error
from muskie.evaluation.two_view.pose_errors import auc, direction_error, median, rotation_error
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import invert

ROTATION, TRANSLATION = "median rotation error (deg)", "median translation error (deg)"
MATCHES, INLIERS = "matches", "inliers"


@dataclass(frozen=True)
class RelativePoseConfig:
    """How pairs are matched, how poses are estimated, and what is counted.

    Attributes:
        readouts: `"cosine"`, `"l2"`: by which features are near.
        layers: whose features are read; negative ones count from the end; None: the last of each quarter.
        norm: apply the model's final norm to features.
        threshold: Sampson distance up to which a match agrees with a pose, in sides of a patch (the geometric mean of its
            height and width in pixels). True matches of patches are off by up to half a side along each axis of view 1;
            that is up to 0.71 sides across an epipolar line, of which the Sampson distance leaves each view a half: 0.5.
        iterations: of the estimator, at most.
        confidence: at which it stops before, in (0, 1).
        degrees: thresholds of the areas under the curve.
        signed: a translation and its opposite differ by 180 degrees. False: they are the same, as in SuperGlue's tables.
        min_baseline: metres. Cameras as near as this have no direction of translation that a tracked pose knows: the
            error of such a pair is that of its rotation alone.
        tolerance: of the perfect matcher: metres that a point may lie behind the measured surface and still be seen.
        seed: of the estimator, the same for every pair.
    """

    readouts: Sequence[str] = ("cosine",)
    layers: Sequence[int] | None = None
    norm: bool = True
    threshold: float = 0.5
    iterations: int = 10_000
    confidence: float = 0.9999
    degrees: Sequence[float] = (5, 10, 20)
    signed: bool = True
    min_baseline: float = 0.01
    tolerance: float = TOLERANCE
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        for name in self.readouts or [""]:
            if name not in METRICS:
                problems.append(f"relative_pose.readouts: {name!r} is unknown; expected some of {', '.join(METRICS)}")
        if not self.threshold > 0:
            problems.append(f"relative_pose.threshold={self.threshold}: expected a share of a patch's side above 0")
        if self.iterations < 1:
            problems.append(f"relative_pose.iterations={self.iterations}: expected at least 1")
        if not 0 < self.confidence < 1:
            problems.append(f"relative_pose.confidence={self.confidence}: expected a probability in (0, 1)")
        if not self.degrees or any(not 0 < angle <= 180 for angle in self.degrees):
            problems.append(f"relative_pose.degrees={list(self.degrees)}: expected angles above 0, up to 180")
        for key in ("min_baseline", "tolerance", "seed"):
            if getattr(self, key) < 0:
                problems.append(f"relative_pose.{key}={getattr(self, key)}: expected 0 or more")
        if problems:
            raise ConfigError("\n".join(problems))


def evaluate_relative_pose(
    backbones: Sequence[FrozenBackbone],
    batches: Iterable[PosedViews],
    groups: Sequence[str],
    config: RelativePoseConfig,
    floors: bool = True,
    data: str = "",
    bootstrap_seed: int = 0,
) -> list[Row]:
    """Measures backbones on the same pairs.

    Args:
        backbones: at least one.
        batches: from `posed_batches`, of sets of two views.
        groups: the room of each view set, by its number.
        config: see `RelativePoseConfig`.
        floors: also count what no model is needed for. *Same pixel* matches every patch to itself, which says that the
            camera did not move: the rotation is the identity, and any translation explains the matches, so that its error
            is counted as the mean of guesses, 90 degrees (57.3 with `signed=False`). *Random features*, and, as a ceiling,
            a *perfect matcher* of patches on the pairs whose depth is known, for each size of patches.
        data: what the rows say they were measured on.
        bootstrap_seed: of the intervals.

    Returns:
        A row for every line and metric (see `columns`).

    Raises:
        ConfigError: poselib is not installed, or a set has not two views.
    """
    poselib_or_error()
    rooms: list[str] = []
    counted: dict[Line, _Poses] = {}
    for views in batches:
        if views.images.shape[1] != 2:
            raise ConfigError(f"a relative pose is that of 2 views, and these sets have {views.images.shape[1]}; take 2")
        truth = _Truth(views, config, first=len(rooms))
        rooms += [groups[number] for number in views.numbers]
        images = views.images.to(backbones[0].device, non_blocking=True)
        if floors:
            counted.setdefault(Line("same pixel"), _Poses()).no_motion(truth)
            for line, matches, grid, pairs in _floors(backbones, images, views, config):
                counted.setdefault(line, _Poses()).estimate(truth, matches, grid, pairs)
        everything = range(len(images))
        for backbone in backbones:
            for line, matches, grid in predictions(backbone, images, config):
                counted.setdefault(line, _Poses()).estimate(truth, matches, grid, everything)
    weights = resampled(rooms, seed=bootstrap_seed)
    return [row for line, poses in counted.items() for row in poses.rows(line, weights, config, data)]


def predictions(
    backbone: FrozenBackbone, images: Tensor, config: RelativePoseConfig
) -> Iterator[tuple[Line, Matches, tuple[int, int]]]:
    """The matches of a backbone, from a single forward pass: for every layer and read-out its line, and the patch grid.

    Args:
        backbone: any.
        images: uint8 [B, 2, 3, H, W].
        config: which layers and read-outs.
    """
    layers = backbone.quarters() if config.layers is None else backbone.layers(config.layers)
    for layer, maps in zip(layers, backbone.features(images, layers, config.norm), strict=True):
        for metric in config.readouts:
            found = mutual_nearest(maps[:, 0], maps[:, 1], metric)
            yield Line(backbone.name, metric, layer), found, (maps.shape[-2], maps.shape[-1])


def _floors(
    backbones: Sequence[FrozenBackbone], images: Tensor, views: PosedViews, config: RelativePoseConfig
) -> Iterator[tuple[Line, Matches, tuple[int, int], Sequence[int]]]:
    measured = [number for number, depth in enumerate(views.depth) if depth.any()]
    for p in sorted({backbone.patch_size for backbone in backbones}):
        maps = RandomFeatures(p).features(images)
        grid = (maps.shape[-2], maps.shape[-1])
        yield Line(f"random features, patch {p}"), mutual_nearest(maps[:, 0], maps[:, 1]), grid, range(len(images))
        if measured:
            yield Line(f"perfect matcher, patch {p}"), true_matches(views, grid, config.tolerance), grid, measured


class _Truth:
    """True relative poses of a batch; `first` is the number of its first pair among all."""

    def __init__(self, views: PosedViews, config: RelativePoseConfig, first: int) -> None:
        self.config, self.size, self.first = config, views.size, first
        relative = (invert(views.cam2world[:, 1]) @ views.cam2world[:, 0]).numpy()
        self.rotation, self.translation = relative[:, :3, :3], relative[:, :3, 3]
        self.intrinsics = views.intrinsics.numpy()
        length = np.linalg.norm(self.translation, axis=-1)
        self.has_direction = length > config.min_baseline


class _Poses:
    """The poses of one line: for every pair that it was measured on its number, errors, matches, share of inliers."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, float, float, float, float]] = []

    def no_motion(self, truth: _Truth) -> None:
        guess = 90.0 if truth.config.signed else float(np.degrees(1))
        for pair, turned in enumerate(rotation_error(np.eye(3), truth.rotation)):
            self._add(truth, pair, float(turned), guess, np.nan, np.nan)

    def estimate(self, truth: _Truth, matches: Matches, grid: tuple[int, int], pairs: Sequence[int]) -> None:
        config = truth.config
        threshold = config.threshold * (truth.size[0] / grid[0] * truth.size[1] / grid[1]) ** 0.5
        positions = matches.positions(grid, truth.size)
        for pair in pairs:
            first, second = (x.numpy() for x in positions[pair])
            cameras = truth.intrinsics[pair, 0], truth.intrinsics[pair, 1]
            how = config.iterations, config.confidence, config.seed
            pose = estimate_pose(first, second, cameras[0], cameras[1], threshold, *how)
            if pose is None:
                self._add(truth, pair, 180.0, 180.0, len(first), 0.0)
                continue
            turned = float(rotation_error(pose.rotation, truth.rotation[pair]))
            shifted = float(direction_error(pose.translation, truth.translation[pair], config.signed))
            self._add(truth, pair, turned, shifted, len(first), pose.inliers.mean())

    def _add(self, truth: _Truth, pair: int, turned: float, shifted: float, matches: float, inliers: float) -> None:
        shifted = shifted if truth.has_direction[pair] else np.nan
        self.parts.append((truth.first + pair, turned, shifted, matches, inliers))

    def rows(self, line: Line, weights: np.ndarray, config: RelativePoseConfig, data: str) -> list[Row]:
        numbers, turned, shifted, matches, inliers = np.array(self.parts).T
        drawn = weights[:, numbers.astype(int)]
        both = np.fmax(turned, shifted)  # where there is no direction, that of the rotation
        once = np.ones(len(both))
        statistics = {f"AUC@{angle:g}": auc(both, angle) for angle in config.degrees}
        statistics |= {ROTATION: median(turned), TRANSLATION: median(shifted)}
        if not np.isnan(matches).any():
            statistics |= {MATCHES: ratio_of_sums(matches, once), INLIERS: ratio_of_sums(inliers, once)}
        counts = dict.fromkeys(statistics, len(both)) | {TRANSLATION: int((~np.isnan(shifted)).sum())}
        return [
            Row("relative pose", data, *line, metric, *interval(statistic, drawn), counts[metric])
            for metric, statistic in statistics.items()
        ]


def columns(config: RelativePoseConfig) -> list[str]:
    """All metrics in the order of the table; the medians of both errors, and the means of matches and share of inliers."""
    return [*(f"AUC@{angle:g}" for angle in config.degrees), ROTATION, TRANSLATION, MATCHES, INLIERS]


def summary(config: RelativePoseConfig) -> list[tuple[str, str, str]]:
    """The columns of the short table: all of them."""
    return [(metric, "", metric) for metric in columns(config)]


def shares(config: RelativePoseConfig) -> frozenset[str]:
    """The metrics that are shares, shown in %."""
    return frozenset({*(f"AUC@{angle:g}" for angle in config.degrees), INLIERS})
