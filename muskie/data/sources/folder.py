"""Any images: a folder whose sub-folders each hold the images of one scene."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from muskie.data.images import IMAGE_SUFFIXES, open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Frame, Scene
from muskie.data.sources.natural import naturally
from muskie.errors import DataError
from muskie.paths import typed_path

_DEPTH = re.compile(r"(.*)\.depth(\.proj)?\.png")
"""Depth maps, as 7-Scenes and its like keep them beside the `.color.` image of the same name."""


EXPECTED = "one sub-folder of images a scene"


def existing_folder(root: str | Path, expected: str) -> Path:
    """`root` as a path.

    Raises:
        ConfigError: `~name` is nobody's.
        DataError: it is empty, not there, or no folder; the message says what is `expected` in it.
    """
    if not str(root):
        raise DataError(f"data.root is empty; give a folder with {expected}")
    path = typed_path(root, "data.root")
    if not path.is_dir():
        state = "is not a folder" if path.exists() else "does not exist"
        raise DataError(f"data.root={str(root)!r} {state}; give a folder with {expected}")
    return path


class ImageFolders(ListedSource):
    """Scenes are folders of images, in the natural order of the file names.

    Every folder below `root` that directly holds images is a scene, named by its path below `root`; images directly in
    `root` are the scene `"."`. Hidden files and folders are left out, and depth maps (`a.depth.png` beside `a.color.jpg`);
    links are followed, to each folder once.

    Args:
        root: the folder.
        name: shown in logs.
        min_images: scenes of fewer images are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range, or a `~name` nobody's.
        DataError: `root` is missing, holds no image, or no scene of enough images.
    """

    min_images: int

    def __init__(self, root: str | Path, name: str = "folder", min_images: int = 1) -> None:
        self.root = existing_folder(root, EXPECTED)
        self.name = name
        self._list(min_images)

    def _nothing(self) -> str:
        return f"holds no image ({' '.join(sorted(IMAGE_SUFFIXES))}); give a folder with {EXPECTED}"

    def parts(self) -> Sequence[str]:
        folders = naturally(entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")
        return [".", *folders]

    def scenes_in(self, part: str) -> Sequence[Scene]:
        if part == ".":
            images = _images(file.name for file in os.scandir(self.root) if not file.is_dir())
            return [Scene(".", images)]
        scenes, seen = [], set()
        for folder, folders, files in os.walk(self.root / part, followlinks=True, onerror=_raise):
            real = os.path.realpath(folder)
            if real in seen:  # linked twice, or into itself
                folders.clear()
                continue
            seen.add(real)
            folders[:] = naturally(name for name in folders if name[0] != ".")
            scenes.append(Scene(Path(folder).relative_to(self.root).as_posix(), _images(files)))
        return scenes

    def arranged(self, scenes: Sequence[Scene]) -> Sequence[Scene]:
        """Each folder once, whatever links lead to it."""
        first: dict[str, Scene] = {}
        for scene in scenes:
            path = self.root / scene.name
            real = os.path.realpath(path)
            if real not in first or real == str(path.absolute()):  # the folder itself rather than a link to it
                first[real] = scene
        return list(first.values())

    def watched(self, scene: Scene) -> Sequence[Path]:
        return [self.root / scene.name]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return Frame(open_image(self.file(scene, frame), None if geometry else at_least))

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame


def _images(files: Iterable[str]) -> list[str]:
    """Those of some file names that are images and no depth maps, in natural order."""
    images = [name for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES and name[0] != "."]
    coloured = {name.lower().rsplit(".color.", 1)[0] for name in images if ".color." in name.lower()}
    if coloured:
        images = [name for name in images if not ((depth := _DEPTH.fullmatch(name.lower())) and depth[1] in coloured)]
    return naturally(images)


def _raise(error: OSError) -> None:
    raise error
