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
from muskie.data.sources.sevenscenes import COLOUR_INTRINSICS, COLOUR_TO_DEPTH, DEPTH_INTRINSICS, SevenScenes
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


def colour_agreement(intrinsics: np.ndarray, offset: float) -> float:
    """Correlation of the grey values of the same points in two frames, mean of pairs 16 frames apart, where points come from
    the sensor's depth, f = 585, and the pictures from a camera with these intrinsics, so many metres to its left."""
    folder, found = KITCHEN / "redkitchen" / "seq-01", []
    for number in range(20, 260, 40):
        seen = []
        poses = [np.loadtxt(folder / f"frame-{n:06d}.pose.txt") for n in (2 * number, 2 * number + 16)]
        depths = [
            np.asarray(Image.open(folder / f"frame-{n:06d}.depth.png")) / 1000.0 for n in (2 * number, 2 * number + 16)
        ]
        row, column = np.mgrid[2:480:4, 2:640:4].reshape(2, -1)
        z = np.where(depths[0][row, column] < 60, depths[0][row, column], 0)
        points = np.stack([(column + 0.5 - 320) / 585 * z, (row + 0.5 - 240) / 585 * z, z])
        motion = np.linalg.inv(poses[1]) @ poses[0]
        moved = motion[:3, :3] @ points + motion[:3, 3:]
        with np.errstate(all="ignore"):
            x, y = (585 * moved[:2] / moved[2] + [[320], [240]]).round(6)
            keep = (z > 0) & (moved[2] > 0.1) & (x > 0) & (x < 640) & (y > 0) & (y < 480)
            depth = np.where(keep, depths[1][np.where(keep, y, 0).astype(int), np.where(keep, x, 0).astype(int)], 0)
            keep &= abs(depth - moved[2]) < 0.02 * depth
        for n, where in ((2 * number, points), (2 * number + 16, moved)):
            grey = np.asarray(Image.open(folder / f"frame-{n:06d}.color.jpg").convert("L"), dtype=float)
            with np.errstate(all="ignore"):
                u, v = (intrinsics @ (where - [[offset], [0], [0]]))[:2] / where[2]
            keep &= (u >= 0) & (u < 640) & (v >= 0) & (v < 480)
            seen.append(grey[np.where(keep, v, 0).astype(int), np.where(keep, u, 0).astype(int)])
        found.append(np.corrcoef(seen[0][keep], seen[1][keep])[0, 1])
    return float(np.mean(found))


@real
def test_the_pictures_are_those_of_the_colour_camera() -> None:
    """The truth must belong to the pixels that models see: this looks at colours, all other tests at depth alone."""
    nominal = colour_agreement(COLOUR_INTRINSICS, COLOUR_TO_DEPTH[0, 3])
    assert nominal > 0.91
    assert nominal > colour_agreement(DEPTH_INTRINSICS, 0.0) + 0.03
    assert nominal > colour_agreement(COLOUR_INTRINSICS, 0.0)
    assert nominal > colour_agreement(COLOUR_INTRINSICS, -COLOUR_TO_DEPTH[0, 3]) + 0.01


@real
def test_what_is_read_is_the_colour_camera() -> None:
    source = SevenScenes(KITCHEN)
    scene = source.scene(0)
    frame = source.read(scene, scene.frames[30], geometry=True)
    assert frame.camera is not None and frame.depth is not None
    np.testing.assert_array_equal(frame.camera.intrinsics, COLOUR_INTRINSICS)
    pose = np.loadtxt(KITCHEN / scene.name / f"{scene.frames[30].split('.')[0]}.pose.txt")
    np.testing.assert_allclose(np.linalg.inv(pose) @ frame.camera.cam2world, COLOUR_TO_DEPTH, atol=2e-3)
    border = frame.depth[:, :20] > 0
    assert border.mean() < 0.05 < 0.5 < (frame.depth[100:380, 100:540] > 0).mean(), "the depth camera sees less"


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
    known = frame.depth[frame.depth > 0]
    np.testing.assert_allclose(known, 1.502, rtol=1e-6)
    assert known.size > 0.6 * frame.depth.size and frame.camera.cam2world[0, 3] == 2.025
    plain = source.read(source.scene(0), "frame-000002.color.png")
    assert plain.depth is None and plain.camera is None


@pytest.mark.parametrize("depth", ["depth.png", "depth.proj.png"])
def test_what_the_sensor_did_not_measure_is_unknown(tmp_path: Path, depth: str) -> None:
    """It writes 65535, or 0: far from the border, where each pixel of the picture has one of the sensor's."""
    folder = tmp_path / "chess" / "seq-01"
    write_sequence(folder, frames=1, depth=depth)
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
    write_sequence(folder, frames=1)
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
