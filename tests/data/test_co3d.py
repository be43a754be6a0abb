"""CO3Dv2: both layouts on disk, PyTorch3D's cameras, set lists, and the geometry of rendered frames written in them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from walk import shoot
from written import check, frames, names

from muskie.data.scene import SceneSource
from muskie.data.sources.co3d import CO3D
from muskie.errors import ConfigError, DataError

NUMBERS = (0, 4)
SCALE = 0.25
SEQUENCE = "apple/110_13051_23361"


def picture(number: int) -> str:
    return f"frame{number + 1:06d}.jpg"


def viewpoint(number: int, size: tuple[int, int], form: str | None) -> dict[str, Any]:
    """A frame of the walk as PyTorch3D states it: x_ndc = f X / Z + p with X to the left and Y up, +1 at the left and at the
    upper border, of the shorter side in both directions, or (the older form) of each."""
    height, width = size
    shot = shoot(number, *size)
    world2cam = np.linalg.inv(shot.cam2world)
    unit = np.array([min(size)] * 2 if form == "ndc_isotropic" else [width, height]) / 2
    axes = np.diag([-1.0, -1.0, 1.0])
    focal = shot.intrinsics[[0, 1], [0, 1]] / unit
    principal = (np.array([width, height]) / 2 - shot.intrinsics[:2, 2]) / unit
    stated: dict[str, Any] = {
        "R": (axes @ world2cam[:3, :3]).T.tolist(),
        "T": (axes @ world2cam[:3, 3]).tolist(),
        "focal_length": focal.tolist(),
        "principal_point": principal.tolist(),
    }
    return stated if form is None else {**stated, "intrinsics_format": form}


def save_frame(folder: Path, number: int, size: tuple[int, int]) -> None:
    """Picture, depth as half floats at a quarter of its scale, a depth mask and an object mask, all of everything."""
    for part in ("images", "depths", "depth_masks", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shot, name = shoot(number, *size), picture(number)
    Image.fromarray(shot.rgb).save(folder / "images" / name, quality=95)
    halves = (shot.depth / SCALE).astype(np.float16).view(np.uint16)
    Image.fromarray(halves).save(folder / "depths" / f"{name}.geometric.png")
    Image.new("1", size[::-1], 1).save(folder / "depth_masks" / f"{name[:-4]}.png")
    Image.new("L", size[::-1], 255).save(folder / "masks" / f"{name[:-4]}.png")


def write_annotated(
    root: Path,
    sequence: str = SEQUENCE,
    size: tuple[int, int] = (48, 64),
    numbers: tuple[int, ...] = NUMBERS,
    form: str | None = "ndc_isotropic",
    quality: float | None = 0.8,
) -> None:
    """A sequence as Meta publishes it; the category's files are written anew with those that stand there."""
    category, name = sequence.split("/")
    entries = [
        {
            "sequence_name": name,
            "frame_number": index,
            "frame_timestamp": -1.0,
            "image": {"path": f"{sequence}/images/{picture(number)}", "size": list(size)},
            "depth": {"path": f"{sequence}/depths/{picture(number)}.geometric.png", "scale_adjustment": SCALE},
            "viewpoint": viewpoint(number, size, form),
        }
        for index, number in enumerate(numbers)
    ]
    for number in numbers:
        save_frame(root / sequence, number, size)
    change(root / category / "frame_annotations.jgz", lambda old: [*entries[::-1], *old])
    score = {"sequence_name": name, "category": category, "viewpoint_quality_score": quality}
    change(root / category / "sequence_annotations.jgz", lambda old: [*old, score])


def change(file: Path, how: Any) -> None:
    old = json.loads(gzip.decompress(file.read_bytes())) if file.is_file() else []
    file.write_bytes(gzip.compress(json.dumps(how(old)).encode()))


def write_prepared(root: Path, sequence: str = SEQUENCE, size: tuple[int, int] = (48, 64)) -> None:
    """The simple layout, without annotations; depth in steps of a 65535th of 10."""
    for number in NUMBERS:
        save_frame(root / sequence, number, size)
        shot, name = shoot(number, *size), picture(number)
        steps = np.round(shot.depth / 10 * 65535).astype(np.uint16)
        Image.fromarray(steps).save(root / sequence / "depths" / f"{name}.geometric.png")
        file = root / sequence / "images" / f"{name[:-4]}.npz"
        np.savez(file, camera_pose=shot.cam2world, camera_intrinsics=shot.intrinsics, maximum_depth=10.0)


