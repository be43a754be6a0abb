"""A source for tests, whose pictures tell where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import ViewDataset
from muskie.data.index import SceneIndex
from muskie.data.plan import StepPlan
from muskie.data.requests import Request
from muskie.data.scene import Frame, Scene, SceneSource


class Numbered(SceneSource):
    """Scenes of plain pictures: red is the number of the scene, green that of the frame, blue that of the source.

    Args:
        lengths: frames of each scene.
        name: of the source.
        broken: (scene, frame) of the images that cannot be read.
        size: width and height.
        blue: the number of the source.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        name: str = "numbered",
        broken: Sequence[tuple[int, int]] = (),
        size: tuple[int, int] = (24, 16),
        blue: int = 0,
    ) -> None:
        self.counts, self.name, self.broken, self.size, self.blue = list(lengths), name, set(broken), size, blue
        self.reads: Counter[tuple[int, int]] = Counter()

    def __len__(self) -> int:
        return len(self.counts)

    def scene(self, index: int) -> Scene:
        return Scene(f"scene{index}", [str(frame) for frame in range(self.counts[index])])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        place = (int(scene.name.removeprefix("scene")), int(frame))
        self.reads[place] += 1
        if place in self.broken:
            raise OSError(f"{scene.name}/{frame}: broken")
        return Frame(Image.new("RGB", self.size, (*place, self.blue)))


def numbers(images: Tensor) -> np.ndarray:
    """Scene, frame and source of pictures [..., 3, H, W], int [..., 3]."""
    values = images.flatten(-2).numpy()
    assert (values == values[..., :1]).all()
    return values[..., 0].astype(int)


def dataset(
    sources: Sequence[SceneSource], cache_mb: int = 0, augment: Augmentation | None = None, **plan: Any
) -> ViewDataset:
    """All of some sources at 16 pixels and four views, unless the plan says otherwise."""
    settings: dict[str, Any] = {"patch_size": 8, "steps": 100, "sizes": [16], "views": 4, "views_per_scene": [4]}
    steps = StepPlan(**{**settings, **plan})
    return ViewDataset(SceneIndex(sources, "all"), steps, augment or Augmentation(), cache_mb)


def requests(count: int) -> list[Request]:
    """Loads of four samples."""
    return [Request(load, 0, sample) for load in range(count // 4) for sample in range(4)]
