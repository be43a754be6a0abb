"""Correspondence without training by the protocol of Probe3D (El Banani et al., CVPR 2024).

Every location of view 0 whose depth is known is matched to the nearest feature of view 1 by cosine. A match weighs
1 - d1/d2, d1 and d2 the distances (1 - cosine) of the nearest and the second nearest; the 1000 heaviest of a pair are kept
(all, where fewer locations are known), in one direction alone. Recall is the share of kept matches whose error is below a
threshold, over all pairs of a bin of viewpoint angle.

What counts, for the protocol has no test of visibility: *every* kept match. A location that view 1 does not see has no
right answer, and its match is a miss unless it happens to lie near the projection; to drop such matches is what the
weights are for. A point behind the camera has no projection: a miss. In space, a match on a surface of unknown depth is a
miss. The column "seen" says for how many of the kept matches view 1 sees the point: those that have a right answer.

The ceiling is a *perfect matcher*: as many matches as any model keeps, of which, by each threshold, as many are hits as the
locations allow. It is below 100 % where views share less than is kept, or a grid is coarse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.backbones.floors import RandomFeatures
from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import ConfigError
from muskie.evaluation.readout import nearest_centres, patch_centres
from muskie.evaluation.tally import Line, Tally
from muskie.evaluation.two_view.dense_matching import ALL
from muskie.evaluation.two_view.dense_truth import centre_depth, reproject_grid, viewpoint_angles
from muskie.evaluation.two_view.ratio_matches import Matches, ratio_matches
from muskie.evaluation.views.angle_pairs import SCANNET_BINS, bin_members, edge_problems
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import transform_points, unproject_points

EXACT = "donot_use_mm_for_euclid_dist"  # the other way round squares, and loses millimetres


@dataclass(frozen=True)
class Probe3DConfig:
    """What is asked and how answers are counted. The defaults are those on ScanNet but for the grid; as published it is in
    `configs/protocol/probe3d_scannet.yaml`, and on NAVI in `probe3d_navi.yaml`.

    Attributes:
        layers: whose features are read; negative ones count from the end; None: the last of each quarter.
        norm: apply the model's final norm to features.
        grid: (h, w) that features are upsampled to, bicubic; None: that of the patches.
        known_targets: only locations of known depth can be matched to (on NAVI: those on the object).
        keep: matches of a pair, at most.
        pixels: thresholds of the distance in view 1, in pixels.
        scale: pixels are those of a picture whose shorter side has so many; None: those of the picture as it is.
        centimetres: thresholds of the distance in space.
        bins: edges of the bins of viewpoint angle, rising, in degrees; none: all pairs alone.
    """

    layers: Sequence[int] | None = None
    norm: bool = True
    grid: tuple[int, int] | None = None
    known_targets: bool = False
    keep: int = 1000
    pixels: Sequence[float] = (5, 10, 20)
    scale: int | None = 120
    centimetres: Sequence[float] = (1, 2, 5)
    bins: Sequence[float] = SCANNET_BINS

    def __post_init__(self) -> None:
        problems = edge_problems("probe3d.bins", self.bins) if self.bins else []
        if self.grid is not None and min(self.grid) < 1:
            problems.append(f"probe3d.grid={list(self.grid)}: expected [height, width], at least 1, or null")
        if self.keep < 1:
            problems.append(f"probe3d.keep={self.keep}: expected at least 1")
        for key in ("pixels", "centimetres"):
            if any(not threshold > 0 for threshold in getattr(self, key)):
                problems.append(f"probe3d.{key}={list(getattr(self, key))}: expected thresholds above 0")
        if self.scale is not None and self.scale < 1:
            problems.append(f"probe3d.scale={self.scale}: expected pixels, or null for those of the picture")
        if problems:
            raise ConfigError("\n".join(problems))


def evaluate_probe3d(
    backbones: Sequence[FrozenBackbone],
    batches: Iterable[PosedViews],
    groups: Sequence[str],
    config: Probe3DConfig,
    floors: bool = True,
) -> Tally:
    """Measures backbones on the same pairs.

    Args:
        backbones: at least one.
        batches: from `posed_batches`, with V = 2.
        groups: the room of each pair, by its number.
        config: see `Probe3DConfig`.
        floors: also count what no model is needed for: the same location, for all of known depth; random features; and, as a
            ceiling, a perfect matcher, see `Locations.best`.

    Raises:
        ConfigError: samples do not have two views.
    """
    tally = Tally()
    device = backbones[0].device
    for views in batches:
        tally.batch([groups[number] for number in views.numbers])
        inside = {ALL: torch.ones(len(views.numbers), dtype=torch.bool)}
        members = bin_members(viewpoint_angles(views), config.bins)
        inside |= {name: torch.from_numpy(chosen) for name, chosen in members.items()}
        views = views.to(device)
        matched = _matched(backbones, views, config)
        for line, values, counted in chain(_floors(backbones, views, config), matched) if floors else matched:
            for name, chosen in inside.items():
                tally.add(line._replace(pooling=name), values, counted & chosen.to(device)[:, None])
    return tally


class Locations:
    """The centres of a grid over both views, and where those of view 0 lie in view 1.

    Depth is taken as `centre_depth` does, on the edges of surfaces that of the pixel there.

    Attributes:
        centres: float64 [S, 2], (x, y) in pixels.
        known: bool [B, 2, S], the depth is known, in each view.
        points: float64 [B, 2, S, 3], in space; mean nothing where the depth is not known.
        positions: float64 [B, S, 2], those of view 0 in view 1; infinite where they are not in front of it.
        seen: bool [B, S], view 1 sees the same point there.
    """

    def __init__(self, views: PosedViews, grid: tuple[int, int]) -> None:
        self.size, self.grid = views.size, grid
        self.centres = patch_centres(torch.arange(grid[0] * grid[1], device=views.depth.device), grid, views.size)
        depth = centre_depth(views.depth, grid, edges=True)  # [B, 2, h, w]
        self.known = depth.flatten(-2) > 0
        points = unproject_points(self.centres, depth.flatten(-2), views.intrinsics)
        self.points = transform_points(views.cam2world, points)
        found = reproject_grid(views, depth[:, 0])
        self.positions = torch.where((found.depth > 0)[..., None], found.pixels, torch.inf).flatten(1, 2)
        self.seen = found.visible.flatten(1)

    def values(self, matches: Matches, config: Probe3DConfig) -> dict[str, Tensor]:
        """What is counted of matches: metric -> bool [B, N]."""
        sources, targets = matches.sources, matches.targets
        pixels = (self.centres[targets] - _pick(self.positions, sources)).norm(dim=-1)
        metres = (_pick(self.points[:, 1], targets) - _pick(self.points[:, 0], sources)).norm(dim=-1)
        metres = torch.where(self.known[:, 1].gather(1, targets), metres, torch.inf)
        return self._hits(pixels, metres, config) | {"seen": self.seen.gather(1, sources)}

    def _hits(self, pixels: Tensor, metres: Tensor, config: Probe3DConfig) -> dict[str, Tensor]:
        pixels = pixels * ((config.scale or min(self.size)) / min(self.size))
        found = {f"recall@{t:g}px": pixels < t for t in config.pixels}
        return found | {f"recall@{t:g}cm": metres < t / 100 for t in config.centimetres}

    def best(self, config: Probe3DConfig) -> tuple[dict[str, Tensor], Tensor]:
        """What no matcher can surpass: metric -> bool [B, N], and which of these count, as many as any matcher keeps.

        A location can be a hit in pixels if its projection is near enough to some centre of the grid that may be matched
        to, and in space if its point is to some point of view 1. Those that can be are kept first, whatever else they are
        by another threshold.
        """
        if config.known_targets:
            centres = self.centres.expand(len(self.positions), -1, -1)
            pixels = nearest_distance(self.positions, centres, self.known[:, 1])
        else:
            nearest = nearest_centres(self.positions, self.grid, self.size)
            pixels = (nearest - self.positions).norm(dim=-1)
        pixels = pixels.nan_to_num(torch.inf)
        metres = nearest_distance(self.points[:, 0], self.points[:, 1], self.known[:, 1])
        able = self._hits(pixels, metres, config) | {"seen": self.seen}
        known = self.known[:, 0] & (not config.known_targets or self.known[:, 1].sum(1, keepdim=True) > 1)
        keep = min(config.keep, known.shape[1])
        counted = torch.arange(keep, device=known.device) < known.sum(1, keepdim=True)
        return {name: (hit & known).sort(dim=1, descending=True).values[:, :keep] for name, hit in able.items()}, counted

    def same(self) -> Matches:
        """Every location of known depth, matched to itself."""
        numbers = torch.arange(len(self.centres), device=self.centres.device).expand_as(self.seen)
        return Matches(numbers, numbers, self.known[:, 0])


def nearest_distance(ones: Tensor, others: Tensor, known: Tensor, memory: float = 0.5) -> Tensor:
    """From each of [B, S, D] places to the nearest of [B, T, D] that is known [B, T]: [B, S], infinite where none is.
    Takes at most `memory` GiB."""
    together = max(int(memory * 2**30 / (4 * others.shape[1])), 1)
    found = []
    for places, targets, which in zip(ones, others, known, strict=True):
        middle = targets.mean(0)
        one, other = (places - middle).float(), (targets - middle).float()[which]  # exact to millionths
        near = [torch.cdist(part, other, compute_mode=EXACT) for part in one.split(together)]
        found.append(torch.cat([d.amin(1) if d.shape[1] else d.new_full((len(d),), torch.inf) for d in near]))
    return torch.stack(found)


def _pick(values: Tensor, numbers: Tensor) -> Tensor:
    """Of [B, S, D] those of numbers [B, N], [B, N, D]."""
    return values.gather(1, numbers[..., None].expand(-1, -1, values.shape[-1]))


Counted = tuple[Line, dict[str, Tensor], Tensor]
"""A line, what is counted for it, metric -> bool [B, N], and which of these count."""


def _matched(backbones: Sequence[FrozenBackbone], views: PosedViews, config: Probe3DConfig) -> Iterator[Counted]:
    for backbone in backbones:
        layers = backbone.quarters() if config.layers is None else backbone.layers(config.layers)
        for layer, features in zip(layers, backbone.features(views.images, layers, config.norm), strict=True):
            matches, locations = _match(features, views, config)
            yield Line(backbone.name, "ratio test", layer), locations.values(matches, config), matches.counted


def _match(features: Tensor, views: PosedViews, config: Probe3DConfig) -> tuple[Matches, Locations]:
    """Matches by features [B, 2, C, h, w]."""
    if config.grid is not None:
        flat = F.interpolate(features.flatten(0, 1), config.grid, mode="bicubic", align_corners=False)
        features = flat.unflatten(0, features.shape[:2])
    locations = Locations(views, (features.shape[-2], features.shape[-1]))
    known, targets = locations.known.unbind(1)
    allowed = targets if config.known_targets else torch.ones_like(targets)
    source, target = features.flatten(-2).unbind(1)
    return ratio_matches(source, target, known, allowed, config.keep), locations


def _floors(backbones: Sequence[FrozenBackbone], views: PosedViews, config: Probe3DConfig) -> Iterator[Counted]:
    for number, p in enumerate(sorted({backbone.patch_size for backbone in backbones})):
        matches, locations = _match(RandomFeatures(p).features(views.images), views, config)
        name = f"patch {p}" if config.grid is None else f"grid {config.grid[0]} x {config.grid[1]}"
        if not number or config.grid is None:
            same = locations.same()
            yield Line(f"same location, {name}"), locations.values(same, config), same.counted
            yield Line(f"perfect matcher, {name}"), *locations.best(config)
        yield Line(f"random features, patch {p}"), locations.values(matches, config), matches.counted


def columns(config: Probe3DConfig) -> list[str]:
    """All metrics in the order of the table; all are shares."""
    pixels, space = (f"recall@{t:g}px" for t in config.pixels), (f"recall@{t:g}cm" for t in config.centimetres)
    return [*pixels, *space, "seen"]
