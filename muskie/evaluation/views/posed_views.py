"""View sets as tensors: pictures with depth and cameras, cropped to one size, read ahead by workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from muskie.data.crops import Crop
from muskie.data.geometry_check import WITH_GEOMETRY, camera_problem, known_depth, size_problem
from muskie.data.images import decode
from muskie.data.scene import Frame
from muskie.errors import ConfigError, DataError, MuskieError
from muskie.evaluation.views.view_set import ViewSet

CROPS = ("centre", "object")
TENSORS = ("images", "depth", "intrinsics", "cam2world")


class NoGeometry(DataError):
    """A frame that was read has no depth or no camera."""


@dataclass
class PosedViews:
    """Views with geometry.

    Attributes:
        images: uint8 [B, V, 3, H, W].
        depth: float32 [B, V, H, W], z in metres, 0 = unknown.
        intrinsics, cam2world: float64 [B, V, 3, 3] and [B, V, 4, 4].
        numbers: of the view sets, in the list that they were read from.
        unreadable: messages about sets that were left out, near this batch in the list.
    """

    images: Tensor
    depth: Tensor
    intrinsics: Tensor
    cam2world: Tensor
    numbers: list[int]
    unreadable: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device) -> PosedViews:
        """The same on a device."""
        return replace(self, **{part: getattr(self, part).to(device, non_blocking=True) for part in TENSORS})


def read_posed(
    views: ViewSet, size: tuple[int, int], crop: str = "centre", number: int = 0, depth: bool = True
) -> PosedViews:
    """Reads one set.

    Args:
        views: which frames.
        size: (H, W) of the result.
        crop: `"centre"`: the largest centred rectangle of that shape; `"object"`: the smallest centred on what has depth
            that holds all of it (objects whose background has none), as far as the picture reaches.
        number: kept with it.
        depth: every frame must have some; False: it is unknown (0) in frames without.

    Raises:
        OSError: a frame cannot be read, its camera cannot be one (`camera_problem`), or its depth is of another size.
        NoGeometry: a frame has no depth or no camera.
    """
    images, depths, intrinsics, poses = [], [], [], []
    for name in views.frames:
        frame = views.source.read(views.scene, name, at_least=max(size), geometry=True)
        frame = replace(frame, image=decode(frame.image))
        if frame.depth is None and not depth:
            frame = replace(frame, depth=np.zeros(frame.size[::-1], dtype=np.float32))
        if frame.depth is None or frame.camera is None:
            what = "depth" if frame.depth is None else "camera"
            raise NoGeometry(
                f"{views.source.name}/{views.scene.name}: frame {name!r} has no {what}, which the evaluation of geometry "
                f"needs; sources with both: {WITH_GEOMETRY}"
            )
        if problem := camera_problem(frame.camera):
            raise OSError(f"the camera of frame {name!r} has {problem}")
        if problem := size_problem(frame):
            raise OSError(f"frame {name!r}: {problem}")
        frame = replace(frame, depth=known_depth(frame.depth))
        image, measured, camera = _crop(frame, size, crop).frame(frame, *size)
        assert measured is not None and camera is not None
        images.append(image)
        depths.append(measured)
        intrinsics.append(camera.intrinsics)
        poses.append(camera.cam2world)
    image_batch, depth_batch, intrinsics_batch, pose_batch = (
        torch.from_numpy(np.stack(part))[None] for part in (images, depths, intrinsics, poses)
    )
    return PosedViews(image_batch, depth_batch, intrinsics_batch, pose_batch, [number])


def _crop(frame: Frame, size: tuple[int, int], crop: str) -> Crop:
    width, height = frame.size
    aspect = size[1] / size[0]
    rows, columns = np.nonzero(frame.depth > 0 if crop == "object" and frame.depth is not None else np.zeros((0, 0)))
    if not len(rows):
        return Crop.centre(width, height, aspect)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    box_height = max(bottom - top, (right - left) / aspect)
    box_height = min(box_height, height, width / aspect)
    box_width = min(box_height * aspect, width)  # which rounding may exceed
    left = min(max((left + right - box_width) / 2, 0), width - box_width)
    top = min(max((top + bottom - box_height) / 2, 0), height - box_height)
    return Crop(left / width, top / height, (left + box_width) / width, (top + box_height) / height)


class _Unreadable(NamedTuple):
    message: str


Read = PosedViews | _Unreadable | MuskieError


class _Sets(Dataset[Read]):
    def __init__(self, sets: Sequence[ViewSet], size: tuple[int, int], crop: str, depth: bool) -> None:
        self.sets, self.size, self.crop, self.depth = sets, size, crop, depth

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, number: int) -> Read:
        # Errors travel as values: raised in a worker, they would come back wrapped in its traceback.
        try:
            return read_posed(self.sets[number], self.size, self.crop, number, self.depth)
        except NoGeometry as error:
            return _Unreadable(str(error))
        except MuskieError as error:
            return error
        except OSError as error:
            return _Unreadable(f"{self.sets[number].name}: {error}")


def posed_batches(
    sets: Sequence[ViewSet],
    size: tuple[int, int],
    batch: int,
    workers: int = 0,
    crop: str = "centre",
    depth: bool = True,
) -> Iterator[PosedViews]:
    """All sets in batches of at most `batch`, in their order, each of sets of as many views; sets that cannot be read, or
    have a frame without geometry, are left out and named in `unreadable`. So that the last batch can name the last of them,
    reading is one batch ahead. `depth` as in `read_posed`.

    Raises:
        ConfigError: an unknown crop.
        DataError: no set at all can be read.
    """
    if crop not in CROPS:
        raise ConfigError(f"crop={crop!r}: expected one of {', '.join(map(repr, CROPS))}")
    waiting: PosedViews | None = None
    unreadable: list[str] = []
    own = torch.Generator()  # which means nothing; without it, the loader would draw from the global one
    loader = DataLoader(_Sets(sets, size, crop, depth), batch, num_workers=workers, collate_fn=list, generator=own)
    for read in loader:
        for error in read:
            if isinstance(error, MuskieError):
                raise error
        unreadable += [one.message for one in read if isinstance(one, _Unreadable)]
        for _, views in groupby((one for one in read if isinstance(one, PosedViews)), lambda one: one.images.shape[1]):
            if waiting:
                yield waiting
            waiting, unreadable = _joined([*views], unreadable), []
    if not waiting:
        raise DataError(
            f"none of {len(sets)} sets of views can be read; {unreadable[0] if unreadable else 'there are none'}"
        )
    waiting.unreadable += unreadable
    yield waiting


def _joined(sets: list[PosedViews], unreadable: list[str]) -> PosedViews:
    parts = {part: torch.cat([getattr(views, part) for views in sets]) for part in TENSORS}
    return PosedViews(**parts, numbers=[views.numbers[0] for views in sets], unreadable=unreadable)
