"""Opening images of any kind as RGB, and cropping frames together with their depth and camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from muskie.data.scene import Camera, Frame
from muskie.errors import ConfigError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def open_image(path: Path, at_least: int | None = None) -> Image.Image:
    """Opens an image as 8-bit RGB, upright.

    Grey, palette, RGBA, CMYK and 16-bit images are converted (16 bits keep their upper 8; transparency is dropped), EXIF
    rotation is applied. 32-bit and floating-point images say nowhere what is white, and are refused.

    Args:
        path: of the file.
        at_least: the shorter side may be decoded smaller, down to this many pixels (JPEG alone can; it is several
            times faster). None: full size.

    Raises:
        OSError: the file is missing, broken, no image, or of 32 bits; the message names it.
    """
    try:
        with Image.open(path) as image:
            if at_least is not None:
                factor = min(1.0, at_least / min(image.size))
                image.draft("RGB", (math.ceil(image.width * factor), math.ceil(image.height * factor)))
            return decode(image)
    except OSError as error:
        # Pillow's own message rarely says which file it was.
        raise OSError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"{path}: cannot be decoded ({error})") from error


def decode(image: Image.Image) -> Image.Image:
    """An image that Pillow may only have opened, upright and in 8-bit RGB, as `open_image` gives it.

    Raises:
        OSError: broken, or of 32 bits.
    """
    try:
        image.load()
    except OSError:
        raise
    except Exception as error:  # what damaged bytes raise differs from format to format
        raise OSError(f"cannot be decoded ({error})") from error
    return to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image  # Pillow would copy it
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # the pixels are sound, what is noted beside them is not


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB.

    Raises:
        OSError: broken, or of 32 bits.
    """
    if image.mode == "RGB":
        return image
    if image.mode in ("I", "F"):
        raise OSError(f"a grey image of mode {image.mode!r} (32 bits) has no defined white; convert it to 8 or 16 bits")
    if image.mode.startswith("I;16"):  # Pillow would clip it to 255 instead of scaling it
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image.convert("RGB")


@dataclass(frozen=True)
class Crop:
    """A rectangle of an image in relative coordinates, and mirrorings.

    Relative, so that one crop serves all views of a scene even where their sizes differ.

    Attributes:
        left, top, right, bottom: in [0, 1] of width and height, left < right, top < bottom.
        flip_x, flip_y: mirror left-right, upside down.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    flip_x: bool = False
    flip_y: bool = False

    @staticmethod
    def centre(width: int, height: int, aspect: float) -> Crop:
        """The largest centred rectangle of an aspect ratio (width / height)."""
        share_x = min(1.0, aspect * height / width)
        share_y = min(1.0, width / aspect / height)
        return Crop((1 - share_x) / 2, (1 - share_y) / 2, (1 + share_x) / 2, (1 + share_y) / 2)

    def image(self, image: Image.Image, height: int, width: int) -> np.ndarray:
        """Crops, resizes (bicubic, antialiased) and mirrors: image -> RGB, uint8 [3, height, width]."""
        box = (self.left * image.width, self.top * image.height, self.right * image.width, self.bottom * image.height)
        resized = to_rgb(image).resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
        return np.ascontiguousarray(self._mirror(np.asarray(resized)).transpose(2, 0, 1))

    def depth(self, depth: np.ndarray, height: int, width: int) -> np.ndarray:
        """The same for a depth map, by nearest neighbour: [H, W] -> [height, width]."""
        box = (
            self.left * depth.shape[1],
            self.top * depth.shape[0],
            self.right * depth.shape[1],
            self.bottom * depth.shape[0],
        )
        resized = Image.fromarray(depth).resize((width, height), Image.Resampling.NEAREST, box=box)
        return np.array(self._mirror(np.asarray(resized)), order="C")

    def intrinsics(self, matrix: np.ndarray, size_before: tuple[int, int], height: int, width: int) -> np.ndarray:
        """The intrinsics after the crop, from those for an image of `size_before` = (height, width).

        A mirrored axis gets a negative focal length: projection stays exact, and nobody has to mirror poses.
        """
        before_h, before_w = size_before
        to_pixels = np.eye(3)
        to_pixels[0, 0] = width / ((self.right - self.left) * before_w)
        to_pixels[1, 1] = height / ((self.bottom - self.top) * before_h)
        to_pixels[0, 2] = -self.left * before_w * to_pixels[0, 0]
        to_pixels[1, 2] = -self.top * before_h * to_pixels[1, 1]
        mirror = np.eye(3)
        if self.flip_x:
            mirror[0, 0], mirror[0, 2] = -1, width
        if self.flip_y:
            mirror[1, 1], mirror[1, 2] = -1, height
        return mirror @ to_pixels @ matrix

    def frame(self, frame: Frame, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None, Camera | None]:
        """All of a frame: image uint8 [3, height, width], depth float32 [height, width], camera for that size."""
        depth = None if frame.depth is None else self.depth(frame.depth, height, width)
        camera = frame.camera
        if camera is not None:
            stored_w, stored_h = frame.size
            intrinsics = self.intrinsics(camera.intrinsics, (stored_h, stored_w), height, width)
            camera = Camera(intrinsics, camera.cam2world)
        return self.image(frame.image, height, width), depth, camera

    def _mirror(self, pixels: np.ndarray) -> np.ndarray:
        if self.flip_x:
            pixels = pixels[:, ::-1]
        return pixels[::-1] if self.flip_y else pixels


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
    """

    min_area: float = 0.8
    distortion: float = 4 / 3
    flip_x: float = 0.5
    flip_y: float = 0.0
    per_view: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ConfigError(f"augment.min_area={self.min_area}: expected a share of the image in (0, 1]")
        if self.distortion < 1:
            raise ConfigError(f"augment.distortion={self.distortion}: expected a factor of 1 or more")
        for name in ("flip_x", "flip_y"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name}={getattr(self, name)}: expected a probability in [0, 1]")

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
