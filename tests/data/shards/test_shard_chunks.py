"""What is packed comes back: pictures as their bytes, depth to its step, cameras, masks; made smaller, they agree."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numbered import Numbered
from PIL import ExifTags, Image
from shelf import members, packed
from walk import agreement, shoot

from muskie.data.covisibility import View, overlaps
from muskie.data.images import open_image
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.shards.chunk import Chunk
from muskie.data.shards.pack import What
from muskie.data.shards.packing import ShardPlan, divided, pieces, write_index, write_shards
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.shards import Shards

NUMBERS = (0, 1, 2, 3, 5, 8)
LAYOUTS = ("scannet", "co3d", "sevenscenes", "blendedmvs", "nerfstudio", "navi", "hypersim")


def both(layout: ModuleType, folder: Path, times: int = 1, **plan: Any) -> tuple[SceneSource, Shards]:
    """Rooms written in a layout, so many times as large, and the same as shards: one chunk."""
    shots = [shoot(number, times * layout.SIZE[0], times * layout.SIZE[1], layout.PLAIN) for number in NUMBERS]
    source = layout.SOURCE(**layout.write(folder / "files", shots))
    packed(folder / "shards", [source], frames=len(NUMBERS), **plan)
    return source, Shards(str(folder / "shards"))


def chunk_of(shards: Shards, name: str) -> Scene:
    """The chunk of a scene, of which there is one."""
    (found,) = [scene for scene in map(shards.scene, range(len(shards))) if scene.name.endswith(f"/{name}")]
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_frame_is_the_one_that_was_packed(name: str, tmp_path: Path) -> None:
    layout = importlib.import_module(f"layouts.{name}")
    source, shards = both(layout, tmp_path)
    scene = source.scene(0)
    chunk = chunk_of(shards, scene.name)
    assert len(chunk.frames) == len(scene.frames) and chunk.room == f"{source.name}/{scene.room or scene.name}"
    for was, now in zip(scene.frames, chunk.frames, strict=True):
        one, two = source.read(scene, was, geometry=True), shards.read(chunk, now, geometry=True)
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(two.image))
        assert one.depth is not None and one.camera is not None and two.camera is not None and two.depth is not None
        np.testing.assert_allclose(two.camera.intrinsics, one.camera.intrinsics, rtol=1e-12)
        np.testing.assert_allclose(two.camera.cam2world, one.camera.cam2world, atol=1e-12)
        np.testing.assert_array_equal(shards.camera(chunk, now).cam2world, two.camera.cam2world)  # type: ignore[union-attr]
        assert two.depth.dtype == np.float32 and two.size == one.size
        np.testing.assert_array_equal(two.depth > 0, one.depth > 0)
        assert np.abs(two.depth - one.depth).max() <= one.depth.max() / 65535 / 2 * 1.01
        mask, same = source.mask(scene, was), shards.mask(chunk, now)
        assert (mask is None) == (same is None) == (not layout.MASKS)
        if mask is not None and same is not None:
            np.testing.assert_array_equal(same, mask)
        plain = shards.read(chunk, now)
        assert plain.depth is None and plain.camera is None


def test_files_are_packed_as_they_are(tmp_path: Path) -> None:
    layout = importlib.import_module("layouts.scannet")
    source, _ = both(layout, tmp_path)
    files = members(tmp_path / "shards" / "train-000000.tar")
    scene = source.scene(0)
    for number, name in enumerate(scene.frames):
        file = source.file(scene, name)
        assert file is not None and files[f"000000.{number:03d}.jpg"] == file.read_bytes()


def test_pictures_that_are_made_smaller_agree_with_depth_and_cameras(tmp_path: Path) -> None:
    _, small = both(importlib.import_module("layouts.scannet"), tmp_path, times=3, what=What(max_side=64))
    frames = [small.read(small.scene(0), frame, geometry=True) for frame in ("000", "003")]
    for number, frame in zip((0, 3), frames, strict=True):
        truth = shoot(number, 48, 64)  # of each 3x3 pixels, the middle one
        assert frame.size == (64, 48) and frame.depth is not None and frame.camera is not None
        np.testing.assert_allclose(frame.camera.intrinsics, truth.intrinsics, atol=1e-6)
        assert np.abs(frame.depth - truth.depth).max() < 0.0006
        blocks = shoot(number, 144, 192).rgb.reshape(48, 3, 64, 3, 3).mean((1, 3))
        off = [np.abs(np.asarray(frame.image) - np.roll(blocks, step, (0, 1))).mean() for step in ((0, 0), (0, 1), (1, 0))]
        assert off[0] < min(off[1:]) / 2, "nothing is moved"
    for one, other in (frames, frames[::-1]):
        median, agreed = agreement(one, other)
        assert median < 0.006 and agreed > 0.8


def test_pictures_of_any_kind_and_name(tmp_path: Path) -> None:
    """Turned by EXIF, grey, with alpha, WebP, 16 bits, a format that is not kept; names with spaces and of any script."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "files" / "ein Zimmer 部屋"
    folder.mkdir(parents=True)
    colours = Image.fromarray(rng.integers(0, 256, (18, 24, 3), dtype=np.uint8))
    lying = Image.Exif()
    lying[ExifTags.Base.Orientation] = 6
    colours.save(folder / "a b.jpg", exif=lying)
    colours.convert("L").save(folder / "été.JPG")
    colours.convert("RGBA").save(folder / "c.png")
    colours.save(folder / "d.webp", lossless=True)
    Image.fromarray(rng.integers(0, 65536, (18, 24), dtype=np.uint16)).save(folder / "e.png")
    colours.resize((6, 4)).resize((24, 18), Image.Resampling.BICUBIC).save(folder / "f.bmp")
    (folder / "g.jpg").write_bytes((folder / "a b.jpg").read_bytes()[:200])
    source = ImageFolders(tmp_path / "files")
    out = tmp_path / "shards"
    out.mkdir()
    parts = {"train": pieces(divided([source], 0)["train"], ShardPlan(frames=8), "train")}
    outcomes, ledger = write_shards(out, parts, ShardPlan(frames=8), 1)
    write_index(out, outcomes, parts)
    assert ledger.skipped == {"folder": 1} and "g.jpg" in next(iter(ledger.messages["folder"]))
    shards = Shards(str(out))
    scene = shards.scene(0)
    assert scene.name == "0000000 folder/ein Zimmer 部屋"
    names = [note["name"] for note in json.loads(members(out / "train-000000.tar")["000000.scene.json"])["frames"]]
    assert names == [name for name in source.scene(0).frames if name != "g.jpg"] and len(scene.frames) == 6
    for number, name in enumerate(names):
        read = np.asarray(shards.read(scene, f"{number:03d}", geometry=True).image)
        truth = np.asarray(open_image(folder / name))
        assert read.shape == truth.shape == ((24, 18, 3) if name == "a b.jpg" else (18, 24, 3))
        if name == "f.bmp":
            assert np.abs(read.astype(float) - truth).mean() < 6, "as JPEG"
        else:
            np.testing.assert_array_equal(read, truth)


