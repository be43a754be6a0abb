"""DL3DV-10K: the layout on disk, and the cameras of rendered frames that were written in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts.dl3dv import DEPTH, SCENE, SIZE, transforms, write, write_scene
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.dl3dv import DL3DV
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
HASHES = [digit * 64 for digit in "0123456789"]


def test_cameras_are_those_of_the_rendered_room(tmp_path: Path) -> None:
    check(DL3DV(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_a_lens_that_does_not_distort_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    plain, through = (frames(DL3DV(tmp_path, undistort=undistort)) for undistort in (False, True))
    for one, other in zip(plain, through, strict=True):
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(other.image))


def test_pictures_taken_through_their_lens_are_those_of_the_camera(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    lens, (height, width), matrix = (
        {"k1": 0.12, "k2": -0.03, "p1": 0.01, "p2": -0.008},
        (96, 128),
        np.array([70.0, 66, 60, 50]),
    )
    taken_by = pycolmap.Camera(model="OPENCV", width=width, height=height, params=[*matrix, *lens.values()])

    def shown(rays: np.ndarray) -> np.ndarray:
        """A smooth world, [N, 3], of rays [N, 2]."""
        x, y = rays.T
        return 127 + 60 * np.stack([np.sin(4 * x + y), np.cos(3 * y - x), np.sin(3 * x * y)], axis=-1)

    rows, columns = np.mgrid[:height, :width] + 0.5
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=-1)
    distorted = shown(np.asarray(taken_by.cam_from_img(pixels))[:, :2]).reshape(height, width, 3)
    folder = tmp_path / SCENE
    shot = shoot(0, height, width)._replace(rgb=np.round(distorted).astype(np.uint8))
    write_scene(folder, [shot])
    stated = transforms([shot], **lens) | {"w": width, "h": height}
    stated |= dict(zip(("fl_x", "fl_y", "cx", "cy"), matrix.tolist(), strict=True))
    (folder / "transforms.json").write_text(json.dumps(stated))

    source = DL3DV(tmp_path, undistort=True)
    (frame,) = frames(source)
    rays = (pixels - matrix[2:]) / matrix[:2]
    seen = np.asarray(taken_by.img_from_cam(np.concatenate([rays, np.ones_like(rays[:, :1])], axis=-1)))
    inside = ((seen > 1) & (seen < [width - 1, height - 1])).all(-1)
    outside = ((seen < -1) | (seen > [width + 1, height + 1])).any(-1)
    found = np.asarray(frame.image, dtype=float).reshape(-1, 3)
    assert inside.mean() > 0.7 and outside.mean() > 0.01
    assert np.abs(found - shown(rays))[inside].max() < 2 and not found[outside].any()
    # As it lies there, the picture shows other things near its corners.
    assert np.abs(distorted.reshape(-1, 3) - shown(rays))[inside].max() > 10
    plain = source.read(source.scene(0), source.scene(0).frames[0], at_least=16)
    np.testing.assert_array_equal(np.asarray(plain.image), np.asarray(frame.image))
    kept = DL3DV(tmp_path).read(source.scene(0), source.scene(0).frames[0]).image
    np.testing.assert_array_equal(np.asarray(kept), shot.rgb)


def test_the_smallest_pictures_are_taken_or_those_asked_for(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    larger = [shoot(number, 2 * SIZE[0], 2 * SIZE[1]) for number in (0, 4)]
    write_scene(tmp_path / "2K" / HASHES[0], larger, images="images_4", w=8 * SIZE[1], h=8 * SIZE[0])
    stated = transforms(larger, shrunk=4)
    for folder in (tmp_path / SCENE, tmp_path / "2K" / HASHES[0]):
        (folder / "images_4").mkdir(exist_ok=True)
        for number, shot in enumerate(larger, 1):
            Image.fromarray(shot.rgb).save(folder / "images_4" / f"frame_{number:05d}.png")
        (folder / "transforms.json").write_text(json.dumps(stated))
    source = DL3DV(tmp_path)
    assert names(source) == [SCENE, f"2K/{HASHES[0]}"]
    assert [source.scene(number).frames[0] for number in (0, 1)] == ["images_8/frame_00001.png", "images_4/frame_00001.png"]
    check(source, SHOTS, depth=DEPTH)
    check(DL3DV(tmp_path, images="images_4"), larger, depth=DEPTH)
    assert names(DL3DV(tmp_path, images="images_8")) == [SCENE]
    with pytest.raises(ConfigError, match=r"data\.images='images_3': expected one of 'images_8', 'images_4', .*, or null"):
        DL3DV(tmp_path, images="images_3")


@pytest.mark.parametrize("layout", ["1K/{0}", "{0}", "{0}/nerfstudio", "{0}/colmap", "1K/{0}/{0}"])
def test_other_downloads_lie_deeper_or_higher(tmp_path: Path, layout: str) -> None:
    write_scene(tmp_path / layout.format(HASHES[3]), SHOTS)
    source = DL3DV(tmp_path)
    assert names(source) == [f"1K/{HASHES[3]}" if layout.startswith("1K") else HASHES[3]]
    check(source, SHOTS, depth=DEPTH)


def test_scenes_and_frames_are_in_natural_order_and_some_are_left_out(tmp_path: Path) -> None:
    for part, number in (("10K", 1), ("2K", 5), ("2K", 4)):
        write_scene(tmp_path / part / HASHES[number], SHOTS[:1] * 11)
    (tmp_path / "2K" / "notes").mkdir()
    (tmp_path / ".cache" / HASHES[7] / "images_8").mkdir(parents=True)
    source = DL3DV(tmp_path)
    assert names(source) == [f"2K/{HASHES[4]}", f"2K/{HASHES[5]}", f"10K/{HASHES[1]}"]
    assert list(source.scene(0).frames) == [f"images_8/frame_{number:05d}.png" for number in range(1, 12)]
    assert source.window == 64
    table = tmp_path / "benchmark-meta.csv"
    table.write_text(f"hash,batch\n{HASHES[5]},2K\n{HASHES[9]},7K\n")
    assert names(DL3DV(tmp_path, without=table)) == [f"2K/{HASHES[4]}", f"10K/{HASHES[1]}"]
    table.write_text("\n".join(HASHES))
    with pytest.raises(DataError, match=r"found there but those that data\.without leaves out"):
        DL3DV(tmp_path, without=table)
    table.write_text("hash\nabc\n")
    with pytest.raises(DataError, match=r"data\.without=.*benchmark-meta\.csv': no hash of a scene"):
        DL3DV(tmp_path, without=table)
    with pytest.raises(DataError, match=r"data\.without=.*nowhere\.csv': No such file"):
        DL3DV(tmp_path, without=tmp_path / "nowhere.csv")


def test_a_frame_that_colmap_has_not_placed_has_no_camera(tmp_path: Path) -> None:
    write(tmp_path, [*SHOTS, shoot(8, *SIZE)])
    file = tmp_path / SCENE / "transforms.json"
    stated = json.loads(file.read_text())
    del stated["frames"][1]
    file.write_text(json.dumps(stated))
    cameras = [frame.camera for frame in frames(DL3DV(tmp_path))]
    assert [camera is None for camera in cameras] == [False, True, False] and cameras[2] is not None
    np.testing.assert_allclose(cameras[2].cam2world, shoot(8, *SIZE).cam2world, atol=1e-9)


def test_without_transforms_there_are_pictures_alone(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    (tmp_path / SCENE / "transforms.json").unlink()
    for undistort in (False, True):
        read = frames(DL3DV(tmp_path, undistort=undistort))
        assert [frame.camera for frame in read] == [None, None]
        np.testing.assert_array_equal(np.asarray(read[0].image), SHOTS[0].rgb)


def _broken(fault: str, stated: dict[str, Any]) -> None:
    """Breaks what is stated of the first frame, or of all."""
    matrix = stated["frames"][0]["transform_matrix"]
    match fault:
        case "NaN":
            matrix[0][3] = float("nan")
        case "scaled":
            stated["frames"][0]["transform_matrix"] = (np.diag([2.0, 2, 2, 1]) @ matrix).tolist()
        case "mirrored":
            stated["frames"][0]["transform_matrix"] = (np.diag([-1.0, 1, 1, 1]) @ matrix).tolist()
        case "three rows":
            del matrix[3]
        case "last row":
            matrix[3] = [0, 0, 1, 1]
        case "no focal length":
            stated["fl_y"] = 0.0
        case "no width":
            del stated["w"]
        case "fisheye":
            stated["camera_model"] = "OPENCV_FISHEYE"
        case "another picture":
            stated["w"] *= 2
        case "no frames":
            stated["frames"] = 7


BROKEN = {
    **dict.fromkeys(
        ("NaN", "scaled", "mirrored", "three rows", "last row", "no focal length"), "frame_00001.png is not usable"
    ),
    "no width": r"no 'w'; expected w, h, fl_x",
    "fisheye": r"camera_model='OPENCV_FISHEYE'; expected one of 'OPENCV'",
    "another picture": r"its camera is for a picture of 1024x384, another aspect ratio",
    "no frames": r"expected w, h, fl_x, fl_y, cx, cy and frames",
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_camera_is_named_when_it_is_read(tmp_path: Path, fault: str) -> None:
    write(tmp_path, SHOTS)
    file = tmp_path / SCENE / "transforms.json"
    stated = json.loads(file.read_text())
    _broken(fault, stated)
    file.write_text(json.dumps(stated))
    source = DL3DV(tmp_path)
    for call in (source.camera, lambda scene, frame: source.read(scene, frame, geometry=True)):
        with pytest.raises(OSError, match=BROKEN[fault]):
            call(source.scene(0), "images_8/frame_00001.png")


def test_files_that_are_cut_off_are_named(tmp_path: Path) -> None:
    write(tmp_path, SHOTS)
    source = DL3DV(tmp_path)
    (scene,) = (source.scene(number) for number in range(len(source)))
    file = tmp_path / SCENE / "transforms.json"
    file.write_text(file.read_text()[:200])
    with pytest.raises(OSError, match=r"transforms\.json: .*; expected w, h, fl_x"):
        source.camera(scene, scene.frames[0])
    picture = source.file(scene, scene.frames[0])
    picture.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(OSError, match=r"frame_00001\.png"):
        source.read(scene, scene.frames[0])


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no 1K/<hash>/images_8/frame_00001\.png found there; for folders of plain images"):
        DL3DV(tmp_path)
    (tmp_path / "1K").mkdir()
    (tmp_path / "1K" / f"{HASHES[0]}.zip").touch()
    with pytest.raises(DataError, match=r"unpack the archives"):
        DL3DV(tmp_path)
    write(tmp_path, SHOTS)
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{re.escape(str(tmp_path / '1K'))}'"):
        DL3DV(tmp_path / SCENE)
    with pytest.raises(DataError, match=r"no 1K/<hash>/images_2/.*scenes there have 'images_8': give that as data\.images"):
        DL3DV(tmp_path, images="images_2")
    with pytest.raises(DataError, match=r"no scene of data\.min_images=3 images or more; the largest has 2"):
        DL3DV(tmp_path, min_images=3)
