"""BlendedMVS: its three layouts on disk, and the geometry of rendered frames that were written in them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from layouts.blendedmvs import DEPTH, SIZE, save_pfm, write, write_prepared
from layouts.waymo import write_exr
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.sources.blendedmvs import VALID, BlendedMVS
from muskie.errors import ConfigError, DataError

SHOTS = [shoot(number, *SIZE) for number in (0, 4)]
SCENE = "5c1f33f1d33e1f2e4aa6dda4"


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    check(BlendedMVS(**write(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_geometry_of_the_prepared_layout(tmp_path: Path) -> None:
    check(BlendedMVS(**write_prepared(tmp_path, SHOTS)), SHOTS, depth=DEPTH)


def test_pictures_alone_have_no_geometry(tmp_path: Path) -> None:
    (tmp_path / SCENE).mkdir()
    for number in (10, 2):
        Image.fromarray(SHOTS[0].rgb).save(tmp_path / SCENE / f"{number}.png")
    source = BlendedMVS(tmp_path, split="all")
    assert list(source.scene(0).frames) == ["2.png", "10.png"]
    frame = frames(source)[0]
    assert frame.depth is None and frame.camera is None and source.camera(source.scene(0), "2.png") is None
    np.testing.assert_array_equal(np.asarray(frame.image), SHOTS[0].rgb)


def test_masked_pictures_are_left_out(tmp_path: Path) -> None:
    source = BlendedMVS(**write(tmp_path, SHOTS))
    assert list(source.scene(0).frames) == ["blended_images/00000000.jpg", "blended_images/00000001.jpg"]
    assert (tmp_path / SCENE / "blended_images" / "00000001_masked.jpg").is_file()


def test_splits_are_the_data_sets_own(tmp_path: Path) -> None:
    assert len(VALID) == 7
    valid = sorted(VALID)[3]
    for name in (SCENE, valid, "000000000000000000000001"):
        write(tmp_path, SHOTS[:1], name)
    (tmp_path / "lists").mkdir()  # without pictures
    assert set(names(BlendedMVS(tmp_path, split="all"))) == {SCENE, valid, "000000000000000000000001"}
    assert set(names(BlendedMVS(tmp_path, split="train"))) == {SCENE, "000000000000000000000001"}
    assert names(BlendedMVS(tmp_path, split="valid")) == [valid]
    assert names(BlendedMVS(tmp_path, split="train", scenes=[SCENE])) == [SCENE]
    with pytest.raises(ConfigError, match=r"data\.split must be given: one of 'train', 'valid', 'all'"):
        BlendedMVS(tmp_path)
    with pytest.raises(DataError, match=rf"no '{SCENE}' among the 1 scenes of data\.split='valid' found there"):
        BlendedMVS(tmp_path, split="valid", scenes=[SCENE])


def test_scenes_of_few_pictures_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, SHOTS, "a")
    write(tmp_path, SHOTS[:1], "b")
    source = BlendedMVS(tmp_path, split="all", min_images=2)
    assert names(source) == ["a"] and source.left_out == 1


def test_depth_that_is_none_is_unknown_and_other_sizes_are_looked_up(tmp_path: Path) -> None:
    arguments = write(tmp_path, SHOTS)
    depth = np.full((SIZE[0] // 2, SIZE[1] // 2), 7.5, dtype=np.float32)
    depth[0, :5] = np.nan, np.inf, -1, 0, 3
    save_pfm(tmp_path / SCENE / "rendered_depth_maps" / "00000000.pfm", depth)
    found = frames(BlendedMVS(**arguments))[0].depth
    assert found is not None and found.shape == SIZE and (found[2:] == 7.5).all()
    assert found[0, :12].tolist() == [0] * 8 + [3, 3, 7.5, 7.5] and (found[1] == found[0]).all()


def test_depth_of_prepared_scenes_that_is_none_is_unknown(tmp_path: Path) -> None:
    arguments = write_prepared(tmp_path, SHOTS)
    depth = np.full(SIZE, 7.5)
    depth[0, :4] = np.nan, np.inf, -1, 0
    write_exr(tmp_path / SCENE / "00000000.exr", depth)
    found = frames(BlendedMVS(**arguments))[0].depth
    assert found is not None and found[0, :5].tolist() == [0, 0, 0, 0, 7.5] and found.dtype == np.float32


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    for layout, camera, depth in (
        (write, "cams/00000000_cam.txt", "rendered_depth_maps/00000001.pfm"),
        (write_prepared, "00000000.npz", "00000001.exr"),
    ):
        arguments = layout(tmp_path / layout.__name__, SHOTS)
        (tmp_path / layout.__name__ / SCENE / camera).unlink()
        (tmp_path / layout.__name__ / SCENE / depth).unlink()
        first, second = frames(BlendedMVS(**arguments))
        assert first.camera is None and first.depth is not None
        assert second.camera is not None and second.depth is None


@pytest.mark.parametrize("change", [("extrinsic", "pose"), ("intrinsic", ""), ("0.000000000000 0.", "nan 0.")])
def test_broken_cameras_are_named(tmp_path: Path, change: tuple[str, str]) -> None:
    source = BlendedMVS(**write(tmp_path, SHOTS))
    file = tmp_path / SCENE / "cams" / "00000000_cam.txt"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(OSError, match=r"00000000_cam\.txt: expected 'extrinsic', a rigid 4x4 matrix"):
        source.camera(source.scene(0), source.scene(0).frames[0])


BROKEN = {
    "nan": {"t_cam2world": np.array([0, np.nan, 0])},
    "scaled": {"R_cam2world": 2 * np.eye(3)},
    "mirrored": {"R_cam2world": np.diag([1.0, 1.0, -1.0])},
    "no focal length": {"intrinsics": np.zeros((3, 3))},
    "pickled": {"intrinsics": np.array([{}], dtype=object)},
    "another shape": {"t_cam2world": np.zeros(4)},
}


@pytest.mark.parametrize("fault", [*BROKEN, "cut off", "lacks one"])
def test_broken_prepared_cameras_are_named(tmp_path: Path, fault: str) -> None:
    source = BlendedMVS(**write_prepared(tmp_path, SHOTS))
    file = tmp_path / SCENE / "00000000.npz"
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files if (fault, name) != ("lacks one", "R_cam2world")}
    np.savez(file, **(arrays | BROKEN.get(fault, {})))
    if fault == "cut off":
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(OSError, match=r"00000000\.npz: expected"):
        frames(source)


def test_broken_depth_is_named(tmp_path: Path) -> None:
    source = BlendedMVS(**write(tmp_path, SHOTS))
    file = tmp_path / SCENE / "rendered_depth_maps" / "00000000.pfm"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(OSError, match=r"00000000\.pfm: .* bytes of pixels; expected 96x72"):
        frames(source)
    save_pfm(file, np.ones((96, 72), dtype=np.float32))
    with pytest.raises(OSError, match=r"00000000\.pfm: 72x96 .*another aspect ratio"):
        frames(source)


def test_only_depth_needs_openexr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = BlendedMVS(**write_prepared(tmp_path, SHOTS))
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    scene = source.scene(0)
    assert source.read(scene, scene.frames[0]).image.size == SIZE[::-1] and source.camera(scene, scene.frames[0]) is not None
    with pytest.raises(ConfigError, match=r"00000000\.exr: .*pip install OpenEXR"):
        frames(source)


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with BlendedMVS scenes"):
        BlendedMVS(tmp_path / "nowhere", split="all")
    with pytest.raises(DataError, match=r"no <scene>/blended_images/\*\.jpg .*for folders of plain images use data=folder"):
        BlendedMVS(tmp_path, split="all")
    with pytest.raises(DataError, match=r"data\.split='valid' has none of the scenes found there; they are 59817e4a"):
        BlendedMVS(tmp_path, split="valid")
    write(tmp_path / "part" / "twice", SHOTS[:1])
    with pytest.raises(DataError, match=r"blended_images'; the folders of scenes must lie in data\.root"):
        BlendedMVS(tmp_path, split="all")
    with pytest.raises(DataError, match=rf"this is a scene: give the folder above, '{re.escape(str(tmp_path))}/part/twice'"):
        BlendedMVS(tmp_path / "part" / "twice" / SCENE, split="all")
    write_prepared(tmp_path / "prepared", SHOTS[:1])
    with pytest.raises(DataError, match=r"this is a scene: give the folder above, '.*/prepared'"):
        BlendedMVS(tmp_path / "prepared" / SCENE, split="all")
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "BlendedMVS.zip.001").touch()
    with pytest.raises(DataError, match=r"unpack the \.zip files there"):
        BlendedMVS(tmp_path / "zipped", split="all")
