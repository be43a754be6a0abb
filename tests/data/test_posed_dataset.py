"""Views with geometry for training: what is drawn, cropped and passed over, against exact synthetic geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import SceneLoader
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset, PosedScenes, unmirrored
from muskie.data.requests import Request
from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.geometry import reproject

PLAN = StepPlan(patch_size=8, steps=10, sizes=(48,), views=4, views_per_scene=(4,), window=6)
WHOLE = GeometryCrops(min_area=1.0, per_view=False)


def dataset(source: SceneSource, crops: GeometryCrops = WHOLE, plan: StepPlan = PLAN) -> PosedDataset:
    return PosedDataset(SceneIndex([source], "train", HoldOut(0.0), 1), plan, crops)


class Broken(SceneSource):
    """Scenes that lack something, by their number; every `sound`-th frame lacks nothing. Counts what is read."""

    name = "broken"

    def __init__(self, problems: list[str], frames: int = 6, sound: int = 0) -> None:
        self.problems, self.frames, self.sound = problems, frames, sound
        self.reads = 0

    def __len__(self) -> int:
        return len(self.problems)

    def scene(self, index: int) -> Scene:
        return Scene(str(index), [f"{n}" for n in range(self.frames)])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        self.reads += 1
        problem = self.problems[int(scene.name)]
        if self.sound and int(frame) % self.sound == 0:
            problem = "sound"
        depth = np.full((20, 30), 0.0 if problem == "empty" else 2.0, np.float32)
        camera = Camera(np.array([[20.0, 0, 15], [0, 20, 10], [0, 0, 1]]), np.eye(4))
        if problem == "nan":
            camera.cam2world[0, 3] = np.nan
        if problem == "mirrored":
            camera.intrinsics[0, 0] = -20
        if problem == "smaller":
            depth = depth[::2, ::2].copy()
        if problem == "infinite":
            depth[:] = np.inf
        if problem == "half":
            depth[:10], depth[10:, :9] = np.nan, -1
        if problem == "uint16":
            depth = (1000 * depth).astype(np.uint16)
        if problem == "unreadable":
            raise OSError(f"{scene.name}/{frame} cannot be read")
        return Frame(
            Image.new("RGB", (30, 20)),
            None if problem == "no depth" else depth,
            None if problem == "no camera" else camera,
        )


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("per_view", [False, True])
def test_views_see_the_same_points_where_geometry_says(flip: float, per_view: bool) -> None:
    """Mirrored or not, whatever the crops: a point of one view has in the other the depth that was rendered there."""
    rooms = dataset(SyntheticRooms(scenes=3, image_size=96), GeometryCrops(0.6, flip, per_view))
    for sample in range(3):
        scene = rooms[Request(0, 0, sample)]
        assert scene.images.shape == (1, 4, 3, 48, 48) and scene.images.dtype == torch.uint8
        assert scene.depth.shape == (1, 4, 48, 48) and scene.depth.dtype == torch.float32
        assert (scene.intrinsics[..., 0, 0] > 0).all() and scene.cam2world.dtype == torch.float64
        depth, intrinsics, poses = scene.depth[0].double(), scene.intrinsics[0].double(), scene.cam2world[0]
        found = reproject(depth[0], intrinsics[0], poses[0], depth[1:], intrinsics[1:], poses[1:], tolerance=0.05)
        seen = found.visible.sum() / found.inside.sum()
        assert found.inside.float().mean() > 0.2 and seen > 0.8
        # Pictures of the same point look alike, and those of other points do not.
        grey = scene.images[0].float().mean(1)
        column, row = found.pixels[0].long().clamp(0, 47).unbind(-1)
        one, other = grey[0][found.visible[0]], grey[1][row, column][found.visible[0]]
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.6


def test_the_same_request_is_the_same_scene() -> None:
    rooms = dataset(SyntheticRooms(scenes=50), GeometryCrops(0.5, 0.5))
    one, again, other = (rooms[Request(3, 0, n)] for n in (1, 1, 2))
    assert torch.equal(one.images, again.images) and torch.equal(one.cam2world, again.cam2world)
    assert not torch.equal(one.images, other.images)


def test_no_frame_is_there_twice() -> None:
    for sample in range(10):
        poses = dataset(SyntheticRooms(scenes=5))[Request(0, 0, sample)].cam2world[0]
        assert len({tuple(pose.flatten().tolist()) for pose in poses}) == 4


def test_crops_are_centred() -> None:
    crops = GeometryCrops(0.3)
    shares = set()
    for seed in range(20):
        crop = crops.draw(seed, seed % 3, (90, 60), 1.0)
        assert crop.left + crop.right == pytest.approx(1) and crop.top + crop.bottom == pytest.approx(1)
        area = (crop.right - crop.left) * (crop.bottom - crop.top) / (2 / 3)
        assert 0.3 <= area <= 1 + 1e-9
        assert (crop.right - crop.left) * 90 == pytest.approx((crop.bottom - crop.top) * 60), "pixels stay square"
        shares.add(round(area, 6))
    assert len(shares) == 20
    assert crops.draw(1, 0, (90, 60), 1.0) != crops.draw(1, 1, (90, 60), 1.0)
    together = replace(crops, per_view=False)
    assert together.draw(1, 0, (90, 60), 1.0) == together.draw(1, 1, (90, 60), 1.0)


def test_a_mirrored_picture_is_one_of_a_mirrored_world() -> None:
    """Where a camera has a point, the camera of the mirrored picture has the mirrored point, mirrored."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = turn * np.sign(np.linalg.det(turn)), rng.standard_normal(3)
    camera = Camera(np.array([[50.0, 0, 31], [0, 55, 24], [0, 0, 1]]), pose)
    flip = np.array([[-1.0, 0, 60], [0, 1, 0], [0, 0, 1]])
    other = unmirrored(Camera(flip @ camera.intrinsics, pose))
    assert other.intrinsics[0, 0] > 0 and np.linalg.det(other.cam2world[:3, :3]) == pytest.approx(1)
    point = pose[:3, :3] @ np.array([0.3, -0.2, 4.0]) + pose[:3, 3]

    def projected(camera: Camera, point: np.ndarray) -> np.ndarray:
        local = np.linalg.inv(camera.cam2world) @ np.append(point, 1)
        pixel = camera.intrinsics @ local[:3]
        return np.asarray(pixel[:2] / pixel[2])

    x, y = projected(camera, point)
    assert projected(other, point * [-1, 1, 1]) == pytest.approx([60 - x, y])
    assert unmirrored(camera) is camera


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("empty", "passed over, no depth is known"),
        ("infinite", "passed over, no depth is known"),
        ("nan", "numbers that are not finite"),
        ("mirrored", "focal lengths of -20 and 20 pixels"),
        ("smaller", "its depth has shape (10, 15) and its picture (20, 30)"),
        ("no depth", "it has no depth"),
        ("no camera", "it has no camera"),
        ("unreadable", "cannot be read"),
    ],
)
def test_scenes_that_cannot_be_used_are_passed_over_and_told(problem: str, told: str) -> None:
    mixed = dataset(Broken([problem, "sound"]))
    found = [mixed[Request(0, 0, sample)] for sample in range(12)]
    assert {scene.places[0] for scene in found} == {"broken/1"}
    messages = [str(message) for scene in found for message in scene.unreadable]
    assert any(told in message for message in messages) and all("broken/0" in m or "0/" in m for m in messages)
    with pytest.raises(DataError, match="8 scenes were drawn and none can be used, the last: broken/0: passed over"):
        dataset(Broken([problem]))[Request(0, 0, 0)]


