"""Data sets in miniature, each in its layout: the frames of one rendered walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from layouts import co3d, dtu, eth3d, nrgbd, realestate10k, scannet, tum
from PIL import Image
from walk import Shot, shoot

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


def shots(height: int = 48, width: int = 64, plain: bool = False) -> list[Shot]:
    return [shoot(number, height, width, plain) for number in NUMBERS]


def write_scannet(root: Path) -> None:
    for scene in ("scene0707_00", "scene0708_00"):
        scannet.write_scene(root / scene, shots())


def write_realestate10k(root: Path) -> None:
    for clip in ("a1", "b2"):
        realestate10k.write_clip(root, clip, shots(), video=clip)


def write_co3d(root: Path) -> None:
    for sequence in ("apple/1_1_1", "apple/2_2_2", "ball/3_3_3"):
        co3d.write_annotated(root, shots(), sequence)


def write_dtu(root: Path) -> None:
    for scan in ("scan1", "scan4"):
        dtu.write_prepared(root, shots(*dtu.SIZE), scan)


WRITERS: dict[str, Callable[[Path], None]] = {
    "sevenscenes": write_sevenscenes,
    "nrgbd": lambda root: nrgbd.write_scene(root / "kitchen", shots(plain=True)),
    "dtu": write_dtu,
    "eth3d": lambda root: eth3d.write_scene(root / "office", shots(plain=True)),
    "co3d": write_co3d,
    "realestate10k": write_realestate10k,
    "scannet": write_scannet,
    "tum": lambda root: tum.write_sequence(root / "rgbd_dataset_freiburg3_walking_xyz", shots()),
}
"""What writes each, by the name of its `data=`."""
