"""The settings of what a run measures on held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muskie.errors import ConfigError
from muskie.evaluation.cross_view_gain import GainConfig
from muskie.evaluation.suites import find_suite
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.view_sets import ViewChoice


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
        reference_ratio: the same in views 0 and 1; 0: they are whole.
        contrast: whether a patch's contrast counts; without, models of MuM's kind compare with those of Muskie's.
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

    def choices(self) -> tuple[ViewChoice, PairChoice]:
        """How the samples of suites are chosen."""
        views = _Views(views=self.views, distance=self.distance, samples=self.sets, seed=self.seed)
        return views, PairChoice(distance=self.distance, samples=self.sets, seed=self.seed)

    def plain(self) -> dict[str, Any]:
        """As JSON and YAML say it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
