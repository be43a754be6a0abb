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
from muskie.errors import ConfigError, DataError
from muskie.evaluation.correspondence import OURS
from muskie.evaluation.cross_view_gain import VIEWS, Gain, GainSamples, Predictor, cross_view_gain, gain_samples
from muskie.evaluation.material import Material
from muskie.evaluation.results import Row, Table
from muskie.evaluation.suites import find_suite
from muskie.models.named import UNTRAINED
from muskie.training.evaluation_config import EvaluationConfig
from muskie.training.tasks import gain_predictor
from muskie.training.training_data import training_data

ALL_MASKED = 0.75
"""Hidden share of every view in the second gain, MuM's masks (arXiv 2511.17309)."""

METRIC = "PCK@25px"


@dataclass(frozen=True)
class Score:
    """What a recipe reached on one source.

    Attributes:
        gain: the cross-view gain with two whole references, Muskie's kind of masks.
        all_masked: the same with `ALL_MASKED` of every view hidden.
        pck: `METRIC` of one read-out, a layer or attention: of all that it has, the best on frames that were trained on.
            None: the source has no depth or cameras.
        untrained: the same before training, of the read-out that was best then.
    """

    gain: Gain
    all_masked: Gain
    pck: Row | None
    untrained: Row | None


@dataclass(frozen=True)
class Measured:
    """One source.

    Attributes:
        label: its name.
        scores: of each recipe, by its name.
        table: of correspondence; None: it has no depth or cameras, which `note` says.
        floors: its rows of `METRIC` that no model is needed for.
        images: uint8 [4, 3, H, W], the first sample of the gain.
        mask: bool [4, h, w] of it.
        note: why there is no table.
    """

    label: str
    scores: Mapping[str, Score]
    table: Table | None
    floors: Sequence[Row]
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


def check_data(name: str, settings: Mapping[str, Any]) -> None:
    """Opens what a recipe trains on, so that what it cannot use is told before anything is trained.

    Raises:
        ConfigError: the recipe cannot use a source.
        DataError: there is too little to train on.
    """
    try:
        training_data(settings, steps=1)
    except (ConfigError, DataError) as error:
        raise type(error)(f"{name}: {error}") from error


def check_measures(settings: Mapping[str, Any]) -> None:
    """Reads two samples of every source, so that what cannot be measured is told before anything is trained.

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
    heldout, trained = (SceneIndex([source], part, settings["holdout"], VIEWS) for part in ("heldout", "train"))
    everything = SceneIndex([source], "all")
    # Without contrast: some of them predict none.
    config = replace(config, contrast=False)
    mutual = replace(config, ratio=ALL_MASKED, reference_ratio=ALL_MASKED)
    drawn: dict[int, tuple[GainSamples, GainSamples]] = {}
    gains: dict[str, tuple[Gain, Gain]] = {}
    for backbone in backbones:
        p = backbone.patch_size
        if p not in drawn:
            one, other = (gain_samples(heldout, everything, asked, side, p) for asked in (config, mutual))
            drawn[p] = one, other
        predict = gain_predictor(backbone.model, device)  # type: ignore[arg-type]
        whole, masked = (_gain(predict, samples, config) for samples in drawn[p])
        gains[backbone.name] = whole, masked
    fresh = [before for backbone in backbones if (before := backbone.before_training())]
    every = [*backbones, *fresh]
    table, reason = _correspondence(every, heldout, config, side)
    known = None if table is None else _correspondence(every, trained, config, side)[0]
    scores = {}
    for name, (whole, masked) in gains.items():
        scores[name] = Score(whole, masked, _chosen(table, known, name), _chosen(table, known, f"{name}{UNTRAINED}"))
    samples = drawn[backbones[0].patch_size][0]
    floors = [row for row in table.rows if (row.metric, row.pooling, row.readout) == (METRIC, OURS, "")] if table else []
    return Measured(source.label, scores, table, floors, samples.images[0], samples.mask[0], reason)


def _gain(predict: Predictor, samples: GainSamples, config: EvaluationConfig) -> Gain:
    return cross_view_gain(predict, samples, config.batch, config.seed, config.contrast)


def _correspondence(
    backbones: Sequence[FrozenBackbone], index: SceneIndex, config: EvaluationConfig, side: int
) -> tuple[Table | None, str]:
    views, pairs = config.choices()
    material = Material(index, (side, side), None, views, pairs)
    suite = find_suite("correspondence")
    try:
        suite.prepare(material, suite.config())
    except DataError as error:
        return None, f"no correspondence: {error}"
    return suite.run(list(backbones), material, suite.config()), ""


def _chosen(table: Table | None, known: Table | None, model: str) -> Row | None:
    """The row of a model with the read-out that is best in another table, so that no choice is made on what is measured."""
    if table is None or known is None:
        return None
    best = max(_rows(known, model), key=lambda row: row.value, default=None)
    wanted = None if best is None else (best.readout, best.layer)
    return next((row for row in _rows(table, model) if (row.readout, row.layer) == wanted), None)


def _rows(table: Table, model: str) -> list[Row]:
    return [row for row in table.rows if (row.model, row.metric, row.pooling) == (model, METRIC, OURS)]
