"""ETH3D (Schoeps et al., CVPR 2017): photographs of rooms and places, with cameras and depth from laser scans."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.listing.listed import ListedSource
from muskie.data.scene import Camera, Frame, Scene
from muskie.data.sources.cameras import resized
from muskie.data.sources.colmap_text import ColmapCamera, ColmapImage, read_cameras, read_images
from muskie.data.sources.files import image_size
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.thin_prism import undistort_depth
from muskie.errors import DataError

PICTURES, CALIBRATION = "dslr_images_undistorted", "dslr_calibration_undistorted"
DISTORTED_PICTURES, DISTORTED_CALIBRATION = "dslr_images", "dslr_calibration_jpg"
TEXTS = ("cameras.txt", "images.txt")


class ETH3D(ListedSource):
    """Multi-view scenes of ETH3D, by the undistorted photographs of the DSLR.

    Layout, as the archives unpack into one folder: `<root>/<scene>/` with

    - `images/dslr_images_undistorted/DSC_0001.JPG` and `dslr_calibration_undistorted/{cameras.txt, images.txt}`, in
      COLMAP's text format (`multi_view_training_dslr_undistorted`);
    - where there is depth, `ground_truth_depth/dslr_images/DSC_0001.JPG` (`<scene>_dslr_depth`): no pictures, but raw
      float32, row by row, in metres, infinite = unknown. They are those of the distorted photographs, so
      `dslr_calibration_jpg/{cameras.txt, images.txt}` (`multi_view_training_dslr_jpg`) must be there too, and depth is
      looked up through the lens while it is read (`undistort_depth`).

    Poses are in metres, of the laser scans. Depth is taken to be z. Photographs that `images.txt` does not name have no
    camera, and no depth. A photograph has 25 million pixels: depth takes seconds to look up.

    Args:
        root: the folder of the scenes.
        scenes: which scenes, in natural order however they are listed; None: all.
        min_images: scenes of fewer photographs are left out, >= 1.

    Raises:
        ConfigError: `min_images` is out of range.
        DataError: `root` or a scene is missing, no scene is found, a calibration is missing, broken or of distorted
            pictures, or there is depth without the calibration of the distorted photographs.
    """

    name = "eth3d"

    def __init__(self, root: str | Path, scenes: list[str] | None = None, min_images: int = 1) -> None:
        self.root = existing_folder(root, f"ETH3D scenes (<scene>/images/{PICTURES})").resolve()
        self.scenes = scenes
        self._list(min_images, scenes=scenes)

    def parts(self) -> Sequence[str]:
        _undistorted.cache_clear()  # who looks anew reads anew
        _distorted.cache_clear()
        found = [path.name for path in self.root.iterdir() if (path / "images" / PICTURES).is_dir()]
        return chosen(found, self.scenes, self.root, "scenes")

    def scenes_in(self, part: str) -> Sequence[Scene]:
        folder = self.root / part
        frames = pictures(folder / "images" / PICTURES)
        if frames:
            _undistorted(folder)
            if (folder / "ground_truth_depth").is_dir():
                _distorted(folder)
        return [Scene(part, frames)]

    def watched(self, scene: Scene) -> Sequence[Path]:
        folder = self.root / scene.name
        calibrations = (folder / name / file for name in (CALIBRATION, DISTORTED_CALIBRATION) for file in TEXTS)
        return [folder / "images" / PICTURES, *calibrations]

    def _nothing(self) -> str:
        return f"no <scene>/images/{PICTURES}/*.JPG found there{_way_out(self.root)}"

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        size = image_size(path)
        camera = self._camera(scene, frame, size)
        depth = None if camera is None else self._depth(scene, frame, size, camera)
        return Frame(open_image(path, at_least), depth, camera, size)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / PICTURES / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        found = _undistorted(self.root / scene.name).find(f"{PICTURES}/{frame}")
        if found is None:
            return None
        camera, image = found
        intrinsics = camera.intrinsics()
        assert intrinsics is not None  # `_undistorted` has looked at all of them
        return Camera(resized(intrinsics, camera.size, size, self.file(scene, frame)), image.cam2world.copy())

    def _depth(self, scene: Scene, frame: str, size: tuple[int, int], camera: Camera) -> np.ndarray | None:
        """In metres, at `size` = (width, height), for a camera of that size."""
        file = self.root / scene.name / "ground_truth_depth" / DISTORTED_PICTURES / frame
        if not file.is_file():
            return None
        found = _distorted(self.root / scene.name).find(f"{DISTORTED_PICTURES}/{frame}")
        if found is None or found[0].model != "THIN_PRISM_FISHEYE":
            raise OSError(f"{file}: {DISTORTED_CALIBRATION} has no THIN_PRISM_FISHEYE camera for it")
        width, height = found[0].size
        if file.stat().st_size != 4 * width * height:
            raise OSError(f"{file}: {file.stat().st_size} bytes; expected {width}x{height} values of float32")
        depth = np.memmap(file, dtype="<f4", mode="r", shape=(height, width))
        return undistort_depth(depth, found[0].parameters, camera.intrinsics, size)


class _Calibration:
    """The cameras and images of a folder of COLMAP's text files."""

    def __init__(self, folder: Path) -> None:
        self.cameras, self.images = read_cameras(folder / "cameras.txt"), read_images(folder / "images.txt")
        for name, image in self.images.items():
            if image.camera not in self.cameras:
                raise DataError(
                    f"{folder / 'images.txt'}: {name} is of camera {image.camera}, which cameras.txt does not have"
                )

    def find(self, name: str) -> tuple[ColmapCamera, ColmapImage] | None:
        """By the path of a picture."""
        image = self.images.get(name)
        return None if image is None else (self.cameras[image.camera], image)


@lru_cache(maxsize=64)
def _undistorted(scene: Path) -> _Calibration:
    """Of the undistorted photographs, all of whose cameras are pinholes."""
    calibration = _Calibration(scene / CALIBRATION)
    for number, camera in calibration.cameras.items():
        if camera.intrinsics() is None:
            raise DataError(
                f"{scene / CALIBRATION / 'cameras.txt'}: camera {number} is {camera.model}; expected PINHOLE, as in "
                f"multi_view_training_dslr_undistorted.7z"
            )
    return calibration


@lru_cache(maxsize=64)
def _distorted(scene: Path) -> _Calibration:
    """Of the distorted photographs."""
    if not (scene / DISTORTED_CALIBRATION).is_dir():
        raise DataError(
            f"{scene}: depth maps without {DISTORTED_CALIBRATION}; they belong to the distorted photographs, so unpack that "
            f"folder of multi_view_training_dslr_jpg.7z too, or remove ground_truth_depth"
        )
    return _Calibration(scene / DISTORTED_CALIBRATION)


def _way_out(root: Path) -> str:
    if pictures(root / "images" / PICTURES):
        return f"; this is a scene: give the folder above, {str(root.parent)!r}"
    if any(root.glob(f"*/images/{DISTORTED_PICTURES}")):
        return "; these are the distorted photographs: unpack multi_view_training_dslr_undistorted.7z beside them"
    return "; for folders of plain images use data=folder"
