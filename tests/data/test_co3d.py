"""CO3Dv2: both layouts on disk, set lists, masks, and the geometry of rendered frames written in them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import co3d
from layouts.co3d import SEQUENCE, SIZE, change, near, picture
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.scene import SceneSource
from muskie.data.sources.co3d import CO3D
from muskie.errors import ConfigError, DataError

NUMBERS = (0, 4)


def write_annotated(
    root: Path, sequence: str = SEQUENCE, size: tuple[int, int] = SIZE, numbers: tuple[int, ...] = NUMBERS, **more: Any
) -> None:
    """Frames of the walk; picture n is `picture(n)`."""
    shots = [shoot(number, *size) for number in numbers]
    co3d.write_annotated(root, shots, sequence, [picture(number) for number in numbers], **more)


def write_prepared(root: Path, sequence: str = SEQUENCE) -> None:
    """Frames of the walk; picture n is the n-th of `NUMBERS`."""
    co3d.write_prepared(root, [shoot(number, *SIZE) for number in NUMBERS], sequence)


@pytest.mark.parametrize("form", ["ndc_isotropic", "ndc_norm_image_bounds", None])
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (48, 48)])
def test_geometry_is_that_of_the_rendered_room(tmp_path: Path, size: tuple[int, int], form: str | None) -> None:
    write_annotated(tmp_path, size=size, form=form)
    check(CO3D(tmp_path), [shoot(number, *size) for number in NUMBERS], depth=co3d.DEPTH)


def test_geometry_of_the_prepared_layout(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    check(CO3D(tmp_path), [shoot(number, 48, 64) for number in NUMBERS], depth=0.0001)


def test_annotations_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras come from the index, of frames that are not in the order of their names too."""
    write_annotated(tmp_path, numbers=(4, 0, 8))
    write_prepared(tmp_path, "vase/1_1_1")
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.utime(path, (1e9, 1e9))  # what has just changed is looked at again
    assert names(CO3D(tmp_path)) == [SEQUENCE, "vase/1_1_1"]
    file = tmp_path / "apple" / "frame_annotations.jgz"
    kept = file.read_bytes()
    file.write_bytes(b"broken")
    os.utime(file, (1e9, 1e9))
    source = CO3D(tmp_path)
    check(source, [shoot(number, *SIZE) for number in (4, 0, 8)], depth=co3d.DEPTH)
    prepared = source.camera(source.scene(1), picture(1))
    assert prepared is not None
    np.testing.assert_array_equal(prepared.intrinsics, shoot(4, *SIZE).intrinsics)
    file.write_bytes(kept)
    os.utime(file, (1e9 + 1, 1e9 + 1))
    looked: list[Path] = []
    monkeypatch.setattr("muskie.data.sources.co3d.read_sequences", lambda path: looked.append(path) or {})
    assert names(CO3D(tmp_path)) == ["vase/1_1_1"] and looked == [tmp_path / "apple"]


def test_masks_show_the_object(tmp_path: Path) -> None:
    write_annotated(tmp_path)
    source = CO3D(tmp_path)
    for number in NUMBERS:
        mask = source.mask(source.scene(0), picture(number))
        assert mask is not None and mask.dtype == bool
        np.testing.assert_array_equal(mask, near(shoot(number, *SIZE)))
    (tmp_path / SEQUENCE / "masks" / "frame000001.png").unlink()
    assert source.mask(source.scene(0), picture(0)) is None


def masked(source: SceneSource) -> tuple[np.ndarray, np.ndarray]:
    depth = frames(source)[0].depth
    assert depth is not None
    return depth[:24] > 0, depth[24:] > 0


