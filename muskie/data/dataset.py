"""Reads the views of a scene at the shape that a step asks for; every choice is a pure function of its request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from muskie.data.augmentation import Augmentation, around_object
from muskie.data.crops import Crop
from muskie.data.index import Place, SceneIndex
from muskie.data.plan import LoadShape, StepPlan
from muskie.data.reading import FrameReader, read_some, too_few
from muskie.data.requests import Request
from muskie.data.sampling import choose_views
from muskie.data.scene import Frame
from muskie.data.turns import BatchLayout, Turns
from muskie.data.unusable import FIRST, Unusable
from muskie.errors import DataError
from muskie.streams import stream

TRIES = 8
"""Scenes that are drawn for one request before it is given up."""


@dataclass
class Views:
    """Scenes of one shape.

    Attributes:
        images: uint8 [B, V, 3, H, W].
        samples: number of each scene within the global batch of its load.
        places: `source/scene` of each.
        sources: the label of the source of each.
        asked: how many frames were asked for on the way, by the label of their source.
        unreadable: those of them that were skipped.
    """

    images: Tensor
    samples: list[int]
    places: list[str]
    sources: list[str]
    asked: Counter[str]
    unreadable: list[Unusable]

    @staticmethod
    def collate(scenes: Sequence[Views]) -> Views:
        """Joins scenes along B."""
        return Views(
            torch.cat([scene.images for scene in scenes]),
            [number for scene in scenes for number in scene.samples],
            [place for scene in scenes for place in scene.places],
            [source for scene in scenes for source in scene.sources],
            sum((scene.asked for scene in scenes), Counter()),
            [one for scene in scenes for one in scene.unreadable],
        )

    def pin_memory(self) -> Views:
        """For the data loader: the images in page-locked memory."""
        return replace(self, images=self.images.pin_memory())


class ViewDataset(Dataset[Views]):
    """Scenes by `Request`; always the same scene for the same request.

    Images that cannot be read are skipped, and scenes with too few others passed over, for which another one is drawn; all
    of it is counted.

    Args:
        index: the places to draw from.
        plan: gives the shapes.
        augmentation: of crops and mirrorings.
        cache_mb: see `FrameReader`.
        layout: how requests are dealt, so that what is streamed is read in order; None: nothing is streamed.

    Raises:
        DataError: none of the scenes drawn for a request has enough images that can be read.
    """

    def __init__(
        self,
        index: SceneIndex,
        plan: StepPlan,
        augmentation: Augmentation,
        cache_mb: int = 0,
        layout: BatchLayout | None = None,
    ) -> None:
        self.index, self.plan, self.augmentation = index, plan, augmentation
        self.reader = FrameReader(cache_mb)
        self.turns = Turns(index, plan.seed, self._generator, layout, plan.views_of)

    def _generator(self, request: Request, attempt: int = 0) -> np.random.Generator:
        # A scene that is drawn at once depends on the request alone.
        return stream(self.plan.seed, "scene", *request, *([attempt] if attempt else []))

    def __getitem__(self, request: Request) -> Views:
        shape = self.plan.load(request.load)[request.group]
        asked: Counter[str] = Counter()
        skipped: list[Unusable] = []
        for attempt in range(TRIES):
            rng = self._generator(request, attempt)
            views = self.plan.views_of(request.load)
            place = self.index.draw(rng, views) if attempt else self.turns.draw(rng, request)
            label = place.source.label
            order = choose_views(rng, place, shape)
            part_of = partial(self._part, place, self._zooms(request))
            read, unreadable = read_some(self.reader, place, order, shape.views, self._detail(shape), part_of)
            asked[label] += len(read) + len(unreadable)
            if len(read) == shape.views:
                skipped += [Unusable(label, message) for message in unreadable]
                images = torch.from_numpy(self._crop(rng, read, shape))
                return Views(images[None], [request.sample], [place.name], [label], asked, skipped)
            message = too_few(place, len(read), unreadable, shape.views)
            skipped.append(Unusable(label, message, max(len(unreadable), 1), tuple(unreadable[:FIRST])))
        raise DataError(f"{TRIES} scenes were drawn and none can be used, the last: {skipped[-1]}. Repair or remove them")

    def _detail(self, shape: LoadShape) -> int:
        """Shorter side that a decoded image must keep, so that no crop is enlarged (but for its distortion)."""
        return round(max(shape.height, shape.width) / self.augmentation.min_area**0.5)

    def _zooms(self, request: Request) -> bool:
        zoom = self.augmentation.zoom
        return bool(zoom) and stream(self.plan.seed, "zoom", *request).random() < zoom

    def _part(self, place: Place, zooms: bool, name: str) -> Crop:
        """The part of a frame to look at: around its object, if this sample zooms in on that."""
        mask = place.source.mask(place.scene, name) if zooms else None
        return Crop() if mask is None else around_object(mask)

    def _crop(self, rng: np.random.Generator, read: Sequence[tuple[Frame, Crop]], shape: LoadShape) -> np.ndarray:
        aspect, seed = shape.width / shape.height, int(rng.integers(2**32))
        images = []
        for number, (frame, part) in enumerate(read):
            # One stream for all views is one draw for all, fitted to the aspect ratio of each.
            crop_rng = stream(seed, "crop", number if self.augmentation.per_view else 0)
            width, height = frame.size
            inside = (part.right - part.left) * width / ((part.bottom - part.top) * height)
            crop = self.augmentation.draw(crop_rng, inside, aspect).within(part)
            image = crop.image(frame.image, shape.height, shape.width, frame.size)
            images.append(self.augmentation.colours(stream(seed, "colours", number), image))
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
                scenes = self.plan.load(load)[0].scenes or self.batch_size
                first = (micro * self.world + self.rank) * scenes
                for group in range(len(self.plan.sizes)):
                    yield [Request(load, group, first + i) for i in range(scenes)]
