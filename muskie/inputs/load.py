"""The views of a reconstruction, of one size, with the way back to the originals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from muskie.errors import ConfigError, DataError
from muskie.inputs.collect import Source, collect
from muskie.inputs.photographs import Picture
from muskie.inputs.pixel_map import PixelMap
from muskie.inputs.resize import FITS, common_size, fitted, inner_box, resized

_CROPPED_MUCH = 0.3
"""Share of an image that is cut away by `fit="crop"` above which this is told."""


@dataclass
class Inputs:
    """Views for a model.

    Attributes:
        images: uint8 [V, 3, H, W], upright; H and W are multiples of the patch size.
        names: of the views, all different.
        pixel_maps: of each view, from the pixels of its upright original to these.
        skipped: messages about pictures that were left out, since they cannot be read or are too small.
        notes: what else a user should know of how the views were made, in sentences.
    """

    images: Tensor
    names: list[str]
    pixel_maps: list[PixelMap]
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """H and W."""
        return self.images.shape[-2], self.images.shape[-1]

    @property
    def inside(self) -> Tensor:
        """bool [V, H, W], False where a pixel is padding; all True with `fit="crop"`."""
        inside = torch.zeros((len(self), *self.size), dtype=torch.bool)
        for view, pixel_map in zip(inside, self.pixel_maps, strict=True):
            left, top, right, bottom = inner_box(pixel_map)
            view[top:bottom, left:right] = True
        return inside


def load_views(
    source: Source,
    patch_size: int,
    size: int | None = 512,
    *,
    every: int = 1,
    limit: int | None = None,
    fit: str = "crop",
    progress: bool = False,
    check: Callable[[int, tuple[int, int]], object] | None = None,
) -> Inputs:
    """Reads photographs, a video, images or arrays as views of one size.

    All views get the shape of their median aspect ratio; smaller images are enlarged. EXIF and a video's rotation are
    applied, transparency is put on white, grey and 16-bit images become 8-bit RGB. What cannot be read, or is smaller
    than a patch, is left out and told in `skipped`.

    Args:
        source: a folder, an image, a video, a list of paths, a text file of paths, images, arrays or a tensor; see
            `muskie.inputs.collect.collect`.
        patch_size: of the model, in pixels.
        size: the long side in pixels, rounded down to a multiple of the patch size; None: that of the originals (the
            median of their long sides).
        every: take each n-th picture or frame.
        limit: take at most so many, spread evenly; None: all, of a video 32 unless `every` is given.
        fit: `"crop"`: cut images of another shape to the middle, so that no pixel is made up; `"pad"`: keep all of them,
            with white beside it, which `Inputs.inside` tells from the image.
        progress: show a bar on stderr, where that is a terminal.
        check: called with V and (H, W) before anything is decoded, see `muskie.inputs.memory.check_memory`.

    Raises:
        ConfigError: a setting out of range.
        DataError: nothing there, or nothing that can be read; the message says what was found.
    """
    if patch_size < 1:
        raise ConfigError(f"patch_size={patch_size}: expected 1 or more")
    if fit not in FITS:
        raise ConfigError(f"fit={fit!r}: expected one of {', '.join(map(repr, FITS))}")
    found = collect(source, every, limit)
    pictures = [picture for picture in found.pictures if min(picture.size) >= patch_size]
    tiny = [picture for picture in found.pictures if min(picture.size) < patch_size]
    skipped = found.skipped + [f"{p.name}: {_by(p.size)} px, smaller than a patch of {patch_size} px" for p in tiny]
    if not pictures:
        raise _nothing(skipped)
    long_side = int(np.median([max(picture.size) for picture in pictures])) if size is None else size
    aspects = [picture.size[0] * picture.pixel_aspect / picture.size[1] for picture in pictures]
    height, width = common_size(aspects, patch_size, long_side)
    if check is not None:
        check(len(pictures), (height, width))

    images = torch.empty((len(pictures), 3, height, width), dtype=torch.uint8)
    names: list[str] = []
    maps: list[PixelMap] = []
    for picture in tqdm(pictures, desc="reading views", unit="view", disable=None if progress else True, file=sys.stderr):
        pixel_map = fitted(picture.size, (width, height), fit, picture.pixel_aspect)
        try:
            pixels = resized(picture.open((width, height)), pixel_map)
        except OSError as error:
            skipped.append(str(error))
            continue
        images[len(names)] = torch.from_numpy(pixels)
        names.append(picture.name)
        maps.append(pixel_map)
    if not names:
        raise _nothing(skipped)
    notes = found.notes + _notes(pictures, names, maps, fit)
    return Inputs(images[: len(names)], names, maps, skipped, notes)


def _nothing(skipped: Sequence[str]) -> DataError:
    shown = "\n  ".join(skipped[:5]) + (f"\n  and {len(skipped) - 5:,} more" if len(skipped) > 5 else "")
    return DataError(f"none of {len(skipped):,} pictures can be used; give others:\n  {shown}")


def _notes(pictures: Sequence[Picture], names: Sequence[str], maps: Sequence[PixelMap], fit: str) -> list[str]:
    """About originals that differ much from what the model sees."""
    notes = []
    shapes = {picture.size for picture in pictures}
    if len(shapes) > 1:
        notes.append(f"pictures of {len(shapes):,} sizes, brought to {_by(maps[0].size)} px by fit={fit!r}")
    lost = {name: 1 - _kept(pixel_map) for name, pixel_map in zip(names, maps, strict=True)}
    most = max(lost, key=lambda name: lost[name])
    if lost[most] > _CROPPED_MUCH:
        many = sum(share > _CROPPED_MUCH for share in lost.values())
        notes.append(
            f"{many:,} of {len(maps):,} views lose more than {_CROPPED_MUCH:.0%} of their picture to the common shape "
            f"({most}: {lost[most]:.0%}); fit='pad' keeps all of it"
        )
    enlarged = [name for name, pixel_map in zip(names, maps, strict=True) if min(pixel_map.scale) > 1]
    if enlarged:
        notes.append(
            f"{len(enlarged):,} of {len(maps):,} pictures are enlarged, such as {enlarged[0]}; a smaller size= avoids it"
        )
    return notes


def _kept(pixel_map: PixelMap) -> float:
    """The share of the original that is seen."""
    (width, height), (to_width, to_height) = pixel_map.original_size, pixel_map.size
    return min(to_width / pixel_map.scale[0] / width, 1) * min(to_height / pixel_map.scale[1] / height, 1)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
