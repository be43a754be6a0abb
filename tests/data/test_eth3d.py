"""ETH3D: the layout on disk, COLMAP's text files, depth seen through a lens, and rendered frames written in all of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts import eth3d
from layouts.eth3d import SIZE, looked_up, picture
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.eth3d import ETH3D
from muskie.data.sources.thin_prism import distort, undistort_depth
from muskie.errors import DataError

NUMBERS = (0, 4)
REAL = (3411.4, 3410.0, 3116.7, 2062.7, 0.2205, -0.2, 0.0003, -0.0006, 0.28, -0.1, 0.0002, -0.0001)
"""A lens like that of the DSLR, of 6048x4032."""


def write_scene(folder: Path, depth: bool = True) -> None:
    """Photograph i is the i-th of `NUMBERS`."""
    eth3d.write_scene(folder, [shoot(number, *SIZE, plain=True) for number in NUMBERS], depth)


def test_cameras_are_those_of_the_rendered_room(tmp_path: Path) -> None:
    write_scene(tmp_path / "office", depth=False)
    source = ETH3D(tmp_path)
    assert [frame.depth for frame in frames(source)] == [None, None]
    for frame, number in zip(frames(source), NUMBERS, strict=True):
        shot = shoot(number, *SIZE, plain=True)
        assert frame.camera is not None
        np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics)
        np.testing.assert_allclose(frame.camera.cam2world, shot.cam2world, atol=1e-9)


def plausible(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether each value lies between those that the truth has within a pixel, as the nearest value of another grid does;
    without the outermost pixels, around which not all of the truth is known."""
    around, inner = np.lib.stride_tricks.sliding_window_view(truth, (3, 3)), depth[1:-1, 1:-1]
    return (inner >= around.min((2, 3)) * 0.999) & (inner <= around.max((2, 3)) * 1.001)


def test_depth_of_the_distorted_photographs_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    write_scene(tmp_path / "office")
    source = ETH3D(tmp_path)
    check(source, [shoot(number, *SIZE, plain=True) for number in NUMBERS], depth=eth3d.DEPTH, atol=1e-9)
    for frame, number in zip(frames(source), NUMBERS, strict=True):
        assert frame.depth is not None
        truth = shoot(number, *SIZE, plain=True).depth
        assert (frame.depth > 0).mean() > 0.95
        assert plausible(frame.depth, truth)[frame.depth[1:-1, 1:-1] > 0].mean() > 0.97
        # The same maps, read as if nothing distorted them.
        assert plausible(looked_up(shoot(number, *SIZE, plain=True))[6:54, 8:72], truth).mean() < 0.8


def test_a_lens_is_colmaps() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    camera = pycolmap.Camera(model="THIN_PRISM_FISHEYE", width=6048, height=4032, params=REAL)
    rays = np.random.default_rng(0).uniform(-0.7, 0.7, (200, 2))
    rays[0] = 0
    expected = np.array([camera.img_from_cam(np.array([*ray, 1.0])) for ray in rays]).reshape(-1, 2)
    np.testing.assert_allclose(np.stack(distort(rays[:, 0], rays[:, 1], REAL), axis=-1), expected, atol=1e-6)


def test_a_lens_without_distortion_is_an_equidistant_fisheye() -> None:
    x, y = np.tan(0.6) * np.array([0.6]), np.tan(0.6) * np.array([-0.8])
    found = np.concatenate(distort(x, y, (100.0, 200.0, 3.0, 4.0, *[0.0] * 8)))
    np.testing.assert_allclose(found, np.array([3 + 100 * 0.36, 4 - 200 * 0.48]))


def test_depth_is_only_moved() -> None:
    """More rows than are looked up at once; a value for each pixel says where it has come from."""
    depth = np.arange(1, 1 + 400 * 300, dtype=np.float32).reshape(400, 300)
    intrinsics = np.array([[1e5, 0, 100], [0, 1e5, 200], [0, 0, 1]])
    lens = (1e5, 1e5, 150.0, 210.0, *[0.0] * 8)
    found = undistort_depth(depth, lens, intrinsics, (200, 390))
    np.testing.assert_array_equal(found, depth[10:400, 50:250])
    depth[20, 60:64] = np.inf, np.nan, -1, 0
    assert undistort_depth(depth, lens, intrinsics, (200, 390))[10, 9:15].tolist() == [
        depth[20, 59],
        0,
        0,
        0,
        0,
        depth[20, 64],
    ]
    outside = undistort_depth(depth, lens, intrinsics, (300, 400))
    assert not outside[390:].any() and not outside[:, 250:].any() and outside[389, 249] == depth[399, 299]


