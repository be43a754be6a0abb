"""What trained recipes are measured by: each data source of theirs by itself, the same held-out samples for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.data.index import SceneIndex
from muskie.data.loading import build_sources
from muskie.data.scene import SceneSource
from muskie.errors import DataError
from muskie.evaluation.correspondence import OURS
from muskie.evaluation.cross_view_gain import VIEWS, Gain, GainSamples, cross_view_gain, gain_samples
from muskie.evaluation.material import Material
from muskie.evaluation.results import Row, Table
from muskie.evaluation.suites import find_suite
from muskie.models.named import UNTRAINED
from muskie.training.evaluation_config import EvaluationConfig
from muskie.training.tasks import gain_predictor

ALL_MASKED = 0.75
"""Hidden share of every view in the second gain, MuM's masks (arXiv 2511.17309)."""

METRIC = "PCK@25px"


@dataclass(frozen=True)
class Score:
    """What a recipe reached on one source.

    Attributes:
        gain: the cross-view gain with two whole references, Muskie's kind of masks.
        all_masked: the same with `ALL_MASKED` of every view hidden.
        best: its best read-out of `METRIC` among layers and attention; None: the source has no depth or cameras.
        untrained: the same before training.
    """

    gain: Gain
    all_masked: Gain
    best: Row | None
    untrained: Row | None


@dataclass(frozen=True)
class Measured:
    """One source.

    Attributes:
        label: its name.
        scores: of each recipe, by its name.
        table: of correspondence; None: it has no depth or cameras, which `note` says.
        images: uint8 [4, 3, H, W], the first sample of the gain.
        mask: bool [4, h, w] of it.
        note: what was measured on.
    """

    label: str
    scores: Mapping[str, Score]
    table: Table | None
    images: Tensor
    mask: Tensor
    note: str


def measure(backbones: Sequence[FrozenBackbone], settings: Mapping[str, Any], device: torch.device) -> list[Measured]:
    """Measures trained recipes on what all of them held out.

    Args:
        backbones: one a recipe, called like it.
        settings: of any of them; they agree in data and hold-out.
        device: where to.

    Raises:
        DataError: there is too little to measure on.
    """
    sources = [source for source in build_sources(settings["data"]) if not source.single]
    return [_of_source(backbones, source, settings, device) for source in sources]


def check_data(settings: Mapping[str, Any]) -> None:
    """Reads one sample of every source, so that what cannot be measured is told before anything is trained.

    Raises:
        DataError: there is too little to measure on.
    """
    if not settings["holdout"].share:
        raise DataError("holdout.share=0 leaves nothing to measure recipes on")
    for source in (source for source in build_sources(settings["data"]) if not source.single):
        heldout = SceneIndex([source], "heldout", settings["holdout"], VIEWS)
        side = settings["evaluation"].side(settings["plan"]["sizes"])
        gain_samples(heldout, SceneIndex([source], "all"), replace(settings["evaluation"], samples=2), side, 1)


def _of_source(
    backbones: Sequence[FrozenBackbone], source: SceneSource, settings: Mapping[str, Any], device: torch.device
) -> Measured:
    config: EvaluationConfig = settings["evaluation"]
    side = config.side(settings["plan"]["sizes"])
    heldout, everything = SceneIndex([source], "heldout", settings["holdout"], VIEWS), SceneIndex([source], "all")
    mutual = replace(config, ratio=ALL_MASKED, reference_ratio=ALL_MASKED)
    drawn: dict[int, tuple[GainSamples, GainSamples]] = {}
    gains: dict[str, tuple[Gain, Gain]] = {}
    for backbone in backbones:
        p = backbone.patch_size
        if p not in drawn:
            one, other = (gain_samples(heldout, everything, asked, side, p) for asked in (config, mutual))
            drawn[p] = one, other
        predict = gain_predictor(backbone.model, device)  # type: ignore[arg-type]
        whole, masked = (cross_view_gain(predict, samples, config.batch, config.seed) for samples in drawn[p])
        gains[backbone.name] = whole, masked
    table, reason = _correspondence(backbones, heldout, config, side)
    scores = {}
    for name, (whole, masked) in gains.items():
        best, untrained = (_best(table, one) for one in (name, f"{name}{UNTRAINED}"))
        scores[name] = Score(whole, masked, best, untrained)
    samples = drawn[backbones[0].patch_size][0]
    note = table.notes[0] if table else reason
    return Measured(source.label, scores, table, samples.images[0], samples.mask[0], note)


def _correspondence(
    backbones: Sequence[FrozenBackbone], heldout: SceneIndex, config: EvaluationConfig, side: int
) -> tuple[Table | None, str]:
    views, pairs = config.choices()
    material = Material(heldout, (side, side), None, views, pairs)
    suite = find_suite("correspondence")
    fresh = [before for backbone in backbones if (before := backbone.before_training())]
    try:
        suite.prepare(material, suite.config())
    except DataError as error:
        return None, f"no correspondence: {error}"
    return suite.run([*backbones, *fresh], material, suite.config()), ""


def _best(table: Table | None, model: str) -> Row | None:
    rows = [row for row in table.rows if (row.model, row.metric, row.pooling) == (model, METRIC, OURS)] if table else []
    return max(rows, key=lambda row: row.value, default=None)
