"""Data without depth or cameras is told before anything is trained; what some frames lack is no reason to refuse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muskie.data.geometry_check import camera_problem, check_geometry, geometry_problem, known_depth, size_problem
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import DataError


class Partial(SyntheticRooms):
    """Rooms whose frames lack what `lacks` says of them, `"unreadable"` included; counts what is read."""

    lacks: dict[tuple[str, str], tuple[str, ...]] = {}  # noqa: RUF012
    everywhere: tuple[str, ...] = ()
    reads = 0

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        self.reads += 1
        lacks = self.lacks.get((scene.name, frame), self.everywhere)
        if "unreadable" in lacks:
            raise OSError("cannot be read")
        found = super().read(scene, frame, at_least=8, geometry=geometry)
        if "finite" in lacks:
            assert found.camera is not None
            return replace(found, camera=Camera(found.camera.intrinsics, np.full((4, 4), np.nan)))
        if "known" in lacks:
            assert found.depth is not None
            return replace(found, depth=np.zeros_like(found.depth))
        return replace(found, **dict.fromkeys(lacks))  # type: ignore[arg-type]


def source(everywhere: tuple[str, ...] = (), **lacks: tuple[str, ...]) -> Partial:
    made = Partial(scenes=5, frames=4)
    made.everywhere, made.config_key = everywhere, "data.sources.mine"
    made.lacks = {(key.split("_")[0].replace("room", "room-"), key.split("_")[1]): value for key, value in lacks.items()}
    return made


def check(*sources: SyntheticRooms) -> None:
    check_geometry(SceneIndex(list(sources), "train", HoldOut(share=0)))


def test_one_frame_with_both_will_do_and_nothing_more_is_read() -> None:
    whole = source()
    check(whole)
    assert whole.reads == 1
    check(source(("depth",), room000004_000003=()))  # the last frame of the last scene


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        (("depth",), "it has no depth"),
        (("camera",), "it has no camera"),
        (("finite",), "its camera has numbers that are not finite"),
        (("known",), "its depth is known nowhere"),
    ],
)
def test_what_is_lacking_is_told_with_the_source_and_the_way_out(lacks: tuple[str, ...], words: str) -> None:
    told = f"source 'synthetic' (data.sources.mine): room-000000/000000: {words}, and so for all 6 frames looked at."
    with pytest.raises(DataError, match=re.escape(told)) as error:
        check(source(), source(lacks))
    assert "data=synthetic, sevenscenes" in str(error.value)


def test_what_cannot_be_read_says_nothing() -> None:
    check(source(("unreadable",)))
    with pytest.raises(DataError, match="for all 5 frames looked at"):
        check(source(("depth",), room000000_000000=("unreadable",)))


def camera(**changed: object) -> Camera:
    """A sound one, turned by 90 degrees, but for what is changed."""
    pose = np.array([[0.0, 0, 1, 5], [0, 1, 0, -2], [-1, 0, 0, 3], [0, 0, 0, 1]])
    given = {"intrinsics": np.array([[20.0, 0, 15], [0, 21, 10], [0, 0, 1]]), "cam2world": pose, **changed}
    return Camera(**given)  # type: ignore[arg-type]


def scaled(factor: float, axis: int | None = None) -> np.ndarray:
    pose = camera().cam2world.copy()
    pose[:3, slice(None, 3) if axis is None else axis] *= factor
    return pose


CAMERAS = [
    (camera(intrinsics=np.diag([0.0, 20, 1])), "focal lengths of 0 and 20 pixels; they must be above 0"),
    (camera(intrinsics=np.diag([20.0, -20, 1])), "focal lengths of 20 and -20 pixels; they must be above 0"),
    (camera(intrinsics=np.diag([-20.0, 20, 1])), "focal lengths of -20 and 20 pixels; they must be above 0"),
    (camera(cam2world=scaled(3)), "a pose whose rotation R is none: R^T R is 8 from the identity, more than 0.01"),
    (camera(cam2world=scaled(0)), "R^T R is 1 from the identity"),
    (camera(cam2world=scaled(1.01)), "R^T R is 0.02 from the identity"),
    (camera(cam2world=scaled(-1, 1)), "a pose whose rotation has determinant -1"),
    (camera(cam2world=scaled(1)[:3]), "a pose of shape (3, 4); (3, 3) and (4, 4) are needed"),
    (camera(intrinsics=np.eye(4)), "intrinsics of shape (4, 4)"),
    (camera(intrinsics=np.diag([np.inf, 20, 1])), "numbers that are not finite"),
]


@pytest.mark.parametrize(("found", "words"), CAMERAS)
def test_cameras_that_can_be_none(found: Camera, words: str) -> None:
    frame = Frame(Image.new("RGB", (30, 20)), np.full((20, 30), 2, np.float32), found)
    assert words in camera_problem(found) and geometry_problem(frame) == f"its camera has {camera_problem(found)}"


def test_cameras_that_are_sound() -> None:
    for found in (camera(), camera(cam2world=scaled(1.001)), camera(cam2world=scaled(1).astype(np.float32))):
        assert camera_problem(found) == ""


class One(SceneSource):
    """One frame, ever again."""

    name = "one"

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def __len__(self) -> int:
        return 1

    def scene(self, index: int) -> Scene:
        return Scene("scene", ["a", "b"])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        return self.frame


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (np.full((10, 15), 2, np.float32), "its depth has shape (10, 15) and its picture (20, 30)"),
        (np.full((30, 20), 2, np.float32), "its depth has shape (30, 20)"),
        (np.full((20, 30, 1), 2, np.float32), "its depth has shape (20, 30, 1)"),
        (np.full((20, 30), np.nan, np.float32), "its depth is known nowhere"),
        (np.full((20, 30), np.inf, np.float32), "its depth is known nowhere"),
        (np.full((20, 30), -1, np.float32), "its depth is known nowhere"),
    ],
)
def test_depth_that_is_none(depth: np.ndarray, words: str) -> None:
    one = One(Frame(Image.new("RGB", (30, 20)), depth, camera()))
    with pytest.raises(DataError, match=re.escape(words)):
        check_geometry(SceneIndex([one], "train", HoldOut(share=0)))
    one.frame = replace(one.frame, depth=np.full((20, 30), 2, np.float32))
    check_geometry(SceneIndex([one], "train", HoldOut(share=0)))


def test_depth_belongs_to_the_upright_picture(tmp_path: Path) -> None:
    """One that is stored lying down, and only opened."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 30)).save(tmp_path / "lying.jpg", exif=exif)
    frame = Frame(Image.open(tmp_path / "lying.jpg"), np.full((20, 30), 2, np.float32), camera())
    check_geometry(SceneIndex([One(frame)], "train", HoldOut(share=0)))
    assert size_problem(replace(frame, image=Image.new("RGB", (20, 30)))) != ""


def test_what_is_no_depth_is_unknown() -> None:
    given = np.array([[1.5, 0, -2], [np.nan, np.inf, -np.inf]])
    for kind in (np.float64, np.float32, np.float16):
        known = known_depth(given.astype(kind))
        assert known.dtype == np.float32 and known.tolist() == [[1.5, 0, 0], [0, 0, 0]]
    assert known_depth(np.array([[0, 7]], np.uint16)).tolist() == [[0, 7]]