@pytest.mark.parametrize("layout", ["annotated", "prepared"])
def test_masks_leave_depth_out(tmp_path: Path, layout: str) -> None:
    (write_annotated if layout == "annotated" else write_prepared)(tmp_path)
    mask = np.full((48, 64), 26, dtype=np.uint8)
    mask[:24] = 25  # a tenth of 255 is 25.5
    Image.fromarray(mask).save(tmp_path / SEQUENCE / "masks" / f"{picture(0)[:-4]}.png")
    everything, thing = masked(CO3D(tmp_path)), masked(CO3D(tmp_path, object_only=True))
    assert everything[0].all() and everything[1].all() and not thing[0].any() and thing[1].all()
    Image.fromarray(mask > 25).save(tmp_path / SEQUENCE / "depth_masks" / f"{picture(0)[:-4]}.png")
    upper, lower = masked(CO3D(tmp_path))
    assert lower.all() and upper.any() == (layout == "prepared")


def test_depth_that_is_not_finite_or_not_stated_is_unknown(tmp_path: Path) -> None:
    write_annotated(tmp_path)
    halves = np.full((48, 64), 2, dtype=np.float16)
    halves[0, :4] = np.nan, np.inf, -1, 0
    Image.fromarray(halves.view(np.uint16)).save(tmp_path / SEQUENCE / "depths" / f"{picture(0)}.geometric.png")
    (tmp_path / SEQUENCE / "depth_masks" / f"{picture(0)[:-4]}.png").unlink()
    depth = frames(CO3D(tmp_path))[0].depth
    assert depth is not None and depth[0, :5].tolist() == [0, 0, 0, 0, 0.5]

    def forget(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entries[0].pop("depth")
        entries[1]["viewpoint"] = None
        return entries

    change(tmp_path / "apple" / "frame_annotations.jgz", forget)
    first, second = frames(CO3D(tmp_path))
    assert first.camera is None and first.depth is not None
    assert second.camera is not None and second.depth is None


def test_sequences_and_frames_that_are_there_are_listed_in_order(tmp_path: Path) -> None:
    write_annotated(tmp_path, "cup/10_1_1", numbers=(0, 2, 10))
    write_annotated(tmp_path, "cup/9_1_1")
    write_annotated(tmp_path, "apple/8_1_1")
    (tmp_path / "cup" / "10_1_1" / "images" / picture(2)).unlink()
    for file in (tmp_path / "apple" / "8_1_1" / "images").iterdir():
        file.unlink()
    (tmp_path / "readme").mkdir()
    source = CO3D(tmp_path)
    assert names(source) == ["cup/9_1_1", "cup/10_1_1"]
    assert list(source.scene(1).frames) == [picture(0), picture(10)]
    with pytest.raises(DataError, match="no sequence is left whose pictures are there"):
        CO3D(tmp_path, categories=["apple"])


def test_frames_are_ordered_by_their_number_not_by_their_name(tmp_path: Path) -> None:
    write_annotated(tmp_path, numbers=(4, 0))
    assert list(CO3D(tmp_path).scene(0).frames) == [picture(4), picture(0)]


def test_set_lists_quality_and_length_choose(tmp_path: Path) -> None:
    write_annotated(tmp_path, "cup/1_1_1", numbers=(0, 2, 4), quality=0.9)
    write_annotated(tmp_path, "cup/2_1_1", numbers=(0, 2), quality=0.2)
    write_annotated(tmp_path, "cup/3_1_1", numbers=(0, 2), quality=None)
    write_annotated(tmp_path, "vase/4_1_1")

    def entries(sequence: str, *numbers: int) -> list[list[Any]]:
        return [[sequence, 99, f"cup/{sequence}/images/{picture(number)}"] for number in numbers]

    lists = {"train": entries("1_1_1", 0, 4), "val": [], "test": [*entries("1_1_1", 2), *entries("2_1_1", 2)]}
    (tmp_path / "cup" / "set_lists").mkdir()
    (tmp_path / "cup" / "set_lists" / "set_lists_fewview_dev.json").write_text(json.dumps(lists))
    test = CO3D(tmp_path, set_list="fewview_dev", split="test")
    assert names(test) == ["cup/1_1_1", "cup/2_1_1"] and list(test.scene(0).frames) == [picture(2)]
    train = CO3D(tmp_path, set_list="fewview_dev", split="train")
    assert names(train) == ["cup/1_1_1"] and list(train.scene(0).frames) == [picture(0), picture(4)]
    whole = CO3D(tmp_path, set_list="fewview_dev")
    assert [len(whole.scene(index).frames) for index in range(2)] == [3, 1]
    assert names(CO3D(tmp_path, categories=["cup"], min_quality=0.5)) == ["cup/1_1_1"]
    longer = CO3D(tmp_path, min_images=3)
    assert names(longer) == ["cup/1_1_1"] and longer.left_out == 3
    with pytest.raises(DataError, match=r"no scene of data\.min_images=4 images or more; the largest has 3"):
        CO3D(tmp_path, min_images=4)
    with pytest.raises(DataError, match=r"no category has the set list 'manyview_dev'; there are: 'fewview_dev'"):
        CO3D(tmp_path, set_list="manyview_dev")
    (tmp_path / "cup" / "set_lists" / "set_lists_fewview_dev.json").write_text('{"test": [[1]]}')
    with pytest.raises(
        DataError, match=r"set_lists_fewview_dev\.json: .*expected lists of \[sequence, frame number, path\]"
    ):
        CO3D(tmp_path, set_list="fewview_dev")


def test_what_does_not_fit_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_annotated(tmp_path)
    write_prepared(tmp_path, "vase/1_1_1")
    source = CO3D(tmp_path)
    Image.new("RGB", (48, 64)).save(tmp_path / SEQUENCE / "images" / picture(0))
    with pytest.raises(
        OSError, match=r"frame000001\.jpg: 48x64 pixels; its camera is for a picture of 64x48, another aspect"
    ):
        source.camera(source.scene(0), picture(0))
    for archive in (b"", b"PK\x03\x04"):
        (tmp_path / "vase/1_1_1/images/frame000001.npz").write_bytes(archive)
        with pytest.raises(OSError, match=r"frame000001\.npz: .*expected camera_pose"):
            source.camera(source.scene(1), picture(0))
    for pose in (np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)):
        file = tmp_path / "vase/1_1_1/images/frame000001.npz"
        np.savez(file, camera_pose=pose, camera_intrinsics=np.eye(3), maximum_depth=1.0)
        with pytest.raises(OSError, match=r"frame000001\.npz: its camera is not usable"):
            source.camera(source.scene(1), picture(0))
    for file in (tmp_path / "vase/1_1_1/images").glob("*.npz"):
        file.unlink()
    frame = frames(CO3D(tmp_path, categories=["vase"]))[0]
    assert frame.camera is None and frame.depth is None


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with CO3D categories"):
        CO3D(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <category>/frame_annotations\.jgz found there; for folders of plain images"):
        CO3D(tmp_path)
    write_annotated(tmp_path)
    with pytest.raises(DataError, match=rf"this is a category: give the folder above, '{re.escape(str(tmp_path))}'"):
        CO3D(tmp_path / "apple")
    with pytest.raises(DataError, match=r"no 'aple' among the 1 categories found there; did you mean 'apple'\?"):
        CO3D(tmp_path, categories=["aple"])
    with pytest.raises(ConfigError, match=r"data\.split='dev': expected one of 'train', 'val', 'test', or null"):
        CO3D(tmp_path, set_list="fewview_dev", split="dev")
    with pytest.raises(ConfigError, match=r"data\.split='test' is a part of a set list; name that"):
        CO3D(tmp_path, split="test")
    with pytest.raises(ConfigError, match=r"data\.min_images=0: expected 1 or more"):
        CO3D(tmp_path, min_images=0)
    (tmp_path / "apple" / "sequence_annotations.jgz").unlink()
    with pytest.raises(DataError, match=r"sequence_annotations\.jgz: .*expected a gzipped list of sequences"):
        CO3D(tmp_path, min_quality=0.5)
