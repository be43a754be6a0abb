"""Lists of pairs: the geometry of rendered frames that were written as one, turned pictures, and every broken line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from muskie.data.scene import Camera, Frame
from muskie.data.sources.pairs import PairList
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.pair_choice import listed_pairs
from muskie.evaluation.views.posed_views import posed_batches
from muskie.geometry import reproject

HEIGHT, WIDTH = 48, 64
ROOMS = SyntheticRooms(scenes=2, frames=24, image_size=(HEIGHT, WIDTH))
EYE = " ".join(map(str, np.eye(4).ravel()))
PLAIN = f"50 0 32 0 50 24 0 0 1 50 0 32 0 50 24 0 0 1 {EYE}"
"""Cameras of a line whose pictures have 64 x 48 pixels."""


def shot(number: int, room: int = 0) -> Frame:
    return ROOMS.read(ROOMS.scene(room), f"{number:06d}", geometry=True)


def camera(frame: Frame) -> Camera:
    assert frame.camera is not None
    return frame.camera


def as_text(matrix: np.ndarray, digits: int = 9) -> str:
    return " ".join(f"{number:.{digits}f}" for number in matrix.ravel())


def stated(intrinsics: np.ndarray) -> str:
    """Intrinsics as lists state them: the first pixel's centre is at 0."""
    moved = intrinsics.copy()
    moved[:2, 2] -= 0.5
    return as_text(moved)


def clockwise(camera: Camera, turns: int) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics and cam2world of a picture that lies turned clockwise: what was at the top is at its right.

    Its x axis is the old -y, its y axis the old x. Pixel (x, y) is now at (H - y, x).
    """
    matrix, pose, (height, width) = camera.intrinsics, camera.cam2world, (HEIGHT, WIDTH)
    for _ in range(turns):
        (fx, _, cx), (_, fy, cy), _ = matrix
        matrix = np.array([[fy, 0, height - cy], [0, fx, cx], [0, 0, 1]])
        pose = pose.copy()
        pose[:3, 0], pose[:3, 1] = -pose[:3, 1], pose[:3, 0].copy()
        height, width = width, height
    return matrix, pose


def write_pair(
    root: Path, names: tuple[str, str], numbers: tuple[int, int] = (0, 12), turns: tuple[int, int] = (0, 0), room: int = 0
) -> str:
    """Writes two frames of a room, turned clockwise; their line."""
    cameras = []
    for name, number, count in zip(names, numbers, turns, strict=True):
        frame = shot(number, room)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rot90(np.asarray(frame.image), -count)).save(root / name)
        cameras.append(clockwise(camera(frame), count))
    (first, pose), (second, other_pose) = cameras
    to_second = np.linalg.inv(other_pose) @ pose
    return f"{names[0]} {names[1]} {turns[0]} {turns[1]} {stated(first)} {stated(second)} {as_text(to_second)}"


def listed(root: Path, *lines: str, **arguments: object) -> PairList:
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return PairList(root, root / "pairs.txt", **arguments)  # type: ignore[arg-type]


def both(source: PairList, index: int = 0) -> tuple[Frame, Frame]:
    scene = source.scene(index)
    one, other = (source.read(scene, name, geometry=True) for name in scene.frames)
    return one, other


def seen_through(pair: tuple[Frame, Frame], numbers: tuple[int, int]) -> float:
    """How much of frame 0's true depth is where the cameras of the list say that frame 1 measured it, of what is inside."""
    depths = [torch.from_numpy(shot(number).depth).double() for number in numbers]
    matrices = [torch.from_numpy(camera(frame).intrinsics) for frame in pair]
    poses = [torch.from_numpy(camera(frame).cam2world) for frame in pair]
    found = reproject(depths[0], matrices[0], poses[0], depths[1], matrices[1], poses[1], tolerance=0.02)
    assert found.inside.double().mean() > 0.3
    return float(found.visible[found.inside].double().mean())


