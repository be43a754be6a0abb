"""NAVI: the layout on disk, the split, and the geometry of rendered frames that were written in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import navi
from layouts.navi import SIZE, UNIT, thing
from PIL import ExifTags, Image
from walk import agreement, shoot
from written import frames, names

from muskie.data.sources.navi import Navi
from muskie.errors import ConfigError, DataError


def annotation(number: int, size: tuple[int, int] = SIZE, times: int = 10) -> dict[str, Any]:
    return navi.annotation(shoot(number, *size, plain=True), number, times)


def write_scene(
    folder: Path, numbers: tuple[int, ...] = (0, 4), size: tuple[int, int] = SIZE, prefix: str = "downsampled_"
) -> None:
    """Frames of the walk; picture n is `<n>.jpg`."""
    navi.write_scene(folder, [shoot(number, *size, plain=True) for number in numbers], numbers, prefix)


@pytest.mark.parametrize("size", [(48, 64), (64, 48)])
def test_geometry_is_that_of_the_rendered_object(tmp_path: Path, size: tuple[int, int]) -> None:
    write_scene(tmp_path / "lamp" / "multiview_00_pixel_5", size=size)
    read = frames(Navi(tmp_path, require_wild_set=False))
    for number, frame in zip((0, 4), read, strict=True):
        shot = shoot(number, *size, plain=True)
        assert frame.depth is not None and frame.camera is not None and frame.image.size == size[::-1]
        np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics)
        np.testing.assert_allclose(frame.camera.cam2world[:3, :3], shot.cam2world[:3, :3], atol=1e-9)
        np.testing.assert_allclose(frame.camera.cam2world[:3, 3], UNIT * shot.cam2world[:3, 3], atol=1e-9)
        metres, known = UNIT * shot.depth, frame.depth > 0
        np.testing.assert_array_equal(known, thing(shot))
        assert 0.1 < known.mean() < 0.9
        # Half a step of the disparity.
        np.testing.assert_allclose(1 / frame.depth[known], 1 / metres[known], atol=0.501 / 655.35)
    for one, other in (read, read[::-1]):
        median, agreed = agreement(one, other)
        assert median < 0.006 and agreed > 0.8


def test_depth_is_disparity_per_millimetre(tmp_path: Path) -> None:
    scene = tmp_path / "lamp" / "multiview_00"
    write_scene(scene, numbers=(0,))
    values = np.zeros(SIZE, dtype=np.uint16)
    values[0, :3] = 65535, 6554, 1
    Image.fromarray(values).save(scene / "depth" / "downsampled_000.png")
    depth = frames(Navi(tmp_path, require_wild_set=False))[0].depth
    assert depth is not None and depth.dtype == np.float32
    np.testing.assert_allclose(depth[0, :4], [0.01, 0.1, 655.35, 0], rtol=1e-3)
    assert not depth[1:].any()


def test_masks_show_the_object(tmp_path: Path) -> None:
    scene = tmp_path / "lamp" / "multiview_00"
    write_scene(scene)
    source = Navi(tmp_path, require_wild_set=False)
    for number in (0, 4):
        mask = source.mask(source.scene(0), f"downsampled_{number:03d}.jpg")
        assert mask is not None and mask.dtype == bool
        np.testing.assert_array_equal(mask, thing(shoot(number, *SIZE, plain=True)))
    (scene / "masks" / "downsampled_000.png").unlink()
    assert source.mask(source.scene(0), "downsampled_000.jpg") is None


def test_full_pictures_are_taken_where_there_is_no_smaller_one(tmp_path: Path) -> None:
    scene = tmp_path / "lamp" / "multiview_00_pixel_5"
    write_scene(scene, numbers=(0, 4, 8), prefix="")
    write_scene(scene, numbers=(0, 4, 8))
    (scene / "images" / "downsampled_004.jpg").unlink()  # of its depth both sizes are there
    (scene / "depth" / "downsampled_008.png").unlink()  # of its picture both sizes are there
    for kind, number, far in (("", "004", 700), ("downsampled_", "004", 7), ("", "000", 7), ("", "008", 1000)):
        Image.fromarray(np.full(SIZE, far, dtype=np.uint16)).save(scene / "depth" / f"{kind}{number}.png")
    (scene / "images" / "._005.jpg").write_bytes(b"")
    source = Navi(tmp_path, require_wild_set=False)
    assert list(source.scene(0).frames) == ["downsampled_000.jpg", "004.jpg", "downsampled_008.jpg"]
    first, second, third = frames(source)
    assert first.depth is not None and second.depth is not None and third.depth is not None
    assert first.depth.max() < 1
    np.testing.assert_allclose(second.depth, 655.35 / 700, rtol=1e-6)
    np.testing.assert_allclose(third.depth, 655.35 / 1000, rtol=1e-6)


def test_a_full_picture_stored_on_its_side_is_turned_before_it_is_measured(tmp_path: Path) -> None:
    scene = tmp_path / "lamp" / "multiview_00_pixel_5"
    write_scene(scene, numbers=(0,), size=(64, 48), prefix="")
    entry = annotation(0, (64, 48), times=1)
    (scene / "annotations.json").write_text(json.dumps([entry]))
    upright = Image.open(scene / "images" / "000.jpg")
    upright.load()
    notes = Image.Exif()
    notes[ExifTags.Base.Orientation] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(scene / "images" / "000.jpg", exif=notes, quality=95)
    frame = frames(Navi(tmp_path, require_wild_set=False))[0]
    shot = shoot(0, 64, 48, plain=True)
    assert frame.image.size == (48, 64) and frame.camera is not None and frame.depth is not None
    difference = np.asarray(frame.image).astype(float) - shot.rgb
    assert np.abs(difference).mean() < 20
    np.testing.assert_allclose(frame.camera.intrinsics, shot.intrinsics)


@pytest.mark.parametrize("factor", [2.5, -1])
def test_a_quaternion_of_any_length_and_sign_is_the_same_rotation(tmp_path: Path, factor: float) -> None:
    scene = tmp_path / "lamp" / "multiview_00"
    write_scene(scene, numbers=(0,))
    entry = annotation(0)
    entry["camera"]["q"] = [factor * part for part in entry["camera"]["q"]]
    (scene / "annotations.json").write_text(json.dumps([entry]))
    camera = frames(Navi(tmp_path, require_wild_set=False))[0].camera
    assert camera is not None
    np.testing.assert_allclose(camera.cam2world[:3, :3], shoot(0, *SIZE, plain=True).cam2world[:3, :3], atol=1e-9)


def test_cut_off_fractions_of_pixels_pass_and_another_aspect_ratio_does_not(tmp_path: Path) -> None:
    """The usual shrinking to a shorter side of N cuts off fractions: 4032x3024 becomes 57x43."""
    scene = tmp_path / "lamp" / "multiview_00"
    write_scene(scene, numbers=(0,))
    for kind, suffix in (("images", "jpg"), ("depth", "png")):
        image = Image.open(scene / kind / f"downsampled_000.{suffix}")
        image.resize((57, 43), Image.Resampling.NEAREST).save(scene / kind / f"downsampled_000.{suffix}")
    source = Navi(tmp_path, require_wild_set=False)
    camera = frames(source)[0].camera
    assert camera is not None
    np.testing.assert_allclose(camera.intrinsics[:2, 2], [28.5, 21.5])
    np.testing.assert_allclose(camera.intrinsics[[0, 1], [0, 1]], [0.9 * 57, 0.9 * 64 * 43 / 48])
    Image.new("RGB", (43, 57)).save(scene / "images" / "downsampled_000.jpg")
    with pytest.raises(OSError, match=r"downsampled_000\.png: it is of 57x43 pixels and its picture of 43x57"):
        source.read(source.scene(0), "downsampled_000.jpg", geometry=True)
    assert source.read(source.scene(0), "downsampled_000.jpg").image.size == (43, 57)


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    for name in ("multiview_00", "multiview_01"):
        write_scene(tmp_path / "lamp" / name)
    (tmp_path / "lamp" / "multiview_00" / "annotations.json").write_text(json.dumps([annotation(4)]))
    (tmp_path / "lamp" / "multiview_00" / "depth" / "downsampled_004.png").unlink()
    (tmp_path / "lamp" / "multiview_01" / "annotations.json").unlink()
    source = Navi(tmp_path, split="all", require_wild_set=False)
    first, second = frames(source)
    assert first.camera is None and first.depth is not None
    assert second.camera is not None and second.depth is None
    assert all(frame.camera is None and frame.depth is not None for frame in frames(source, 1))
    plain = source.read(source.scene(0), "downsampled_000.jpg", at_least=24)
    assert plain.depth is None and plain.camera is None and plain.image.size == (32, 24)


def test_the_split_cuts_every_object_in_natural_order(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4))
    for name, scenes in (("vase", 11), ("lamp", 1), ("cup", 2)):
        for number in range(scenes):
            images = tmp_path / name / f"multiview_{number}_pixel_5" / "images"
            images.mkdir(parents=True)
            picture.save(images / "000.jpg")
        (tmp_path / name / "multiview_99" / "images").mkdir(parents=True)  # holds nothing
        (tmp_path / name / "wild_set" / "images").mkdir(parents=True)
        picture.save(tmp_path / name / "wild_set" / "images" / "000.jpg")
    (tmp_path / "custom_splits").mkdir()
    (tmp_path / "vase" / "multiview_0_pixel_5").rename(tmp_path / "vase" / "multiview-0-pixel_5")  # as in version 1.5
    vase = ["vase/multiview-0-pixel_5", *(f"vase/multiview_{number}_pixel_5" for number in range(1, 11))]
    train = ["cup/multiview_0_pixel_5", *vase[:9]]
    valid = ["cup/multiview_1_pixel_5", "lamp/multiview_0_pixel_5", *vase[9:]]
    assert names(Navi(tmp_path)) == names(Navi(tmp_path, split="valid")) == valid
    assert names(Navi(tmp_path, split="train")) == train
    everything = Navi(tmp_path, split="all")
    assert sorted(names(everything)) == sorted(train + valid)
    assert [everything.scene(index).room for index in range(4)] == ["cup", "cup", "lamp", "vase"]
    (tmp_path / "cup" / "wild_set").rename(tmp_path / "cup" / "wild")
    assert names(Navi(tmp_path)) == valid[1:]
    assert names(Navi(tmp_path, require_wild_set=False)) == valid
    Image.new("RGB", (4, 4)).save(tmp_path / "lamp" / "multiview_0_pixel_5" / "images" / "001.jpg")
    assert names(Navi(tmp_path, min_images=2)) == ["lamp/multiview_0_pixel_5"]


FAULTS: dict[str, tuple[Any, str]] = {
    "cut off": ('[{"filename": "000.jpg", ', "expected a list of entries"),
    "no list": ("3", "expected a list of entries"),
    "a list of names": ('["000.jpg"]', "expected a list of entries"),
    "a key is missing": ({"focal_length": None}, "no 'focal_length'; expected a list of entries"),
    "three numbers of four": ({"q": [1, 0, 0]}, "not enough values"),
    "no rotation": ({"q": [0, 0, 0, 0]}, r"the camera of 000\.jpg is not usable"),
    "no focal length": ({"focal_length": 0}, r"the camera of 000\.jpg is not usable"),
    "not finite": ({"t": [0, 0, float("nan")]}, r"the camera of 000\.jpg is not usable"),
    "infinite": ({"focal_length": float("inf")}, r"the camera of 000\.jpg is not usable"),
    "two numbers of three": ({"t": [0, 0]}, r"the camera of 000\.jpg is not usable"),
    "one side": ({"image_size": [480]}, "not enough values"),
    "no size": ({"image_size": [480, float("inf")]}, "cannot convert"),
    "a word": ({"t": ["far", 0, 0]}, "could not convert"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_annotations_are_named(tmp_path: Path, fault: str) -> None:
    scene = tmp_path / "lamp" / "multiview_00"
    write_scene(scene, numbers=(0,))
    change, message = FAULTS[fault]
    if isinstance(change, dict):
        entry = annotation(0)
        for key, value in change.items():
            part = entry if key in entry else entry["camera"]
            part[key] = value
            if value is None:
                del part[key]
        change = json.dumps([entry])
    (scene / "annotations.json").write_text(change)
    with pytest.raises(DataError, match=rf"multiview_00/annotations\.json: .*{message}"):
        Navi(tmp_path, require_wild_set=False)


def test_broken_depth_is_named(tmp_path: Path) -> None:
    scene = tmp_path / "lamp" / "multiview_00"
    write_scene(scene)
    (scene / "depth" / "downsampled_000.png").write_bytes(b"no picture")
    Image.open(scene / "images" / "downsampled_004.jpg").save(scene / "depth" / "downsampled_004.png")
    source = Navi(tmp_path, require_wild_set=False)
    for frame, message in (("000", "cannot be decoded"), ("004", "a colour image")):
        with pytest.raises(OSError, match=rf"depth/downsampled_{frame}\.png: {message}"):
            source.read(source.scene(0), f"downsampled_{frame}.jpg", geometry=True)


def test_what_is_missing_is_told_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist; give a folder with NAVI objects"):
        Navi(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <object>/multiview_\*/images/\*\.jpg found there; for folders of plain images"):
        Navi(tmp_path)
    write_scene(tmp_path / "lamp" / "multiview_00")
    with pytest.raises(DataError, match=rf"this is an object: give the folder above, '{re.escape(str(tmp_path))}'"):
        Navi(tmp_path / "lamp")
    with pytest.raises(
        DataError, match=r"none of the 1 objects has a folder wild_set; keep them with data\.require_wild_set"
    ):
        Navi(tmp_path)
    with pytest.raises(
        DataError, match=r"data\.split='train' is empty, for no object has two scenes; take 'valid' or 'all'"
    ):
        Navi(tmp_path, split="train", require_wild_set=False)
    with pytest.raises(ConfigError, match=r"data\.split='test': expected one of 'valid', 'train', 'all'"):
        Navi(tmp_path, split="test")