def test_depth_that_is_none_is_unknown() -> None:
    depth = dataset(Broken(["half"]))[Request(0, 0, 0)].depth
    assert set(depth.unique().tolist()) == {0, 2} and not depth[..., :24, :].any() and depth[..., 24:, 40:].all()
    assert dataset(Broken(["uint16"]))[Request(0, 0, 0)].depth.unique().tolist() == [2000]


def test_a_scene_without_geometry_is_given_up_after_some_dozens_of_frames() -> None:
    """In one message that counts them, and without decoding a picture of it."""
    long = Broken(["no depth"], frames=3000)
    with pytest.raises(
        DataError, match="0 of the 48 frames looked at have what is needed, 4 are wanted; most often: it has no"
    ):
        dataset(long)[Request(0, 0, 0)]
    assert long.reads == 8 * 48
    mixed = Broken(["no camera", "sound"], frames=3000)
    told = [str(message) for n in range(12) for message in dataset(mixed)[Request(0, 0, n)].unreadable]
    assert len(set(told)) == 1 and "broken/0: passed over, 0 of the 48" in told[0]


def test_frames_far_apart_that_have_geometry_are_found() -> None:
    """One in thirty: more frames are looked at in all than without any success."""
    rare = Broken(["no depth"], frames=300, sound=30)
    scene = dataset(rare)[Request(0, 0, 0)]
    assert scene.depth.all() and rare.reads > 48
    assert all("it has no depth" in str(message) for message in scene.unreadable)
    assert len(scene.unreadable) == len(set(scene.unreadable)) == rare.reads - 4


def test_pictures_are_decoded_after_geometry_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Image.Image] = []

    def decode(image: Image.Image) -> Image.Image:
        decoded.append(image)
        return image

    monkeypatch.setattr("muskie.data.posed_dataset.decode", decode)
    scene = dataset(Broken(["no depth"], sound=1))[Request(0, 0, 0)]
    assert len(decoded) == 4 and not scene.unreadable
    with pytest.raises(DataError):
        dataset(Broken(["no depth"]))[Request(0, 0, 0)]
    assert len(decoded) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(workers: int) -> None:
    rooms = dataset(SyntheticRooms(scenes=9))
    requests = [[Request(load, 0, n) for n in range(3)] for load in range(2)]
    with SceneLoader(rooms, requests, workers, pin=False) as loader:  # type: ignore[arg-type]
        batches = list(loader)
    for asked, batch in zip(requests, batches, strict=True):
        assert isinstance(batch, PosedScenes)
        assert batch.depth.shape == (3, 4, 48, 48) and batch.samples == [0, 1, 2] and len(batch.places) == 3
        assert torch.equal(batch.intrinsics, torch.cat([rooms[one].intrinsics for one in asked]))


def test_settings_out_of_range() -> None:
    for settings, message in (({"min_area": 0}, "augment.min_area=0"), ({"flip_x": 2}, "augment.flip_x=2")):
        with pytest.raises(ConfigError, match=message):
            GeometryCrops(**settings)  # type: ignore[arg-type]
