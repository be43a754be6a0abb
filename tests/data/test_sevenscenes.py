"""7-Scenes: the layout on disk, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from layouts import sevenscenes
from PIL import Image
from written import check, frames, names

from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.sevenscenes import SevenScenes
from muskie.errors import DataError


def write_sequence(folder: Path, count: int = 3, suffix: str = "png", depth: str | None = "depth.png") -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        stem = folder / f"frame-{number:06d}"
        Image.fromarray(np.full((12, 16, 3), 10 * number, dtype=np.uint8)).save(f"{stem}.color.{suffix}")
        if depth:
            millimetres = np.full((12, 16), 1500 + number, dtype=np.uint16)
            millimetres[0, :2] = 0, 65535
            Image.fromarray(millimetres).save(f"{stem}.{depth}")
        pose = np.eye(4)
        pose[0, 3] = number
        np.savetxt(f"{stem}.pose.txt", pose)


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    shots = [sevenscenes.shoot(number) for number in (0, 4)]
    check(SevenScenes(**sevenscenes.write(tmp_path, shots)), shots, depth=sevenscenes.DEPTH)


def test_depth_of_the_sensor_is_moved_to_the_colour_camera(tmp_path: Path) -> None:
    shots = [sevenscenes.shoot(number) for number in (0, 4)]
    sevenscenes.write_sequence(tmp_path / "chess" / "seq-01", shots, registered=False)
    for frame, shot in zip(frames(SevenScenes(tmp_path)), shots, strict=True):
        assert frame.depth is not None
        known = frame.depth > 0
        assert known.mean() > 0.7
        # A pixel of the one is up to half a pixel beside one of the other: what a surface's slope explains, but for edges.
        difference = np.abs(frame.depth - shot.depth)[known] / shot.depth[known]
        assert np.median(difference) < 0.005 and (difference < 0.03).mean() > 0.9


def test_short_sequences_can_be_left_out(tmp_path: Path) -> None:
    write_sequence(tmp_path / "chess" / "seq-01", count=2)
    write_sequence(tmp_path / "chess" / "seq-02", count=3)
    assert names(SevenScenes(tmp_path, min_images=3)) == ["chess/seq-02"]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_rooms_sequences_and_frames_are_listed_in_order(tmp_path: Path, suffix: str) -> None:
    for room, sequence in [("stairs", "seq-02"), ("chess", "seq-10"), ("chess", "seq-02")]:
        write_sequence(tmp_path / room / sequence, suffix=suffix)
    (tmp_path / "chess" / "seq-03").mkdir()
    (tmp_path / "chess" / "seq-01.zip").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("7-Scenes")
    (tmp_path / "chess" / "seq-02" / f"frame-000000.color.{suffix}.part").write_bytes(b"")
    source = SevenScenes(tmp_path)
    assert names(source) == ["chess/seq-02", "chess/seq-10", "stairs/seq-02"]
    assert list(source.scene(0).frames) == [f"frame-00000{k}.color.{suffix}" for k in range(3)]
    assert names(SevenScenes(tmp_path, rooms=["stairs"])) == ["stairs/seq-02"]
    assert names(SevenScenes(tmp_path, rooms=["stairs", "chess"])) == ["stairs/seq-02", "chess/seq-02", "chess/seq-10"]


def test_a_frame_stored_twice_is_one_frame(tmp_path: Path) -> None:
    write_sequence(tmp_path / "chess" / "seq-01")
    picture = tmp_path / "chess" / "seq-01" / "frame-000001.color"
    Image.open(f"{picture}.png").save(f"{picture}.jpg")
    assert [name[:12] for name in SevenScenes(tmp_path).scene(0).frames] == [f"frame-00000{k}" for k in range(3)]


def test_depth_is_metres_and_zero_where_unknown(tmp_path: Path) -> None:
    write_sequence(tmp_path / "chess" / "seq-01")
    source = SevenScenes(tmp_path)
    frame = source.read(source.scene(0), "frame-000002.color.png", geometry=True)
    assert frame.depth is not None and frame.depth.dtype == np.float32 and frame.camera is not None
    assert frame.depth[0, :2].tolist() == [0, 0]
    known = frame.depth[frame.depth > 0]
    np.testing.assert_allclose(known, 1.502, rtol=1e-6)
    assert known.size > 0.6 * frame.depth.size and frame.camera.cam2world[0, 3] == 2.025
    plain = source.read(source.scene(0), "frame-000002.color.png")
    assert plain.depth is None and plain.camera is None


@pytest.mark.parametrize("depth", ["depth.png", "depth.proj.png"])
def test_what_the_sensor_did_not_measure_is_unknown(tmp_path: Path, depth: str) -> None:
    """It writes 65535, or 0: far from the border, where each pixel of the picture has one of the sensor's."""
    folder = tmp_path / "chess" / "seq-01"
    write_sequence(folder, count=1, depth=depth)
    millimetres = np.full((12, 16), 1500, dtype=np.uint16)
    millimetres[5:8, 6:10] = 65535
    millimetres[2:4, 6:10] = 0
    Image.fromarray(millimetres).save(folder / f"frame-000000.{depth}")
    source = SevenScenes(tmp_path)
    found = source.read(source.scene(0), "frame-000000.color.png", geometry=True).depth
    assert found is not None and found.max() < 1.6
    assert (found[6, 7:9] == 0).all() and found[4, 7] == pytest.approx(1.5) == found[9, 8]


def test_depth_and_pose_may_be_missing(tmp_path: Path) -> None:
    write_sequence(tmp_path / "chess" / "seq-01", depth=None)
    (tmp_path / "chess" / "seq-01" / "frame-000001.pose.txt").unlink()
    source = SevenScenes(tmp_path)
    frame = source.read(source.scene(0), "frame-000001.color.png", geometry=True)
    assert frame.depth is None and frame.camera is None