def test_the_matrix_maps_from_the_first_camera_to_the_second(tmp_path: Path) -> None:
    line = write_pair(tmp_path, ("a/0.png", "a/1.png"))
    pair = both(listed(tmp_path, line))
    assert seen_through(pair, (0, 12)) > 0.8
    fields = line.split()
    backwards = np.linalg.inv(np.array(fields[22:], dtype=float).reshape(4, 4))
    wrong = both(listed(tmp_path, " ".join([*fields[:22], as_text(backwards)])))
    assert seen_through(wrong, (0, 12)) < 0.3, "the other way round it does not fit"
    np.testing.assert_allclose(camera(pair[0]).cam2world, np.eye(4), atol=1e-8)
    for frame, number in zip(pair, (0, 12), strict=True):
        np.testing.assert_array_equal(np.asarray(frame.image), np.asarray(shot(number).image))
        np.testing.assert_allclose(camera(frame).intrinsics, camera(shot(number)).intrinsics, atol=1e-8)
        assert frame.depth is not None and frame.depth.shape == (HEIGHT, WIDTH) and not frame.depth.any()


@pytest.mark.parametrize("turns", [(1, 0), (0, 2), (3, 1), (2, 3)])
def test_turned_pictures_are_put_upright_with_their_cameras(tmp_path: Path, turns: tuple[int, int]) -> None:
    source = listed(tmp_path, write_pair(tmp_path, ("a/0.png", "a/1.png"), turns=turns))
    pair = both(source)
    for name, frame, number in zip("01", pair, (0, 12), strict=True):
        np.testing.assert_array_equal(np.asarray(frame.image), np.asarray(shot(number).image))
        np.testing.assert_allclose(camera(frame).intrinsics, camera(shot(number)).intrinsics, atol=1e-8)
        np.testing.assert_array_equal(np.asarray(source.read(source.scene(0), name).image), np.asarray(frame.image))
    relative = np.linalg.inv(camera(pair[1]).cam2world) @ camera(pair[0]).cam2world
    truth = np.linalg.inv(camera(shot(12)).cam2world) @ camera(shot(0)).cam2world
    np.testing.assert_allclose(relative, truth, atol=1e-7)
    assert seen_through(pair, (0, 12)) > 0.8


def test_what_a_file_notes_of_its_orientation_is_not_applied(tmp_path: Path) -> None:
    line = write_pair(tmp_path, ("0.jpg", "1.jpg"))
    notes = Image.Exif()
    notes[ExifTags.Base.Orientation] = 6
    shot(0).image.save(tmp_path / "0.jpg", exif=notes)
    frame = both(listed(tmp_path, line))[0]
    assert frame.image.size == (WIDTH, HEIGHT) and not frame.image.getexif()


def test_the_camera_alone_is_that_of_the_frame(tmp_path: Path) -> None:
    source = listed(tmp_path, write_pair(tmp_path, ("0.png", "1.png"), turns=(1, 2)), first_centre=0.5)
    for name, frame in zip("01", both(source), strict=True):
        alone = source.camera(source.scene(0), name)
        assert alone is not None
        np.testing.assert_array_equal(alone.intrinsics, camera(frame).intrinsics)
        np.testing.assert_array_equal(alone.cam2world, camera(frame).cam2world)
        np.testing.assert_allclose(alone.intrinsics[:2, 2], camera(shot(0)).intrinsics[:2, 2], atol=0.500001)
        assert abs(alone.intrinsics[0, 2] - WIDTH / 2) == pytest.approx(0.5)


