"""Crops of frames: pictures resized straight to the size that is asked for, depth, masks and cameras with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from muskie.data.images import REDUCTIONS, Picture, decode
from muskie.data.scene import Camera, Frame


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

    def within(self, outer: Crop) -> Crop:
        """The same part of a part of the image; mirrored as this one is."""
        width, height = outer.right - outer.left, outer.bottom - outer.top
        return replace(
            self,
            left=outer.left + self.left * width,
            right=outer.left + self.right * width,
            top=outer.top + self.top * height,
            bottom=outer.top + self.bottom * height,
        )

    @staticmethod
    def centre(width: int, height: int, aspect: float) -> Crop:
        """The largest centred rectangle of an aspect ratio (width / height)."""
        share_x = min(1.0, aspect * height / width)
        share_y = min(1.0, width / aspect / height)
        return Crop((1 - share_x) / 2, (1 - share_y) / 2, (1 + share_x) / 2, (1 + share_y) / 2)

    def snapped(self, stored: tuple[int, int], shown: tuple[int, int]) -> Crop:
        """The crop whose edges lie between pixels: at most half a pixel off on each side, and then exact.

        Args:
            stored: width and height of the image as it is stored, which the crop is relative to.
            shown: those of the decoded image, whose pixels count; it may be smaller.
        """
        left, right = _between_pixels(self.left, self.right, stored[0], shown[0])
        top, bottom = _between_pixels(self.top, self.bottom, stored[1], shown[1])
        return replace(self, left=left, top=top, right=right, bottom=bottom)

    def image(
        self, image: Image.Image | Picture, height: int, width: int, stored: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Crops, resizes (bicubic, antialiased) and mirrors: image -> RGB, uint8 [3, height, width].

        The crop is `snapped`, if it was not.

        Args:
            image: as it was decoded.
            height, width: of the result.
            stored: width and height of the image as it is stored; None: those of `image`.
        """
        pixels = decode(image).pixels
        shown_w, shown_h = pixels.shape[1], pixels.shape[0]
        stored_w, stored_h = stored or (shown_w, shown_h)
        columns, rows = _step(stored_w, shown_w), _step(stored_h, shown_h)
        crop = self.snapped((stored_w, stored_h), (shown_w, shown_h))
        left, right = (round(edge * stored_w / columns) for edge in (crop.left, crop.right))
        top, bottom = (round(edge * stored_h / rows) for edge in (crop.top, crop.bottom))
        resized = _resize(pixels[top:bottom, left:right], height, width)
        return np.ascontiguousarray(self._mirror(resized).transpose(2, 0, 1))

    def depth(self, depth: np.ndarray, height: int, width: int) -> np.ndarray:
        """The same for a depth map or mask, by nearest neighbour: [H, W] -> [height, width]."""
        rows = _nearest(self.top, self.bottom, depth.shape[0], height)
        columns = _nearest(self.left, self.right, depth.shape[1], width)
        return np.array(self._mirror(depth[rows[:, None], columns]), order="C")

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
        """All of a frame, by the `snapped` crop: image uint8 [3, height, width], depth float32 [height, width], and the
        camera for that size."""
        stored_w, stored_h = frame.size
        crop = self.snapped(frame.size, frame.image.size)
        depth = None if frame.depth is None else crop.depth(frame.depth, height, width)
        camera = frame.camera
        if camera is not None:
            intrinsics = crop.intrinsics(camera.intrinsics, (stored_h, stored_w), height, width)
            camera = Camera(intrinsics, camera.cam2world)
        return crop.image(frame.image, height, width, frame.size), depth, camera

    def _mirror(self, pixels: np.ndarray) -> np.ndarray:
        if self.flip_x:
            pixels = pixels[:, ::-1]
        return pixels[::-1] if self.flip_y else pixels


def _step(stored: int, shown: int) -> float:
    """Stored pixels of one that is shown. A JPEG that is reduced shows whole ones, and where its side is no multiple, the
    last one in part."""
    return next((factor for factor in REDUCTIONS if -(-stored // factor) == shown), stored / shown)


def _between_pixels(low: float, high: float, stored: int, shown: int) -> tuple[float, float]:
    """The edges of a crop between pixels that are shown whole."""
    step = _step(stored, shown)
    whole = max(math.floor(stored / step + 1e-9), 1)
    first = min(round(low * stored / step), whole - 1)
    last = max(min(round(high * stored / step), whole), first + 1)
    return first * step / stored, last * step / stored


def _nearest(low: float, high: float, side: int, wanted: int) -> np.ndarray:
    """int64 [wanted], the pixels of `side` that lie under the centres of `wanted` pixels between two edges."""
    centres = (low + (np.arange(wanted) + 0.5) * (high - low) / wanted) * side
    return np.floor(centres + 1e-9).astype(np.int64).clip(0, side - 1)


def _resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3] -> [height, width, 3], bicubic, antialiased. PyTorch's is six times as fast as Pillow's, and the same
    to one level of 255."""
    if pixels.shape[:2] == (height, width):
        return pixels
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()
