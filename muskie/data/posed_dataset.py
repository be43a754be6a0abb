"""Views with depth and cameras, at the shape that a step asks for; a pure function of the request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from muskie.data.crops import Crop
from muskie.data.dataset import TRIES, Views
from muskie.data.geometry_check import WITH_GEOMETRY, geometry_problem, known_depth, size_problem
from muskie.data.images import decode
from muskie.data.index import Place, SceneIndex
from muskie.data.plan import LoadShape, StepPlan
from muskie.data.reading import PATIENCE
from muskie.data.requests import Request
from muskie.data.sampling import choose_views
from muskie.data.scene import Camera, Frame
from muskie.data.turns import BatchLayout, Turns
from muskie.data.unusable import FIRST, Unusable
from muskie.errors import ConfigError, DataError
from muskie.streams import stream


@dataclass
class PosedScenes(Views):
    """Scenes of one shape, as `Views`, and

    Attributes:
        depth: float32 [B, V, H, W], z in metres, 0 = unknown.
        intrinsics: float32 [B, V, 3, 3], pixels; focal lengths are positive: of mirrored pictures, the poses are mirrored.
        cam2world: float64 [B, V, 4, 4].
    """

    depth: Tensor
    intrinsics: Tensor
    cam2world: Tensor

    @staticmethod
    def collate(scenes: Sequence[Views]) -> PosedScenes:
        """Joins scenes along B."""
        posed = [scene for scene in scenes if isinstance(scene, PosedScenes)]
        parts = {f.name: [getattr(scene, f.name) for scene in posed] for f in fields(PosedScenes)}
        whole = vars(Views.collate(scenes))
        joined: dict[str, Any] = {name: torch.cat(values) for name, values in parts.items() if isinstance(values[0], Tensor)}
        return PosedScenes(**{**whole, **joined})

    def pin_memory(self) -> PosedScenes:
        """For the data loader: tensors in page-locked memory."""
        parts: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        pinned: dict[str, Any] = {k: v.pin_memory() if isinstance(v, Tensor) else v for k, v in parts.items()}
        return PosedScenes(**pinned)


@dataclass(frozen=True)
class GeometryCrops:
    """Random crops that a camera survives: centred, so that the principal point stays in the middle, where a model without
    intrinsics must take it to be.

    Attributes:
        min_area: smallest share of the largest crop of the target's aspect ratio that is kept, in (0, 1].
        flip_x: probability of mirroring all views of a scene left-right, their poses with them.
        per_view: draw the area anew for every view, as published (Muskie, arXiv 2511.18115).
    """

    min_area: float = 0.64
    flip_x: float = 0.0
    per_view: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ConfigError(f"augment.min_area={self.min_area}: expected a share of the image in (0, 1]")
        if not 0 <= self.flip_x <= 1:
            raise ConfigError(f"augment.flip_x={self.flip_x}: expected a probability in [0, 1]")

    def draw(self, seed: int, view: int, size: tuple[int, int], aspect: float) -> Crop:
        """The crop of a view whose picture has `size` = (width, height); aspects are width / height."""
        flip = stream(seed, "flip").random() < self.flip_x
        area = stream(seed, "area", view if self.per_view else 0).uniform(self.min_area, 1.0)
        whole, side = Crop.centre(*size, aspect), math.sqrt(area)
        half_x, half_y = side * (whole.right - whole.left) / 2, side * (whole.bottom - whole.top) / 2
        return Crop(0.5 - half_x, 0.5 - half_y, 0.5 + half_x, 0.5 + half_y, flip_x=bool(flip))


class PosedDataset(Dataset[Views]):
    """Scenes with geometry by `Request`; always the same scene for the same request.

    Frames without depth or camera, or whose camera cannot be one (`camera_problem`), are left out and told, as are scenes
    that have too few others, or no pixel of known depth in the views drawn: another scene is then drawn. Of a scene with
    `PATIENCE` such frames in a row, no more are read.

    Args:
        index: the places to draw from.
        plan: gives the shapes.
        crops: see `GeometryCrops`.
        layout: as of `ViewDataset`.

    Raises:
        DataError: none of the scenes drawn for a request can be used.
    """

    def __init__(self, index: SceneIndex, plan: StepPlan, crops: GeometryCrops, layout: BatchLayout | None = None) -> None:
        self.index, self.plan, self.crops = index, plan, crops
        self.turns = Turns(index, plan.seed, self._generator, layout, plan.views_of)

    def _generator(self, request: Request, attempt: int = 0) -> np.random.Generator:
        return stream(self.plan.seed, "posed scene", *request, attempt)

    def __getitem__(self, request: Request) -> PosedScenes:
        shape = self.plan.load(request.load)[request.group]
        asked: Counter[str] = Counter()
        told: list[Unusable] = []
        for attempt in range(TRIES):
            rng = self._generator(request, attempt)
            views_of = self.plan.views_of(request.load)
            place = self.index.draw(rng, views_of) if attempt else self.turns.draw(rng, request)
            label = place.source.label
            frames, unusable = _usable(place, choose_views(rng, place, shape), shape.views, self._detail(shape))
            asked[label] += len(frames) + len(unusable)
            if len(frames) < shape.views:
                looked = len(frames) + len(unusable)
                # One message, of a reason alone: frames come in another order when the scene is drawn again.
                why = "".join(f"; most often: {reason}" for reason, _ in Counter(dict(unusable).values()).most_common(1))
                message = (
                    f"{place.name}: passed over, {len(frames)} of the {looked} frames looked at have what is needed, "
                    f"{shape.views} are wanted{why}"
                )
                files = tuple(f"{place.name}/{name}: {reason}" for name, reason in unusable[:FIRST])
                told.append(Unusable(label, message, len(unusable), files))
                continue
            told += [Unusable(label, f"{place.name}/{name}: {reason}") for name, reason in unusable]
            views = self._views(frames, shape, int(rng.integers(2**32)), request.sample, place)
            if bool(views.depth.any()):
                views.asked, views.unreadable = asked, told
                return views
            message = f"{place.name}: passed over, no depth is known in the views drawn"
            told.append(Unusable(label, message, len(frames)))
        raise DataError(
            f"{TRIES} scenes were drawn and none can be used, the last: {told[-1]}. Training reconstruction needs depth and "
            f"cameras; sources with both: {WITH_GEOMETRY}"
        )

    def _detail(self, shape: LoadShape) -> int:
        return round(max(shape.height, shape.width) / self.crops.min_area**0.5)

    def _views(self, frames: list[Frame], shape: LoadShape, seed: int, sample: int, place: Place) -> PosedScenes:
        aspect = shape.width / shape.height
        images, depths, intrinsics, poses = [], [], [], []
        for number, frame in enumerate(frames):
            crop = self.crops.draw(seed, number, frame.size, aspect)
            image, depth, camera = crop.frame(frame, shape.height, shape.width)
            assert depth is not None and camera is not None
            camera = unmirrored(camera)
            images.append(image)
            depths.append(depth)
            intrinsics.append(camera.intrinsics.astype(np.float32))
            poses.append(camera.cam2world)
        parts = [torch.from_numpy(np.stack(part))[None] for part in (images, depths, intrinsics, poses)]
        return PosedScenes(parts[0], [sample], [place.name], [place.source.label], Counter(), [], *parts[1:])


def unmirrored(camera: Camera) -> Camera:
    """The camera of a picture that was mirrored left-right (negative focal length fx), in the mirrored world: what the
    mirrored picture shows, seen by an ordinary camera. Others come back as they are."""
    if camera.intrinsics[0, 0] > 0:
        return camera
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    return Camera(camera.intrinsics @ mirror[:3, :3], mirror @ camera.cam2world @ mirror)


def _usable(place: Place, order: Sequence[int], views: int, at_least: int) -> tuple[list[Frame], list[tuple[str, str]]]:
    """The first `views` frames of `order` with picture, depth and a sound camera; and the others before them, each with the
    reason, until there are `PATIENCE` in a row."""
    found: list[Frame] = []
    unusable: list[tuple[str, str]] = []
    in_a_row = 0
    for number in order:
        frame = _read(place, place.frames[number], at_least)
        if isinstance(frame, Frame):
            found.append(frame)
            in_a_row = 0
        else:
            unusable.append((place.frames[number], frame))
            in_a_row += 1
        if len(found) == views or in_a_row == PATIENCE:
            break
    return found, unusable


def _read(place: Place, name: str, at_least: int) -> Frame | str:
    """A frame, or why it cannot be used."""
    try:
        frame = place.source.read(place.scene, name, at_least=at_least, geometry=True)
        problem = geometry_problem(frame)
        if problem or frame.depth is None:
            return problem  # before the picture is decoded, which takes long
        frame = replace(frame, image=decode(frame.image), depth=known_depth(frame.depth))
    except (OSError, DataError) as error:  # of one frame or its scene: others can be read
        return str(error) or "it cannot be read"
    return size_problem(frame) or frame