def test_photographs_may_be_smaller_than_their_calibration(tmp_path: Path) -> None:
    write_scene(tmp_path / "office", depth=False)
    source = ETH3D(tmp_path)
    file = source.file(source.scene(0), picture(0))
    Image.new("RGB", (32, 24)).save(file)
    camera = source.camera(source.scene(0), picture(0))
    assert camera is not None
    np.testing.assert_allclose(camera.intrinsics, shoot(0, 24, 32, plain=True).intrinsics)
    Image.new("RGB", (24, 32)).save(file)
    with pytest.raises(OSError, match=r"24x32 pixels; its camera is for a picture of 64x48, another aspect ratio"):
        source.camera(source.scene(0), picture(0))


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    write_scene(tmp_path / "office")
    (tmp_path / "office" / "ground_truth_depth" / "dslr_images" / picture(0)).unlink()
    Image.new("RGB", (64, 48)).save(tmp_path / "office" / "images" / "dslr_images_undistorted" / "DSC_9999.JPG")
    first, second, third = frames(ETH3D(tmp_path))
    assert first.camera is not None and first.depth is None
    assert second.camera is not None and second.depth is not None
    assert third.camera is None and third.depth is None


def test_scenes_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("relief_2", "relief", "pipes"):
        write_scene(tmp_path / name, depth=False)
    (tmp_path / "multi_view_training_dslr_undistorted.7z").write_bytes(b"")
    assert names(ETH3D(tmp_path)) == ["pipes", "relief", "relief_2"]
    assert names(ETH3D(tmp_path, scenes=["relief_2"])) == ["relief_2"]
    (tmp_path / "relief" / "images" / "dslr_images_undistorted" / picture(0)).unlink()
    assert names(ETH3D(tmp_path, min_images=2)) == ["pipes", "relief_2"]


IMAGE = "1 1 0 0 0 0 0 0 3 dslr_images_undistorted/DSC_0000.JPG"
BROKEN = {
    "a word": ("cameras.txt", "3 PINHOLE wide 48 1 1 1 1", "line 1: .*expected 'CAMERA_ID MODEL WIDTH HEIGHT"),
    "three parameters": ("cameras.txt", "# list\n3 PINHOLE 64 48 1 1 1", "line 2: PINHOLE with 3 parameters; expected"),
    "distorted": (
        "cameras.txt",
        f"3 THIN_PRISM_FISHEYE 64 48 {' '.join('1' * 12)}",
        "camera 3 is THIN_PRISM_FISHEYE; expected PINHOLE",
    ),
    "another model": ("cameras.txt", "3 OPENCV 64 48 1 1 1 1 0 0 0 0", "camera 3 is OPENCV; expected PINHOLE"),
    "no camera": ("images.txt", IMAGE.replace(" 3 ", " 4 "), "dslr_images_undistorted/DSC_0000.JPG is of camera 4"),
    "a pose of words": ("images.txt", IMAGE.replace("1 1 0", "1 up 0"), "line 1: .*expected 'IMAGE_ID QW QX"),
    "cut off": ("images.txt", "# list\n1 1 0 0", "line 2: .*expected 'IMAGE_ID QW QX"),
    "no rotation": ("images.txt", IMAGE.replace("1 1 0", "1 0 0"), "line 1: no rotation; expected"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_calibrations_are_named(tmp_path: Path, fault: str) -> None:
    write_scene(tmp_path / "office", depth=False)
    file, text, message = BROKEN[fault]
    (tmp_path / "office" / "dslr_calibration_undistorted" / file).write_text(text)
    with pytest.raises(DataError, match=rf"dslr_calibration_undistorted/{re.escape(file)}.*: .*{message}|{file}, {message}"):
        ETH3D(tmp_path)


def test_broken_depth_is_named(tmp_path: Path) -> None:
    write_scene(tmp_path / "office")
    file = tmp_path / "office" / "ground_truth_depth" / "dslr_images" / picture(0)
    file.write_bytes(file.read_bytes()[:-4])
    source = ETH3D(tmp_path)
    with pytest.raises(OSError, match=r"dslr_images/DSC_0000\.JPG: 19196 bytes; expected 80x60 values of float32"):
        frames(source)
    assert source.camera(source.scene(0), picture(0)) is not None


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with ETH3D scenes"):
        ETH3D(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"undistorted/\*\.JPG found there; for folders of plain images use data=folder"):
        ETH3D(tmp_path)
    (tmp_path / "pipes" / "images" / "dslr_images").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"these are the distorted photographs: unpack multi_view_training_dslr_undistorted\.7z"
    ):
        ETH3D(tmp_path)
    write_scene(tmp_path / "office")
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{re.escape(str(tmp_path))}'"):
        ETH3D(tmp_path / "office")
    with pytest.raises(DataError, match=r"no 'offices' among the 1 scenes found there; did you mean 'office'\?"):
        ETH3D(tmp_path, scenes=["offices"])
    (tmp_path / "office" / "dslr_calibration_jpg").rename(tmp_path / "office" / "other")
    with pytest.raises(DataError, match=r"depth maps without dslr_calibration_jpg; .*unpack that folder of .*jpg\.7z too"):
        ETH3D(tmp_path)
    (tmp_path / "office" / "dslr_calibration_undistorted" / "images.txt").unlink()
    with pytest.raises(DataError, match=r"images\.txt: cannot be read .*; expected a text file of COLMAP"):
        ETH3D(tmp_path)
