"""ETH3D: undistorted photographs with COLMAP's text files, and depth as the distorted photographs have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from walk import Shot, _walk
from written import quaternion

from muskie.data.rooms import render
from muskie.data.sources.eth3d import ETH3D

SOURCE = ETH3D
SIZE = (48, 64)
DEPTH = np.inf
"""At an edge the nearest value of another grid may be of another surface."""
POSES, MASKS, PLAIN = True, False, True

LARGE = (60, 80)
LENS = (0.9 * 64, 0.9 * 64, 40.3, 29.6, *[0.0] * 8)
"""An equidistant fisheye for pictures of 80x60 that see all that those of 64x48 do: its rays have a closed form."""


def picture(number: int) -> str:
    return f"DSC_{number:04d}.JPG"


def looked_up(shot: Shot) -> np.ndarray:
    """Depth that the fisheye measures, from a much larger picture of the pinhole camera at the same place."""
    height, width = 12 * SIZE[0], 12 * SIZE[1]
    matrix = np.diag([12.0, 12.0, 1.0]) @ shot.intrinsics
    fine = render(_walk()[0], shot.cam2world, matrix, (height, width))[1]
    row, column = np.mgrid[: LARGE[0], : LARGE[1]]
    bent = np.stack([(column + 0.5 - LENS[2]) / LENS[0], (row + 0.5 - LENS[3]) / LENS[1]], axis=-1)
    angle = np.linalg.norm(bent, axis=-1, keepdims=True)
    rays = bent * np.tan(angle) / angle
    x, y = np.moveaxis(np.floor(rays * matrix[0, 0] + matrix[:2, 2]), -1, 0).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return np.where(inside, fine[np.where(inside, y, 0), np.where(inside, x, 0)], np.inf).astype("<f4")


def calibrate(folder: Path, camera: str, pictures: str, shots: Sequence[Shot]) -> None:
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"# Camera list\n# CAMERA_ID, MODEL, ...\n{camera}\n")
    lines = ["# Image list with two lines of data per image", "# Number of images"]
    for index, shot in enumerate(shots):
        world2cam = np.linalg.inv(shot.cam2world)
        values = " ".join(f"{v:.12f}" for v in (*quaternion(world2cam[:3, :3]), *world2cam[:3, 3]))
        # Points follow each line, and may be none.
        lines += [f"{index + 7} {values} 3 {pictures}/{picture(index)}", "12.5 8.5 -1 3.5 4.5 17" if index % 2 else ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")


def write_scene(folder: Path, shots: Sequence[Shot], depth: bool = True) -> None:
    """Undistorted photographs, and depth of distorted ones."""
    (folder / "images" / "dslr_images_undistorted").mkdir(parents=True)
    for index, shot in enumerate(shots):
        Image.fromarray(shot.rgb).save(folder / "images" / "dslr_images_undistorted" / picture(index), quality=95)
    camera = f"3 PINHOLE {SIZE[1]} {SIZE[0]} {0.9 * SIZE[1]} {0.9 * SIZE[1]} {SIZE[1] / 2} {SIZE[0] / 2}"
    calibrate(folder / "dslr_calibration_undistorted", camera, "dslr_images_undistorted", shots)
    if depth:
        (folder / "ground_truth_depth" / "dslr_images").mkdir(parents=True)
        for index, shot in enumerate(shots):
            looked_up(shot).tofile(folder / "ground_truth_depth" / "dslr_images" / picture(index))
        lens = f"3 THIN_PRISM_FISHEYE {LARGE[1]} {LARGE[0]} {' '.join(map(str, LENS))}"
        calibrate(folder / "dslr_calibration_jpg", lens, "dslr_images", shots)


def write(root: Path, shots: Sequence[Shot]) -> dict[str, Any]:
    write_scene(root / "office", shots)
    return {"root": root}
