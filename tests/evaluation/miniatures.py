"""Data sets in miniature, each in its layout: the frames of one rendered walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import test_co3d
import test_dtu
import test_eth3d
import test_nrgbd
import test_realestate10k
import test_scannet
import test_tum
from PIL import Image
from walk import shoot

from muskie.data.sources.sevenscenes import COLOUR_TO_DEPTH

FRAMES = 12
NUMBERS = tuple(range(FRAMES))


def write_sevenscenes(
    root: Path,
    sequences: Sequence[str] = ("chess/seq-03",),
    numbers: Sequence[int] = NUMBERS,
    size: tuple[int, int] = (24, 32),
) -> None:
    """Sequences whose depth is registered to the colour camera already; its intrinsics are the nominal ones."""
    for sequence in sequences:
        folder = root / sequence
        folder.mkdir(parents=True)
        for index, number in enumerate(numbers):
            shot = shoot(number, *size, plain=True)
            stem = f"{folder}/frame-{index:06d}"
            Image.fromarray(shot.rgb).save(f"{stem}.color.png")
            Image.fromarray(np.round(shot.depth * 1000).astype(np.uint16)).save(f"{stem}.depth.proj.png")
            np.savetxt(f"{stem}.pose.txt", shot.cam2world @ np.linalg.inv(COLOUR_TO_DEPTH), fmt="%.12f")


def write_scannet(root: Path) -> None:
    for scene in ("scene0707_00", "scene0708_00"):
        test_scannet.write_scene(root / scene, NUMBERS, own=True)


def write_realestate10k(root: Path) -> None:
    for clip in ("a1", "b2"):
        test_realestate10k.write_clip(root, clip, numbers=NUMBERS, video=clip)


def write_co3d(root: Path) -> None:
    for sequence in ("apple/1_1_1", "apple/2_2_2", "ball/3_3_3"):
        test_co3d.write_annotated(root, sequence, numbers=NUMBERS)


def write_dtu(root: Path) -> None:
    for scan in ("scan1", "scan4"):
        test_dtu.write_prepared(root, scan, NUMBERS)


WRITERS: dict[str, Callable[[Path], None]] = {
    "sevenscenes": write_sevenscenes,
    "nrgbd": lambda root: test_nrgbd.write_scene(root / "kitchen", NUMBERS),
    "dtu": write_dtu,
    "eth3d": lambda root: test_eth3d.write_scene(root / "office", NUMBERS),
    "co3d": write_co3d,
    "realestate10k": write_realestate10k,
    "scannet": write_scannet,
    "tum": lambda root: test_tum.write_sequence(root / "rgbd_dataset_freiburg3_walking_xyz", NUMBERS),
}
"""What writes each, by the name of its `data=`."""
