from __future__ import annotations

import pickle

import numpy as np
import pytest

from muskie.data.sources import synthetic
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError


def pixels(source: SyntheticRooms, index: int, frame: int) -> np.ndarray:
    scene = source.scene(index)
    return np.asarray(source.read(scene, scene.frames[frame]).image)


def test_scenes_are_listed_without_being_made() -> None:
    source = SyntheticRooms()
    assert len(source) == 1_000_000
    scene = source.scene(17)
    assert scene.name == "room-000017"
    assert len(scene.frames) == 64
    assert source.scene(999_999).name == "room-999999"
    with pytest.raises(IndexError):
        source.scene(1_000_000)


def test_a_frame_has_image_depth_and_camera_of_one_size() -> None:
    source = SyntheticRooms(frames=8, image_size=(48, 80))
    scene = source.scene(3)
    plain = source.read(scene, scene.frames[2])
    assert plain.depth is None and plain.camera is None
    frame = source.read(scene, scene.frames[2], geometry=True)
    assert frame.image.size == (80, 48) and frame.image.mode == "RGB"
    assert frame.depth is not None and frame.depth.shape == (48, 80) and frame.depth.dtype == np.float32
    assert frame.camera is not None and frame.camera.cam2world.shape == (4, 4)
    matrix = frame.camera.intrinsics
    assert matrix.dtype == np.float64 and matrix[0, 0] == matrix[1, 1]
    assert tuple(matrix[:2, 2]) == (40.0, 24.0)
    assert 60 <= np.degrees(2 * np.arctan(24 / matrix[1, 1])) <= 70
    np.testing.assert_array_equal(np.asarray(plain.image), np.asarray(frame.image))


def test_a_frame_depends_on_seed_scene_and_frame_alone() -> None:
    forwards, backwards = SyntheticRooms(frames=12), SyntheticRooms(scenes=30, frames=12)
    wanted = [(index, frame) for index in (0, 21, 5) for frame in (0, 11)]
    first = {key: pixels(forwards, *key) for key in wanted}
    synthetic._world.cache_clear()
    second = {key: pixels(backwards, *key) for key in reversed(wanted)}
    for key in wanted:
        np.testing.assert_array_equal(first[key], second[key])
    distinct = [*first.values(), pixels(SyntheticRooms(frames=12, seed=1), 0, 0)]
    for k, picture in enumerate(distinct):
        assert all((picture != other).mean() > 0.5 for other in distinct[:k])


def test_a_reader_cannot_spoil_what_is_kept() -> None:
    source = SyntheticRooms(frames=4)
    scene = source.scene(0)
    for _ in range(2):
        frame = source.read(scene, "000001", geometry=True)
        assert frame.camera is not None
        np.testing.assert_allclose(frame.camera.cam2world[3], [0, 0, 0, 1])
        frame.camera.cam2world[:] = np.nan


def test_a_source_travels_to_workers() -> None:
    source = SyntheticRooms(frames=4)
    np.testing.assert_array_equal(pixels(pickle.loads(pickle.dumps(source)), 2, 1), pixels(source, 2, 1))


def test_a_smaller_picture_shows_the_same() -> None:
    source = SyntheticRooms(frames=4, image_size=(96, 128))
    scene = source.scene(1)
    full = source.read(scene, "000000").image
    small = source.read(scene, "000000", at_least=48).image
    assert small.size == (64, 48)
    assert np.corrcoef(np.asarray(full.reduce(2)).ravel(), np.asarray(small).ravel())[0, 1] > 0.75
    assert source.read(scene, "000000", at_least=200).image.size == (128, 96)
    assert source.read(scene, "000000", at_least=48, geometry=True).image.size == (128, 96)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("scenes", 0),
        ("frames", 0),
        ("frames", 2.5),
        ("seed", -1),
        ("image_size", 4),
        ("image_size", True),
        ("image_size", "96"),
        ("image_size", [96]),
        ("image_size", [96, 96, 3]),
        ("image_size", [96, 3]),
    ],
)
def test_a_wrong_argument_is_named(argument: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{argument}.*=.*>= \d"):
        SyntheticRooms(**{argument: value})  # type: ignore[arg-type]


def test_foreign_scenes_and_frames_are_refused() -> None:
    source = SyntheticRooms(scenes=5, frames=4)
    with pytest.raises(DataError, match="room-000005"):
        source.read(SyntheticRooms().scene(5), "000000")
    with pytest.raises(DataError, match="000004"):
        source.read(source.scene(0), "000004")


def test_without_a_size_pictures_are_as_large_as_asked_for() -> None:
    source = SyntheticRooms(scenes=2, frames=2)
    scene = source.scene(0)
    assert source.read(scene, scene.frames[0]).image.size == (96, 96)
    assert source.read(scene, scene.frames[0], at_least=130).image.size == (130, 130)
    large = source.read(scene, scene.frames[0], at_least=130, geometry=True)
    assert large.depth is not None and large.depth.shape == (130, 130) == large.image.size
