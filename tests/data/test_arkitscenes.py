"""ARKitScenes: its layouts on disk, and the geometry of rendered frames that were written in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts.arkitscenes import DEPTH, SIZE, START, pincam, traj_line, write
from PIL import Image
from walk import intrinsics, shoot
from written import check, frames, names

from muskie.data.sources.arkitscenes import ARKitScenes
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
ID = "47333462"
BASE = f"Training/{ID}"


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(ARKitScenes(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_geometry_of_what_3dod_unpacks(tmp_path: Path) -> None:
    source = ARKitScenes(**write(tmp_path, SHOTS, kind="lowres_wide", below=f"{ID}_frames"))
    assert source.scene(0).frames[0] == f"{ID}_frames/lowres_wide/{ID}_6845.750.png"
    check(source, SHOTS, depth=DEPTH)


def test_geometry_of_the_prepared_layout(tmp_path: Path) -> None:
    """With camera files beside; or where they are unpacked from 3dod."""
    write(tmp_path, SHOTS, ID, suffix=".jpg")
    check(ARKitScenes(tmp_path), SHOTS, depth=DEPTH)
    (tmp_path / ID / f"{ID}_frames").mkdir()
    (tmp_path / ID / "vga_wide_intrinsics").rename(tmp_path / ID / f"{ID}_frames" / "lowres_wide_intrinsics")
    (tmp_path / ID / "lowres_wide.traj").rename(tmp_path / ID / f"{ID}_frames" / "lowres_wide.traj")
    check(ARKitScenes(tmp_path), SHOTS, depth=DEPTH)


def test_pickles_of_cameras_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, SHOTS, ID)
    (tmp_path / ID / "lowres_wide.traj").unlink()
    for kind in ("pose", "intrinsics"):  # would raise, if it were loaded
        (tmp_path / f"image2{kind}_map.pkl").write_bytes(b"cbuiltins\nexec\n(S'raise KeyboardInterrupt'\ntR.")
    read = frames(ARKitScenes(tmp_path))
    assert [frame.camera for frame in read] == [None, None] and all(frame.depth is not None for frame in read)


def test_low_resolution_depth_and_intrinsics_serve_larger_pictures(tmp_path: Path) -> None:
    """As in raw: pictures of 2.5 times the size of depth, whose own intrinsics are not there."""
    arguments = write(tmp_path, SHOTS)
    (tmp_path / BASE / "lowres_wide_intrinsics").mkdir()
    for number, file in enumerate(sorted((tmp_path / BASE / "vga_wide_intrinsics").iterdir())):
        low = shoot(4 * number, 24, 32)
        (tmp_path / BASE / "lowres_wide_intrinsics" / file.name).write_text(pincam(low))
        file.unlink()
        millimetres = np.round(1000 * low.depth).astype(np.uint16)
        Image.fromarray(millimetres).save(tmp_path / BASE / "lowres_depth" / f"{file.stem}.png")
    for number, frame in enumerate(frames(ARKitScenes(**arguments))):
        assert frame.camera is not None and frame.depth is not None and frame.depth.shape == SIZE
        np.testing.assert_allclose(frame.camera.intrinsics, intrinsics(*SIZE), atol=1e-6)
        rows, columns = (np.floor((np.arange(n) + 0.5) / 2.5).astype(int) for n in SIZE)
        np.testing.assert_allclose(frame.depth, shoot(4 * number, 24, 32).depth[np.ix_(rows, columns)], atol=DEPTH)


@pytest.mark.parametrize("kind", ["vga_wide", "lowres_wide"])
def test_intrinsics_of_the_pictures_own_size_go_first(tmp_path: Path, kind: str) -> None:
    arguments = write(tmp_path, SHOTS, kind=kind)
    other = "lowres_wide" if kind == "vga_wide" else "vga_wide"
    write(tmp_path, [shot._replace(intrinsics=shot.intrinsics * 1.5) for shot in SHOTS], kind=other)
    check(ARKitScenes(**arguments, pictures=kind), SHOTS, depth=DEPTH)


def test_poses_in_between_are_interpolated(tmp_path: Path) -> None:
    """A camera that turns and moves evenly: at a quarter of the way it has turned and moved a quarter."""
    arguments = write(tmp_path, [SHOTS[0]] * 5, times=[START + dt for dt in (0, 0.025, 0.1, 0.104, 0.106)])

    def pose(share: float) -> np.ndarray:
        matrix, angle = np.eye(4), 0.3 + 0.8 * share
        matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix[:3, 3] = np.array([1, 2, 3]) + share * np.array([0.4, -0.2, 0.1])
        return matrix

    lines = [traj_line(START + share / 10, pose(share)) for share in (1, 0)]
    (tmp_path / BASE / "lowres_wide.traj").write_text("\n".join([*lines, "6845.80 nan nan nan nan nan nan"]))
    cameras = [frame.camera for frame in frames(ARKitScenes(**arguments))]
    for camera, share in zip(cameras[:4], (0, 0.25, 1, 1), strict=True):  # the fourth misses the last pose by 4 ms
        assert camera is not None
        np.testing.assert_allclose(camera.cam2world, pose(share), atol=1e-9)
    assert cameras[4] is None


def test_nothing_is_known_between_poses_far_apart(tmp_path: Path) -> None:
    arguments = write(tmp_path, [SHOTS[0]] * 3, times=[START, START + 0.2, START + 0.4])
    lines = [traj_line(START + dt, SHOTS[0].cam2world) for dt in (0, 0.4)]
    (tmp_path / BASE / "lowres_wide.traj").write_text("\n".join(lines))
    assert [frame.camera is None for frame in frames(ARKitScenes(**arguments))] == [False, True, False]


def test_depth_and_intrinsics_may_miss_a_picture_by_five_milliseconds(tmp_path: Path) -> None:
    arguments = write(tmp_path, SHOTS)
    for folder, suffix in (("lowres_depth", ".png"), ("vga_wide_intrinsics", ".pincam")):
        for old, new in (("6845.750", "6845.755"), ("6845.850", "6845.844")):
            (tmp_path / BASE / folder / f"{ID}_{old}{suffix}").rename(tmp_path / BASE / folder / f"{ID}_{new}{suffix}")
    first, second = frames(ARKitScenes(**arguments))
    assert first.depth is not None and first.camera is not None
    assert np.abs(first.depth - SHOTS[0].depth).max() <= DEPTH + 1e-6
    assert second.depth is None and second.camera is None


def test_splits_and_scenes_choose(tmp_path: Path) -> None:
    for name in ("Training/42", "Training/41", "Validation/43"):
        write(tmp_path, SHOTS[:1], name)
    write(tmp_path, SHOTS[:1], "Training/41", kind="lowres_wide")
    (tmp_path / "Training" / "44").mkdir()
    assert names(ARKitScenes(tmp_path, split="train")) == ["Training/41", "Training/42"]
    assert names(ARKitScenes(tmp_path, split="valid")) == ["Validation/43"]
    assert names(ARKitScenes(tmp_path, split="all", scenes=["43", "41"])) == ["Training/41", "Validation/43"]
    assert (
        names(ARKitScenes(tmp_path / "Training")) == names(ARKitScenes(tmp_path / "Training", split="train")) == ["41", "42"]
    )
    low = ARKitScenes(tmp_path, split="train", pictures="lowres_wide")
    assert names(low) == ["Training/41"] and low.scene(0).frames[0].startswith("lowres_wide/")
    with pytest.raises(ConfigError, match=r"data\.split must be given: one of 'train', 'valid', 'all'"):
        ARKitScenes(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.split='valid': .*Training' has no folders 'Training' and 'Validation'"):
        ARKitScenes(tmp_path / "Training", split="valid")
    with pytest.raises(ConfigError, match=r"data\.pictures='wide': expected one of 'vga_wide', 'lowres_wide', or null"):
        ARKitScenes(tmp_path, split="all", pictures="wide")
    with pytest.raises(DataError, match=r"no '45' among the 3 recordings found there"):
        ARKitScenes(tmp_path, split="train", scenes=["45"])
    (tmp_path / "Validation").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"data\.split='valid': there is no folder 'Validation'"):
        ARKitScenes(tmp_path, split="valid")


def test_recordings_of_one_room_lie_side_by_side(tmp_path: Path) -> None:
    for number in (41, 42, 43, 44):
        write(tmp_path / "raw", SHOTS[:1], f"Training/{number}")
    assert [scene.room for scene in map(ARKitScenes(tmp_path / "raw", split="all").scene, range(4))] == [None] * 4
    table = "video_id,visit_id,fold\n41,7.0,Training\n42,,Training\n43,7,Training\n44,NA,Training\n"
    (tmp_path / "raw" / "metadata.csv").write_text(table)
    for source in (ARKitScenes(tmp_path / "raw", split="all"), ARKitScenes(tmp_path / "raw" / "Training")):
        assert [name[-2:] for name in names(source)] == ["41", "43", "42", "44"]
        scenes = [source.scene(number) for number in range(4)]
        assert scenes[0].shows_the_same_as(scenes[1]) and scenes[2].room is scenes[3].room is None


BROKEN = {
    "a word": ("lowres_wide.traj", "6845.75 0 0 zero 0 0 0\n", r"lowres_wide\.traj: .*expected seven numbers a line"),
    "six numbers": ("lowres_wide.traj", "6845.75 0 0 0 0 0\n", r"lowres_wide\.traj: 6 numbers a line; expected seven"),
    "cut off": ("vga_wide_intrinsics", "640 480 530", r"pincam: expected six numbers"),
    "no focal length": ("vga_wide_intrinsics", "640 480 0 530 320 240", r"pincam: expected six numbers"),
    "nan": ("vga_wide_intrinsics", "640 480 530 530 nan 240", r"pincam: expected six numbers"),
    "another picture": ("vga_wide_intrinsics", "640 360 530 530 320 180", r"its camera is for a picture of 640x360"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_cameras_are_named(tmp_path: Path, fault: str) -> None:
    source = ARKitScenes(**write(tmp_path, SHOTS))
    below, text, message = BROKEN[fault]
    file = tmp_path / BASE / below
    for written in (file,) if file.suffix else file.iterdir():
        written.write_text(text)
    with pytest.raises(OSError, match=message):
        source.camera(source.scene(0), source.scene(0).frames[0])


def test_broken_depth_is_named(tmp_path: Path) -> None:
    source = ARKitScenes(**write(tmp_path, SHOTS))
    file = tmp_path / BASE / "lowres_depth" / f"{ID}_6845.750.png"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(OSError, match=rf"{ID}_6845\.750\.png: cannot be decoded"):
        frames(source)


def test_an_empty_trajectory_is_none(tmp_path: Path) -> None:
    source = ARKitScenes(**write(tmp_path, SHOTS))
    (tmp_path / BASE / "lowres_wide.traj").write_text("nan nan nan nan nan nan nan\n")
    assert [frame.camera for frame in frames(source)] == [None, None]


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with ARKitScenes recordings"):
        ARKitScenes(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <id>/vga_wide .* found there; for folders of plain images use data=folder"):
        ARKitScenes(tmp_path)
    write(tmp_path / "raw", SHOTS[:1])
    above = re.escape(str(tmp_path))
    with pytest.raises(DataError, match=rf"give the folder '{above}/raw'"):
        ARKitScenes(tmp_path)
    with pytest.raises(DataError, match=rf"this is a recording: give the folder above, '{above}/raw/Training'"):
        ARKitScenes(tmp_path / "raw" / BASE)
    with pytest.raises(DataError, match=r"no recording with data\.pictures='lowres_wide' found there"):
        ARKitScenes(tmp_path / "raw", split="all", pictures="lowres_wide")
    (tmp_path / "zipped" / "Validation" / "43").mkdir(parents=True)
    (tmp_path / "zipped" / "Validation" / "43" / "vga_wide.zip").touch()
    with pytest.raises(DataError, match=r"unpack the \.zip files there"):
        ARKitScenes(tmp_path / "zipped", split="all")
