"""7-Scenes: the layout on disk, and, on real frames, the geometry."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from muskie.data.images import Crop
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.sevenscenes import SevenScenes
from muskie.errors import DataError
from muskie.geometry import invert, reproject

KITCHEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "7scenes"
real = pytest.mark.skipif(not (KITCHEN / "redkitchen").is_dir(), reason=f"no 7-Scenes frames in {KITCHEN}")
Geometry = tuple[Tensor, Tensor, Tensor]


def write_sequence(folder: Path, frames: int = 3, suffix: str = "png", depth: str | None = "depth.png") -> None:
    folder.mkdir(parents=True)
    for number in range(frames):
        stem = folder / f"frame-{number:06d}"
        Image.fromarray(np.full((12, 16, 3), 10 * number, dtype=np.uint8)).save(f"{stem}.color.{suffix}")
        if depth:
            millimetres = np.full((12, 16), 1500 + number, dtype=np.uint16)
            millimetres[0, :2] = 0, 65535
            Image.fromarray(millimetres).save(f"{stem}.{depth}")
        pose = np.eye(4)
        pose[0, 3] = number
        np.savetxt(f"{stem}.pose.txt", pose)


def kitchen_frames(numbers: list[int]) -> list[Geometry]:
    """Depth, intrinsics and cam2world of frames at 160x120, by way of a crop."""
    source = SevenScenes(KITCHEN)
    scene, found = source.scene(0), []
    for number in numbers:
        frame = source.read(scene, scene.frames[number], geometry=True)
        _, depth, camera = Crop().frame(frame, 120, 160)
        assert depth is not None and camera is not None
        found.append(tuple(torch.from_numpy(part).double() for part in (depth, camera.intrinsics, camera.cam2world)))
    return found


def disagreement(one: Geometry, other: Geometry) -> float:
    """Median relative difference between the depth of `one` seen from `other`, and what `other` measured."""
    result = reproject(*one, *other)
    known = result.inside & (result.measured > 0)
    assert known.double().mean() > 0.2
    return float(((result.depth - result.measured).abs() / result.measured)[known].median())


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Geometry, Geometry]]:
    frames = kitchen_frames([24, 32, 72, 80, 120, 128, 192, 200])
    return list(zip(frames[::2], frames[1::2], strict=True))


@real
def test_depth_of_a_frame_agrees_with_its_neighbours(pairs: list[tuple[Geometry, Geometry]]) -> None:
    for one, other in pairs:
        assert disagreement(one, other) < 0.007
        assert disagreement(other, one) < 0.007
        assert reproject(*one, *other).visible.double().mean() > 0.4


@real
@pytest.mark.parametrize("wrong", ["pose inverted", "OpenGL axes", "x mirrored", "y mirrored", "depth doubled"])
def test_a_wrong_convention_does_not_agree(pairs: list[tuple[Geometry, Geometry]], wrong: str) -> None:
    signs = {"OpenGL axes": [1, -1, -1, 1], "x mirrored": [-1, 1, 1, 1], "y mirrored": [1, -1, 1, 1]}.get(wrong)

    def spoil(geometry: Geometry) -> Geometry:
        depth, intrinsics, pose = geometry
        if signs:
            return depth, intrinsics, pose @ torch.diag(torch.tensor(signs, dtype=torch.float64))
        return (2 * depth, intrinsics, pose) if wrong == "depth doubled" else (depth, intrinsics, invert(pose))

    spoilt = np.array([disagreement(spoil(one), spoil(other)) for one, other in pairs])
    assert (spoilt > 0.012).all() and spoilt.mean() > 0.02, spoilt


@real
def test_the_focal_length_is_that_of_the_depth_camera() -> None:
    wide = kitchen_frames([24, 64, 96, 136, 192, 232])

    def error(focal: float) -> float:
        frames = []
        for depth, intrinsics, pose in wide:
            scaled = intrinsics.clone()
            scaled[0, 0] = scaled[1, 1] = focal / 4
            frames.append((depth, scaled, pose))
        return float(np.mean([disagreement(a, b) for a, b in zip(frames[::2], frames[1::2], strict=True)]))

    assert wide[0][1][0, 0] * 4 == 585
    assert error(585) < 0.015
    assert error(585) < 0.6 * error(525) and error(585) < 0.6 * error(645)


@real
def test_real_frames_have_the_promised_shapes() -> None:
    source = SevenScenes(KITCHEN, rooms=["redkitchen"])
    scene = source.scene(0)
    assert scene.name == "redkitchen/seq-01" and len(scene.frames) == 300
    frame = source.read(scene, scene.frames[5], geometry=True)
    assert frame.image.size == (640, 480) and frame.depth is not None and frame.camera is not None
    assert frame.depth.shape == (480, 640) and frame.depth.dtype == np.float32
    assert frame.depth.min() == 0 and 0.3 < np.median(frame.depth[frame.depth > 0]) < 5 and frame.depth.max() < 20
    rotation = frame.camera.cam2world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-3)
    small = source.read(scene, scene.frames[5], at_least=100)
    assert small.image.size == (160, 120) and small.depth is None and small.camera is None


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_rooms_sequences_and_frames_are_listed_in_order(tmp_path: Path, suffix: str) -> None:
    for room, sequence in [("stairs", "seq-02"), ("chess", "seq-10"), ("chess", "seq-02")]:
        write_sequence(tmp_path / room / sequence, suffix=suffix)
    (tmp_path / "chess" / "seq-03").mkdir()
    (tmp_path / "chess" / "seq-01.zip").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("7-Scenes")
    (tmp_path / "chess" / "seq-02" / f"frame-000000.color.{suffix}.part").write_bytes(b"")
    source = SevenScenes(tmp_path)
    assert [source.scene(i).name for i in range(len(source))] == ["chess/seq-02", "chess/seq-10", "stairs/seq-02"]
    assert list(source.scene(0).frames) == [f"frame-00000{k}.color.{suffix}" for k in range(3)]
    one = SevenScenes(tmp_path, rooms=["stairs"])
    assert [one.scene(i).name for i in range(len(one))] == ["stairs/seq-02"]


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
    np.testing.assert_allclose(frame.depth[1:], 1.502, rtol=1e-6)
    assert frame.camera.cam2world[0, 3] == 2
    plain = source.read(source.scene(0), "frame-000002.color.png")
    assert plain.depth is None and plain.camera is None


def test_depth_and_pose_may_be_missing(tmp_path: Path) -> None:
    write_sequence(tmp_path / "chess" / "seq-01", depth=None)
    (tmp_path / "chess" / "seq-01" / "frame-000001.pose.txt").unlink()
    source = SevenScenes(tmp_path)
    frame = source.read(source.scene(0), "frame-000001.color.png", geometry=True)
    assert frame.depth is None and frame.camera is None


@pytest.mark.parametrize(("depth", "focal"), [("depth.png", 585), ("depth.proj.png", 525)])
def test_without_a_file_the_intrinsics_are_those_of_the_depths_camera(tmp_path: Path, depth: str, focal: float) -> None:
    write_sequence(tmp_path / "chess" / "seq-01", depth=depth)
    source = SevenScenes(tmp_path)
    camera = source.read(source.scene(0), "frame-000000.color.png", geometry=True).camera
    assert camera is not None  # 16x12 pixels: a fortieth of 640x480
    np.testing.assert_allclose(camera.intrinsics, [[focal / 40, 0, 8], [0, focal / 40, 6], [0, 0, 1]])


def test_registered_depth_goes_before_raw_depth(tmp_path: Path) -> None:
    folder = tmp_path / "chess" / "seq-01"
    write_sequence(folder, frames=1)
    Image.fromarray(np.full((12, 16), 2500, dtype=np.uint16)).save(folder / "frame-000000.depth.proj.png")
    source = SevenScenes(tmp_path)
    depth = source.read(source.scene(0), "frame-000000.color.png", geometry=True).depth
    assert depth is not None and (depth == 2.5).all()


def test_intrinsics_come_from_the_room_before_the_root(tmp_path: Path) -> None:
    for room in ("chess", "stairs"):
        write_sequence(tmp_path / room / "seq-01", depth="depth.proj.png")
    np.savetxt(tmp_path / "camera-intrinsics.txt", [[400, 0, 320], [0, 400, 240], [0, 0, 1]])
    np.savetxt(tmp_path / "stairs" / "camera-intrinsics.txt", [[800, 0, 320], [0, 800, 240], [0, 0, 1]])
    source = SevenScenes(tmp_path)
    cameras = [source.read(source.scene(i), "frame-000000.color.png", geometry=True).camera for i in range(2)]
    assert [camera.intrinsics[0, 0] * 40 for camera in cameras if camera] == [400, 800]
    alone = SevenScenes(tmp_path / "stairs")
    camera = alone.read(alone.scene(0), "frame-000000.color.png", geometry=True).camera
    assert camera is not None and camera.intrinsics[0, 0] * 40 == 800


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
    frames = SevenScenes(tmp_path).scene(0).frames
    for name in ("b.Color.png", "b.Depth.PNG"):
        shutil.copy(tmp_path / "chess" / "seq-01" / "frame-000000.depth.png", tmp_path / "chess" / "seq-01" / name)
    (tmp_path / "chess" / "seq-01" / "alone.depth.png").write_bytes(b"no depth map of any picture here")
    plain = ImageFolders(tmp_path)
    assert plain.scene(0).name == "chess/seq-01"
    assert sorted(plain.scene(0).frames) == sorted([*frames, "alone.depth.png", "b.Color.png"])


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
