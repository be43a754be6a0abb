"""Two-view dense matching: every pixel of view 0 is looked for in view 1, by the nearest patch feature or by a linear probe.

The protocol of MuM (arXiv 2511.17309): end-point error (EPE) and the share of pixels nearer than some thresholds (PCK;
below 32 px it is MuM's R), of a picture of 448 px. Four things differ. Probes are chosen on a validation split and not on
the test pairs; EPE is the mean over all pixels and not over the means of batches; displacements are upsampled and not
positions (`muskie.evaluation.two_view.dense_readout`); and results are also given by viewpoint angle, in Probe3D's bins.
Whether MuM's features were normalised by the last norm is not clear from its paper and code: `norm` says, and one can
report both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from muskie.backbones.floors import RandomFeatures
from muskie.backbones.frozen import FrozenBackbone
from muskie.evaluation.readout import nearest_centres
from muskie.evaluation.tally import Line, Tally
from muskie.evaluation.two_view.dense_readout import FLOWS, dense_flow, upsampled
from muskie.evaluation.two_view.dense_truth import TOLERANCE, Warp, patch_warp, pixel_warp, viewpoint_angles
from muskie.evaluation.two_view.linear_probe import Probe, ProbeConfig
from muskie.evaluation.views.angle_pairs import SCANNET_BINS, bin_members, edge_problems
from muskie.evaluation.views.posed_views import PosedViews
from muskie.geometry import pixel_centres

ALL = "all pairs"


@dataclass(frozen=True)
class DenseMatchingConfig(ProbeConfig):
    """What is asked and how answers are read and counted; besides, the settings of `ProbeConfig`.

    Attributes:
        layers: whose features are read; negative ones count from the end; None: the last of each quarter.
        norm: apply the model's final norm to features.
        flow: how a position is read from correlations, see `muskie.evaluation.two_view.dense_readout.FLOWS`.
        pixels: thresholds of PCK in pixels.
        scale: pixels are those of a picture whose shorter side has so many; None: those of the picture as it is.
        tolerance: see `muskie.evaluation.two_view.dense_truth.TOLERANCE`.
        bins: edges of the bins of viewpoint angle, rising, in degrees; none: all pairs alone.
    """

    layers: Sequence[int] | None = None
    norm: bool = True
    flow: str = "neighbours"
    pixels: Sequence[float] = (1, 3, 5, 8, 16, 32)
    scale: int | None = 448
    tolerance: float = TOLERANCE
    bins: Sequence[float] = SCANNET_BINS

    @classmethod
    def section(cls) -> str:
        """What its settings are called."""
        return "dense_matching"

    def problems(self) -> list[str]:
        """What is out of range, in words."""
        found = super().problems()
        if self.flow not in FLOWS:
            found.append(f"flow={self.flow!r}: expected one of {', '.join(map(repr, FLOWS))}")
        if any(not threshold > 0 for threshold in self.pixels):
            found.append(f"pixels={list(self.pixels)}: expected thresholds above 0")
        if self.scale is not None and self.scale < 1:
            found.append(f"scale={self.scale}: expected pixels, or null for those of the picture")
        if not self.tolerance > 0:
            found.append(f"tolerance={self.tolerance}: expected a share above 0")
        return found + (edge_problems("bins", self.bins) if self.bins else [])

    def layers_of(self, backbone: FrozenBackbone) -> list[int]:
        """Numbers of a backbone's layers that are read."""
        return backbone.quarters() if self.layers is None else backbone.layers(self.layers)

    def unit(self, size: tuple[int, int]) -> float:
        """How many of the pixels that are counted a pixel of a picture of `size` (H, W) is."""
        return (self.scale or min(size)) / min(size)


class ProbeKey(NamedTuple):
    """Whose features a probe is for."""

    model: str
    layer: int