def test_intrinsics_may_be_for_another_size(tmp_path: Path) -> None:
    """Those of pictures twice as wide and three times as high."""
    fields = write_pair(tmp_path, ("0.png", "1.png")).split()
    truth = camera(shot(0)).intrinsics
    fields[4:22] = 2 * stated(np.diag([2.0, 3.0, 1.0]) @ truth).split()
    found = both(listed(tmp_path, " ".join(fields), intrinsics_size=[2 * WIDTH, 3 * HEIGHT]))
    for frame in found:
        np.testing.assert_allclose(camera(frame).intrinsics, truth, atol=1e-8)
    source = listed(tmp_path, " ".join(fields))
    with pytest.raises(DataError, match=r"0\.png has 64 x 48 pixels.*\(64, 72\).*data\.intrinsics_size"):
        source.read(source.scene(0), "0", geometry=True)
    assert source.read(source.scene(0), "0").image.size == (WIDTH, HEIGHT), "the picture alone can be read"


def test_rotations_that_were_rounded_become_exact(tmp_path: Path) -> None:
    fields = write_pair(tmp_path, ("0.png", "1.png")).split()
    fields[22:] = [f"{float(number):.3f}" for number in fields[22:]]
    rotation = camera(both(listed(tmp_path, " ".join(fields)))[1]).cam2world[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation.T, np.array(fields[22:34], dtype=float).reshape(3, 4)[:, :3], atol=2e-3)


def test_scannet_is_also_read_as_it_is_exported(tmp_path: Path) -> None:
    def paint(file: Path, grey: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (WIDTH, HEIGHT), grey).save(file)

    def greys() -> list[int]:
        return [int(np.asarray(frame.image).mean().round()) for frame in both(source)]

    paint(tmp_path / "scene0707_00" / "color" / "15.jpg", 50)
    paint(tmp_path / "scene0707_00" / "color" / "0.jpg", 100)
    source = listed(tmp_path, f"scene0707_00_frame-000015.jpg scene0707_00_frame-000000.jpg 0 0 {PLAIN}")
    assert greys() == [50, 100]
    paint(tmp_path / "scene0707_00_frame-000015.jpg", 150)
    assert greys() == [150, 100], "the name in the list goes first"


def test_pairs_of_a_room_lie_side_by_side(tmp_path: Path) -> None:
    shot(0).image.save(tmp_path / "x.png")
    paths = ("scene0001_00_frame-000000.jpg", "a/b/0.png", "scene0002_00/color/0.jpg", "scene0001_01/color/7.jpg", "x.png")
    source = listed(tmp_path, *(f"{path} x.png 0 0 {PLAIN}\n" for path in paths))
    rooms = [(scene.name, scene.room) for scene in map(source.scene, range(len(source)))]
    assert rooms == [
        ("line-0001", "scene0001"),
        ("line-0007", "scene0001"),
        ("line-0003", "a/b"),
        ("line-0005", "scene0002"),
        ("line-0009", "."),
    ]
    assert [one.group for one in listed_pairs(source)[:3]] == ["pairs/scene0001", "pairs/scene0001", "pairs/a/b"]


def test_pairs_become_posed_views(tmp_path: Path) -> None:
    """Cropped to a square of half the height; a pair that cannot be read is left out by name."""
    lines = [write_pair(tmp_path, (f"{n}/0.png", f"{n}/1.png"), room=n) for n in range(2)]
    source = listed(tmp_path, lines[0], f"gone.png 0/0.png 0 0 {PLAIN}", lines[1])
    assert [one.frames for one in listed_pairs(source)] == [("0", "1")] * 3
    batches = list(posed_batches(listed_pairs(source), (24, 24), 2))
    assert [views.numbers for views in batches] == [[0], [2]]
    assert "gone.png" in batches[0].unreadable[0]
    for room, views in enumerate(batches):
        cameras = [camera(shot(number, room)) for number in (0, 12)]
        truth = np.linalg.inv(cameras[1].cam2world) @ cameras[0].cam2world
        relative = torch.linalg.inv(views.cam2world[0, 1]) @ views.cam2world[0, 0]
        np.testing.assert_allclose(relative.numpy(), truth, atol=1e-7)
        centred = np.diag([0.5, 0.5, 1]) @ cameras[0].intrinsics - np.array([[0, 0, (WIDTH - HEIGHT) / 4], [0] * 3, [0] * 3])
        np.testing.assert_allclose(views.intrinsics[0, 0].numpy(), centred, atol=1e-7)
        assert not views.depth.any()


