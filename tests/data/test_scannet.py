"""ScanNet: the two layouts on disk, and the geometry of rendered frames that were written in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts import scannet
from layouts.scannet import SIZE as SMALL
from layouts.scannet import recorded
from PIL import Image
from walk import agreement, intrinsics, shoot
from written import check, frames, names

from muskie.data.sources.scannet import ScanNet
from muskie.errors import DataError


def write_scene(
    folder: Path,
    numbers: tuple[int, ...] = (0, 4),
    size: tuple[int, int] = SMALL,
    depth_size: tuple[int, int] | None = None,
    own: bool = False,
) -> None:
    """Frames of the walk; picture n is `<5 n>.jpg`. Sizes are (H, W)."""
    depths = [shoot(number, *(depth_size or size)).depth for number in numbers]
    scannet.write_scene(folder, [shoot(number, *size) for number in numbers], numbers, depths, own)


@pytest.mark.parametrize("layout", ["archive", "own"])
def test_geometry_is_that_of_the_rendered_room(tmp_path: Path, layout: str) -> None:
    write_scene(tmp_path / "scene0707_00", own=layout == "own")
    if layout == "archive":
        np.savez(tmp_path / "intrinsics.npz", scene0707_00=recorded(640, 480)[:3, :3])
    check(ScanNet(tmp_path), [shoot(number, *SMALL) for number in (0, 4)], depth=scannet.DEPTH)


def test_colour_may_be_larger_than_depth(tmp_path: Path) -> None:
    """An eighth of the real sizes, whose aspect ratios differ a little."""
    write_scene(tmp_path / "scene0000_00", size=(121, 162), depth_size=(60, 80), own=True)
    read = frames(ScanNet(tmp_path))
    for number, frame in zip((0, 4), read, strict=True):
        shot = shoot(number, 121, 162)
        assert frame.depth is not None and frame.camera is not None and frame.image.size == (162, 121)
        np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics, atol=1e-5)
        # Of the nearest pixel of a map of half the size: what a surface's slope explains, but for edges.
        difference = np.abs(frame.depth - shot.depth) / shot.depth
        assert np.median(difference) < 0.005 and (difference < 0.03).mean() > 0.9
    median, agreed = agreement(*read)
    assert median < 0.006 and agreed > 0.8


@pytest.mark.parametrize("columns", [3, 4])
@pytest.mark.parametrize("beside", [True, False])
def test_intrinsics_in_an_archive(tmp_path: Path, columns: int, beside: bool) -> None:
    root = tmp_path / "scans"
    write_scene(root / "scene0707_00", numbers=(0,))
    write_scene(root / "scene0708_00", numbers=(0,))
    different = recorded(640, 480)
    different[:2, :2] *= 2
    matrices = {"scene0708_00": different[:columns, :columns], "scene0707_00": recorded(640, 480)[:columns, :columns]}
    np.savez((tmp_path if beside else root) / "intrinsics.npz", **matrices, names=np.array(["other scenes"]))
    source = ScanNet(root)
    for index, factor in ((0, 1), (1, 2)):
        camera = frames(source, index)[0].camera
        assert camera is not None
        np.testing.assert_allclose(camera.intrinsics[:2, :2], factor * intrinsics(*SMALL)[:2, :2])
        np.testing.assert_allclose(camera.intrinsics[:, 2], intrinsics(*SMALL)[:, 2])


def test_a_scenes_own_intrinsics_go_first_and_depths_before_colours(tmp_path: Path) -> None:
    for scene, missing in (("scene0001_00", None), ("scene0002_00", "depth"), ("scene0003_00", "both")):
        write_scene(tmp_path / scene, numbers=(0,), own=True)
        own = tmp_path / scene / "intrinsic"
        np.savetxt(own / "intrinsic_color.txt", np.diag([2.0, 2.0, 1.0, 1.0]) @ recorded(1296, 968))
        if missing:
            (own / "intrinsic_depth.txt").unlink()
        if missing == "both":
            (own / "intrinsic_color.txt").unlink()
    triple = np.diag([3.0, 3.0, 1.0, 1.0]) @ recorded(640, 480)
    np.savez(tmp_path / "intrinsics.npz", **{f"scene000{n}_00": triple for n in (1, 2, 3)})
    source = ScanNet(tmp_path)
    for index in range(3):
        camera = frames(source, index)[0].camera
        assert camera is not None
        focal = camera.intrinsics[[0, 1], [0, 1]] / intrinsics(*SMALL)[[0, 1], [0, 1]]
        np.testing.assert_allclose(focal, index + 1, rtol=1e-6)


def test_scenes_and_frames_are_listed_in_natural_order(tmp_path: Path) -> None:
    for scene in ("scene0010_01", "scene0010_00", "scene0002_00", "kitchen"):
        write_scene(tmp_path / scene, numbers=(0, 1, 2))
    (tmp_path / "scene0003_00" / "color").mkdir(parents=True)  # downloaded in part
    (tmp_path / "test.npz").write_bytes(b"")
    colour = tmp_path / "scene0002_00" / "color"
    Image.open(colour / "5.jpg").save(colour / "5.png")
    (colour / "._0.jpg").write_bytes(b"")
    (colour / "list.txt").write_text("")
    source = ScanNet(tmp_path)
    scenes = [source.scene(index) for index in range(len(source))]
    assert [scene.name for scene in scenes] == ["kitchen", "scene0002_00", "scene0010_00", "scene0010_01"]
    assert [scene.room for scene in scenes] == [None, "scene0002", "scene0010", "scene0010"]
    assert [Path(name).stem for name in scenes[1].frames] == ["0", "5", "10"]
    some = ScanNet(tmp_path, scenes=["scene0010_01", "kitchen", "scene0010_00"])
    assert names(some) == ["kitchen", "scene0010_00", "scene0010_01"]
    (tmp_path / "kitchen" / "color" / "10.jpg").unlink()
    assert names(ScanNet(tmp_path, min_images=3)) == ["scene0002_00", "scene0010_00", "scene0010_01"]


def test_pictures_alone_need_nothing_else_and_may_come_smaller(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0,), size=(120, 160))
    source = ScanNet(tmp_path)
    frame = source.read(source.scene(0), "0.jpg", at_least=60)
    assert frame.depth is None and frame.camera is None and frame.image.size == (80, 60)
    assert source.read(source.scene(0), "0.jpg").image.size == (160, 120)


def test_depth_is_metres_and_zero_where_unknown(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0, 1), own=True)
    millimetres = np.full(SMALL, 1500, dtype=np.uint16)
    millimetres[0, :2] = 0, 65535
    Image.fromarray(millimetres).save(tmp_path / "scene0000_00" / "depth" / "0.png")
    (tmp_path / "scene0000_00" / "depth" / "5.png").unlink()
    (tmp_path / "scene0000_00" / "pose" / "5.txt").unlink()
    first, second = frames(ScanNet(tmp_path))
    assert first.depth is not None and first.depth[0, 0] == 0 and first.depth[0, 1] == pytest.approx(65.535)
    assert (first.depth[1:] == 1.5).all()
    assert second.depth is None and second.camera is None


@pytest.mark.parametrize("text", ["-inf -inf -inf -inf\n" * 4, "nan 0 0 0\n" * 4, "0 0 0 0\n" * 4, "1 0 0 0\n" * 3, "lost"])
def test_a_frame_whose_pose_is_unknown_is_listed_and_named_when_read(tmp_path: Path, text: str) -> None:
    write_scene(tmp_path / "scene0000_00", own=True)
    (tmp_path / "scene0000_00" / "pose" / "20.txt").write_text(text)
    source = ScanNet(tmp_path)
    scene = source.scene(0)
    assert list(scene.frames) == ["0.jpg", "20.jpg"]
    with pytest.raises(OSError, match=r"pose/20\.txt: expected a finite 4x4 camera-to-world matrix"):
        source.read(scene, "20.jpg", geometry=True)
    with pytest.raises(OSError, match=r"pose/20\.txt"):
        source.camera(scene, "20.jpg")
    assert source.read(scene, "20.jpg").image.size == (64, 48)


def test_broken_pictures_and_depth_are_named(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0, 1, 2), own=True)
    folder = tmp_path / "scene0000_00"
    (folder / "color" / "0.jpg").write_bytes((folder / "color" / "0.jpg").read_bytes()[:200])
    (folder / "depth" / "5.png").write_bytes((folder / "depth" / "5.png").read_bytes()[:60])
    Image.open(folder / "color" / "10.jpg").save(folder / "depth" / "10.png")
    source = ScanNet(tmp_path)
    for frame, what in (
        ("0.jpg", r"color/0\.jpg"),
        ("5.jpg", r"5\.png: cannot be decoded"),
        ("10.jpg", r"10\.png: a colour"),
    ):
        with pytest.raises(OSError, match=what):
            source.read(source.scene(0), frame, geometry=True)


def test_poses_without_intrinsics_say_where_to_get_them(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0,))
    np.savez(tmp_path / "intrinsics.npz", scene0707_00=recorded(640, 480))
    source = ScanNet(tmp_path)
    assert source.read(source.scene(0), "0.jpg").image.size == (64, 48)
    with pytest.raises(DataError, match=r"scene0000_00: poses without intrinsics; put intrinsics\.npz .* or export"):
        source.read(source.scene(0), "0.jpg", geometry=True)


BROKEN = {
    "two rows": (np.eye(4)[:2], "expected a 3x3 or 4x4 matrix of intrinsics"),
    "words": (np.array(["577", "577"]), "expected a 3x3 or 4x4 matrix of intrinsics"),
    "not finite": (np.diag([np.nan, 577, 1]), "expected finite intrinsics with focal lengths above 0"),
    "no focal length": (np.zeros((3, 3)), "expected finite intrinsics with focal lengths above 0"),
    "pickled": (np.array([{}], dtype=object), "cannot be read as an archive of matrices"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_archive_of_intrinsics_is_named(tmp_path: Path, fault: str) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0,))
    matrix, message = BROKEN[fault]
    np.savez(tmp_path / "intrinsics.npz", scene0000_00=matrix)
    with pytest.raises(DataError, match=rf"intrinsics\.npz.*: {message}"):
        ScanNet(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_an_archive_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0,))
    (tmp_path / "intrinsics.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"intrinsics\.npz: cannot be read as an archive of matrices"):
        ScanNet(tmp_path)


@pytest.mark.parametrize("text", ["577 577 320 240", "fx = 577"])
@pytest.mark.parametrize("name", ["intrinsic_depth.txt", "intrinsic_color.txt"])
def test_broken_intrinsics_of_a_scene_are_named(tmp_path: Path, name: str, text: str) -> None:
    write_scene(tmp_path / "scene0000_00", numbers=(0,))
    (tmp_path / "scene0000_00" / "intrinsic").mkdir()
    (tmp_path / "scene0000_00" / "intrinsic" / name).write_text(text)
    with pytest.raises(DataError, match=rf"{re.escape(name)}: expected a 3x3 or 4x4 matrix"):
        ScanNet(tmp_path)


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with ScanNet scenes"):
        ScanNet(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"no <scene>/color/\*\.jpg found there; for folders of plain images use data=folder"
    ):
        ScanNet(tmp_path, scenes=["scene0000_00"])
    (tmp_path / "scene0001_00").mkdir()
    (tmp_path / "scene0001_00" / "scene0001_00.sens").write_bytes(b"")
    with pytest.raises(DataError, match=r"not exported yet: run ScanNet's SensReader on their \.sens files"):
        ScanNet(tmp_path)
    write_scene(tmp_path / "scene0000_00", numbers=(0,))
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{re.escape(str(tmp_path))}'"):
        ScanNet(tmp_path / "scene0000_00")
    with pytest.raises(DataError, match=r"no 'scene0000_0' among the 1 scenes found there; did you mean 'scene0000_00'\?"):
        ScanNet(tmp_path, scenes=["scene0000_00", "scene0000_0"])
    (tmp_path / "scene0001_00" / "color").mkdir()
    with pytest.raises(
        DataError, match=r"scene0001_00/color: no image; export the scene again, or leave 'scene0001_00' out"
    ):
        ScanNet(tmp_path, scenes=["scene0001_00", "scene0000_00"])
