"""What a fine-tuning run measures and draws on held-out scenes: poses, point maps and depth, on always the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from muskie.data.geometry_check import WITH_GEOMETRY
from muskie.data.index import MAX_UNUSABLE, HoldOut, SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError, DataError, nearest
from muskie.evaluation.geometry.answers import (
    HEADLINES,
    PARTS,
    Answer,
    SceneScores,
    answers,
    row_answers,
    trivial_answers,
    truths,
)
from muskie.evaluation.geometry.nearest import tree_or_error
from muskie.evaluation.geometry.pointmap_metrics import PointMapConfig
from muskie.evaluation.geometry.trivial import ROW, TRIVIAL
from muskie.evaluation.trained_on import TrainedFrames
from muskie.evaluation.views.posed_views import PosedViews, posed_batches
from muskie.evaluation.views.view_sets import ViewSet, spaced
from muskie.history import Entry
from muskie.models.geometry_output import Geometry
from muskie.models.heldout_scores import HeldOutScores
from muskie.models.reconstruction import ReconstructionModel
from muskie.training.heldout_suites import eager

MODEL = "this run"


@dataclass(frozen=True)
class ReconstructionEvaluation:
    """What is measured on held-out scenes while fine-tuning.

    Attributes:
        scenes: samples, >= 1; where the data has fewer, all.
        views: of a sample; None: as many as are trained on, at least 2, for one has no relative pose.
        distance: frames between neighbouring views.
        size: side of the square pictures in pixels; None: the largest training size.
        batch: samples of a forward pass.
        parts: of `pose`, `pointmap`, `depth`; `pointmap` needs scipy.
        points: of each cloud whose distances are measured, see `PointMapConfig.queries`.
        seed: of the samples, the same for every run.
    """

    scenes: int = 32
    views: int | None = None
    distance: int = 4
    size: int | None = None
    batch: int = 8
    parts: Sequence[str] = ("pose", "pointmap", "depth")
    points: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"evaluation.{name}={getattr(self, name)}: expected at least {least}"
            for name, least in (("scenes", 1), ("distance", 1), ("batch", 1), ("points", 1), ("seed", 0))
            if getattr(self, name) < least
        ]
        if self.size is not None and self.size < 1:
            problems.append(f"evaluation.size={self.size}: expected at least one patch, or null for the largest trained on")
        if self.views is not None and self.views < 2:
            problems.append(f"evaluation.views={self.views}: expected at least 2, or null for as many as are trained on")
        problems += [
            f"evaluation.parts: {part!r} is unknown{nearest(part, PARTS)}" for part in self.parts if part not in PARTS
        ]
        if problems:
            raise ConfigError("\n".join(problems))


class ReconstructionHeldOut:
    """Held-out scenes of a run, and the model measured on them.

    Args:
        config: see `ReconstructionEvaluation`.
        sources: the run's.
        holdout: what is held out; a share of 0 leaves nothing to measure.
        plan: of the run.
        model: what is measured.
        max_unusable: the largest share of a source's scenes that may be left out as too short.

    Attributes:
        means: metric -> mean over scenes, when last measured; those of answers without a model begin with
            `trivial ` and, of poses, `in a row `.
        unreadable: messages of samples that were left out.
        past: all that the model was trained on, this run's data last.

    Raises:
        ConfigError: settings that cannot be used, or scipy is needed and not installed.
    """

    def __init__(
        self,
        config: ReconstructionEvaluation,
        sources: Sequence[SceneSource],
        holdout: HoldOut,
        plan: StepPlan,
        model: ReconstructionModel,
        max_unusable: float = MAX_UNUSABLE,
    ) -> None:
        self.config, self.model, self.plan = config, model, plan
        self.views = config.views or max(*plan.counts, 2)
        self.size = config.size or max(plan.sizes)
        if self.size % plan.patch_size:
            raise ConfigError(f"evaluation.size={self.size} is no multiple of the patch size {plan.patch_size}")
        if "pointmap" in config.parts:
            tree_or_error()
        self.index = None
        if holdout.share:
            self.index = SceneIndex(sources, "heldout", holdout, 1, max_unusable=max_unusable)
        self.past: Sequence[Entry] = ()
        self.means: dict[str, float] = {}
        self._without_model: dict[str, dict[str, float]] = {}
        self.unreadable: list[str] = []
        self._batches: list[PosedViews] = []
        self._groups: list[str] = []
        self._sets: list[ViewSet] = []

    def draw(self) -> None:
        """Reads the samples. Those that cannot be read, or have a frame without depth or camera, are left out.

        Raises:
            DataError: no scene is long enough, or no sample is left, or none has a pixel of known depth where depth is
                measured.
        """
        if self.index is None:
            return
        config = self.config
        try:
            sets = spaced(self.index, self.views, config.distance, config.scenes, config.seed)
        except DataError as error:
            raise DataError(
                f"{error} (evaluation.views, evaluation.distance; now {self.views}, {config.distance})"
            ) from error
        self._without_model = {}
        self._sets, self._groups = sets, [views.group for views in sets]
        try:
            self._batches = list(posed_batches(sets, (self.size, self.size), config.batch))
        except DataError as error:
            listed = "" if WITH_GEOMETRY in str(error) else f"; sources with depth and cameras: {WITH_GEOMETRY}"
            raise DataError(
                f"held out: {error}{listed}. Where some frames have both, another evaluation.distance may find them; "
                "holdout.share=0 measures nothing"
            ) from error
        self.unreadable = [message for views in self._batches for message in views.unreadable]
        if {"pointmap", "depth"} & set(config.parts) and not any(bool((views.depth > 0).any()) for views in self._batches):
            raise DataError(
                f"none of the {self.count} held-out samples has a pixel of known depth; evaluation.parts=[pose] measures "
                f"cameras alone, holdout.share=0 nothing"
            )

    @property
    def count(self) -> int:
        """Samples that are measured."""
        return sum(len(views.images) for views in self._batches)

    @cached_property
    def seen_before(self) -> str:
        """How many of the frames that are measured earlier trainings of these weights have seen, in words; "" if none."""
        frames = {identity for views in self._sets for identity in views.identities}
        seen = TrainedFrames(self.past).among(frames) if len(self.past) > 1 else set()
        return f"{len(seen)} of {len(frames)} frames" if seen else ""

    def measure(self, device: torch.device, dtype: torch.dtype | None) -> tuple[Mapping[str, float], str]:
        """Scores of the model as it is: scalars, and a line."""
        parts = self.config.parts
        self.means = self._means(lambda views: answers(self._geometry(views, device, dtype)), parts)
        scalars = {f"heldout/{name}": value for name, value in self.means.items() if " " not in name}
        if not self._without_model:  # always the same, and as slow as the model
            floors = {TRIVIAL: (trivial_answers, parts), ROW: (row_answers, [part for part in parts if part == "pose"])}
            self._without_model = {floor: self._means(*said) for floor, said in floors.items()}
        for floor, means in self._without_model.items():
            self.means |= {f"{floor} {name}": value for name, value in means.items()}
        return scalars, self.line()

    def _means(self, say: Callable[[PosedViews], Sequence[Answer]], parts: Sequence[str]) -> dict[str, float]:
        """Metric -> mean over the samples, of what is said of them."""
        pointmap = PointMapConfig(queries=self.config.points, points=100_000)
        scores = {part: SceneScores(part) for part in parts}
        for views in self._batches:
            said, true = say(views), truths(views)
            for part, kept in scores.items():
                kept.scenes([self._groups[number] for number in views.numbers])
                for one, truth in zip(said, true, strict=True):
                    kept.add(MODEL, PARTS[part](one, truth, pointmap))
        return {name: value for kept in scores.values() for name, value in kept.means(MODEL).items()}

    def line(self) -> str:
        """What was last measured, for people."""
        told = [
            f"{name} {self.means[name]:.3f} ({', '.join(self._floors(name))})"
            for part in self.config.parts
            for name in HEADLINES[part]
            if name in self.means and name not in ("AUC@5", "RRA@15", "RTA@15")
        ]
        return f"held out, {self.count} samples of {self.views} views: {', '.join(told)}"

    def scores(self, steps: int) -> HeldOutScores | None:
        """What was last measured, after `steps` of the optimiser, to be kept beside the weights; None: nothing."""
        if not self.means:
            return None
        own = {name: value for name, value in self.means.items() if not name.startswith((f"{TRIVIAL} ", f"{ROW} "))}
        return HeldOutScores(steps, self.count, self.views, own, *(self._without_model[floor] for floor in (TRIVIAL, ROW)))

    def _floors(self, name: str) -> list[str]:
        floors = {floor: self.means.get(f"{floor} {name}") for floor in (TRIVIAL, ROW)}
        return [f"{floor} {value:.3f}" for floor, value in floors.items() if value is not None]

    def _geometry(self, views: PosedViews, device: torch.device, dtype: torch.dtype | None) -> Geometry:
        cast: AbstractContextManager = torch.autocast(device.type, dtype) if dtype else nullcontext()
        with torch.inference_mode(), eager(device), cast:
            geometry: Geometry = self.model(views.images.to(device))
        return geometry

    def pictures(self, device: torch.device, dtype: torch.dtype | None) -> dict[str, Tensor]:
        """The pages of the model on the first sample, always the same one; by name, uint8 [3, height, width]."""
        if not self._batches:
            return {}
        from muskie.visualization.depth_page import depth_page

        first = self._batches[0]
        geometry = self._geometry(_one(first), device, dtype)
        z, confidence = geometry.local_points[0, ..., 2].cpu(), geometry.confidence[0].cpu()
        return {"depth": depth_page(first.images[0], first.depth[0], z, confidence)}

    def write_cloud(self, folder: Path, device: torch.device, dtype: torch.dtype | None) -> list[Path]:
        """Writes the first sample as a reconstruction: cloud, cameras and a contact sheet; gives the files."""
        if not self._batches:
            return []
        from muskie.reconstruction.export import export
        from muskie.reconstruction.result import Reconstruction

        first = _one(self._batches[0])
        geometry = self._geometry(first, device, dtype)
        cpu = Geometry(*(None if part is None else part.cpu() for part in vars(geometry).values()))  # type: ignore[arg-type]
        found = Reconstruction.from_geometry(cpu, first.images[0])
        return export(found, folder, formats=("glb", "ply", "sheet"), overwrite=True)


def _one(views: PosedViews) -> PosedViews:
    return PosedViews(views.images[:1], views.depth[:1], views.intrinsics[:1], views.cam2world[:1], views.numbers[:1])
