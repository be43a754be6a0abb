"""BlendedMVS and BlendedMVG (Yao et al., CVPR 2020): renderings of scanned places blended with photographs of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.beside import depth_beside, fitted_depth
from muskie.data.sources.cameras import poses
from muskie.data.sources.files import image_size, rigid
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures, stated
from muskie.data.sources.mvsnet import read_mvsnet_camera, read_pfm

SPLITS = ("train", "valid", "all")
VALID = frozenset(
    (
        "5b7a3890fc8fcf6781e2593a",
        "5c189f2326173c3a09ed7ef3",
        "5b950c71608de421b1e7318f",
        "5a6400933d809f1d8200af15",
        "59d2657f82ca7774b1ec081d",
        "5ba19a8a360c7c30c1c169df",
        "59817e4a1bd4b175e7038d19",
    )
)
"""The scenes of its `validation_list.txt`."""

OFFICIAL = "blended_images"


class BlendedMVS(ListedSource):
    """Scenes of BlendedMVS, or of BlendedMVG, which holds it.

    Any of these layouts a scene:

    - as downloaded, MVSNet's: `<root>/<scene>/{blended_images/00000000.jpg, cams/00000000_cam.txt,
      rendered_depth_maps/00000000.pfm}`; `00000000_masked.jpg`, the same without its background, is left out;
    - prepared: `<root>/<scene>/00000000.{jpg, npz, exr}`, the `.npz` with `intrinsics`, `R_cam2world` and `t_cam2world`.
      Reading the depth maps needs the package OpenEXR;
    - pictures alone, `<root>/<scene>/00000000.png` or `.jpg`: no depth, no camera.

    Depth is z, 0 = unknown, in the unit of the scene's poses, which differs from scene to scene and is no metre. Cameras
    are OpenCV's: world-to-camera in `cams`, camera-to-world in `.npz`. Intrinsics are for the pictures as they lie there,
    and taken to be of their borders: MVSNet scales them so. Some pictures, and some depth maps, are empty.

    Args:
        root: the folder of the scenes.
        split: `"train"`, all scenes but seven; `"valid"`, those seven, by the data set's own list; or `"all"`; must be
            given.
        scenes: which scenes, in natural order however they are listed; None: all.
        min_images: scenes of fewer pictures are left out, >= 1.

    Raises:
        ConfigError: no split or an unknown one, or `min_images` is out of range; on reading depth, OpenEXR is needed and
            not installed.
        DataError: `root` or a scene is missing, or no scene is found or left.
    """

    name = "blendedmvs"
    window = 32

    def __init__(
        self, root: str | Path, split: str | None = None, scenes: list[str] | None = None, min_images: int = 1
    ) -> None:
        self._split = stated(split, SPLITS)
        self._scenes = scenes
        self.root = existing_folder(root, "BlendedMVS scenes (<scene>/blended_images/00000000.jpg)").resolve()
        self._list(min_images, split=split, scenes=scenes)

    def parts(self) -> Sequence[str]:
        if (self.root / OFFICIAL).is_dir():  # this is a scene, whose folders are none
            return []
        found = [entry.name for entry in os.scandir(self.root) if entry.name[0] != "." and entry.is_dir()]
        of_split = [name for name in found if self._split == "all" or (name in VALID) == (self._split == "valid")]
        return chosen(of_split, self._scenes, self.root, f"scenes of data.split={self._split!r}")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder = self.root / part
        below = f"{OFFICIAL}/" if (folder / OFFICIAL).is_dir() else ""
        names = [name for name in pictures(folder / below) if not Path(name).stem.endswith("_masked")]
        return [Scene(part, [f"{below}{name}" for name in names])]

    def _nothing(self) -> str:
        if (self.root / OFFICIAL).is_dir() or pictures(self.root):
            return f"this is a scene: give the folder above, {str(self.root.parent)!r}"
        missing = "no <scene>/blended_images/*.jpg nor <scene>/*.jpg found there"
        deeper = [*self.root.glob(f"*/*/{OFFICIAL}"), *self.root.glob(f"*/*/*/{OFFICIAL}")]
        if deeper:
            return f"{missing}, but {str(min(deeper))!r}; the folders of scenes must lie in data.root"
        if self._split == "valid":
            return f"data.split='valid' has none of the scenes found there; they are {', '.join(sorted(VALID))}"
        if any(self.root.glob("*.zip*")):
            return f"{missing}; unpack the .zip files there"
        return f"{missing}; for folders of plain images use data=folder"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        return Frame(open_image(path, at_least), self._depth(path, size), self.camera(scene, frame), size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        path = self.file(scene, frame)
        if path.parent.name == OFFICIAL:
            file = path.parent.parent / "cams" / f"{path.stem}_cam.txt"
            if not file.is_file():
                return None
            cam2world, intrinsics = read_mvsnet_camera(file)
            return Camera(intrinsics, cam2world)
        file = path.with_suffix(".npz")
        return _read_prepared(file) if file.is_file() else None

    def _depth(self, picture: Path, size: tuple[int, int]) -> np.ndarray | None:
        """At `size` = (width, height), in the unit of the scene."""
        if picture.parent.name != OFFICIAL:
            return depth_beside(picture, size)
        file = picture.parent.parent / "rendered_depth_maps" / f"{picture.stem}.pfm"
        return fitted_depth(read_pfm(file), size, file) if file.is_file() else None


def _read_prepared(file: Path) -> Camera:
    try:
        with np.load(file, allow_pickle=False) as archive:
            intrinsics, rotation, translation = (archive[k] for k in ("intrinsics", "R_cam2world", "t_cam2world"))
            intrinsics = intrinsics.astype(np.float64).reshape(3, 3)
            matrix = poses(rotation.astype(np.float64).reshape(3, 3), translation.astype(np.float64).reshape(3))
    except Exception as error:  # what damaged bytes raise differs from place to place
        raise OSError(f"{file}: expected intrinsics, R_cam2world and t_cam2world ({error})") from error
    finite = np.isfinite(matrix).all() and np.isfinite(intrinsics).all()
    exact = rigid(matrix) if finite and intrinsics.diagonal().min() > 0 else None
    if exact is None:
        raise OSError(f"{file}: expected finite intrinsics with focal lengths above 0, and a rigid camera-to-world pose")
    return Camera(intrinsics, exact)
