"""What every data set is turned into: scenes, which are ordered lists of frames, and the source that reads them.

A source only lists and reads. Windows, pairing, cropping and augmentation are written once, for all sources, in
`muskie.data.dataset` and `muskie.data.images`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from muskie.data.images import Picture

if TYPE_CHECKING:
    from muskie.data.shards.order import Turn


@dataclass(frozen=True)
class Scene:
    """A static scene seen by several frames.

    Attributes:
        name: unique within its source; shown in errors and pictures, e.g. `"redkitchen/seq-01"`.
        frames: the names of the frames in the order of capture; what a name means is the source's own business.
        room: what the scene shows, where several scenes of the source show the same, e.g. `"redkitchen"`; such scenes lie
            side by side in the source. None: this scene alone shows it.
        numbers: float64 [frames, K], what the source notes of each frame, for itself, e.g. its camera; None: nothing.
    """

    name: str
    frames: Sequence[str]
    room: str | None = None
    numbers: np.ndarray | None = field(default=None, compare=False, repr=False)

    def shows_the_same_as(self, other: Scene) -> bool:
        """Whether both scenes, of one source, show one room."""
        return self.name == other.name or (self.room is not None and self.room == other.room)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the OpenCV convention: x right, y down, z forward.

    Attributes:
        intrinsics: float64 [3, 3], in pixels of the image it comes with; pixel centres are at integer + 0.5.
        cam2world: float64 [4, 4], metres.
    """

    intrinsics: np.ndarray
    cam2world: np.ndarray


@dataclass(frozen=True)
class Frame:
    """One frame as read from a source.

    Attributes:
        image: RGB; of a source of your own, an image of Pillow in any mode, which may only have been opened.
        depth: float32 [H, W] of the stored image's size, z in metres, 0 = unknown; None if not asked for or not there.
        camera: None if not asked for or not there; its intrinsics belong to the image as it is stored, upright.
        stored: width and height of the image as it is stored, upright, where `image` may be smaller; None: it is not.
    """

    image: Image.Image | Picture
    depth: np.ndarray | None = None
    camera: Camera | None = None
    stored: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image as it is stored, which depth and camera belong to."""
        return self.stored or self.image.size


class SceneSource(ABC):
    """A data set: a sequence of scenes whose frames can be read.

    A new data set is one file with one subclass; a recipe names it by Hydra's `_target_`. Construction lists the scenes
    and raises `DataError` for a missing or empty root, so that nothing fails later.
    """

    name: str
    """Shown in logs, metrics and errors."""

    config_key: str = "data"
    """Where the configuration names it, e.g. `"data.sources.photos"`; set by whoever builds it from one."""

    @property
    def label(self) -> str:
        """What tells it from the other sources of a mixture: its name there, else `name`."""
        mixture, _, label = self.config_key.rpartition(".")
        return label if mixture == "data.sources" else self.name

    uniform_length: bool = False
    """All scenes have as many frames as the first one; spares endless sources from being counted."""

    min_images: int | None = None
    """Of sources that leave out scenes of few images, by an argument of this name: the fewest that a scene may have."""

    left_out: int = 0
    """How many scenes `min_images` has left out."""

    problems: Sequence[str] = ()
    """What could not be listed, and why, in words; all else was."""

    failed: Sequence[str] = ()
    """What was to be listed and could not be opened; `problems` says why."""

    bare: Sequence[str] = ()
    """Where no pictures are, of what was listed."""

    listed_parts: int = 0
    """How many folders or files were listed; 0 where it is not known."""

    shares_frames: bool = False
    """Whether its scenes show the same frames, so that what is held out has to be whole rooms."""

    heldout_from: int | None = None
    """The number of the first scene that the source itself holds out, with all behind it; None: whoever reads it decides."""

    streams: bool = False
    """Whether training reads it in a stream, by `streamed`."""

    window: int = 32
    """How many neighbouring frames still show much the same, so that the views of a sample are drawn from them."""

    weight: float = 1.0
    """How often it is drawn, against the other sources of a mixture; set by whoever builds it from a configuration."""

    single: bool = False
    """Whether single views alone are drawn from it, as from photographs that belong to no scene; set as `weight`."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of scenes."""

    @abstractmethod
    def scene(self, index: int) -> Scene:
        """Scene number `index`, 0 <= index < len(self). Cheap: no image is opened."""

    @abstractmethod
    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        """Reads one frame of a scene.

        The image may be of any mode and may only have been opened; an EXIF orientation that it carries is applied to it.

        Args:
            scene: as returned by `scene`.
            frame: one of `scene.frames`.
            at_least: the image may come back smaller than stored as long as its shorter side keeps this many pixels
                (decoders that can skip detail are much faster so). None: as stored.
            geometry: also read depth and camera where the source has them, at the size of the image as it is stored; a
                source that makes use of `at_least` then says that size in `Frame.stored`.

        Raises:
            OSError: the image cannot be read. Callers skip the frame and count it.
        """

    def streamed(self, turn: Turn, seed: int) -> int:
        """Of a source that `streams`: the number of the scene whose turn it is, a pure function, and reads on to it."""
        raise NotImplementedError

    def lengths(self) -> np.ndarray:
        """int64 [scenes], how many frames each has."""
        if self.uniform_length:
            return np.broadcast_to(np.int64(len(self.scene(0).frames)), len(self))
        return np.array([len(self.scene(number).frames) for number in range(len(self))], dtype=np.int64)

    def mask(self, scene: Scene, frame: str) -> np.ndarray | None:
        """bool [H, W], where in the (upright) image the object is that the scene is about, at any size of the same aspect
        ratio; None where there is no mask. Asked for where training zooms in on objects.

        Raises:
            OSError: it cannot be read.
        """
        return None

    def overlaps(self, scene: Scene) -> np.ndarray | None:
        """float32 [frames, frames], which share of what frame i shows frame j shows too, where the source knows better than
        depth and cameras say, e.g. from points that frames share; None where it does not."""
        return None

    def digest(self) -> str | None:
        """Tells listings of other scenes or frames apart, without looking at each; None: look at each."""
        return None

    def file(self, scene: Scene, frame: str) -> Path | None:
        """The file that holds a frame's image; None: there is none of its own."""
        return None

    def identity(self, scene: Scene, frame: str) -> str:
        """What a frame is, whichever source lists it and however its root is written: the path of its file, links followed.
        Without a file, the class and its `root`, if it has one, scene and frame. Runs' frames are compared by it."""
        file = self.file(scene, frame)
        if file is not None:
            return os.path.realpath(file) if file.is_symlink() else f"{_real(file.parent)}{os.sep}{file.name}"
        given = getattr(self, "root", "")
        root = os.path.realpath(str(given)) if given else ""
        return f"{type(self).__module__}.{type(self).__qualname__}({root})/{scene.name}/{frame}"

    def find(self, wanted: Collection[str]) -> Iterator[tuple[int, str, str]]:
        """Scene number, frame and identity of all frames whose identity is `wanted`. All frames are looked at: some
        seconds for millions of them."""
        for number in range(len(self)):
            scene = self.scene(number)
            for frame in scene.frames:
                identity = self.identity(scene, frame)
                if identity in wanted:
                    yield number, frame, identity

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        """The camera alone: that of `read` with geometry, for the image as stored; None where there is none.

        Choosing views by their poses asks for many cameras, so a source that can does without decoding a picture.

        Raises:
            OSError: the camera cannot be read.
        """
        return self.read(scene, frame, geometry=True).camera


@lru_cache(maxsize=1024)
def _real(folder: Path) -> str:
    return os.path.realpath(folder)
