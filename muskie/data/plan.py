"""The shape of every step, known to all ranks without talking: sizes, views, windows, and what is reused.

A *load* reads, for every size, `batch_size` scenes of `views` images. It serves `reuse` optimiser steps: each permutes the
views of every scene, deals them into scenes of fewer views if asked, and hides other patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from muskie.data.mixture import ANY, SEVERAL, SINGLE
from muskie.data.scene import SceneSource
from muskie.errors import ConfigError, nearest
from muskie.schedule import Ramp, ramp
from muskie.streams import stream

SAMPLINGS = ("window", "random", "covisible")
"""How the views of a scene may be chosen; `muskie.data.sampling` does it."""


@dataclass(frozen=True)
class LoadShape:
    """One size of a load: images [batch_size, views, 3, height, width] whose frames lie within a window.

    Attributes:
        height, width: pixels.
        views: images of a scene.
        window: frames that the views of a scene are drawn from, counted at `stride`; None: as its source has it.
        stride: only every stride-th frame counts.
        sampling: how the views are chosen, see `StepPlan`.
        overlap: the least and the most that they overlap with the first, where that says it.
        repeat: whether a scene of too few frames gives some of them again.
        scenes: of a rank's micro-batch; None: the trainer's `batch_size`.
    """

    height: int
    width: int
    views: int
    window: int | None
    stride: int
    sampling: str = "window"
    overlap: tuple[float, float] = (0.1, 0.8)
    repeat: bool = False
    scenes: int | None = None


@dataclass(frozen=True)
class StepPlan:
    """What every step looks like, as a pure function of (seed, step).

    Attributes:
        sizes: sides of the square images in pixels; each step trains on every one.
        aspect_ratios: of images at the largest size, as `"W:H"`; the longer side keeps the size. One is drawn for each
            load, uniformly: repeat one to draw it more often.
        views: images read of a scene.
        views_per_scene: a step deals the views into scenes of V views, V drawn uniformly from these; divisors of `views`.
        reuse: optimiser steps that each load serves.
        window: how many frames (of every `stride`-th) the views of a scene are drawn from; a number, a ramp
            `{start, end, over}` over the run's progress, or None for each source's own. Neighbouring frames are easy to
            match, distant ones hard. A window of fewer frames than `views` is widened to them.
        stride: frames between neighbours of a window; a number or a ramp.
        sampling: how the views of a scene are chosen, never one twice: `window`, from neighbouring frames; `random`, from
            all; `covisible`, those that show an `overlap` of what a first one shows, as `scripts/index_scenes.py
            --overlaps` has measured.
        overlap: the least and the most of it, shares in [0, 1].
        frames: images of a rank's micro-batch, as MuM counts it (arXiv 2511.17309): each load draws its number of views from
            `view_range`, and has as many scenes of so many as fit. None: `batch_size` scenes of `views`.
        view_range: the fewest and the most views of a scene, drawn uniformly, with `frames`.
        single: share of the loads that are of single views, with `frames`.
        repeat_views: take scenes of fewer frames than `views` too, some of whose views are then the same.
        patch_size: sides of all images are multiples of it; the model's.
        steps: of the whole run, for the ramps; the trainer's.
        seed: of all draws; the run's.

    Raises:
        ConfigError: an impossible setting.
    """

    patch_size: int
    steps: int
    seed: int = 0
    sizes: Sequence[int] = (224,)
    aspect_ratios: Sequence[str] = ("1:1",)
    views: int = 8
    views_per_scene: Sequence[int] = (8,)
    reuse: int = 1
    window: Ramp | float | None = None
    stride: Ramp | float = 1
    sampling: str = "window"
    overlap: Sequence[float] = (0.1, 0.8)
    frames: int | None = None
    view_range: Sequence[int] = (2, 24)
    single: float = 0.0
    repeat_views: bool = False

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ConfigError("plan.sizes is empty; give at least one image size in pixels, e.g. plan.sizes=[224]")
        for size in self.sizes:
            if size < self.patch_size or size % self.patch_size:
                near = max(round(size / self.patch_size), 1) * self.patch_size
                raise ConfigError(f"plan.sizes: {size} is no multiple of the patch size {self.patch_size}; try {near}")
        if self.views < 1 or self.reuse < 1:
            raise ConfigError(f"plan.views={self.views}, plan.reuse={self.reuse}: expected at least 1")
        self._check_frames()
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: expected 0 or more")
        for count in self.views_per_scene or (0,):
            if count < 1 or self.views % count:
                raise ConfigError(
                    f"plan.views_per_scene: {count} does not divide plan.views={self.views}; allowed: "
                    f"{[n for n in range(1, self.views + 1) if self.views % n == 0]}"
                )
        if self.sampling not in SAMPLINGS:
            raise ConfigError(f"plan.sampling={self.sampling!r}{nearest(self.sampling, SAMPLINGS)}")
        if len(self.overlap) != 2 or not 0 <= self.overlap[0] <= self.overlap[1] <= 1:
            raise ConfigError(f"plan.overlap={list(self.overlap)}: expected the least and the most, shares in [0, 1]")
        for value, key in (
            (ramp(1 if self.window is None else self.window, "plan.window"), "plan.window"),
            (ramp(self.stride, "plan.stride"), "plan.stride"),
        ):
            if min(value.start, value.end) < 1:
                raise ConfigError(f"{key} runs from {value.start:g} to {value.end:g}: expected at least 1 frame")
        for ratio in self.aspect_ratios or ("",):
            self._sides(max(self.sizes), ratio)

    @property
    def grids(self) -> list[tuple[int, int]]:
        """The patch grids (h, w) that steps may have."""
        largest = max(self.sizes)
        sides = [(size, size) for size in self.sizes if size != largest]
        sides += [self._sides(largest, ratio) for ratio in self.aspect_ratios]
        return [(height // self.patch_size, width // self.patch_size) for height, width in sides]

    def _check_frames(self) -> None:
        if self.frames is None:
            if self.single:
                raise ConfigError(f"plan.single={self.single}: it needs plan.frames, e.g. plan.frames=96")
            return
        if len(self.view_range) != 2 or not 1 <= self.view_range[0] <= self.view_range[1] <= self.frames:
            raise ConfigError(
                f"plan.view_range={list(self.view_range)}: expected the fewest and the most views, 1 to plan.frames="
                f"{self.frames}, e.g. plan.view_range=[{min(2, self.frames)},{self.frames}]"
            )
        if not 0 <= self.single <= 1:
            raise ConfigError(f"plan.single={self.single}: expected a share in [0, 1]")

    @property
    def min_frames(self) -> int:
        """The fewest frames that a scene must have."""
        if self.repeat_views:
            return 1
        return self.views if self.frames is None else max(self.counts)

    def fewer(self, views: int) -> str:
        """The settings by which no scene has more than so many views."""
        if self.frames is None:
            return f"plan.views={views} plan.views_per_scene=[{views}]"
        return f"plan.view_range=[{min(self.view_range[0], views)},{views}]"

    @property
    def counts(self) -> list[int]:
        """The numbers of views that scenes of a step may have."""
        if self.frames is None:
            return list(self.views_per_scene)
        counts = list(range(self.view_range[0], self.view_range[1] + 1)) if self.single < 1 else []
        return sorted({*counts, *([1] if self.single else [])})

    def scenes(self, load: int) -> int | None:
        """Scenes of a rank's micro-batch of a load; None: the trainer's `batch_size`."""
        return None if self.frames is None else self.frames // self.loaded_views(load)

    def loaded_views(self, load: int) -> int:
        """How many views of each scene are loaded, the same for all sizes and ranks."""
        return self._drawn(load)[0]

    def _drawn(self, load: int) -> tuple[int, bool]:
        """How many views of each scene are loaded, and whether the load is of the `single` share."""
        if self.frames is None:
            return self.views, False
        return _drawn_views(self.seed, load, self.single, self.view_range[0], self.view_range[1])

    def views_of(self, load: int) -> str:
        """What a load is of, as `muskie.data.mixture.Mixture.draw` takes it."""
        if self.only_single:
            return ANY
        return SINGLE if self._drawn(load)[1] else SEVERAL

    @property
    def only_single(self) -> bool:
        """Whether no load has scenes of several views, as MAE's."""
        return self.views == 1 if self.frames is None else self.single == 1 or self.view_range[1] == 1

    def check_sources(self, sources: Sequence[SceneSource]) -> None:
        """Refuses sources for single views where no load is of such.

        Raises:
            ConfigError: there is one.
        """
        alone = [source.config_key for source in sources if source.single]
        if alone and not (self.single or self.only_single):
            raise ConfigError(
                f"{alone[0]}.single=true: no load of this run is of single views; leave the source out, or, for a "
                "method that learns from single views beside others, give plan.single=0.1 with plan.frames"
            )

    @property
    def loads(self) -> int:
        """Loads of the whole run."""
        return -(-self.steps // self.reuse)

    def load(self, load: int) -> list[LoadShape]:
        """The shapes of load number `load`, one for each size."""
        rng = stream(self.seed, "load", load)
        progress = load / max(self.loads - 1, 1)
        views = self.loaded_views(load)
        scenes = self.scenes(load)
        window = None if self.window is None else max(round(ramp(self.window, "plan.window")(progress)), views)
        stride = round(ramp(self.stride, "plan.stride")(progress))
        shapes = []
        for size in self.sizes:
            # Drawn for every size, so that the draws of one do not depend on the list of the others.
            ratio = self.aspect_ratios[int(rng.integers(len(self.aspect_ratios)))]
            height, width = self._sides(size, ratio) if size == max(self.sizes) else (size, size)
            how = (self.sampling, (self.overlap[0], self.overlap[1]), self.repeat_views, scenes)
            shapes.append(LoadShape(height, width, views, window, stride, *how))
        return shapes

    def views_in(self, step: int, group: int) -> int:
        """V of optimiser step `step` for size number `group`."""
        if self.frames is not None:
            return self.loaded_views(step // self.reuse)
        rng = stream(self.seed, "views", step, group)
        return self.views_per_scene[int(rng.integers(len(self.views_per_scene)))]

    def permutations(self, step: int, group: int, samples: Sequence[int]) -> np.ndarray:
        """The order of the views of each of these samples in optimiser step `step`, int64 [B, views]."""
        views = self.loaded_views(step // self.reuse)
        return np.stack([stream(self.seed, "order", step, group, s).permutation(views) for s in samples])

    def _sides(self, size: int, ratio: str) -> tuple[int, int]:
        try:
            across, down = (float(part) for part in ratio.split(":"))
            sides = (size * min(1.0, down / across), size * min(1.0, across / down))
        except (ValueError, ZeroDivisionError) as error:
            raise ConfigError(f"plan.aspect_ratios: {ratio!r} is no ratio; write it as '4:3'") from error
        if not (0 < across < math.inf and 0 < down < math.inf) or min(sides) < self.patch_size:
            raise ConfigError(f"plan.aspect_ratios: {ratio!r} leaves less than one patch of {self.patch_size} pixels")
        height, width = (max(round(side / self.patch_size), 1) * self.patch_size for side in sides)
        return height, width


@lru_cache(maxsize=1024)  # every sample of a load asks, and a stream that is continued asks for all loads that came before
def _drawn_views(seed: int, load: int, single: float, least: int, most: int) -> tuple[int, bool]:
    rng = stream(seed, "loaded views", load)
    if rng.random() < single:
        return 1, True
    return int(rng.integers(least, most + 1)), False
