"""What processed data sets keep beside each picture, under its name: its camera as `.npz`, its depth as `.exr`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from muskie.data.scene import Camera
from muskie.data.sources.exr import read_exr
from muskie.data.sources.files import rigid


def camera_beside(picture: Path) -> Camera | None:
    """The camera of a picture: `intrinsics` [3, 3], in its pixels, and `cam2world` [4, 4] of the `.npz` file; None without
    that file.

    Raises:
        OSError: the file holds anything else; the message names it. Pickled arrays are refused.
    """
    file = picture.with_suffix(".npz")
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            intrinsics, cam2world = (np.asarray(arrays[name], dtype=np.float64) for name in ("intrinsics", "cam2world"))
    except Exception as error:  # what damaged bytes raise differs from part to part
        raise OSError(f"{file}: expected arrays 'intrinsics' and 'cam2world' ({error})") from error
    if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all() or min(intrinsics[0, 0], intrinsics[1, 1]) <= 0:
        raise OSError(f"{file}: expected finite intrinsics [3, 3] with focal lengths above 0")
    if cam2world.shape != (4, 4) or not np.isfinite(cam2world).all() or not np.allclose(cam2world[3], [0, 0, 0, 1]):
        raise OSError(f"{file}: expected a finite 4x4 camera-to-world matrix whose last row is 0 0 0 1")
    exact = rigid(cam2world)
    if exact is None:
        raise OSError(f"{file}: the upper left 3x3 matrix of cam2world is no rotation")
    return Camera(intrinsics, exact)


def depth_beside(picture: Path, size: tuple[int, int]) -> np.ndarray | None:
    """The depth map of a picture, float32 [H, W] at its `size` = (width, height), 0 where it is not finite or not above 0;
    None without the `.exr` file.

    Raises:
        ConfigError: OpenEXR is not installed.
        OSError: the file is broken, or of another aspect ratio; the message names it.
    """
    file = picture.with_suffix(".exr")
    return fitted_depth(read_exr(file), size, file) if file.is_file() else None


def fitted_depth(values: np.ndarray, size: tuple[int, int], file: Path) -> np.ndarray:
    """Depth [h, w] as a file holds it, float32 [H, W] at `size` = (width, height), by nearest neighbour, 0 where it is not
    finite or not above 0.

    Raises:
        OSError: it is no map, or the aspect ratios differ by more than a pixel that shrinking may have cut off.
    """
    if values.ndim != 2 or not values.size:
        raise OSError(f"{file}: values of shape {list(values.shape)}; expected depth [H, W]")
    height, width = values.shape
    if abs(size[0] * height - size[1] * width) > max(width, height):
        raise OSError(f"{file}: {width}x{height} values; its picture is of {size[0]}x{size[1]}, another aspect ratio")
    depth = np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)
    if (width, height) == size:
        return depth
    return np.asarray(Image.fromarray(depth).resize(size, Image.Resampling.NEAREST)).copy()
