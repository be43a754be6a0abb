"""ETH3D (Schoeps et al., CVPR 2017): photographs of rooms and places, with cameras and depth from laser scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from muskie.data.images import open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.cameras import resized
from muskie.data.sources.colmap_text import ColmapCamera, ColmapImage, read_cameras, read_images
from muskie.data.sources.files import image_size
from muskie.data.sources.folder import existing_folder
from muskie.data.sources.listing import chosen, pictures
from muskie.data.sources.thin_prism import undistort_depth
from muskie.errors import DataError

PICTURES, CALIBRATION = "dslr_images_undistorted", "dslr_calibration_undistorted"
DISTORTED_PICTURES, DISTORTED_CALIBRATION = "dslr_images", "dslr_calibration_jpg"


class ETH3D(SceneSource):
    """Multi-view scenes of ETH3D, by the undistorted photographs of the DSLR.

    Layout, as the archives unpack into one folder: `<root>/<scene>/` with

    - `images/dslr_images_undistorted/DSC_0001.JPG` and `dslr_calibration_undistorted/{cameras.txt, images.txt}`, in
      COLMAP's text format (`multi_view_training_dslr_undistorted`);
    - where there is depth, `ground_truth_depth/dslr_images/DSC_0001.JPG` (`<scene>_dslr_depth`): no pictures, but raw
      float32, row by row, in metres, infinite = unknown. They are those of the distorted photographs, so
      `dslr_calibration_jpg/{cameras.txt, images.txt}` (`multi_view_training_dslr_jpg`) must be there too, and depth is
      looked up through the lens while it is read (`undistort_depth`).

    Poses are in metres, of the laser scans. Depth is taken to be z. Photographs that `images.txt` does not name have no
    camera, and no depth. A photograph has 25 million pixels: reading one with depth takes seconds.

    Args:
        root: the folder of the scenes.
        scenes: which scenes, in natural order however they are listed; None: all.

    Raises:
        DataError: `root` or a scene is missing, no scene is found, a calibration is missing, broken or of distorted
            pictures, or there is depth without the calibration of the distorted photographs.
    """

    name = "eth3d"

    def __init__(self, root: str | Path, scenes: list[str] | None = None) -> None:
        self.root = existing_folder(root, f"ETH3D scenes (<scene>/images/{PICTURES})").resolve()
        found = {path.name: frames for path in self.root.iterdir() if (frames := pictures(path / "images" / PICTURES))}
        if not found:
            raise DataError(f"data.root={str(root)!r}: no <scene>/images/{PICTURES}/*.JPG found there{_way_out(self.root)}")
        self._scenes = [Scene(name, found[name]) for name in chosen(found, scenes, root, "scenes")]
        self._undistorted: dict[str, _Calibration] = {}
        self._distorted: dict[str, _Calibration] = {}
        for name in (scene.name for scene in self._scenes):
            self._undistorted[name] = _Calibration(self.root / name / CALIBRATION)
            for number, camera in self._undistorted[name].cameras.items():
                if camera.intrinsics() is None:
                    raise DataError(
                        f"{self.root / name / CALIBRATION / 'cameras.txt'}: camera {number} is {camera.model}; expected "
                        f"PINHOLE, as in multi_view_training_dslr_undistorted.7z"
                    )
            if (self.root / name / "ground_truth_depth").is_dir():
                if not (self.root / name / DISTORTED_CALIBRATION).is_dir():
                    raise DataError(
                        f"{self.root / name}: depth maps without {DISTORTED_CALIBRATION}; they belong to the distorted "
                        f"photographs, so unpack that folder of multi_view_training_dslr_jpg.7z too, or remove "
                        f"ground_truth_depth"
                    )
                self._distorted[name] = _Calibration(self.root / name / DISTORTED_CALIBRATION)

    def __len__(self) -> int:
        return len(self._scenes)

    def scene(self, index: int) -> Scene:
        return self._scenes[index]

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        path = self.file(scene, frame)
        if not geometry:
            return Frame(open_image(path, at_least))
        image = open_image(path)
        camera = self._camera(scene, frame, image.size)
        return Frame(image, None if camera is None else self._depth(scene, frame, image.size, camera), camera)

    def file(self, scene: Scene, frame: str) -> Path:
        return self.root / scene.name / "images" / PICTURES / frame

    def camera(self, scene: Scene, frame: str) -> Camera | None:
        return self._camera(scene, frame, image_size(self.file(scene, frame)))

    def _camera(self, scene: Scene, frame: str, size: tuple[int, int]) -> Camera | None:
        """The camera of a frame whose image has `size` = (width, height)."""
        found = self._undistorted[scene.name].find(f"{PICTURES}/{frame}")
        if found is None:
            return None
        camera, image = found
        intrinsics = camera.intrinsics()
        assert intrinsics is not None  # the constructor has looked at all of them
        return Camera(resized(intrinsics, camera.size, size, self.file(scene, frame)), image.cam2world.copy())

    def _depth(self, scene: Scene, frame: str, size: tuple[int, int], camera: Camera) -> np.ndarray | None:
        """In metres, at `size` = (width, height), for a camera of that size."""
        file = self.root / scene.name / "ground_truth_depth" / DISTORTED_PICTURES / frame
        if not file.is_file():
            return None
        found = self._distorted[scene.name].find(f"{DISTORTED_PICTURES}/{frame}")
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


def _way_out(root: Path) -> str:
    if pictures(root / "images" / PICTURES):
        return f"; this is a scene: give the folder above, {str(root.parent)!r}"
    if any(root.glob(f"*/images/{DISTORTED_PICTURES}")):
        return "; these are the distorted photographs: unpack multi_view_training_dslr_undistorted.7z beside them"
    return "; for folders of plain images use data=folder"