@pytest.mark.parametrize("depth", ["depth.png", "depth.proj.png"])
def test_the_camera_is_that_of_the_pictures(tmp_path: Path, depth: str) -> None:
    write_sequence(tmp_path / "chess" / "seq-01", depth=depth)
    source = SevenScenes(tmp_path)
    camera = source.read(source.scene(0), "frame-000000.color.png", geometry=True).camera
    assert camera is not None  # 16x12 pixels: a fortieth of 640x480
    np.testing.assert_allclose(camera.intrinsics, [[525 / 40, 0, 8], [0, 525 / 40, 6], [0, 0, 1]])


def test_registered_depth_goes_before_raw_depth(tmp_path: Path) -> None:
    folder = tmp_path / "chess" / "seq-01"
    write_sequence(folder, count=1)
    Image.fromarray(np.full((12, 16), 2500, dtype=np.uint16)).save(folder / "frame-000000.depth.proj.png")
    source = SevenScenes(tmp_path)
    depth = source.read(source.scene(0), "frame-000000.color.png", geometry=True).depth
    assert depth is not None and (depth == 2.5).all()


def test_intrinsics_of_the_depth_come_from_the_room_before_the_root(tmp_path: Path) -> None:
    """A wall at the distance at which the depth camera's focal length says where its left border lies in the picture."""
    for room in ("chess", "stairs"):
        write_sequence(tmp_path / room / "seq-01")
    np.savetxt(tmp_path / "camera-intrinsics.txt", [[1050, 0, 320], [0, 1050, 240], [0, 0, 1]])
    np.savetxt(tmp_path / "stairs" / "camera-intrinsics.txt", [[2100, 0, 320], [0, 2100, 240], [0, 0, 1]])

    def rows(source: SevenScenes, scene: int) -> int:
        depth = source.read(source.scene(scene), "frame-000001.color.png", geometry=True).depth
        assert depth is not None
        return int((depth > 0).any(1).sum())

    source = SevenScenes(tmp_path)
    assert [rows(source, 0), rows(source, 1)] == [6, 4], "half, and a quarter with the pixel on the border, of 12"
    assert rows(SevenScenes(tmp_path / "stairs"), 0) == 4


@pytest.mark.parametrize("root", ["chess", ".", "../chess"])
def test_the_root_may_be_one_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    write_sequence(tmp_path / "chess" / "seq-01")
    monkeypatch.chdir(tmp_path if root == "chess" else tmp_path / "chess")
    source = SevenScenes(root, rooms=["chess"])
    assert source.scene(0).name == "chess/seq-01"
    assert source.read(source.scene(0), source.scene(0).frames[0]).image.size == (16, 12)


def test_what_is_missing_is_told_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist"):
        SevenScenes(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <room>/seq-.*for folders of plain images use data=folder"):
        SevenScenes(tmp_path)
    write_sequence(tmp_path / "chess" / "seq-01")
    with pytest.raises(DataError, match=r"no room 'ches' found there; did you mean 'chess'\? Allowed: 'chess'"):
        SevenScenes(tmp_path, rooms=["chess", "ches"])
    with pytest.raises(DataError, match=rf"this is a sequence: give the folder of its room, '{tmp_path / 'chess'}', or"):
        SevenScenes(tmp_path / "chess" / "seq-01")
    (tmp_path / "chess" / "seq-01").rename(tmp_path / "chess" / "apartment")
    with pytest.raises(DataError, match="for folders of plain images use data=folder"):
        SevenScenes(tmp_path / "chess" / "apartment")


def test_as_a_plain_folder_it_has_no_depth_maps(tmp_path: Path) -> None:
    write_sequence(tmp_path / "chess" / "seq-01")
    listed = SevenScenes(tmp_path).scene(0).frames
    for name in ("b.Color.png", "b.Depth.PNG"):
        shutil.copy(tmp_path / "chess" / "seq-01" / "frame-000000.depth.png", tmp_path / "chess" / "seq-01" / name)
    (tmp_path / "chess" / "seq-01" / "alone.depth.png").write_bytes(b"no depth map of any picture here")
    plain = ImageFolders(tmp_path)
    assert plain.scene(0).name == "chess/seq-01"
    assert sorted(plain.scene(0).frames) == sorted([*listed, "alone.depth.png", "b.Color.png"])


def test_broken_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "chess" / "seq-01"
    write_sequence(folder)
    source = SevenScenes(tmp_path)
    for number, text in enumerate(["1 0 0 0", "nan " * 4 + "\n0 0 0 0\n" * 3, "no numbers"]):
        (folder / f"frame-00000{number}.pose.txt").write_text(text)
        with pytest.raises(OSError, match=rf"frame-00000{number}\.pose\.txt"):
            source.read(source.scene(0), f"frame-00000{number}.color.png", geometry=True)
    for number, name in ((3, "broken"), (4, "colour")):
        (folder / f"frame-00000{number}.depth.png").unlink(missing_ok=True)
        image = folder / f"frame-00000{number}.color.png"
        shutil.copy(folder / "frame-000000.color.png", image)
        shutil.copy(image, folder / f"frame-00000{number}.depth.png")
        if name == "broken":
            (folder / f"frame-00000{number}.depth.png").write_bytes(image.read_bytes()[:60])
        with pytest.raises(OSError, match=rf"frame-00000{number}\.depth\.png: (cannot be decoded|a colour image)"):
            source.read(source.scene(0), image.name, geometry=True)
    for text in ("585 585", "f = 585"):
        (tmp_path / "camera-intrinsics.txt").write_text(text)
        with pytest.raises(DataError, match=r"camera-intrinsics\.txt"):
            SevenScenes(tmp_path)