@pytest.mark.parametrize("form", ["ndc_isotropic", "ndc_norm_image_bounds", None])
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (48, 48)])
def test_geometry_is_that_of_the_rendered_room(tmp_path: Path, size: tuple[int, int], form: str | None) -> None:
    write_annotated(tmp_path, size=size, form=form)
    check(CO3D(tmp_path), [shoot(number, *size) for number in NUMBERS], depth=0.003)


def test_geometry_of_the_prepared_layout(tmp_path: Path) -> None:
    write_prepared(tmp_path)
    check(CO3D(tmp_path), [shoot(number, 48, 64) for number in NUMBERS], depth=0.0001)


def test_a_published_entry_has_square_pixels(tmp_path: Path) -> None:
    """The first frame of a car of CO3Dv2, 1281 x 719: in the older form its two focal lengths differ by the aspect ratio."""
    published = {
        "sequence_name": "79_8257_17428",
        "frame_number": 0,
        "image": {"path": "car/79_8257_17428/images/frame000072.jpg", "size": [1281, 719]},
        "viewpoint": {
            "R": [[0.111674, 0.301157, 0.947013], [-0.312346, -0.894039, 0.321144], [0.943381, -0.331660, -0.005776]],
            "T": [-1.211868, 0.355256, 4.367933],
            "focal_length": [3.1938907798374476, 1.7926678147565378],
            "principal_point": [0.0, 0.0],
        },
    }
    images = tmp_path / "car" / "79_8257_17428" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (719, 1281)).save(images / "frame000072.jpg")
    change(tmp_path / "car" / "frame_annotations.jgz", lambda _: [published])
    source = CO3D(tmp_path)
    camera = source.camera(source.scene(0), "frame000072.jpg")
    assert camera is not None
    assert camera.intrinsics[0, 0] == pytest.approx(camera.intrinsics[1, 1], rel=1e-4)
    np.testing.assert_allclose(camera.intrinsics[:2, 2], [359.5, 640.5])
    # PyTorch3D's camera centre is -T R^T; an object's camera looks at it: from there, the world's origin lies ahead.
    T = np.array([-1.211868, 0.355256, 4.367933])
    centre = -T @ np.array(published["viewpoint"]["R"]).T  # type: ignore[index]
    np.testing.assert_allclose(camera.cam2world[:3, 3], centre, atol=1e-4)
    origin = np.linalg.inv(camera.cam2world)[:3, 3]
    np.testing.assert_allclose(origin, [1.211868, -0.355256, 4.367933], atol=1e-4)


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
    with pytest.raises(DataError, match=r"none of the 4 sequences has data\.min_images=4 frames or more"):
        CO3D(tmp_path, min_images=4)
    with pytest.raises(DataError, match=r"no category has the set list 'manyview_dev'; there are: 'fewview_dev'"):
        CO3D(tmp_path, set_list="manyview_dev")
    (tmp_path / "cup" / "set_lists" / "set_lists_fewview_dev.json").write_text('{"test": [[1]]}')
    with pytest.raises(
        DataError, match=r"set_lists_fewview_dev\.json: .*expected lists of \[sequence, frame number, path\]"
    ):
        CO3D(tmp_path, set_list="fewview_dev")


BROKEN: dict[str, Any] = {
    "cut off": (lambda data: data[:60], "expected a gzipped list of frames"),
    "not packed": (lambda data: gzip.decompress(data), "expected a gzipped list of frames"),
    "no list": (lambda data: gzip.compress(b"{}"), "no list; expected"),
    "no sequence": (lambda data: data, "no 'sequence_name'; expected"),
    "one focal length": (lambda data: data, "expected a gzipped list of frames"),
    "another form": (lambda data: data, "intrinsics_format 'screen'"),
    "R is too small": (lambda data: data, "R and T of 9 numbers"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_annotations_are_named(tmp_path: Path, fault: str) -> None:
    write_annotated(tmp_path)
    file = tmp_path / "apple" / "frame_annotations.jgz"

    def spoil(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        match fault:
            case "no sequence":
                del entries[0]["sequence_name"]
            case "one focal length":
                entries[0]["viewpoint"]["focal_length"] = [1.0]
            case "another form":
                entries[0]["viewpoint"]["intrinsics_format"] = "screen"
            case "R is too small":
                entries[0]["viewpoint"]["R"].pop()
        return entries

    change(file, spoil)
    how, message = BROKEN[fault]
    file.write_bytes(how(file.read_bytes()))
    with pytest.raises(DataError, match=rf"apple/frame_annotations\.jgz: .*{message}"):
        CO3D(tmp_path)


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
    (tmp_path / "vase/1_1_1/images/frame000001.npz").unlink()
    frame = source.read(source.scene(1), picture(0), geometry=True)
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
