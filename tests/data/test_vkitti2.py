"""Virtual KITTI 2: the layout on disk, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts.vkitti2 import DEPTH, SIZE, write
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.vkitti2 import VirtualKITTI2
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
CLONE = Path("Scene01") / "clone"


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(VirtualKITTI2(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_each_camera_has_its_own_poses_and_depth(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    write(tmp_path, SHOTS[::-1], camera=1)
    source = VirtualKITTI2(tmp_path)
    assert names(source) == ["Scene01/clone/Camera_0", "Scene01/clone/Camera_1"]
    for left, right in zip(frames(source, 0), frames(source, 1)[::-1], strict=True):
        assert left.camera is not None and right.camera is not None
        np.testing.assert_array_equal(left.camera.cam2world, right.camera.cam2world)
        np.testing.assert_array_equal(left.depth, right.depth)
    check(VirtualKITTI2(tmp_path, cameras=[1]), SHOTS[::-1], depth=DEPTH)


def test_pixel_centres_are_moved_from_integers(tmp_path: Path) -> None:
    write(tmp_path, SHOTS[:1])
    (tmp_path / CLONE / "intrinsic.txt").write_text("frame cameraID K\n0 0 725.0087 725.0087 620.5 187\n")
    camera = frames(VirtualKITTI2(tmp_path))[0].camera
    assert camera is not None  # the middle of the published pictures, whose third these are
    np.testing.assert_allclose(camera.intrinsics, [[725.0087 / 3, 0, 207], [0, 725.0087 / 3, 62.5], [0, 0, 1]])


def test_depth_is_metres_and_unknown_far_away(tmp_path: Path) -> None:
    write(tmp_path, SHOTS[:1])
    centimetres = np.full(SIZE, 1234, dtype=np.uint16)
    centimetres[0, :5] = [0, 1, 8000, 8001, 65535]
    Image.fromarray(centimetres).save(tmp_path / CLONE / "frames" / "depth" / "Camera_0" / "depth_00000.png")
    depth = frames(VirtualKITTI2(tmp_path))[0].depth
    assert depth is not None
    np.testing.assert_allclose(depth[0, :6], [0, 0.01, 80, 0, 0, 12.34], rtol=1e-6)
    far = frames(VirtualKITTI2(tmp_path, farthest=1000))[0].depth
    assert far is not None
    np.testing.assert_allclose(far[0, :5], [0, 0.01, 80, 80.01, 0], rtol=1e-6)


def test_variations_of_a_scene_share_a_room_in_natural_order(tmp_path: Path) -> None:
    for name in ("Scene20/clone", "Scene02/fog", "Scene02/15-deg-left", "Scene02/clone"):
        write(tmp_path, SHOTS[:1], name)
    (tmp_path / "Scene02" / "fog" / "frames" / "rgb" / "Camera_0" / "preview.jpg").touch()
    source = VirtualKITTI2(tmp_path)
    expected = ["Scene02/15-deg-left/Camera_0", "Scene02/clone/Camera_0", "Scene02/fog/Camera_0", "Scene20/clone/Camera_0"]
    assert names(source) == expected
    assert [source.scene(number).room for number in range(4)] == ["Scene02"] * 3 + ["Scene20"]
    assert list(source.scene(2).frames) == ["rgb_00000.jpg"]
    assert names(VirtualKITTI2(tmp_path, variations=["clone"])) == [expected[1], expected[3]]
    assert names(VirtualKITTI2(tmp_path, scenes=["Scene20"])) == expected[3:]


def test_frames_without_a_line_or_a_map_lack_it_alone(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    file = tmp_path / CLONE / "extrinsic.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    (tmp_path / CLONE / "frames" / "depth" / "Camera_0" / "depth_00000.png").unlink()
    read = frames(VirtualKITTI2(tmp_path))
    assert [frame.camera is None for frame in read] == [False, True]
    assert [frame.depth is None for frame in read] == [True, False]


def test_without_its_files_there_is_no_camera(tmp_path: Path) -> None:
    write(tmp_path, SHOTS[:1])
    (tmp_path / CLONE / "intrinsic.txt").unlink()
    assert frames(VirtualKITTI2(tmp_path))[0].camera is None


POSE = "0 0 {} 0 0 0 0 1 0 0 0 0 1 0 0 0 0 {}"
BROKEN = {
    "a word": ("extrinsic.txt", "0 0 far", "expected lines 'frame cameraID r1,1"),
    "a line that is cut off": (
        "extrinsic.txt",
        "0 0 1 0 0 0 0 1",
        r"lines of 8 numbers; expected lines 'frame cameraID r1,1",
    ),
    "a pose that is not finite": (
        "extrinsic.txt",
        POSE.format("nan", 1),
        "the pose of frame 0, camera 0 is no rigid motion",
    ),
    "a pose that scales": ("extrinsic.txt", POSE.format(2, 1), "the pose of frame 0, camera 0 is no rigid motion"),
    "a pose that mirrors": ("extrinsic.txt", POSE.format(-1, 1), "the pose of frame 0, camera 0 is no rigid motion"),
    "a pose without its last row": ("extrinsic.txt", POSE.format(1, 0), "the pose of frame 0, camera 0 is no rigid motion"),
    "no focal length": ("intrinsic.txt", "0 0 0 725 620.5 187", "frame 0, camera 0: expected focal lengths above 0"),
    "a centre that is not finite": ("intrinsic.txt", "0 0 725 725 inf 187", "expected focal lengths above 0 and a centre"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_files_are_named_when_a_frame_is_read(tmp_path: Path, fault: str) -> None:
    write(tmp_path, SHOTS[:1])
    file, line, message = BROKEN[fault]
    (tmp_path / CLONE / file).write_text(f"frame cameraID\n{line}\n")
    source = VirtualKITTI2(tmp_path)
    assert source.read(source.scene(0), "rgb_00000.jpg").camera is None  # pictures alone do not need it
    with pytest.raises(OSError, match=rf"clone/{re.escape(file)}: .*{message}"):
        frames(source)


def test_pictures_and_maps_that_are_cut_off_are_named(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    for index, file in enumerate(("depth/Camera_0/depth_00000.png", "rgb/Camera_0/rgb_00001.jpg")):
        path = tmp_path / CLONE / "frames" / file
        path.write_bytes(path.read_bytes()[:300])
        source = VirtualKITTI2(tmp_path)
        with pytest.raises(OSError, match=path.name):
            source.read(source.scene(0), f"rgb_0000{index}.jpg", geometry=True).image.load()


def test_a_picture_of_another_shape_is_not_given_this_camera(tmp_path: Path) -> None:
    write(tmp_path, SHOTS[:1])
    path = tmp_path / CLONE / "frames" / "rgb" / "Camera_0" / "rgb_00000.jpg"
    Image.open(path).crop((0, 0, 300, 125)).save(path)
    with pytest.raises(OSError, match=r"depth_00000\.png: it is of 414x125 pixels and its picture of 300x125"):
        frames(VirtualKITTI2(tmp_path))


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; give a folder with Virtual KITTI 2 scenes"):
        VirtualKITTI2(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"rgb_00000\.jpg found there; for folders of plain images use data=folder"):
        VirtualKITTI2(tmp_path)
    (tmp_path / "vkitti_2.0.3_rgb.tar").touch()
    with pytest.raises(DataError, match="unpack the archives there"):
        VirtualKITTI2(tmp_path)
    write(tmp_path, SHOTS[:1])
    for inside in ("Scene01", "Scene01/clone"):
        with pytest.raises(DataError, match=rf"this is a part of it: give '{re.escape(str(tmp_path))}'"):
            VirtualKITTI2(tmp_path / inside)
    with pytest.raises(DataError, match=r"no 'Scene1' among the 1 scenes found there; did you mean 'Scene01'\?"):
        VirtualKITTI2(tmp_path, scenes=["Scene1"])
    with pytest.raises(DataError, match=r"of data\.variations=\['foggy'\]; there is 'clone'"):
        VirtualKITTI2(tmp_path, variations=["foggy"])
    with pytest.raises(ConfigError, match=r"data\.cameras: 2; expected 0 \(left\) and 1 \(right\)"):
        VirtualKITTI2(tmp_path, cameras=[2])
    with pytest.raises(ConfigError, match=r"data\.farthest=0: expected metres above 0"):
        VirtualKITTI2(tmp_path, farthest=0)
    (tmp_path / CLONE / "frames" / "rgb" / "Camera_0" / "rgb_00000.jpg").unlink()
    for folder in ("Camera_0", "."):
        (tmp_path / CLONE / "frames" / "rgb" / folder).rmdir()
    (tmp_path / "vkitti_2.0.3_rgb.tar").unlink()
    with pytest.raises(DataError, match=r"the pictures are in an archive of their own, vkitti_2\.0\.3_rgb\.tar"):
        VirtualKITTI2(tmp_path)


def test_pictures_are_decoded_small_where_that_is_enough(tmp_path: Path) -> None:
    source = VirtualKITTI2(**write(tmp_path, SHOTS[:1]))
    frame = source.read(source.scene(0), "rgb_00000.jpg", at_least=32, geometry=True)
    assert frame.image.size < frame.size == SIZE[::-1] and frame.depth is not None and frame.depth.shape == SIZE
