"""DTU: both layouts of MVSNet, splits and lights, PFM images, and the geometry of rendered frames written in them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from layouts import dtu
from layouts.dtu import SIZE as FULL
from layouts.dtu import camera_text, cut, save_pfm, save_picture
from PIL import Image
from walk import intrinsics, shoot
from written import check, frames, names

from muskie.data.sources.dtu import DTU, TEST, UNUSED, VALID
from muskie.data.sources.mvsnet import read_pfm
from muskie.errors import ConfigError, DataError

NUMBERS = (0, 4)
SHOTS = [shoot(number, *FULL) for number in NUMBERS]


def write_prepared(root: Path, raw: bool = False) -> None:
    """View v is the v-th of the shots."""
    dtu.write_prepared(root, SHOTS, raw=raw)


def write_scan(folder: Path) -> None:
    dtu.write_scan(folder, SHOTS)


def test_geometry_is_that_of_the_rendered_room(tmp_path: Path) -> None:
    """Cut pictures with depth and cameras of the whole recordings."""
    write_prepared(tmp_path)
    check(DTU(tmp_path, split="test"), [cut(shoot(number, *FULL)) for number in NUMBERS], depth=dtu.DEPTH)


def test_geometry_of_whole_pictures(tmp_path: Path) -> None:
    write_prepared(tmp_path, raw=True)
    check(DTU(tmp_path, split="all"), [shoot(number, *FULL) for number in NUMBERS], depth=dtu.DEPTH)


def test_geometry_of_a_folder_a_scan(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan1")
    check(DTU(tmp_path, split="test"), [shoot(number, *FULL) for number in NUMBERS], depth=dtu.DEPTH)


def test_cameras_and_depth_at_a_quarter_of_the_cut_will_do(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    for view, number in enumerate(NUMBERS):
        (tmp_path / "Cameras" / f"{view:08d}_cam.txt").unlink()
        (tmp_path / "Depths_raw" / "scan1" / f"depth_map_{view:04d}.pfm").unlink()
        matrix = intrinsics(1200, 1600) / np.array([[2], [2], [1]])
        matrix[:2, 2] -= 80, 44
        matrix[:2] /= 4  # MVSNet's own arithmetic, for 160x128
        (tmp_path / "Cameras" / "train").mkdir(exist_ok=True)
        (tmp_path / "Cameras" / "train" / f"{view:08d}_cam.txt").write_text(camera_text(shoot(number, *FULL), matrix))
        file = tmp_path / "Depths" / "scan1_train" / f"depth_map_{view:04d}.pfm"
        save_pfm(file, cut(shoot(number, *FULL)).depth[2::4, 2::4])
    for frame, number in zip(frames(DTU(tmp_path, split="test")), NUMBERS, strict=True):
        shot = cut(shoot(number, *FULL))
        assert frame.camera is not None and frame.depth is not None
        np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics, atol=1e-6)
        np.testing.assert_allclose(frame.depth[2::4, 2::4], shot.depth[2::4, 2::4], atol=1e-5)
        assert (frame.depth[0:4, 4:8] == frame.depth[2, 6]).all()


def test_published_cameras_of_both_sizes_are_one(tmp_path: Path) -> None:
    """Intrinsics of view 0 as MVSNet gives them for 1600x1200 and, rounded, for 160x128."""
    write_prepared(tmp_path)
    full = np.array([[2892.33, 0, 823.205], [0, 2883.18, 619.071], [0, 0, 1]])
    small = np.array([[361.54125, 0, 82.900625], [0, 360.3975, 66.383875], [0, 0, 1]])
    found = []
    for folder, matrix in (("Cameras", full), ("Cameras/train", small)):
        (tmp_path / "Cameras" / "00000000_cam.txt").unlink()
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "00000000_cam.txt").write_text(camera_text(shoot(0, *FULL), matrix))
        camera = frames(DTU(tmp_path, split="test"))[0].camera
        assert camera is not None
        found.append(camera.intrinsics)
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_masks_and_broken_values_leave_depth_out(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    depth = np.full(FULL, 0.6, dtype=np.float32)
    depth[20, 30:34] = np.nan, np.inf, -1, 0
    save_pfm(tmp_path / "Depths_raw" / "scan1" / "depth_map_0000.pfm", depth)
    mask = np.full(FULL, 11, dtype=np.uint8)
    mask[100:] = 10
    Image.fromarray(mask).save(tmp_path / "Depths_raw" / "scan1" / "depth_visual_0000.png")
    found = frames(DTU(tmp_path, split="test"))[0].depth
    assert found is not None and found[9, 9:15] == pytest.approx([0.6, 0, 0, 0, 0, 0.6])
    assert not found[89:].any() and (found[60:89] > 0).all()


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    (tmp_path / "Cameras" / "00000000_cam.txt").unlink()
    (tmp_path / "Depths_raw" / "scan1" / "depth_map_0001.pfm").unlink()
    first, second = frames(DTU(tmp_path, split="test"))
    assert first.camera is None and first.depth is not None
    assert second.camera is not None and second.depth is None


def test_splits_are_mvsnets() -> None:
    every = set(range(1, 129))
    assert len(TEST) == 22 and len(VALID) == 18 and not TEST & VALID and not UNUSED & (TEST | VALID)
    assert len(every - TEST - VALID - UNUSED) == 79


def test_split_scans_and_light_choose(tmp_path: Path) -> None:
    picture = np.zeros((64, 80, 3), dtype=np.uint8)
    for scan in (2, 3, 4, 10, 25):
        for view, light in ((1, 3), (10, 3), (2, 3), (1, 0)):
            save_picture(tmp_path / "Rectified" / f"scan{scan}_train" / f"rect_{view:03d}_{light}_r5000.png", picture)
        save_picture(tmp_path / "Rectified" / f"scan{scan}_train" / "rect_001_max.png", picture)
    chosen = {split: names(DTU(tmp_path, split=split)) for split in ("test", "valid", "train", "all")}
    assert chosen == {
        "test": ["scan4", "scan10"],
        "valid": ["scan3"],
        "train": ["scan2"],
        "all": ["scan2", "scan3", "scan4", "scan10", "scan25"],
    }
    assert list(DTU(tmp_path, split="test").scene(0).frames) == [f"rect_{view:03d}_3_r5000.png" for view in (1, 2, 10)]
    assert list(DTU(tmp_path, split="test", light=0).scene(0).frames) == ["rect_001_0_r5000.png"]
    assert names(DTU(tmp_path, split="test", scans=["scan10"])) == ["scan10"]
    (tmp_path / "Rectified" / "scan4_train" / "rect_010_3_r5000.png").unlink()
    assert names(DTU(tmp_path, split="test", min_images=3)) == ["scan10"]
    with pytest.raises(DataError, match=r"scan4_train: no picture with data\.light=5"):
        DTU(tmp_path, split="test", light=5)
    with pytest.raises(DataError, match=r"no 'scan2' among the 2 scans of data\.split='test' found there"):
        DTU(tmp_path, split="test", scans=["scan2"])


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm_images_are_stored_from_the_lowest_row_up(tmp_path: Path, order: str) -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]], dtype=f"{order}f4")
    head = b"Pf\n3 2\n-1\n" if order == "<" else b"Pf\n3 2\n1.0\n"
    (tmp_path / "a.pfm").write_bytes(head + values.tobytes())
    found = read_pfm(tmp_path / "a.pfm")
    assert found.dtype == np.float32 and found.tolist() == [[4, 5, 6], [1, 2, 3]]


@pytest.mark.parametrize("content", [b"", b"PF\n1 1\n-1\n" + bytes(12), b"Pf\n3 2\n-1\n" + bytes(20), b"Pf\n3 x\n-1\n"])
def test_broken_depth_is_named(tmp_path: Path, content: bytes) -> None:
    write_prepared(tmp_path)
    (tmp_path / "Depths_raw" / "scan1" / "depth_map_0000.pfm").write_bytes(content)
    with pytest.raises(
        OSError, match=r"depth_map_0000\.pfm: (no grey PFM image|20 bytes of pixels; expected 3x2 of float32)"
    ):
        frames(DTU(tmp_path, split="test"))


@pytest.mark.parametrize(
    "change", [("extrinsic", "pose"), ("intrinsic", ""), ("0.000000000 0.000000000", "nan 0"), ("\n", " ")]
)
def test_broken_cameras_are_named(tmp_path: Path, change: tuple[str, str]) -> None:
    write_prepared(tmp_path)
    file = tmp_path / "Cameras" / "00000000_cam.txt"
    file.write_text(file.read_text().replace(*change))
    source = DTU(tmp_path, split="test")
    if change[0] == "\n":  # white space says nothing
        assert source.camera(source.scene(0), source.scene(0).frames[0]) is not None
        return
    with pytest.raises(OSError, match=r"00000000_cam\.txt: expected 'extrinsic', a rigid 4x4 matrix"):
        source.camera(source.scene(0), source.scene(0).frames[0])


def test_pictures_of_another_shape_are_named(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    source = DTU(tmp_path, split="test")
    Image.new("RGB", (64, 64)).save(source.file(source.scene(0), source.scene(0).frames[0]))
    with pytest.raises(OSError, match=r"rect_001_3_r5000\.png: 64x64; expected 1600x1200, or 640x512 of its middle"):
        source.camera(source.scene(0), source.scene(0).frames[0])


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with DTU as MVSNet has prepared it"):
        DTU(tmp_path / "nowhere", split="test")
    with pytest.raises(
        DataError, match=r"no Rectified/scan1_train nor scan1/images found there; for folders of plain images"
    ):
        DTU(tmp_path, split="test")
    with pytest.raises(ConfigError, match=r"data\.split must be given: one of 'train', "):
        DTU(tmp_path)
    with pytest.raises(ConfigError, match=r"data\.split='val': expected one of 'train', 'valid', 'test', 'all'"):
        DTU(tmp_path, split="val")
    with pytest.raises(ConfigError, match=r"data\.light=7: expected 0 to 6"):
        DTU(tmp_path, split="test", light=7)
    write_prepared(tmp_path)
    with pytest.raises(DataError, match=r"data\.split='valid' has none of the scans found there; take 'all'"):
        DTU(tmp_path, split="valid")
    for root in (tmp_path / "Rectified" / "scan1_train", tmp_path / "Cameras"):
        with pytest.raises(DataError, match="found there"):
            DTU(root, split="test")
    with pytest.raises(DataError, match=rf"; give the folder above, '{re.escape(str(tmp_path))}'"):
        DTU(tmp_path / "Cameras", split="test")
    write_scan(tmp_path / "scan4")
    with pytest.raises(DataError, match=rf"; give the folder above, '{re.escape(str(tmp_path))}'"):
        DTU(tmp_path / "scan4", split="test")
