"""COLMAP's binary files and shared points, against pycolmap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layouts.colmap import SIZE, camera_line, write_model, write_scene
from walk import shoot
from written import check

from muskie.data.sources.colmap import Colmap
from muskie.data.sources.colmap_binary import MODELS, read_binary_cameras, read_binary_images, read_binary_points
from muskie.data.sources.colmap_model import read_points, shared_points
from muskie.errors import DataError

pycolmap = pytest.importorskip("pycolmap", reason="needs pycolmap: pip install 'muskie[dev]'")

SHOTS = [shoot(number, *SIZE) for number in range(4)]
SEEN = {1: [0, 1], 2: [0, 1, 2], 5: [1, 2], 2**40: [0, 1], 7: [2, 1, 0]}  # picture 3 sees nothing
NAMES = ["b1.png", "left/a10.png", "left/a2.png", "ü.png"]


def binary(folder: Path, to: Path) -> pycolmap.Reconstruction:
    """What pycolmap makes of a reconstruction in text, written in binary."""
    model = pycolmap.Reconstruction()
    model.read_text(str(folder))
    to.mkdir(parents=True)
    model.write_binary(str(to))
    return model


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    write_scene(tmp_path / "walk", SHOTS)
    (tmp_path / "walk" / "sparse" / "0").rename(tmp_path / "text")
    binary(tmp_path / "text", tmp_path / "walk" / "sparse" / "0")
    source = Colmap(tmp_path)
    assert not list((tmp_path / "walk" / "sparse" / "0").glob("*.txt"))
    check(source, SHOTS, depth=0)


def test_images_and_points_are_those_of_pycolmap(tmp_path: Path) -> None:
    write_model(tmp_path / "text", SHOTS, NAMES, SEEN)
    model = binary(tmp_path / "text", tmp_path / "binary")
    images, points = (read(tmp_path / "binary" / "images.bin") for read in (read_binary_images, read_binary_points))
    assert set(images) == set(points) == set(NAMES) == {image.name for image in model.images.values()}
    for image in model.images.values():
        mine = images[image.name]
        assert mine.camera == image.camera_id
        np.testing.assert_allclose(mine.cam2world[:3], image.cam_from_world().inverse().matrix(), atol=1e-12)
        theirs = {point.point3D_id for point in image.points2D if point.has_point3D()}
        assert points[image.name].tolist() == sorted(theirs)
    from_text = read_points(tmp_path / "text")
    assert {name: numbers.tolist() for name, numbers in from_text.items()} == {n: p.tolist() for n, p in points.items()}


def test_cameras_of_every_model_are_those_of_pycolmap(tmp_path: Path) -> None:
    write_model(tmp_path / "text", SHOTS[:1], NAMES[:1])
    lines = [camera_line(1, "PINHOLE", SIZE, (1, 2, 3, 4))]
    known = set(pycolmap.CameraModelId.__members__)
    for number, (model, count) in enumerate(MODELS, 2):
        if model in known:  # which older ones do not have
            lines.append(camera_line(number, model, (48 + number, 64), np.arange(1, count + 1) / 8))
    assert len(lines) > 10
    (tmp_path / "text" / "cameras.txt").write_text("\n".join(lines))
    theirs = binary(tmp_path / "text", tmp_path / "binary").cameras
    mine = read_binary_cameras(tmp_path / "binary" / "cameras.bin")
    assert set(mine) == set(theirs)
    for number, camera in mine.items():
        assert camera.model == theirs[number].model.name and camera.size == (theirs[number].width, theirs[number].height)
        np.testing.assert_array_equal(camera.parameters, theirs[number].params)


def test_overlap_is_the_share_of_points_that_the_other_picture_sees_too(tmp_path: Path) -> None:
    write_scene(tmp_path, SHOTS, seen=SEEN)
    source = Colmap(tmp_path)
    found = source.overlaps(source.scene(0))
    assert found is not None and found.dtype == np.float32  # of 4, 5, 3 and 0 points
    np.testing.assert_allclose(found, [[1, 1, 0.5, 0], [0.8, 1, 0.6, 0], [2 / 3, 1, 1, 0], [0, 0, 0, 0]], rtol=1e-6)
    rng = np.random.default_rng(0)
    seen = [np.unique(rng.integers(0, 200, size)) for size in (90, 1, 0, 30, 300, 60)]
    expected = [[len(set(a) & set(b)) / max(len(a), 1) for b in seen] for a in seen]
    np.testing.assert_allclose(shared_points(seen), expected, rtol=1e-6)
    assert shared_points([]).shape == (0, 0)


def test_files_that_are_cut_off_or_go_on_are_named(tmp_path: Path) -> None:
    write_model(tmp_path / "text", SHOTS, NAMES, SEEN)
    binary(tmp_path / "text", tmp_path / "binary")
    for name, read in (("cameras", read_binary_cameras), ("images", read_binary_images), ("images", read_binary_points)):
        file = tmp_path / "binary" / f"{name}.bin"
        whole = file.read_bytes()
        for content in [*(whole[:length] for length in range(0, len(whole), 3)), whole + b"\0", b"\xff" * 99]:
            file.write_bytes(content)
            with pytest.raises(DataError, match=rf"{name}\.bin: cannot be read"):
                read(file)
        file.write_bytes(whole)
        read(file)
    with pytest.raises(DataError, match=r"none\.bin: cannot be read"):
        read_binary_cameras(tmp_path / "none.bin")


def test_poses_that_are_none_are_named(tmp_path: Path) -> None:
    write_model(tmp_path / "text", SHOTS, NAMES)
    binary(tmp_path / "text", tmp_path / "binary")
    file = tmp_path / "binary" / "images.bin"
    whole = bytearray(file.read_bytes())
    for values in (np.zeros(4), np.full(4, np.nan)):
        whole[12 : 12 + 32] = values.tobytes()
        file.write_bytes(bytes(whole))
        with pytest.raises(DataError, match=r"images\.bin: the pose of .*\.png is none"):
            read_binary_images(file)
