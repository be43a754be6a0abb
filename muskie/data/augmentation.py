"""Random crops, mirrorings and colours of the views of a scene, and zooming in on its object."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from muskie.data.crops import Crop
from muskie.errors import ConfigError

MARGIN = 0.5
"""What is added around an object that is zoomed in on, as a share of its width and height, on each side."""

LEAST = 0.05
"""The smallest side of an object that is zoomed in on, as a share of the image's."""


@dataclass(frozen=True)
class Augmentation:
    """Random crops and mirrorings.

    Attributes:
        min_area: smallest share of the image's area that a crop keeps, in (0, 1]; less only where the image has no crop
            of that area and an allowed aspect ratio.
        distortion: the crop's aspect ratio is drawn log-uniformly within this factor of the target's, >= 1, as far as
            such a crop fits the image.
        flip_x, flip_y: probabilities of mirroring.
        per_view: draw anew for every view, as published (Muskie, arXiv 2511.18115). Views are then mirror images of each
            other and no rigid scene explains them; off, all views of a scene share one draw.
        zoom: probability of zooming in on the object of a scene, in all of its views that have an object mask (CO3D,
            WildRGB-D and others), with half of its width and height around it. The crop is then one of that part.
        jitter: how far brightness, contrast and saturation of each view are scaled, by factors from 1 - jitter to
            1 + jitter.
    """

    min_area: float = 0.8
    distortion: float = 4 / 3
    flip_x: float = 0.5
    flip_y: float = 0.0
    per_view: bool = False
    zoom: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ConfigError(f"augment.min_area={self.min_area}: expected a share of the image in (0, 1]")
        if self.distortion < 1:
            raise ConfigError(f"augment.distortion={self.distortion}: expected a factor of 1 or more")
        for name in ("flip_x", "flip_y", "zoom"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name}={getattr(self, name)}: expected a probability in [0, 1]")
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"augment.jitter={self.jitter}: expected a share in [0, 1), e.g. 0.2")

    def draw(self, rng: np.random.Generator, image_aspect: float, target_aspect: float) -> Crop:
        """One crop; aspects are width / height."""
        area = rng.uniform(self.min_area, 1.0)
        low, high = target_aspect / self.distortion, target_aspect * self.distortion
        # A crop of this area fits at aspects from area · image_aspect to image_aspect / area; where none of the allowed
        # ones does, the nearest is taken and the area gives way.
        least = min(max(low, area * image_aspect), high)
        most = max(min(high, image_aspect / area), low)
        aspect = math.exp(rng.uniform(math.log(least), math.log(most)))
        share_x, share_y = math.sqrt(area * aspect / image_aspect), math.sqrt(area / aspect * image_aspect)
        excess = max(1.0, share_x, share_y)
        share_x, share_y = share_x / excess, share_y / excess
        left, top = rng.uniform(0, 1 - share_x), rng.uniform(0, 1 - share_y)
        flip_x, flip_y = rng.random() < self.flip_x, rng.random() < self.flip_y
        return Crop(left, top, left + share_x, top + share_y, bool(flip_x), bool(flip_y))

    def colours(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """Jitters the colours of an image, uint8 [3, H, W]."""
        if not self.jitter:
            return image
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for number in rng.permutation(len(kinds)):
            picture = kinds[number](picture).enhance(rng.uniform(1 - self.jitter, 1 + self.jitter))
        return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def around_object(mask: np.ndarray) -> Crop:
    """The part of an image that holds its object with `MARGIN` around it; all of it where there is no object, or one of less
    than `LEAST` of a side: some stray pixels.

    Args:
        mask: bool [H, W], at any size of the image's aspect ratio.
    """
    edges = []
    for axis in (1, 0):
        where = np.flatnonzero(mask.any(axis=1 - axis))
        if not len(where):
            return Crop()
        side, first, last = mask.shape[axis], int(where[0]), int(where[-1]) + 1
        if last - first < LEAST * mask.shape[axis]:
            return Crop()
        margin = MARGIN * (last - first)
        edges.append((max(first - margin, 0) / side, min(last + margin, side) / side))
    (left, right), (top, bottom) = edges
    return Crop(left, top, right, bottom)
