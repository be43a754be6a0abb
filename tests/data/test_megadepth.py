"""MegaDepth: the layouts on disk, and the geometry of rendered frames that were written in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts.megadepth import DEPTH, SFM, SIZE, V1, age, write, write_depth, write_model, write_pictures
from layouts.waymo import write_beside
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.megadepth import MegaDepth
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]


def dense(root: Path, scene: str, number: int = 0) -> Path:
    return root / V1 / scene / f"dense{number}"


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(MegaDepth(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_cameras_go_with_the_pictures_of_the_data_set_too(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    (tmp_path / SFM / "0001" / "images").rename(dense(tmp_path, "0001") / "imgs")
    source = MegaDepth(tmp_path, "train")
    assert names(source) == ["0001/dense0"] and source.scene(0).frames[1] == f"{V1.as_posix()}/0001/dense0/imgs/1.jpg"
    check(source, SHOTS, depth=DEPTH)
    (tmp_path / V1).rename(tmp_path / "MegaDepth_v1")
    check(MegaDepth(tmp_path, "train"), SHOTS, depth=DEPTH)


def test_cameras_are_resized_for_the_pictures_that_are_there(tmp_path: Path) -> None:
    write(tmp_path, [shoot(number, 96, 128) for number in (0, 4)])
    images = tmp_path / SFM / "0001" / "images"
    for name in ("0.jpg", "1.jpg"):
        Image.open(images / name).resize(SIZE[::-1]).save(images / name)
    for read, shot in zip(frames(MegaDepth(tmp_path, "train")), SHOTS, strict=True):
        assert read.camera is not None and read.depth is not None and read.depth.shape == SIZE
        np.testing.assert_allclose(read.camera.intrinsics, shot.intrinsics, atol=1e-9)
    Image.open(images / "0.jpg").crop((0, 0, 30, 48)).save(images / "0.jpg")
    with pytest.raises(OSError, match=r"0\.jpg: 30x48 pixels; its camera is for a picture of 128x96"):
        MegaDepth(tmp_path, "train").camera(MegaDepth(tmp_path, "train").scene(0), f"{SFM}/0001/images/0.jpg")


def test_processed_pictures_have_what_lies_beside_them(tmp_path: Path) -> None:
    for number, shot in enumerate(SHOTS):
        write_beside(tmp_path / "0001" / "dense0" / f"{number}.jpg", shot)
        write_beside(tmp_path / "0002" / f"{number}.jpg", shot)
    source = MegaDepth(tmp_path, "train")
    assert names(source) == ["0001/dense0", "0002"] and [source.scene(n).room for n in (0, 1)] == ["0001", "0002"]
    for scene in ("0001", "0002"):
        check(MegaDepth(tmp_path, "train", scenes=[scene]), SHOTS, depth=DEPTH)


def test_reconstructions_of_a_scene_share_a_room_and_the_first_alone_has_cameras(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    for scene, number in (("0001", 0), ("0001", 2), ("0001", 10), ("0000", 0)):
        write_pictures(dense(tmp_path, scene, number) / "imgs", SHOTS)
        write_depth(dense(tmp_path, scene, number) / "depths" / "1.h5", SHOTS[1].depth)
    source = MegaDepth(tmp_path, "train")
    assert names(source) == ["0000/dense0", "0001/dense0", "0001/dense2", "0001/dense10"]
    assert [source.scene(number).room for number in range(4)] == ["0000", *["0001"] * 3]
    assert list(source.scene(1).frames) == ["Undistorted_SfM/0001/images/0.jpg", "Undistorted_SfM/0001/images/1.jpg"]
    assert source.window > 10_000
    for scene in (0, 2, 3):
        read = frames(source, scene)
        assert [frame.camera for frame in read] == [None] * 2 and [frame.depth is None for frame in read] == [True, False]


def test_the_split_keeps_the_pairs_of_the_field_apart(tmp_path: Path) -> None:
    for scene in ("0000", "0015", "0022", "5018"):
        write_pictures(dense(tmp_path, scene) / "imgs", SHOTS)
    (tmp_path / V1 / "lists").mkdir()
    assert names(MegaDepth(tmp_path, "train")) == ["0000/dense0", "5018/dense0"]
    assert names(MegaDepth(tmp_path, "test")) == ["0015/dense0", "0022/dense0"]
    assert len(MegaDepth(tmp_path, "all")) == 4
    with pytest.raises(ConfigError, match=r"data\.split must be given: one of 'train', 'test', 'all'"):
        MegaDepth(tmp_path)
    with pytest.raises(DataError, match=r"no pictures of a MegaDepth scene of data\.split='test' found there"):
        MegaDepth(tmp_path, "test", scenes=["0000"])


def test_an_order_of_foreground_and_background_is_no_depth(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    depths = dense(tmp_path, "0001") / "depths"
    order = np.full(SIZE, 2.0, dtype=np.float32)
    order[:10] = -1
    write_depth(depths / "0.h5", order)
    holes = np.full(SIZE, 2.0, dtype=np.float32)
    holes[0, :3] = 0, np.nan, np.inf
    write_depth(depths / "1.h5", holes)
    first, second = frames(MegaDepth(tmp_path, "train"))
    assert first.depth is None and first.camera is not None and second.depth is not None
    assert not second.depth[0, :3].any() and (second.depth.ravel()[3:] == 2).all()


def test_overlaps_are_shared_points(tmp_path: Path) -> None:
    write(tmp_path, [*SHOTS, SHOTS[0], SHOTS[1]])
    folder = tmp_path / SFM / "0001"
    write_model(folder / "sparse-txt", [*SHOTS, SHOTS[0]], seen=[(1, 2, 3, 4), (3, 4, 5), ()])
    source = MegaDepth(tmp_path, "train")
    overlaps = source.overlaps(source.scene(0))
    expected = [[1, 1 / 2, 0, 0], [2 / 3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert overlaps is not None
    np.testing.assert_allclose(overlaps, expected, rtol=1e-6)
    assert [frame.camera is None for frame in frames(source)] == [False, False, False, True]  # 3.jpg was not placed
    write_pictures(dense(tmp_path, "0002") / "imgs", SHOTS)
    other = MegaDepth(tmp_path, "train", scenes=["0002"])
    assert other.overlaps(other.scene(0)) is None


def test_a_new_model_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, SHOTS)
    age(tmp_path)
    assert frames(MegaDepth(tmp_path, "train"))[0].camera is not None
    MegaDepth(tmp_path, "train")
    assert "anew" not in capsys.readouterr().err
    write_model(tmp_path / SFM / "0001" / "sparse-txt", SHOTS[::-1])
    camera = frames(MegaDepth(tmp_path, "train"))[0].camera
    assert camera is not None
    np.testing.assert_allclose(camera.cam2world, SHOTS[1].cam2world, atol=1e-9)


def test_broken_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    write(tmp_path, SHOTS, "0002")
    depth = dense(tmp_path, "0001") / "depths" / "0.h5"
    whole = depth.read_bytes()
    for kept in (0, 100, len(whole) // 2):
        depth.write_bytes(whole[:kept])
        with pytest.raises(OSError, match=r"depths/0\.h5"):
            frames(MegaDepth(tmp_path, "train"))
    write_depth(depth, np.zeros((48, 20), dtype=np.float32))
    with pytest.raises(OSError, match=r"0\.h5: 20x48 values; its picture is of 64x48"):
        frames(MegaDepth(tmp_path, "train"))
    cameras = tmp_path / SFM / "0001" / "sparse-txt" / "cameras.txt"
    cameras.write_text("7 SIMPLE_RADIAL 64 48 50 32 24 0.1\n8 SIMPLE_RADIAL 64 48 50 32 24 0.1\n")
    for message in ("is through a lens that distorts, SIMPLE_RADIAL; expected Undistorted_SfM", r"cameras\.txt, line 1"):
        source = MegaDepth(tmp_path, "train")  # the other scene is there
        assert names(source) == ["0002/dense0"] and len(source.problems) == 1 and re.search(message, source.problems[0])
        with pytest.raises(DataError, match=message):
            MegaDepth(tmp_path, "train", scenes=["0001"])
        cameras.write_text("7 PINHOLE far\n")


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a folder with MegaDepth"):
        MegaDepth(tmp_path / "nowhere", "all")
    with pytest.raises(DataError, match=r"found there \(0015/dense0/imgs/1\.jpg\); for folders of plain images use"):
        MegaDepth(tmp_path, "all")
    (tmp_path / "MegaDepth_v1.tar.gz").touch()
    with pytest.raises(DataError, match="unpack the archives there"):
        MegaDepth(tmp_path, "all")
    write(tmp_path, SHOTS)
    write_pictures(dense(tmp_path, "0001", 1) / "imgs", SHOTS)
    for inside, message in {
        SFM: "this is Undistorted_SfM: give the folder above",
        Path("phoenix"): "give the folder above phoenix",
        V1 / "0001": "this is a part of a scene: give the folder above all scenes",
        V1 / "0001" / "dense1": "this is a part of a scene: give the folder above all scenes",
    }.items():
        with pytest.raises(DataError, match=message):
            MegaDepth(tmp_path / inside, "all")
    with pytest.raises(DataError, match=r"no '0003' among the 1 scenes found there"):
        MegaDepth(tmp_path, "all", scenes=["0003"])
    assert names(MegaDepth(tmp_path / V1, "all")) == ["0001/dense1"]
