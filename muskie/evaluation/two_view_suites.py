"""The two-view suites of `scripts/evaluate.py`: dense matching, Probe3D's correspondence, relative pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import DataError
from muskie.evaluation.material import Material, of_pixels
from muskie.evaluation.results import Row, Table
from muskie.evaluation.suite_registry import suite
from muskie.evaluation.two_view import dense_matching as dense
from muskie.evaluation.two_view import probe3d as zero_shot
from muskie.evaluation.two_view import relative_pose as pose
from muskie.evaluation.two_view.dense_matching import ALL, DenseMatchingConfig, ProbeKey
from muskie.evaluation.two_view.linear_probe import Probe
from muskie.evaluation.two_view.probe3d import Probe3DConfig
from muskie.evaluation.two_view.probe_fitting import ProbePairs, fit_probes, split_pairs
from muskie.evaluation.two_view.relative_pose import RelativePoseConfig


@dataclass(frozen=True)
class DenseMatchingSuite(DenseMatchingConfig):
    """As `DenseMatchingConfig`, and whether there are probes at all.

    Attributes:
        probe: fit linear probes to pairs of the training part; needs data of which a part is held out.
        probe_pairs: how many pairs, some of which choose among the probes.
    """

    probe: bool = False
    probe_pairs: int = 1000


@suite(DenseMatchingSuite, needs="pairs")
def dense_matching(backbones: Sequence[FrozenBackbone], material: Material, config: DenseMatchingSuite) -> Table:
    """Two-view dense matching, see `muskie.evaluation.two_view.dense_matching`."""
    for backbone in backbones:
        config.layers_of(backbone)
    chosen = material.pair_sets()
    probes = _probes(backbones, material, config) if config.probe else {}
    groups = [views.group for views in chosen.sets]
    batches = material.batches(chosen.sets, "dense matching")
    tally = dense.evaluate_dense_matching(backbones, batches, groups, config, material.floors, probes)
    rows = tally.rows("dense_matching", material.data, material.seed)
    columns = dense.columns(config)
    notes = [*material.notes(chosen.sets, material.pairs), of_pixels(config.scale), *chosen.notes]
    notes += [f"Probe of {key.model}, layer {key.layer}: {probe}." for key, probe in probes.items()]
    thresholds = [f"PCK@{t:g}px" for t in config.pixels]
    short = [("EPE (px)", ALL, "EPE (px)"), *((m, ALL, m) for m in thresholds[-3:])]
    short += _by_bin(rows, thresholds[-1])
    return Table("Two-view dense matching", notes, rows, columns, short, frozenset(thresholds))


def _probes(backbones: Sequence[FrozenBackbone], material: Material, config: DenseMatchingSuite) -> dict[ProbeKey, Probe]:
    if material.train is None:
        raise DataError(
            "dense_matching.probe=true: probes are fitted to frames that are not measured on, and here all are; take "
            "part=heldout, or probe=false"
        )
    chosen = replace(material.pairs, samples=config.probe_pairs).pairs(material.train)
    training, validation = split_pairs(chosen.sets, config.validation, config.seed)
    pairs = ProbePairs(training, validation, material.size, material.workers, material.crop)
    return fit_probes(backbones, pairs, config)


def _by_bin(rows: Sequence[Row], metric: str) -> list[tuple[str, str, str]]:
    """A column for every bin of viewpoint angle that has pairs."""
    bins = dict.fromkeys(row.pooling for row in rows if row.pooling != ALL and row.count)
    return [(metric, name, f"{metric} {name.removeprefix('viewpoint ')}°") for name in bins]


@suite(Probe3DConfig, needs="pairs")
def probe3d(backbones: Sequence[FrozenBackbone], material: Material, config: Probe3DConfig) -> Table:
    """Probe3D's zero-shot correspondence, see `muskie.evaluation.two_view.probe3d`."""
    for backbone in backbones:
        backbone.layers(config.layers or ())
    chosen = material.pair_sets()
    groups = [views.group for views in chosen.sets]
    batches = material.batches(chosen.sets, "probe3d")
    tally = zero_shot.evaluate_probe3d(backbones, batches, groups, config, material.floors)
    rows = tally.rows("probe3d", material.data, material.seed)
    columns = zero_shot.columns(config)
    keep = (
        f"The {config.keep} matches of each pair that the ratio test trusts most; all, where fewer locations of a grid have "
        "known depth."
    )
    keep += " The perfect matcher keeps as many, of which as many are hits as can be." if material.floors else ""
    notes = [*material.notes(chosen.sets, material.pairs), keep, of_pixels(config.scale), *chosen.notes]
    headline = f"recall@{sorted(config.pixels)[len(config.pixels) // 2]:g}px"
    short = [*((m, ALL, m) for m in columns), *_by_bin(rows, headline)]
    return Table("Correspondence as in Probe3D", notes, rows, columns, short, frozenset(columns))


@suite(RelativePoseConfig, needs="camera pairs")
def relative_pose(backbones: Sequence[FrozenBackbone], material: Material, config: RelativePoseConfig) -> Table:
    """Relative pose from mutual nearest neighbours, see `muskie.evaluation.two_view.relative_pose`."""
    for backbone in backbones:
        backbone.layers(config.layers or ())
    chosen = material.pair_sets(depth=False)
    groups = [views.group for views in chosen.sets]
    batches = material.batches(chosen.sets, "relative pose")
    rows = pose.evaluate_relative_pose(backbones, batches, groups, config, material.floors, material.data, material.seed)
    columns = pose.columns(config)
    notes = [
        *material.notes(chosen.sets, material.pairs),
        "Mutual nearest neighbours, essential matrix by poselib's LO-RANSAC. The error of a pair is the larger one of "
        "rotation and direction of translation; no pose is an error of 180 degrees.",
        *chosen.notes,
    ]
    return Table("Relative pose from features alone", notes, rows, columns, pose.summary(config), pose.shares(config))
