"""The plain way to load views, which ours is measured against: for every sample a sorted listing of the folder, full
decoding by Pillow, torchvision's random crop."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from muskie.errors import ConfigError

STORED = (1920, 1440)


def write_pictures(folder: Path, photographs: Path | None, count: int, quality: int) -> list[Path]:
    """JPEGs of `STORED` pixels: of photographs, enlarged where they are smaller, or of rendered rooms.

    Raises:
        ConfigError: there are no photographs there.
    """
    if photographs is not None:
        from muskie.data.images import IMAGE_SUFFIXES

        found = sorted(file for file in photographs.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ConfigError(f"--photographs {str(photographs)!r}: there is no picture in it")
        spread = [found[number] for number in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)]
        images = [Image.open(file).convert("RGB").resize(STORED, Image.Resampling.LANCZOS) for file in spread]
    else:
        from muskie.data.images import decode
        from muskie.data.sources.synthetic import SyntheticRooms

        rooms = SyntheticRooms(scenes=count, frames=1, image_size=STORED[::-1])
        images = [decode(rooms.read(rooms.scene(number), "000000").image).pillow() for number in range(count)]
    files = []
    for number, image in enumerate(images):
        files.append(folder / f"picture{number}.jpg")
        image.save(files[-1], quality=quality)
    return files


def plain_image(file: Path, size: int) -> Tensor:
    """One image: uint8 [3, size, size]."""
    from torchvision.transforms import InterpolationMode, RandomResizedCrop
    from torchvision.transforms.functional import pil_to_tensor

    crop = RandomResizedCrop(size, scale=(0.8, 1.0), interpolation=InterpolationMode.BICUBIC)
    with Image.open(file) as image:
        return pil_to_tensor(crop(image.convert("RGB")))


def plain_sample(folder: Path, sizes: tuple[int, ...], views: int, rng: np.random.Generator) -> list[list[Tensor]]:
    """Views of a window of 32 frames at each size."""
    sample = []
    for size in sizes:
        names = sorted(os.listdir(folder))  # noqa: PTH208
        start = int(rng.integers(len(names) - 31))
        chosen = rng.permutation(32)[:views] + start
        sample.append([plain_image(folder / names[number], size) for number in chosen])
    return sample
