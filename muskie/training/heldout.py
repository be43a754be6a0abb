"""What a run measures and draws on held-out data: the cross-view gain, suites, and pictures of always the same sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.backbones.load import ours
from muskie.data.index import MAX_UNUSABLE, HoldOut, SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError, DataError
from muskie.evaluation.attention_readout import can_attend
from muskie.evaluation.cross_view_gain import VIEWS, Gain, GainSamples, cross_view_gain, gain_samples
from muskie.evaluation.material import Material
from muskie.evaluation.results import write_results
from muskie.evaluation.suites import find_suite
from muskie.evaluation.trained_on import TrainedFrames
from muskie.evaluation.two_view.pose import poselib_or_error
from muskie.evaluation.views.posed_views import PosedViews
from muskie.evaluation.views.view_sets import ENDLESS, evenly
from muskie.history import Entry
from muskie.models.masked_view import MaskedViewModel
from muskie.training.evaluation_config import EvaluationConfig
from muskie.training.heldout_suites import eager, first_readable, headline, scalars
from muskie.training.tasks import gain_predictor

Scalars = Mapping[str, float]

MODEL = "this run"
"""What tables call the model that is trained."""


class HeldOut:
    """Held-out data of a run, and the model measured on it.

    Args:
        config: see `EvaluationConfig`.
        sources: the run's.
        holdout: what is held out; a share of 0 leaves nothing to measure, and every method then gives nothing.
        plan: of the run.
        model: what is measured.
        max_unusable: the largest share of a source's scenes that may be left out as too short.

    Attributes:
        gain: the last one measured.
        unreadable: messages of images that were left out.
        past: all that the model was trained on, this run's data last.

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
        max_unusable: float = MAX_UNUSABLE,
    ) -> None:
        self.config, self.sources, self.plan, self.model = config, list(sources), plan, model
        self.size = config.side(plan.sizes)
        if self.size % plan.patch_size:
            raise ConfigError(f"evaluation.size={self.size} is no multiple of the patch size {plan.patch_size}")
        needs = {"train": plan.min_frames, "heldout": VIEWS}
        self.index = None
        if holdout.share:
            self.index = SceneIndex(sources, "heldout", holdout, VIEWS, needs, max_unusable, plan.fewer)
        if self.index is None and config.runs_suites:
            raise ConfigError(
                "evaluation.at_end and evaluation.every measure held-out data, and holdout.share=0 leaves none"
            )
        self.past: Sequence[Entry] = ()
        self.gain: Gain | None = None
        self.unreadable: list[str] = []
        self._samples: GainSamples | None = None
        self._posed: PosedViews | None = None
        self._posed_name: str | None = None

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

    @cached_property
    def seen_before(self) -> str:
        """Which held-out frames earlier trainings of these weights have seen, in words; "" if none. Up to 64 places of a
        source are looked at."""
        if self.index is None or len(self.past) < 2:
            return ""  # its own part for training holds none of them
        places = [
            self.index.place(source, n) for source in self.index.sources for n in evenly(self.index.places(source), ENDLESS)
        ]
        frames = {place.source.identity(place.scene, frame) for place in places for frame in place.frames}
        seen = TrainedFrames(self.past).among(frames)
        return f"{len(seen)} of {len(frames)} frames" if seen else ""

    def _first_posed(self) -> PosedViews | None:
        """The first sample of posed views that can be read; None where the data has no geometry, or scenes too short.

        Raises:
            DataError: the same, if suites are run.
            ConfigError: a suite needs what is not installed.
        """
        material = self._material(False)
        suites = [find_suite(name) for name in self.config.suites] if self.config.runs_suites else []
        if "relative_pose" in [suite.name for suite in suites]:
            poselib_or_error()
        for suite in suites:
            if suite.needs:
                first_readable(partial(suite.choose, material), material.size, self.config.suites)
        with suppress(DataError):
            posed = first_readable(material.view_sets, material.size, self.config.suites)
            self._posed_name = material.view_sets()[posed.numbers[0]].name
            return posed
        return None

    def _material(self, floors: bool) -> Material:
        assert self.index is not None
        config, size = self.config, (max(self.plan.sizes), max(self.plan.sizes))
        views, pairs = config.choices()
        trained = {MODEL: TrainedFrames(self.past)}
        return Material(self.index, size, None, views, pairs, floors=floors, trained=trained)

    def measure_gain(self, device: torch.device) -> tuple[Scalars, str]:
        """The cross-view gain of the model as it is."""
        assert self._samples is not None
        predict = gain_predictor(self.model, device)
        self.gain = cross_view_gain(predict, self._samples, self.config.batch, self.config.seed, self.config.contrast)
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
            tables, failed = [], []
            for suite in map(find_suite, self.config.suites):
                try:
                    tables.append(suite.run(backbones, material, suite.config()))
                except Exception as error:  # the others are worth having
                    failed.append(f"{suite.name}: not measured ({type(error).__name__}: {error})")
                if out is not None and tables:
                    write_results(out, tables, self._told(material, device, dtype))
        lines = [table.short() for table in tables] if out is not None else [headline(table, backbone) for table in tables]
        heading = [f"tables in {out}\n"] if out is not None and tables else []
        return scalars(tables, backbone), "\n".join([*heading, *lines, *failed])

    def _told(self, material: Material, device: torch.device, dtype: torch.dtype | None) -> dict[str, Any]:
        """What is kept beside the tables."""
        known = {**self.past[-1], "part": "heldout"} if self.past else {}
        of_run = {"size": list(material.size), "device": str(device), "dtype": str(dtype or "fp32")}
        return {**known, **of_run, "evaluation": self.config.plain()}

    def _backbone(self, device: torch.device, dtype: torch.dtype | None) -> FrozenBackbone:
        return ours(self.model, MODEL, device, dtype)

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
            }
            if can_attend(backbone):
                pages["attention"] = model_pages.attention(backbone, images)
            if self._posed is not None:
                pages["tracks"] = model_pages.tracks(backbone, self._posed, source=self._posed_name)
        return pages
