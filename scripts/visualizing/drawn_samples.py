"""Samples of a data set as the data loader gives them, with what it does not hand on: which frames they are, and where in
the crops the object of the scene is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from muskie.data.dataset import ViewDataset, Views
from muskie.data.geometry_check import geometry_problem, size_problem
from muskie.data.images import Picture, decode
from muskie.data.posed_dataset import PosedDataset, PosedScenes
from muskie.data.requests import Request
from muskie.data.scene import Frame, Scene, SceneSource
from muskie.errors import ConfigError
from muskie.training.training_data import TrainingData
from muskie.visualization.data_page import DataSample

Read = tuple[SceneSource, Scene, str]
"""A frame that was read and can be used."""


class DrawnSamples:
    """The scenes that one process trains on, in their order; of sources that are read in a stream, any of theirs instead.

    Args:
        data: what is drawn from.
        geometry: with depth and cameras, cropped as in fine-tuning; else as in pre-training.
    """

    def __init__(self, data: TrainingData, geometry: bool) -> None:
        self.data, self.geometry = data, geometry
        plan = data.plan
        self.group = max(range(len(plan.sizes)), key=lambda number: plan.sizes[number])
        self.told: list[str] = []
        """What was passed over on the way, and why."""

    def check(self, numbers: Sequence[int]) -> None:
        """Raises `ConfigError` if there is a sample that no step of the run has."""
        if outside := [number for number in numbers if number < 0 or self._place(number) is None]:
            count = sum(map(self._scenes, range(self.data.plan.loads)))
            raise ConfigError(
                f"--samples {outside[0]}: expected 0 to {count - 1}, the scenes that one process trains on in "
                f"{self.data.plan.loads} loads; trainer.steps=N or trainer.batch_size=N makes more"
            )

    def _scenes(self, load: int) -> int:
        """How many scenes a load has, of each size."""
        trainer = self.data.settings["trainer"]
        return int((self.data.plan.scenes(load) or trainer.batch()) * trainer.accumulate)

    def _place(self, number: int) -> tuple[int, int] | None:
        """The load that has sample `number`, and its number there."""
        for load in range(self.data.plan.loads):
            if number < (scenes := self._scenes(load)):
                return load, number
            number -= scenes
        return None

    def sample(self, number: int) -> DataSample:
        """Sample `number`, one that `check` has let pass.

        Raises:
            DataError: none of the scenes drawn for it can be used.
        """
        place = self._place(number)
        assert place is not None
        load, sample = place
        request = Request(load, self.group, sample)
        with self._reading(masks=False) as read:
            views = self._dataset(self.data.settings["augment"])[request]
        self.told += map(str, views.unreadable)
        frames = read[-views.images.shape[1] :]  # what was read before belongs to scenes that were passed over
        name = f"sample {number}: {views.places[0]}\n{self._how()}"
        shown = DataSample(name, [frame for _, _, frame in frames], views.images[0], self._masks(request, frames))
        if not isinstance(views, PosedScenes):
            return shown
        return replace(shown, depth=views.depth[0], intrinsics=views.intrinsics[0], cam2world=views.cam2world[0])

    def _how(self) -> str:
        return f"cropped as in {'fine-tuning' if self.geometry else 'pre-training'}"

    def _dataset(self, crops: Any) -> ViewDataset | PosedDataset:
        kind = PosedDataset if self.geometry else ViewDataset
        return kind(self.data.index, self.data.plan, crops)

    def _masks(self, request: Request, frames: Sequence[Read]) -> Tensor | None:
        """Object masks cropped as the views are, bool [V, H, W]; None: there are none. The loader draws the same for a
        request whatever the pictures show, so here they show the masks."""
        if all(_mask(*frame) is None for frame in frames):
            return None
        crops = self.data.settings["augment"]
        with self._reading(masks=True):
            views: Views = self._dataset(crops if self.geometry else replace(crops, jitter=0.0))[request]
        return views.images[0, :, 0] > 127

    @contextmanager
    def _reading(self, masks: bool) -> Iterator[list[Read]]:
        """What the loader reads and can use is written down; with `masks`, it gets these for pictures."""
        read: list[Read] = []
        for source in self.data.sources:
            _Watched(source, masks, read).begin()
        try:
            yield read
        finally:
            for source in self.data.sources:
                for name in _Watched.METHODS:
                    object.__delattr__(source, name)


class _Watched:
    """Stands in the place of two methods of a source, which itself stays what it is: what views are drawn by may depend on
    its class. What the source's own methods read on their way is not the loader's business."""

    METHODS = ("read", "mask")

    def __init__(self, source: SceneSource, masks: bool, done: list[Read]) -> None:
        self.source, self.masks, self.done = source, masks, done
        self.own_read: Any = source.read
        self.own_mask: Any = source.mask
        self.inside = False

    def begin(self) -> None:
        for name in self.METHODS:
            object.__setattr__(self.source, name, getattr(self, name))  # a source may be frozen

    def read(self, scene: Scene, frame: str, **how: Any) -> Frame:
        if self.inside:
            return self.own_read(scene, frame, **how)
        with self._within():
            found: Frame = self.own_read(scene, frame, **how)
            image = decode(found.image)
            if self.masks:
                image = _picture(_mask(self.source, scene, frame), image.size)
        found = replace(found, image=image)
        if not how.get("geometry") or not (geometry_problem(found) or size_problem(found)):
            self.done.append((self.source, scene, frame))
        return found

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        with self._within():
            return self.own_mask(scene, frame)

    @contextmanager
    def _within(self) -> Iterator[None]:
        before, self.inside = self.inside, True
        try:
            yield
        finally:
            self.inside = before


def _picture(mask: np.ndarray | None, size: tuple[int, int]) -> Picture:
    """A mask as a picture of this width and height, white on the object."""
    if mask is None:
        return Picture(np.zeros((size[1], size[0], 3), np.uint8))
    resized = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    return Picture(np.repeat(np.asarray(resized)[..., None], 3, axis=2))


def _mask(source: SceneSource, scene: Scene, name: str) -> np.ndarray | None:
    """As of the source; None too where it cannot be read, for the frame can."""
    try:
        return source.mask(scene, name)
    except OSError:
        return None