class Straightened(ImageFolders):
    """Shows its pictures upside down."""

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return Frame(Image.fromarray(np.asarray(open_image(self.file(scene, frame)))[::-1]))


def test_a_source_that_changes_its_pictures_is_packed_as_it_shows_them(tmp_path: Path) -> None:
    (tmp_path / "files" / "a").mkdir(parents=True)
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(24, axis=1)
    Image.fromarray(ramp).save(tmp_path / "files" / "a" / "0.png")
    packed(tmp_path / "shards", [Straightened(tmp_path / "files")])
    shards = Shards(str(tmp_path / "shards"))
    read = np.asarray(shards.read(shards.scene(0), "000").image).astype(int)
    assert np.abs(read - ramp[::-1]).max() < 12


class Odd(Numbered):
    """Depth and cameras with something wrong in each frame but the first; its nearest depth is a thousandth of a step."""

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        plain = super().read(scene, frame)
        depth = np.full((16, 24), 2.0, dtype=np.float32)
        depth[0, :4] = 0, np.nan, np.inf, -1
        depth[1, 0] = 2 / 65535 / 1000
        camera = Camera(np.array([[20.0, 0, 12], [0, 20, 8], [0, 0, 1]]), np.eye(4))
        wrong = {
            "1": (depth[:8], camera),
            "2": (np.zeros_like(depth), camera),
            "3": (depth, Camera(camera.intrinsics, 2 * np.eye(4))),
        }
        return Frame(plain.image, *wrong.get(frame, (depth, camera)))


def test_what_can_be_no_geometry_is_left_out_and_what_is_known_stays_known(tmp_path: Path) -> None:
    packed(tmp_path, [Odd([4])])
    shards = Shards(str(tmp_path))
    read = [shards.read(shards.scene(0), frame, geometry=True) for frame in shards.scene(0).frames]
    assert [frame.depth is not None for frame in read] == [True, False, False, True]
    assert [frame.camera is not None for frame in read] == [True, True, True, False]
    assert read[0].depth is not None
    assert (read[0].depth[0, :4] == 0).all() and read[0].depth[1, 0] > 0
    np.testing.assert_allclose(read[0].depth[2:], 2, rtol=1e-6)


def test_overlaps_are_those_of_depth_and_cameras(tmp_path: Path) -> None:
    layout = importlib.import_module("layouts.scannet")
    source, shards = both(layout, tmp_path)
    scene = source.scene(0)
    frames = [source.read(scene, name, geometry=True) for name in scene.frames]
    truth = overlaps([View(f.depth, f.camera.intrinsics, f.camera.cam2world) for f in frames])  # type: ignore[arg-type, union-attr]
    found = shards.overlaps(shards.scene(0))
    assert found is not None and truth[0, 1] > 0.5
    np.testing.assert_allclose(found, truth, atol=0.5 / 255 + 1e-6)


NOTE = {"name": "a", "size": [24, 16], "files": ["000.png", "000.depth.png"], "depth_scale": 1.0}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"shard 3: it has no scene\.json"),
        ({"scene.json": b"[1, 2"}, "no scene.json that can be read"),
        ({"scene.json": b"[]"}, "no scene.json that can be read"),
        ({"scene.json": json.dumps({"frames": [{"name": "a"}]}).encode()}, "no scene.json that can be read"),
        ({"scene.json": json.dumps({"frames": [NOTE]}).encode(), "000.png": b""}, r"000\.depth\.png is missing"),
    ],
)
def test_a_chunk_that_is_not_whole_is_told(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(OSError, match=message):
        Chunk(files, "shard 3")


def test_damaged_bytes_are_told_and_spare_the_other_frames(tmp_path: Path) -> None:
    packed(tmp_path, [Odd([4])])
    files = {name.removeprefix("000000."): data for name, data in members(tmp_path / "train-000000.tar").items()}
    files["000.depth.png"] = files["000.depth.png"][:40]
    files["003.jpg"] = b"nothing"
    chunk = Chunk(files, "shard 3")
    with pytest.raises(OSError, match="shard 3, 0: "):
        chunk.frame(0, None, True)
    assert chunk.frame(0, None, False).size == chunk.frame(1, None, True).size == (24, 16)
    with pytest.raises(OSError, match="shard 3, 3: "):
        chunk.frame(3, None, False)
    with pytest.raises(OSError, match="it has 4 frames, and the index says more"):
        chunk.frame(4, None, False)
