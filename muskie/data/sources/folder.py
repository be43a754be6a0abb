"""Any images: a folder whose sub-folders each hold the images of one scene."""

from __future__ import annotations

import os
import re
from pathlib import Path

from muskie.data.images import IMAGE_SUFFIXES, open_image
from muskie.data.scene import Frame, Scene, SceneSource
from muskie.errors import ConfigError, DataError
from muskie.paths import typed_path

_DEPTH = re.compile(r"(.*)\.depth(\.proj)?\.png")
"""Depth maps, as 7-Scenes and its like keep them beside the `.color.` image of the same name."""


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sorts `img2` before `img10`; `img01` and `img1` by their letters, never by chance."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part], name


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


class ImageFolders(SceneSource):
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
        if min_images < 1:
            raise ConfigError(f"data.min_images={min_images}: expected 1 or more")
        self.min_images = min_images
        expected = "one sub-folder of images a scene"
        self.root = existing_folder(root, expected)
        self.name = name
        self._scenes: list[Scene] = []
        seen: set[Path] = set()
        for folder, folders, files in os.walk(self.root, followlinks=True):
            real = Path(folder).resolve()
            if real in seen:  # linked twice, or into itself
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted((f for f in folders if not f.startswith(".")), key=natural_key)
            images = [f for f in files if Path(f).suffix.lower() in IMAGE_SUFFIXES and not f.startswith(".")]
            coloured = {f.lower().rsplit(".color.", 1)[0] for f in images if ".color." in f.lower()}
            images = [f for f in images if not ((depth := _DEPTH.fullmatch(f.lower())) and depth[1] in coloured)]
            if images:
                scene = Path(folder).relative_to(self.root).as_posix()
                self._scenes.append(Scene(scene, sorted(images, key=natural_key)))
        if not self._scenes:
            suffixes = " ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(f"data.root={str(root)!r} holds no image ({suffixes}); give a folder with {expected}")
        enough = [scene for scene in self._scenes if len(scene.frames) >= min_images]
        if not enough:
            most = max(len(scene.frames) for scene in self._scenes)
            raise DataError(
                f"data.root={str(root)!r}: no scene of data.min_images={min_images} images or more; the largest has {most}"
            )
        self.left_out = len(self._scenes) - len(enough)
        self._scenes = enough

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return Frame(open_image(self.file(scene, frame), None if geometry else at_least))

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame
