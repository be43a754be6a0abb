"""Sources and predictors for the tests of the cross-view gain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muskie.data.scene import Frame, Scene, SceneSource
from muskie.models.patches import patchify
from muskie.streams import stream


class Noise(SceneSource):
    """Scenes of random pictures, whose first pixel tells scene and frame.

    Args:
        lengths: frames of each scene.
        size: side of the pictures.
        broken: (scene, frame) of the images that cannot be read.
        name: of the source.
        rooms: what each scene shows; None: each its own.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        size: int = 16,
        broken: Sequence[tuple[int, int]] = (),
        name: str = "noise",
        rooms: Sequence[str] | None = None,
    ) -> None:
        self.counts, self.size, self.broken, self.name, self.rooms = list(lengths), size, set(broken), name, rooms

    def __len__(self) -> int:
        return len(self.counts)

    def scene(self, index: int) -> Scene:
        room = self.rooms[index] if self.rooms else None
        return Scene(f"scene{index}", [str(frame) for frame in range(self.counts[index])], room)

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        place = (int(scene.name.removeprefix("scene")), int(frame))
        if place in self.broken:
            raise OSError(f"{scene.name}/{frame}: broken")
        pixels = stream(0, "picture", *place).integers(256, size=(self.size, self.size, 3), dtype=np.uint8)
        pixels[0, 0] = (*place, 0)
        return Frame(Image.fromarray(pixels))


def origins(images: Tensor) -> np.ndarray:
    """Scene and frame of pictures of `Noise` [..., 3, S, S] at their own size, [..., 2]."""
    return images[..., :2, 0, 0].numpy().astype(int)


def whole(hidden: Tensor) -> list[int]:
    """The views of a scene with mask [V, h, w] that show everything."""
    return [view for view in range(len(hidden)) if not hidden[view].any()]


def by_view(draw: Callable[[Tensor, Tensor, int], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A predictor from `draw(views uint8 [V, 3, S, S], hidden [V, h, w], view) -> picture [3, S, S]` of a masked view."""

    def predict(images: Tensor, mask: Tensor) -> Tensor:
        patch = images.shape[-1] // mask.shape[-1]
        found = []
        for views, hidden in zip(images, mask, strict=True):
            for view in range(len(views)):
                if hidden[view].any():
                    found.append(patchify(draw(views, hidden, view), patch)[hidden[view].flatten()])
        return torch.cat(found)

    return predict