def test_pictures_without_truth_can_be_looked_at(tmp_path: Path) -> None:
    write_pair(tmp_path, ("0.png", "1.png"))
    source = listed(tmp_path, "0.png 1.png", "1.png 0.png 1 0", f"0.png 1.png 0 2 {PLAIN}", poses=False)
    assert [both(source, n)[0].image.size for n in range(3)] == [(64, 48), (48, 64), (64, 48)]
    assert all(frame.camera is None for n in range(3) for frame in both(source, n))
    assert source.camera(source.scene(0), "0") is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0.png", "1 fields; expected 38"),
        (f"0.png 1.png 0 {PLAIN}", "37 fields; expected 38"),
        ("0.png 1.png", "without cameras.*data.poses=false"),
        ("0.png 1.png 0 0", "without cameras.*data.poses=false"),
        (f"0.png 1.png 0 4 {PLAIN}", "turns '0 4'; expected two of 0, 1, 2, 3"),
        (f"0.png 1.png 0 10 {PLAIN}", "turns '0 10'"),
        (f"0.png 1.png 0 0 {PLAIN.replace('32', 'x', 1)}", "'x'.*expected numbers"),
        (f"0.png 1.png 0 0 {PLAIN.replace('50', '-50', 1)}", "K0 = .* is no matrix of intrinsics"),
        (f"0.png 1.png 0 0 {PLAIN.replace('50 0', '50 3', 1)}", "K0 = .* is no matrix of intrinsics"),
        (f"0.png 1.png 0 0 {PLAIN.replace('24', 'nan', 1)}", "K0 = .* is no matrix of intrinsics"),
        (f"0.png 1.png 0 0 {PLAIN.replace(EYE, EYE.replace('1.0', '2.0', 1))}", "T_0to1 = .* is no rigid motion"),
        (f"0.png 1.png 0 0 {PLAIN.replace(EYE, EYE.replace('1.0', '-1.0', 1))}", "T_0to1 = .* is no rigid motion"),
        (f"0.png 1.png 0 0 {PLAIN.replace(EYE, EYE[:-3] + '3.0')}", "T_0to1 = .* is no rigid motion"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    write_pair(tmp_path, ("0.png", "1.png"))
    with pytest.raises(DataError, match=rf"pairs\.txt, line 3: .*{says}"):
        listed(tmp_path, f"0.png 1.png 0 0 {PLAIN}", "", line)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    line = f"a/0.png a/1.png 0 0 {PLAIN}"
    with pytest.raises(DataError, match=r"none of the pictures of .*pairs\.txt .*there is no 'a/0\.png'"):
        listed(tmp_path, line)
    with pytest.raises(DataError, match=r"pairs\.txt names no pair"):
        listed(tmp_path, "", " ")
    with pytest.raises(DataError, match=r"data\.pairs='.*gone\.txt' cannot be read"):
        PairList(tmp_path, tmp_path / "gone.txt")
    with pytest.raises(DataError, match=r"data\.root='.*gone' does not exist"):
        PairList(tmp_path / "gone", tmp_path / "pairs.txt")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(b"no picture")
    source = listed(tmp_path, line)
    for name in "01":
        for read in (source.read, source.camera):
            with pytest.raises(OSError, match=re.escape(str(tmp_path / "a" / f"{name}.png"))):
                read(source.scene(0), name)
    with pytest.raises(DataError, match="no frame '2' of 'line-0001'"):
        source.read(source.scene(0), "2")


@pytest.mark.parametrize("wrong", [{"intrinsics_size": [1296]}, {"intrinsics_size": [0, 5]}, {"first_centre": 0.4}])
def test_arguments_out_of_range_are_named(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"data.{next(iter(wrong))}="):
        listed(tmp_path, f"0.png 1.png 0 0 {PLAIN}", **wrong)
