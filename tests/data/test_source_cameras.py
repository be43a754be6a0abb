"""Every source gives the camera of a frame alone, equal to the one that comes with the picture, and cheaply."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from numbered import Numbered
from PIL import ExifTags, Image, ImageFile

from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources import synthetic
from muskie.data.sources.navi import Navi
from muskie.data.sources.scannet import ScanNet
from muskie.data.sources.sevenscenes import SevenScenes
from muskie.data.sources.synthetic import SyntheticRooms

POSE = np.array([[0.0, -1, 0, 1.5], [1, 0, 0, 2.5], [0, 0, 1, 3.5], [0, 0, 0, 1]])


def picture(file: Path, on_its_side: bool = False, upright: tuple[int, int] | None = None) -> None:
    """16x12 pixels, or 12x16 when it is upright; or as large as that when it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    notes = Image.Exif()
    notes[ExifTags.Base.Orientation] = 6 if on_its_side else 1
    size = (16, 12) if upright is None else upright[::-1] if on_its_side else upright
    Image.new("RGB", size).save(file, exif=notes)


def seven_scenes(root: Path) -> SceneSource:
    folder = root / "chess" / "seq-01"
    for number, suffix in enumerate(("color.jpg", "color.png", "color.jpg", "color.jpg")):
        picture(folder / f"frame-00000{number}.{suffix}", number == 2, upright=(16, 12))
        np.savetxt(folder / f"frame-00000{number}.pose.txt", POSE)
    Image.new("I;16", (16, 12)).save(folder / "frame-000001.depth.proj.png")
    (folder / "frame-000003.pose.txt").unlink()
    return SevenScenes(root)


def scannet(root: Path) -> SceneSource:
    for name, on_its_side in (("0.jpg", False), ("1.png", False), ("2.jpg", True), ("3.jpg", False)):
        picture(root / "scene0000_00" / "color" / name, on_its_side, upright=(16, 12))
    (root / "scene0000_00" / "pose").mkdir()
    for number in range(3):
        np.savetxt(root / "scene0000_00" / "pose" / f"{number}.txt", POSE)
    np.savez(root / "intrinsics.npz", scene0000_00=np.array([[577.0, 0, 300], [0, 578, 200], [0, 0, 1]]))
    return ScanNet(root)


def navi(root: Path) -> SceneSource:
    folder = root / "lamp" / "multiview_00"
    entries = []
    for number in range(4):
        picture(folder / "images" / f"{number:03d}.jpg", on_its_side=number == 2)
        camera = {"q": [1, number, 0, 0], "t": [100, 200, 300], "focal_length": 3000}
        size = [4000, 3000] if number == 2 else [3000, 4000]
        entries.append({"filename": f"{number:03d}.jpg", "image_size": size, "camera": camera})
    (folder / "annotations.json").write_text(json.dumps(entries[:3]))
    return Navi(root, require_wild_set=False)


def rooms(root: Path) -> SceneSource:
    return SyntheticRooms(scenes=2, frames=4, image_size=(20, 30))


def rooms_of_any_size(root: Path) -> SceneSource:
    return SyntheticRooms(scenes=2, frames=4)


SOURCES = {made.__name__: made for made in (seven_scenes, scannet, navi, rooms, rooms_of_any_size)}


@pytest.mark.parametrize("name", SOURCES)
def test_the_camera_alone_is_the_one_that_comes_with_the_picture(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES[name](tmp_path)
    scene = source.scene(0)
    expected = [source.read(scene, frame, geometry=True).camera for frame in scene.frames]
    assert [camera is None for camera in expected] == [False, False, False, not name.startswith("rooms")]

    expected = deepcopy(expected)
    drawn = []

    def draw(*args: object, **kwargs: object) -> None:
        drawn.append(args)
        raise OSError("a picture was decoded or rendered for the sake of its camera")

    monkeypatch.setattr(ImageFile.ImageFile, "load", draw)
    monkeypatch.setattr(synthetic, "render", draw)
    for frame, other in zip(scene.frames, expected, strict=True):
        camera = source.camera(scene, frame)
        assert (camera is None) == (other is None)
        if camera is not None and other is not None:
            np.testing.assert_array_equal(camera.intrinsics, other.intrinsics)
            np.testing.assert_array_equal(camera.cam2world, other.cam2world)
            camera.cam2world[:] = np.nan  # of no consequence for who asks next
            again = source.camera(scene, frame)
            assert again is not None
            np.testing.assert_array_equal(again.cam2world, other.cam2world)
    assert not drawn


def test_cameras_of_files_tell_the_size_of_the_upright_picture(tmp_path: Path) -> None:
    source = navi(tmp_path)
    cameras = [source.camera(source.scene(0), f"00{number}.jpg") for number in (0, 2)]
    assert [camera.intrinsics[:2, 2].tolist() for camera in cameras if camera] == [[8, 6], [6, 8]]


@pytest.mark.parametrize("name", ["seven_scenes", "scannet", "navi"])
def test_a_picture_without_a_size_is_named(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    scene = source.scene(0)
    file = next(tmp_path.rglob(scene.frames[0]))
    file.write_bytes(b"no picture")
    with pytest.raises(OSError, match=rf"{file.name}: "):
        source.camera(scene, scene.frames[0])


def test_a_source_that_knows_no_shortcut_reads_the_frame() -> None:
    class Posed(Numbered):
        def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
            image = super().read(scene, frame).image
            return Frame(image, None, Camera(np.eye(3), POSE) if geometry and at_least is None else None)

    source = Posed([2], broken=[(0, 1)])
    camera = source.camera(source.scene(0), "0")
    assert camera is not None and camera.cam2world is POSE
    with pytest.raises(OSError, match="broken"):
        source.camera(source.scene(0), "1")
    assert Numbered([1]).camera(source.scene(0), "0") is None
