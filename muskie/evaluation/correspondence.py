"""Multi-view correspondence without training: points of one view are looked for in the others.

The protocol of Muskie (arXiv 2511.18115): 8 views, 100 queries in the first. Matches are read from features or from
attention; errors are counted in pixels, in patches and in space. Two things differ from the published evaluation, for
they cannot rank models there: a match is the centre of its patch and not its corner, and the query view is left out,
where every prediction is right. The published pooling is reported beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from muskie.backbones.floors import RandomFeatures
from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import ConfigError
from muskie.evaluation.attention_readout import KINDS, attention_reader, can_attend
from muskie.evaluation.readout import METRICS, nearest_centres, nearest_patches, patch_centres, sample
from muskie.evaluation.tally import Line, Tally
from muskie.evaluation.tracks import TOLERANCE, Tracks, depth_at, draw_tracks
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import unproject_points
from muskie.models.listening import block_numbers

OURS, PUBLISHED = "without the query view", "published pooling, with the query view"


@dataclass(frozen=True)
class CorrespondenceConfig:
    """What is asked and how answers are read and counted.

    Attributes:
        queries: in the first view of each sample.
        readouts: `"cosine"`, `"l2"`: the nearest feature; `"attention"`, `"scores"`: see
            `muskie.evaluation.attention_readout`, of models whose views attend to each other.
        layers: whose features are read; negative ones count from the end; None: the last of each quarter of the layers.
        norm: apply the model's final norm to features.
        blocks: whose attention is averaged; None: all.
        pixels: thresholds of PCK in pixels.
        scale: pixels are those of a picture whose shorter side has so many; None: those of the picture as it is.
        patches: thresholds in patches of the model.
        centimetres: thresholds of the distance in space.
        tolerance: metres that a point may lie behind the measured surface and still be seen.
        seed: of the queries.
    """

    queries: int = 100
    readouts: Sequence[str] = ("cosine", "attention", "scores")
    layers: Sequence[int] | None = None
    norm: bool = True
    blocks: Sequence[int] | None = None
    pixels: Sequence[float] = (1, 2, 5, 10, 25, 50)
    scale: int | None = 512
    patches: Sequence[float] = (0.5, 1, 2)
    centimetres: Sequence[float] = (1, 2, 5, 10)
    tolerance: float = TOLERANCE
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.queries < 1:
            problems.append(f"correspondence.queries={self.queries}: expected at least 1")
        for name in self.readouts or [""]:
            if name not in (*METRICS, *KINDS):
                allowed = ", ".join((*METRICS, *KINDS))
                problems.append(f"correspondence.readouts: {name!r} is unknown; expected some of {allowed}")
        for key in (key for key in ("layers", "blocks") if getattr(self, key) is not None and not len(getattr(self, key))):
            problems.append(f"correspondence.{key}=[]: expected one or more numbers, or null")
        for key in ("pixels", "patches", "centimetres"):
            if any(not threshold > 0 for threshold in getattr(self, key)):
                problems.append(f"correspondence.{key}={list(getattr(self, key))}: expected thresholds above 0")
        if self.scale is not None and self.scale < 1:
            problems.append(f"correspondence.scale={self.scale}: expected pixels, or null for those of the picture")
        for key in ("tolerance", "seed"):
            if not getattr(self, key) >= 0:
                problems.append(f"correspondence.{key}={getattr(self, key)}: expected 0 or more")
        if problems:
            raise ConfigError("\n".join(problems))


def evaluate_correspondence(
    backbones: Sequence[FrozenBackbone],
    batches: Iterable[PosedViews],
    groups: Sequence[str],
    config: CorrespondenceConfig,
    floors: bool = True,
) -> Tally:
    """Measures backbones on the same samples.

    Args:
        backbones: at least one.
        batches: from `posed_batches`.
        groups: the room of each view set, by its number.
        config: see `CorrespondenceConfig`.
        floors: also count what no model is needed for: the same pixel in every view, random features, and, as a ceiling,
            the patch that truly holds the point, for each size of patches.

    Raises:
        ConfigError: a layer or block that a backbone does not have, or read-outs that none of them has.
    """
    _check(backbones, config)  # told before anything is read
    tally = Tally()
    device = backbones[0].device
    for views in batches:
        tracks = draw_tracks(views, config.queries, config.seed, config.tolerance)
        tally.batch([groups[number] for number in views.numbers])
        judge = _Judge(views, tracks, config, device, tally)
        images = views.images.to(device, non_blocking=True)
        if floors:
            for line, predicted, grid in _floors(backbones, images, judge):
                judge.count(line, predicted, grid)
        for backbone in backbones:
            for line, predicted, grid in predictions(backbone, images, judge.queries, config):
                judge.count(line, predicted, grid)
    return tally


def _check(backbones: Sequence[FrozenBackbone], config: CorrespondenceConfig) -> None:
    for backbone in backbones:
        backbone.layers(config.layers or ())
        if can_attend(backbone):
            block_numbers(backbone.model.encoder, config.blocks)  # type: ignore[attr-defined]
    if set(config.readouts) <= set(KINDS) and not any(map(can_attend, backbones)):
        unfit = f"correspondence.readouts={list(config.readouts)}: views of {', '.join(one.name for one in backbones)}"
        raise ConfigError(f"{unfit} do not attend to each other; take {' or '.join(METRICS)}")


def predictions(
    backbone: FrozenBackbone, images: Tensor, queries: Tensor, config: CorrespondenceConfig
) -> Iterator[tuple[Line, Tensor, tuple[int, int]]]:
    """Where a backbone finds queries of view 0, from a single forward pass.

    Args:
        backbone: any.
        images: uint8 [B, V, 3, H, W].
        queries: [B, Q, 2], (x, y) in pixels of view 0.
        config: which read-outs, layers and blocks.

    Yields:
        For every read-out and layer its line, positions float64 [B, V, Q, 2], and the patch grid.
    """
    size = (images.shape[-2], images.shape[-1])
    layers = backbone.quarters() if config.layers is None else backbone.layers(config.layers)
    kinds = [kind for kind in config.readouts if kind in KINDS and can_attend(backbone)]
    heard = attention_reader(backbone, images, queries, kinds, config.blocks) if kinds else nullcontext()
    with heard as reader:
        maps = backbone.features(images, layers, config.norm)
    for layer, features in zip(layers, maps, strict=True):
        grid = (features.shape[-2], features.shape[-1])
        at_queries = sample(features[:, 0], queries, size)
        for metric in (name for name in config.readouts if name in METRICS):
            found = nearest_patches(at_queries, features, metric)
            yield Line(backbone.name, metric, layer), patch_centres(found, grid, size), grid
    if reader is not None:
        for kind, weights in reader.result().items():  # [B, V, Q, h, w]
            grid = (weights.shape[-2], weights.shape[-1])
            yield Line(backbone.name, kind), patch_centres(weights.flatten(-2).argmax(-1), grid, size), grid


def _floors(
    backbones: Sequence[FrozenBackbone], images: Tensor, judge: _Judge
) -> Iterator[tuple[Line, Tensor, tuple[int, int] | None]]:
    sizes = sorted({backbone.patch_size for backbone in backbones})
    sides = [max(round(side / sizes[0]), 1) for side in judge.size]
    common = (sides[0], sides[1]) if len(sizes) == 1 else None  # where patches differ, none is everybody's
    yield Line("same pixel"), judge.queries[:, None].expand_as(judge.positions), common
    for p in sizes:
        random = RandomFeatures(p)
        features = random.features(images)
        grid = (features.shape[-2], features.shape[-1])
        found = nearest_patches(sample(features[:, 0], judge.queries, judge.size), features)
        yield Line(f"random features, patch {p}"), patch_centres(found, grid, judge.size), grid
        yield Line(f"perfect matcher, patch {p}"), nearest_centres(judge.positions, grid, judge.size), grid


class _Judge:
    """Compares predictions with the truth of one batch."""

    def __init__(
        self, views: PosedViews, tracks: Tracks, config: CorrespondenceConfig, device: torch.device, tally: Tally
    ) -> None:
        self.config, self.tally, self.size = config, tally, views.size
        self.queries, self.positions, self.visible = (
            x.to(device) for x in (tracks.queries, tracks.positions, tracks.visible)
        )
        self.depth, self.intrinsics = views.depth.to(device), views.intrinsics.to(device)
        # Where the truth is not seen its position may be anything, even infinite.
        self.positions = torch.where(self.visible[..., None], self.positions, 0.5)
        self.points = self._in_space(self.positions)

    def _in_space(self, positions: Tensor) -> Tensor:
        """Positions [B, V, Q, 2] on the surface that each view measured, in its camera; NaN where it is unknown."""
        depth = depth_at(self.depth, positions)
        points = unproject_points(positions, depth, self.intrinsics)
        return torch.where(depth[..., None] > 0, points, torch.nan)

    def count(self, line: Line, predicted: Tensor, grid: tuple[int, int] | None) -> None:
        """Adds the errors of positions float64 [B, V, Q, 2], read on a grid of patches (None: on none)."""
        config = self.config
        offset = predicted - self.positions
        pixels = offset.norm(dim=-1) * ((config.scale or min(self.size)) / min(self.size))
        metres = (self._in_space(predicted) - self.points).norm(dim=-1)
        values = {"error (px)": pixels, "error (cm)": 100 * metres}
        values |= {f"PCK@{t:g}px": pixels < t for t in config.pixels}
        if grid is not None:
            side = offset.new_tensor([self.size[1] / grid[1], self.size[0] / grid[0]])
            in_patches = (offset / side).norm(dim=-1)
            values |= {f"PCK@{t:g}patch": in_patches < t for t in config.patches}
        # A match on a surface of unknown depth is a miss where the truth's is known.
        known = ~self.points[..., 0].isnan()
        space = {f"acc@{t:g}cm": metres < t / 100 for t in config.centimetres}
        for pooling, first in ((OURS, 1), (PUBLISHED, 0)):
            if first == 0:  # the published code does not look for the query in its own view
                values, space = ({m: _right_at_home(v) for m, v in part.items()} for part in (values, space))
            seen = self.visible[:, first:]
            into = line._replace(pooling=pooling)
            self.tally.add(into, {metric: value[:, first:] for metric, value in values.items()}, seen)
            self.tally.add(into, {metric: value[:, first:] for metric, value in space.items()}, seen & known[:, first:])


def _right_at_home(values: Tensor) -> Tensor:
    """The same with view 0 right: an error of 0, or a hit."""
    values = values.clone()
    values[:, 0] = values.dtype == torch.bool
    return values


def columns(config: CorrespondenceConfig) -> list[str]:
    """All metrics in the order of the table."""
    return [
        *(f"PCK@{t:g}px" for t in config.pixels),
        "error (px)",
        *(f"PCK@{t:g}patch" for t in config.patches),
        *(f"acc@{t:g}cm" for t in config.centimetres),
        "error (cm)",
    ]


def summary(config: CorrespondenceConfig) -> list[tuple[str, str, str]]:
    """The columns of the short table: thresholds in pixels, the same as published pools them, in patches, and in space."""
    middle = list(config.pixels)[-3:-1] or list(config.pixels)
    found = [(f"PCK@{t:g}px", OURS, f"PCK@{t:g}px") for t in middle]
    found += [(f"PCK@{t:g}px", PUBLISHED, f"PCK@{t:g}px published") for t in middle]
    found += [(f"PCK@{t:g}patch", OURS, f"PCK@{t:g}patch") for t in list(config.patches)[1:2] or config.patches]
    found += [("error (px)", OURS, "error (px)")]
    found += [(f"acc@{t:g}cm", OURS, f"acc@{t:g}cm") for t in list(config.centimetres)[-1:]]
    return [*found, ("error (cm)", OURS, "error (cm)")]