def evaluate_dense_matching(
    backbones: Sequence[FrozenBackbone],
    batches: Iterable[PosedViews],
    groups: Sequence[str],
    config: DenseMatchingConfig,
    floors: bool = True,
    probes: Mapping[ProbeKey, Probe] | None = None,
) -> Tally:
    """Measures backbones on the same pairs.

    Args:
        backbones: at least one.
        batches: from `posed_batches`, with V = 2.
        groups: the room of each pair, by its number.
        config: see `DenseMatchingConfig`.
        floors: also count what no model is needed for: the same pixel, random features, and, as ceilings, a matcher that
            knows the true patch for each patch, as good as `"argmax"` can be, and one that knows the true place, which
            the weighted mean of `"neighbours"` could name.
        probes: of `muskie.evaluation.two_view.probe_fitting.fit_probes`; features without one are read by `"knn"` alone.

    Raises:
        ConfigError: samples do not have two views.
    """
    tally = Tally()
    device = backbones[0].device
    for views in batches:
        tally.batch([groups[number] for number in views.numbers])
        angles = viewpoint_angles(views)
        views = views.to(device)
        truth = pixel_warp(views, config.tolerance)
        members = {ALL: torch.ones(len(angles), dtype=torch.bool)}
        members |= {name: torch.from_numpy(inside) for name, inside in bin_members(angles, config.bins).items()}
        flows = predictions(backbones, views, config, probes or {})
        for line, positions in chain(_floors(backbones, views, truth, config), flows) if floors else flows:
            error = (positions - truth.positions).norm(dim=-1) * config.unit(views.size)
            values = {"EPE (px)": error} | {f"PCK@{t:g}px": error < t for t in config.pixels}
            for name, inside in members.items():
                counted = truth.valid & inside.to(device)[:, None, None]
                tally.add(line._replace(pooling=name), values, counted)
    return tally


def predictions(
    backbones: Sequence[FrozenBackbone], views: PosedViews, config: DenseMatchingConfig, probes: Mapping[ProbeKey, Probe]
) -> Iterator[tuple[Line, Tensor]]:
    """Where backbones find the pixels of view 0 in view 1; each looks at the pictures once.

    Yields:
        For every layer and read-out its line and positions float64 [B, H, W, 2].
    """
    for backbone in backbones:
        layers = config.layers_of(backbone)
        for layer, features in zip(layers, backbone.features(views.images, layers, config.norm), strict=True):
            source, target = features.unbind(1)
            found = dense_flow(source, target, views.size, config.temperature, config.flow)
            yield Line(backbone.name, "knn", layer), found
            if probe := probes.get(ProbeKey(backbone.name, layer)):
                found = dense_flow(probe(source), probe(target), views.size, config.temperature, config.flow)
                yield Line(backbone.name, "probe", layer), found


def _floors(
    backbones: Sequence[FrozenBackbone], views: PosedViews, truth: Warp, config: DenseMatchingConfig
) -> Iterator[tuple[Line, Tensor]]:
    size = views.size
    yield Line("same pixel"), pixel_centres(*size, truth.positions).expand_as(truth.positions)
    for p in sorted({backbone.patch_size for backbone in backbones}):
        source, target = RandomFeatures(p).features(views.images).unbind(1)
        yield Line(f"random features, patch {p}"), dense_flow(source, target, size, config.temperature, config.flow)
        for line, exact in (("perfect matcher", False), ("perfect matcher between patches", True)):
            if config.flow != "argmax" or not exact:
                yield Line(f"{line}, patch {p}"), perfect_flow(views, truth, source.shape[-2:], config.tolerance, exact)


def perfect_flow(
    views: PosedViews, truth: Warp, grid: Sequence[int], tolerance: float = TOLERANCE, exact: bool = False
) -> Tensor:
    """The flow, float64 [B, H, W, 2], of a matcher that knows the truth of every patch that has one.

    Args:
        views: pairs.
        truth: of the pixels; a pixel with no known patch around it is given the patch that truly holds it.
        grid: (h, w).
        tolerance: see `TOLERANCE`.
        exact: it names the place itself, and loses nothing but by upsampling; else it names the patch that holds it.
    """
    side = (grid[0], grid[1])
    centres = patch_warp(views, side, tolerance)
    positions = centres.positions if exact else nearest_centres(centres.positions, side, views.size)
    found, known = upsampled(positions.flatten(1, 2), side, views.size, centres.valid.flatten(1, 2))
    return torch.where(known[..., None], found, nearest_centres(truth.positions, side, views.size))


def columns(config: DenseMatchingConfig) -> list[str]:
    """All metrics in the order of the table."""
    return ["EPE (px)", *(f"PCK@{t:g}px" for t in config.pixels)]
