"""Reads the views of a scene at the shape that a step asks for; every choice is a pure function of its request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from muskie.data.images import Augmentation, decode
from muskie.data.index import Place, SceneIndex
from muskie.data.plan import LoadShape, StepPlan
from muskie.data.scene import Frame
from muskie.errors import DataError
from muskie.streams import stream


class Request(NamedTuple):
    """One scene of one load: which load, which of its sizes, which sample of the global batch."""

    load: int
    group: int
    sample: int


@dataclass
class Views:
    """Scenes of one shape.

    Attributes:
        images: uint8 [B, V, 3, H, W].
        samples: number of each scene within the global batch of its load.
        places: `source/scene` of each.
        unreadable: messages of the images that were skipped on the way.
    """

    images: Tensor
    samples: list[int]
    places: list[str]
    unreadable: list[str]

    @staticmethod
    def collate(scenes: Sequence[Views]) -> Views:
        """Joins scenes along B."""
        return Views(
            torch.cat([scene.images for scene in scenes]),
            [number for scene in scenes for number in scene.samples],
            [place for scene in scenes for place in scene.places],
            [message for scene in scenes for message in scene.unreadable],
        )

    def pin_memory(self) -> Views:
        """For the data loader: the images in page-locked memory."""
        return Views(self.images.pin_memory(), self.samples, self.places, self.unreadable)


class FrameReader:
    """Reads frames, keeping the decoded images of the last ones.

    Args:
        cache_mb: memory for decoded images, of each data worker. A small data set then is decoded once.
    """

    def __init__(self, cache_mb: int = 0) -> None:
        self.limit = cache_mb * 2**20
        self._kept: OrderedDict[tuple[int, str, str, int], Frame] = OrderedDict()
        self._size = 0

    def read(self, place: Place, frame: str, at_least: int) -> Frame:
        """As `SceneSource.read`, images alone."""
        # Not the source's name: two sources may share one.
        key = (id(place.source), place.scene.name, frame, at_least)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        result = place.source.read(place.scene, frame, at_least=at_least)
        # A source may hand over an image that Pillow has only opened: whatever is wrong with it is told here.
        try:
            result = replace(result, image=decode(result.image))
        except OSError as error:
            raise OSError(f"{place.name}/{frame}: {error}") from error
        if self.limit:
            self._kept[key] = result
            self._size += _bytes(result)
            while self._size > self.limit:
                self._size -= _bytes(self._kept.popitem(last=False)[1])
        return result


def _bytes(frame: Frame) -> int:
    return 3 * frame.image.width * frame.image.height


def draw_frames(rng: np.random.Generator, frames: int, views: int, window: int, stride: int) -> list[int]:
    """All frame numbers in the order in which to try them: `views` of a random window first, then its other frames,
    then those outside of it, nearest first.

    Args:
        rng: of this sample.
        frames: how many the place has.
        views: how many are wanted; the window is widened to hold at least as many.
        window: frames of the window, counted at `stride`; cut to what the place has.
        stride: cut to what still leaves `views` frames.
    """
    stride = max(1, min(stride, (frames - 1) // max(views - 1, 1)))
    span = min((max(window, views) - 1) * stride + 1, (frames - 1) // stride * stride + 1)
    start = int(rng.integers(frames - span + 1))
    inside = start + stride * rng.permutation((span - 1) // stride + 1)
    centre = start + span / 2
    outside = sorted(set(range(frames)) - set(inside.tolist()), key=lambda number: abs(number - centre))
    return [*inside.tolist(), *outside]


def read_views(
    reader: FrameReader, place: Place, order: Sequence[int], views: int, at_least: int
) -> tuple[list[Frame], list[str]]:
    """The first `views` readable frames of `order`, and the messages of the unreadable ones before them.

    Raises:
        DataError: the place has fewer readable frames; the message names it.
    """
    read: list[Frame] = []
    unreadable: list[str] = []
    for number in order:
        try:
            read.append(reader.read(place, place.frames[number], at_least))
        except OSError as error:
            unreadable.append(str(error))
        if len(read) == views:
            return read, unreadable
    raise DataError(
        f"scene {place.name}: only {len(read)} of its {len(place.frames)} images can be read, {views} are needed. "
        f"First failure: {unreadable[0] if unreadable else 'none'}. Repair or remove the scene"
    )


class ViewDataset(Dataset[Views]):
    """Scenes by `Request`; always the same scene for the same request.

    Args:
        index: the places to draw from.
        plan: gives the shapes.
        augmentation: of crops and mirrorings.
        cache_mb: see `FrameReader`.
    """

    def __init__(self, index: SceneIndex, plan: StepPlan, augmentation: Augmentation, cache_mb: int = 0) -> None:
        self.index, self.plan, self.augmentation = index, plan, augmentation
        self.reader = FrameReader(cache_mb)

    def __getitem__(self, request: Request) -> Views:
        shape = self.plan.load(request.load)[request.group]
        rng = stream(self.plan.seed, "scene", *request)
        place = self.index.draw(rng)
        order = draw_frames(rng, len(place.frames), shape.views, shape.window, shape.stride)
        frames, unreadable = read_views(self.reader, place, order, shape.views, self._detail(shape))
        images = self._crop(rng, frames, shape)
        return Views(torch.from_numpy(images)[None], [request.sample], [place.name], unreadable)

    def _detail(self, shape: LoadShape) -> int:
        """Shorter side that a decoded image must keep, so that no crop is enlarged (but for its distortion)."""
        return round(max(shape.height, shape.width) / self.augmentation.min_area**0.5)

    def _crop(self, rng: np.random.Generator, frames: list[Frame], shape: LoadShape) -> np.ndarray:
        aspect, seed = shape.width / shape.height, int(rng.integers(2**32))
        images = []
        for number, frame in enumerate(frames):
            # One stream for all views is one draw for all, fitted to the aspect ratio of each.
            crop_rng = stream(seed, "crop", number if self.augmentation.per_view else 0)
            crop = self.augmentation.draw(crop_rng, frame.image.width / frame.image.height, aspect)
            images.append(crop.image(frame.image, shape.height, shape.width))
        return np.stack(images)


class LoadSampler(Sampler[list[Request]]):
    """The batches of one rank: for each load and micro-batch, one batch of requests for every size.

    Args:
        plan: gives the number of loads and sizes.
        batch_size: scenes of a rank's micro-batch.
        accumulate: micro-batches of an optimiser step.
        rank, world: this process among all.
        start: the first load; what a resumed run begins with.
    """

    def __init__(
        self, plan: StepPlan, batch_size: int, accumulate: int = 1, rank: int = 0, world: int = 1, start: int = 0
    ) -> None:
        self.plan, self.batch_size, self.accumulate = plan, batch_size, accumulate
        self.rank, self.world, self.start = rank, world, start

    def __len__(self) -> int:
        return (self.plan.loads - self.start) * self.accumulate * len(self.plan.sizes)

    def __iter__(self) -> Iterator[list[Request]]:
        for load in range(self.start, self.plan.loads):
            for micro in range(self.accumulate):
                first = (micro * self.world + self.rank) * self.batch_size
                for group in range(len(self.plan.sizes)):
                    yield [Request(load, group, first + i) for i in range(self.batch_size)]
