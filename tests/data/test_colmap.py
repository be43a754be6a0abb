"""COLMAP reconstructions: binary and text, lenses, dense stereo, and the geometry of rendered frames written as such."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts import colmap
from layouts.colmap import SIZE, camera_line, image_line, write_map, write_model, write_scene
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.colmap import Colmap, read_map
from muskie.errors import DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 2, 4)]
EXACT = (SHOTS[0].intrinsics[0, 0], SHOTS[0].intrinsics[1, 1], *SHOTS[0].intrinsics[:2, 2])
HEIGHT, WIDTH = SIZE


def put_camera(scene: Path, model: str, parameters: tuple[float, ...]) -> None:
    """All three cameras."""
    lines = [camera_line(number, model, SIZE, parameters) for number in (1, 2, 3)]
    (scene / "sparse" / "0" / "cameras.txt").write_text("\n".join(lines))


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    source = Colmap(**colmap.write(tmp_path, SHOTS))
    check(source, SHOTS, depth=colmap.DEPTH)
    assert names(source) == ["walk"] and source.problems == []
    frame = source.read(source.scene(0), "IMG_1.png", at_least=24, geometry=True)
    assert frame.size == (WIDTH, HEIGHT) and frame.depth is not None and frame.depth.shape == SIZE


def test_a_scene_may_be_given_itself_and_undistorted_ones_lie_in_sparse(tmp_path: Path) -> None:
    write_scene(tmp_path / "dense", SHOTS)
    for file in sorted((tmp_path / "dense" / "sparse" / "0").iterdir()):
        file.rename(tmp_path / "dense" / "sparse" / file.name)
    (tmp_path / "dense" / "sparse" / "0").rmdir()
    source = Colmap(tmp_path / "dense")
    assert names(source) == ["."] and list(source.scene(0).frames) == ["IMG_0.png", "IMG_1.png", "IMG_2.png"]
    check(source, SHOTS, depth=0)


STRAIGHT = {
    "PINHOLE": (50.0, 51.0, 30.0, 25.0),
    "SIMPLE_PINHOLE": (50.0, 30.0, 25.0),
    "SIMPLE_RADIAL": (50.0, 30.0, 25.0, 0.0),
    "RADIAL": (50.0, 30.0, 25.0, 0.0, 0.0),
    "OPENCV": (50.0, 51.0, 30.0, 25.0, 0.0, 0.0, 0.0, 0.0),
    "FULL_OPENCV": (50.0, 51.0, 30.0, 25.0, *[0.0] * 8),
}


@pytest.mark.parametrize("model", STRAIGHT)
def test_models_without_distortion_are_pinhole_cameras(tmp_path: Path, model: str) -> None:
    write_scene(tmp_path, SHOTS)
    put_camera(tmp_path, model, STRAIGHT[model])
    camera = frames(Colmap(tmp_path))[1].camera
    focal_y = 51 if STRAIGHT[model][1] == 51 else 50
    assert camera is not None
    np.testing.assert_array_equal(camera.intrinsics, np.array([[50, 0, 30], [0, focal_y, 25], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("SIMPLE_RADIAL", (50.0, 30.0, 25.0, 0.1)),
        ("RADIAL", (50.0, 30.0, 25.0, 0.0, -0.1)),
        ("OPENCV", (50.0, 51.0, 30.0, 25.0, 0.0, 0.0, 0.0, 0.01)),
        ("OPENCV_FISHEYE", (50.0, 51.0, 30.0, 25.0, 0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_a_lens_that_distorts_is_no_camera_but_its_pictures_are_listed(
    tmp_path: Path, model: str, parameters: tuple[float, ...]
) -> None:
    write_scene(tmp_path, SHOTS)
    put_camera(tmp_path, model, parameters)
    source = Colmap(tmp_path)
    assert [(frame.camera, frame.depth) for frame in frames(source)] == [(None, None)] * 3
    assert len(source.problems) == 1 and f"through {model} have no camera; run `colmap image_und" in source.problems[0]
    assert source.camera(source.scene(0), "IMG_0.png") is None


@pytest.mark.parametrize("orientation", [6, 3, 8])
def test_pictures_that_lie_are_turned_with_their_cameras(tmp_path: Path, orientation: int) -> None:
    """Points of the stored picture, and what has become of them in the upright one, are the same points of the room."""
    write_scene(tmp_path, SHOTS)
    for file in (tmp_path / "images").iterdir():
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.open(file).save(file, exif=exif)
    source = Colmap(tmp_path)
    for frame, shot in zip(frames(source), SHOTS, strict=True):
        upright = np.asarray(frame.image)
        assert frame.depth is not None and frame.camera is not None and frame.size == frame.image.size
        assert np.isclose(np.linalg.det(frame.camera.cam2world), 1)
        for u, v in ((3, 5), (60, 7), (20, 40)):
            x, y = {6: (HEIGHT - 1 - v, u), 3: (WIDTH - 1 - u, HEIGHT - 1 - v), 8: (v, WIDTH - 1 - u)}[orientation]
            assert frame.depth[y, x] == shot.depth[v, u] and (upright[y, x] == shot.rgb[v, u]).all()
            there = shot.cam2world[:3, :3] @ np.linalg.solve(shot.intrinsics, [u + 0.5, v + 0.5, 1])
            here = frame.camera.cam2world[:3, :3] @ np.linalg.solve(frame.camera.intrinsics, [x + 0.5, y + 0.5, 1])
            np.testing.assert_allclose(here, there, atol=1e-9)
    exif[0x0112] = 5
    Image.open(tmp_path / "images" / "IMG_0.png").save(tmp_path / "images" / "IMG_0.png", exif=exif)
    with pytest.raises(OSError, match=r"IMG_0\.png: is mirrored by its EXIF orientation"):
        source.camera(source.scene(0), "IMG_0.png")


def test_smaller_pictures_of_the_same_names(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS)
    (tmp_path / "images_2").mkdir()
    for file in (tmp_path / "images").iterdir():
        Image.open(file).resize((WIDTH // 2, HEIGHT // 2)).save(tmp_path / "images_2" / file.name)
    frame = frames(Colmap(tmp_path, images="images_2"))[0]
    assert frame.camera is not None and frame.depth is not None and frame.depth.shape == (24, 32)
    np.testing.assert_allclose(frame.camera.intrinsics[:2] * 2, SHOTS[0].intrinsics[:2])
    Image.new("RGB", (32, 32)).save(tmp_path / "images_2" / "IMG_0.png")
    with pytest.raises(OSError, match=r"IMG_0\.png: 32x32 pixels; its camera is for a picture of 64x48, another aspect"):
        frames(Colmap(tmp_path, images="images_2"))


def test_reconstructions_of_the_same_pictures_are_scenes_of_one_room(tmp_path: Path) -> None:
    for name in ("house10", "house2"):
        write_scene(tmp_path / name, SHOTS)
    apart = SHOTS[0]._replace(cam2world=SHOTS[1].cam2world)
    write_model(tmp_path / "house2" / "sparse" / "1", [apart], ["IMG_2.png"], seen={1: [0]})
    source = Colmap(tmp_path)
    assert names(source) == ["house2#0", "house2#1", "house10"]
    assert [source.scene(number).room for number in range(3)] == ["house2", "house2", None]
    camera = source.camera(source.scene(1), "IMG_2.png")
    assert camera is not None
    np.testing.assert_allclose(camera.cam2world, SHOTS[1].cam2world, atol=1e-9)
    overlaps = source.overlaps(source.scene(1))
    assert overlaps is not None and overlaps.tolist() == [[1.0]]
    assert names(Colmap(tmp_path, min_images=2)) == ["house2#0", "house10"]


def test_depth_is_unknown_where_it_is_no_length_and_broken_maps_are_named(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS)
    maps = tmp_path / "stereo" / "depth_maps"
    values = np.full((24, 32), 2.5, dtype=np.float32)  # at half the size, as --max_image_size makes it
    values[0, :4] = 0, -1, np.nan, np.inf
    values[5, 7] = 9
    write_map(maps / "IMG_0.png.geometric.bin", values)
    np.testing.assert_array_equal(read_map(maps / "IMG_0.png.geometric.bin"), values)
    source = Colmap(tmp_path)
    depth = frames(source)[0].depth
    assert depth is not None and (depth[:2, :8] == 0).all() and depth[0, 8] == 2.5
    assert np.argwhere(depth == 9).tolist() == [[10, 14], [10, 15], [11, 14], [11, 15]]
    whole = (maps / "IMG_1.png.geometric.bin").read_bytes()
    for content in (b"", b"64&48", b"a&b&1&" + whole[8:], whole[:-1], whole + b"0"):
        (maps / "IMG_1.png.geometric.bin").write_bytes(content)
        with pytest.raises(OSError, match=r"IMG_1\.png\.geometric\.bin: .*expected"):
            source.read(source.scene(0), "IMG_1.png", geometry=True)
    (maps / "IMG_1.png.geometric.bin").unlink()
    assert source.read(source.scene(0), "IMG_1.png", geometry=True).depth is None


def test_a_broken_reconstruction_is_left_out_and_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write_scene(tmp_path / name, SHOTS)
    with (tmp_path / "a" / "sparse" / "0" / "cameras.txt").open("a") as file:
        file.write("7 PINHOLE 64 48 1 2 3\n")
    (tmp_path / "b" / "sparse" / "0" / "images.txt").write_text(image_line(1, SHOTS[0].cam2world, 9, "IMG_0.png") + "\n\n")
    for name in ("IMG_0.png", "IMG_2.png"):
        (tmp_path / "c" / "images" / name).unlink()
    (tmp_path / "d" / "images").rename(tmp_path / "d" / "pictures")
    source = Colmap(tmp_path)
    assert names(source) == ["c"] and list(source.scene(0).frames) == ["IMG_1.png"]
    told = "\n".join(sorted(source.problems))
    assert re.search(r"a: .*cameras\.txt, line 5: PINHOLE with 3 parameters", told)
    assert re.search(r"b: .*images\.txt: IMG_0\.png is of camera 9, which cameras\.txt does not have", told)
    assert re.search(r"c/sparse/0: 2 of the 3 pictures that it names are not there", told)
    assert re.search(r"d: .*d/images: none of the 3 pictures of sparse/0 is there, e\.g\. IMG_", told)
    with pytest.raises(DataError, match=r"no reconstruction that can be read found there; the first: \.: .*cameras\.txt"):
        Colmap(tmp_path / "a")


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a folder with a COLMAP reconstruction"):
        Colmap(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no sparse/0/images\.bin or \.txt found there, .*use data=folder"):
        Colmap(tmp_path)
    write_scene(tmp_path / "deep" / "er", SHOTS)
    house = re.escape(str(tmp_path / "deep" / "er"))
    with pytest.raises(DataError, match=rf"this is the reconstruction itself: give the folder .*, '{house}'"):
        Colmap(tmp_path / "deep" / "er" / "sparse" / "0")
    with pytest.raises(DataError, match=rf"these are the pictures: give the folder above, '{house}'"):
        Colmap(tmp_path / "deep" / "er" / "images")
    with pytest.raises(DataError, match=r"give one of the folders in it: its scenes lie deeper"):
        Colmap(tmp_path)
