"""View sets as tensors: pictures with depth and cameras, cropped to one size, read ahead by workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from muskie.data.images import Crop
from muskie.data.scene import Frame
from muskie.errors import ConfigError, DataError, MuskieError
from muskie.evaluation.view_sets import ViewSet

CROPS = ("centre", "object")
TENSORS = ("images", "depth", "intrinsics", "cam2world")


@dataclass
class PosedViews:
    """Views with geometry.

    Attributes:
        images: uint8 [B, V, 3, H, W].
        depth: float32 [B, V, H, W], z in metres, 0 = unknown.
        intrinsics, cam2world: float64 [B, V, 3, 3] and [B, V, 4, 4].
        numbers: of the view sets, in the list that they were read from.
        unreadable: messages about sets that were left out.
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


def read_posed(views: ViewSet, size: tuple[int, int], crop: str = "centre", number: int = 0) -> PosedViews:
    """Reads one set.

    Args:
        views: which frames.
        size: (H, W) of the result.
        crop: `"centre"`: the largest centred rectangle of that shape; `"object"`: the smallest centred on what has depth
            that holds all of it (objects whose background has none), as far as the picture reaches.
        number: kept with it.

    Raises:
        OSError: a frame cannot be read.
        DataError: a frame has no depth or no camera.
    """
    images, depths, intrinsics, poses = [], [], [], []
    for name in views.frames:
        frame = views.source.read(views.scene, name, at_least=max(size), geometry=True)
        if frame.depth is None or frame.camera is None:
            what = "depth" if frame.depth is None else "camera"
            raise DataError(
                f"{views.source.name}/{views.scene.name}: frame {name!r} has no {what}, which the evaluation of geometry "
                f"needs; sources with both: data=synthetic, sevenscenes, scannet, navi"
            )
        image, depth, camera = _crop(frame, size, crop).frame(frame, *size)
        assert depth is not None and camera is not None
        images.append(image)
        depths.append(depth)
        intrinsics.append(camera.intrinsics)
        poses.append(camera.cam2world)
    image_batch, depth_batch, intrinsics_batch, pose_batch = (
        torch.from_numpy(np.stack(part))[None] for part in (images, depths, intrinsics, poses)
    )
    return PosedViews(image_batch, depth_batch, intrinsics_batch, pose_batch, [number])


def _crop(frame: Frame, size: tuple[int, int], crop: str) -> Crop:
    width, height = frame.image.size
    aspect = size[1] / size[0]
    rows, columns = np.nonzero(frame.depth if crop == "object" and frame.depth is not None else np.zeros((0, 0)))
    if not len(rows):
        return Crop.centre(width, height, aspect)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    box_height = max(bottom - top, (right - left) / aspect)
    box_height = min(box_height, height, width / aspect)
    box_width = box_height * aspect
    left = min(max((left + right - box_width) / 2, 0), width - box_width)
    top = min(max((top + bottom - box_height) / 2, 0), height - box_height)
    return Crop(left / width, top / height, (left + box_width) / width, (top + box_height) / height)


class _Sets(Dataset[PosedViews | Exception]):
    def __init__(self, sets: Sequence[ViewSet], size: tuple[int, int], crop: str) -> None:
        self.sets, self.size, self.crop = sets, size, crop

    def __len__(self) -> int:
        return len(self.sets)

    def __getitem__(self, number: int) -> PosedViews | Exception:
        # Errors travel as values: raised in a worker, they would come back wrapped in its traceback.
        try:
            return read_posed(self.sets[number], self.size, self.crop, number)
        except (MuskieError, OSError) as error:
            return error


def posed_batches(
    sets: Sequence[ViewSet], size: tuple[int, int], batch: int, workers: int = 0, crop: str = "centre"
) -> Iterator[PosedViews]:
    """All sets in batches of at most `batch`; sets that cannot be read are left out and named in `unreadable`.

    Raises:
        ConfigError: an unknown crop.
        DataError: frames without geometry, or no set at all that can be read.
    """
    if crop not in CROPS:
        raise ConfigError(f"crop={crop!r}: expected one of {', '.join(map(repr, CROPS))}")
    found, unreadable = 0, []
    for read in DataLoader(_Sets(sets, size, crop), batch, num_workers=workers, collate_fn=list):
        for error in read:
            if isinstance(error, MuskieError):
                raise error
        unreadable += [str(error) for error in read if isinstance(error, OSError)]
        if views := [one for one in read if isinstance(one, PosedViews)]:
            found += len(views)
            yield _joined(views, unreadable)
            unreadable = []
    if not found:
        raise DataError(
            f"none of {len(sets)} sets of views can be read; {unreadable[0] if unreadable else 'there are none'}"
        )


def _joined(sets: list[PosedViews], unreadable: list[str]) -> PosedViews:
    parts = {part: torch.cat([getattr(views, part) for views in sets]) for part in TENSORS}
    return PosedViews(**parts, numbers=[views.numbers[0] for views in sets], unreadable=unreadable)
