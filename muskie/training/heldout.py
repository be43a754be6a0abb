"""What a run measures and draws on held-out data: the cross-view gain, suites, and pictures of always the same sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import ours
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError, DataError
from muskie.evaluation.cross_view_gain import VIEWS, Gain, GainConfig, GainSamples, cross_view_gain, gain_samples
from muskie.evaluation.material import Material
from muskie.evaluation.results import Table, write_results
from muskie.evaluation.suites import find_suite
from muskie.evaluation.two_view.pose import poselib_or_error
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.posed_views import PosedViews, read_posed
from muskie.evaluation.views.view_sets import ViewChoice
from muskie.models.masked_view import MaskedViewModel
from muskie.training.tasks import gain_predictor

Scalars = Mapping[str, float]

TRIES = 8
"""Samples that are tried for the page of tracks."""

MULTI_VIEW = {"correspondence"}
"""Suites that need such samples."""


class _Views(ViewChoice):
    """Views as the settings of a run name them."""

    section = "evaluation"


@dataclass(frozen=True)
class EvaluationConfig(GainConfig):
    """What is measured on held-out data; first the samples of the cross-view gain.

    Attributes:
        samples: how many.
        size: side of the square images in pixels; None: the smallest training size.
        window: frames that the four views are drawn from.
        ratio: share of hidden patches in views 2 and 3.
        batch: samples of a forward pass.
        seed: of the samples, the same for every run.
        suites: of `scripts/evaluate.py`, run with their defaults; data with depth and cameras alone has what they need.
        at_end: run them at the end of training, with all floors, and write their tables to the run's `evaluation/step-...`.
        every: also run them every so many steps, of the model alone; 0: not.
        views: of a sample of multi-view suites.
        distance: frames between the views of suites.
        sets: samples of each suite.
    """

    suites: Sequence[str] = ("correspondence",)
    at_end: bool = False
    every: int = 0
    views: int = 8
    distance: int = 4
    sets: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = [
            f"evaluation.{name}={getattr(self, name)}: expected at least {least}"
            for name, least in (("every", 0), ("views", 2), ("distance", 1), ("sets", 1))
            if getattr(self, name) < least
        ]
        if (self.at_end or self.every) and not self.suites:
            problems.append("evaluation.suites=[] leaves nothing to run; name one, e.g. [correspondence]")
        if problems:
            raise ConfigError("\n".join(problems))
        for name in self.suites:
            find_suite(name)

    @property
    def runs_suites(self) -> bool:
        """Whether suites are run at all."""
        return self.at_end or self.every > 0


class HeldOut:
    """Held-out data of a run, and the model measured on it.

    Args:
        config: see `EvaluationConfig`.
        sources: the run's.
        holdout: what is held out; a share of 0 leaves nothing to measure, and every method then gives nothing.
        plan: of the run.
        model: what is measured.

    Attributes:
        gain: the last one measured.
        unreadable: messages of images that were left out.

    Raises:
        ConfigError, DataError: settings that cannot be used.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        sources: Sequence[SceneSource],
        holdout: HoldOut,
        plan: StepPlan,
        model: MaskedViewModel,
    ) -> None:
        self.config, self.sources, self.plan, self.model = config, list(sources), plan, model
        self.size = config.side(plan.sizes)
        if self.size % plan.patch_size:
            raise ConfigError(f"evaluation.size={self.size} is no multiple of the patch size {plan.patch_size}")
        needs = {"train": plan.views, "heldout": VIEWS}
        self.index = SceneIndex(sources, "heldout", holdout, VIEWS, needs) if holdout.share else None
        if self.index is None and config.runs_suites:
            raise ConfigError(
                "evaluation.at_end and evaluation.every measure held-out data, and holdout.share=0 leaves none"
            )
        self.gain: Gain | None = None
        self.unreadable: list[str] = []
        self._samples: GainSamples | None = None
        self._posed: PosedViews | None = None

    def draw(self) -> None:
        """Reads the samples of the gain and of the pictures, and checks that suites have what they need.

        Raises:
            DataError: too few images; or, if suites are run, no depth or cameras.
        """
        if self.index is None:
            return
        everything = SceneIndex(self.sources, "all")
        self._samples = gain_samples(self.index, everything, self.config, self.size, self.plan.patch_size)
        self.unreadable = self._samples.unreadable
        self._posed = self._first_posed()

    def _first_posed(self) -> PosedViews | None:
        """The first sample of posed views that can be read; None where the data has no geometry, or scenes too short.

        Raises:
            DataError: the same, if suites are run.
            ConfigError: a suite needs what is not installed.
        """
        material, reason = self._material(False), ""
        if self.config.runs_suites and "relative_pose" in self.config.suites:
            poselib_or_error()
        try:
            for views in material.views.choose(material.index)[:TRIES]:
                try:
                    return read_posed(views, material.size)
                except OSError as error:  # suites leave such samples out
                    reason = str(error)
        except DataError as error:
            reason = str(error)
        if self.config.runs_suites and set(self.config.suites) & MULTI_VIEW:
            off = "turn suites off: evaluation.at_end=false evaluation.every=0"
            raise DataError(f"evaluation.suites={list(self.config.suites)}: {reason}; or {off}")
        return None

    def _material(self, floors: bool) -> Material:
        assert self.index is not None
        config, size = self.config, (max(self.plan.sizes), max(self.plan.sizes))
        views = _Views(views=config.views, distance=config.distance, samples=config.sets, seed=config.seed)
        pairs = PairChoice(distance=config.distance, samples=config.sets, seed=config.seed)
        return Material(self.index, size, None, views, pairs, floors=floors)

    def measure_gain(self, device: torch.device) -> tuple[Scalars, str]:
        """The cross-view gain of the model as it is."""
        assert self._samples is not None
        predict = gain_predictor(self.model, device)
        self.gain = cross_view_gain(predict, self._samples, self.config.batch, self.config.seed)
        return self.gain.scalars(), str(self.gain)

    def run_suites(self, device: torch.device, dtype: torch.dtype | None, out: Path | None = None) -> tuple[Scalars, str]:
        """Runs the suites on the model as it is.

        Args:
            device, dtype: as in training.
            out: where to write the tables, with all floors; None: the model alone is measured, and nothing written.
        """
        material = self._material(floors=out is not None)
        with eager(device):
            backbone = self._backbone(device, dtype)
            fresh = backbone.before_training() if out is not None else None
            backbones = [backbone, *([fresh] if fresh else [])]
            suites = [find_suite(name) for name in self.config.suites]
            tables = [suite.run(backbones, material, suite.config()) for suite in suites]
        if out is not None:
            write_results(out, tables, {"evaluation": _plain(self.config)})
        lines = [table.short() for table in tables] if out is not None else [_headline(table, backbone) for table in tables]
        heading = [f"tables in {out}\n"] if out is not None else []
        return _scalars(tables, backbone), "\n".join([*heading, *lines])

    def _backbone(self, device: torch.device, dtype: torch.dtype | None) -> FrozenBackbone:
        return ours(self.model, "this run", device, dtype)

    def pictures(self, device: torch.device, dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The pages of the model on the first sample, always the same one; by name, uint8 [3, height, width]."""
        if self._samples is None:
            return {}
        from muskie.visualization import model_pages

        images, mask = self._samples.images[0], self._samples.mask[0]
        with eager(device):
            backbone = self._backbone(device, dtype)
            pages = {
                "masked_views": model_pages.masked_views(backbone, images, mask),
                "pca": model_pages.pca([backbone], images, backbone.quarters()),
                "attention": model_pages.attention(backbone, images),
            }
            if self._posed is not None:
                pages["tracks"] = model_pages.tracks(backbone, self._posed)
        return pages


@contextmanager
def eager(device: torch.device) -> Iterator[None]:
    """Within, nothing is compiled anew for the shapes of evaluation, and the caller's autocast does not reach geometry."""
    with torch.compiler.set_stance("force_eager"), torch.autocast(device.type, enabled=False):
        yield


def _scalars(tables: Sequence[Table], backbone: FrozenBackbone) -> dict[str, float]:
    """The columns of the short tables, of the model itself."""
    found = {}
    for table in tables:
        shown = {(metric, pooling) for metric, pooling, _ in table.summary[:2]}
        for row in table.rows:
            if row.model == backbone.name and (row.metric, row.pooling) in shown:
                where = row.readout if row.layer is None else f"{row.readout}_layer{row.layer}"
                found[f"heldout/{row.suite}_{row.metric}/{where}"] = row.value
    return found


def _headline(table: Table, backbone: FrozenBackbone) -> str:
    """The best line of a model by the first share among the short table's columns."""
    for metric, pooling, heading in table.summary:
        rows = [row for row in table.rows if (row.model, row.metric, row.pooling) == (backbone.name, metric, pooling)]
        rows = [row for row in rows if not math.isnan(row.value)]
        if metric in table.percent and rows:  # of a share, more is better
            best = max(rows, key=lambda row: row.value)
            where = best.readout if best.layer is None else f"{best.readout}, layer {best.layer}"
            return f"{table.title}: {heading} {100 * best.value:.1f} % ({where}, the best of its read-outs)"
    return f"{table.title}: measured, see the scalars"


def _plain(config: EvaluationConfig) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}
