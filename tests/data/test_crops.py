"""Crops keep image, depth and camera in step; augmentation stays within what it is given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from muskie.data.augmentation import Augmentation
from muskie.data.crops import Crop
from muskie.data.scene import Camera, Frame

FLIPS = list(itertools.product((False, True), repeat=2))
CROPS = [(0.0, 0.0, 1.0, 1.0), (0.1, 0.25, 0.7, 0.9), (0.33, 0.0, 1.0, 0.41)]
BEFORE, AFTER = (120, 200), (64, 48)  # H, W
INTRINSICS = np.array([[150.0, 0.0, 97.3], [0.0, 148.0, 64.1], [0.0, 0.0, 1.0]])


def moved(crop: Crop, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where positions of the image before are after the crop, by the definition of a crop."""
    x = (x / BEFORE[1] - crop.left) / (crop.right - crop.left) * AFTER[1]
    y = (y / BEFORE[0] - crop.top) / (crop.bottom - crop.top) * AFTER[0]
    return AFTER[1] - x if crop.flip_x else x, AFTER[0] - y if crop.flip_y else y


def source_of(crop: Crop) -> tuple[np.ndarray, np.ndarray]:
    """The positions before of the pixel centres after, x [W] and y [H]; the inverse of `moved`, written apart."""
    x, y = np.arange(AFTER[1]) + 0.5, np.arange(AFTER[0]) + 0.5
    x, y = AFTER[1] - x if crop.flip_x else x, AFTER[0] - y if crop.flip_y else y
    share_x = crop.left + (crop.right - crop.left) * x / AFTER[1]
    share_y = crop.top + (crop.bottom - crop.top) * y / AFTER[0]
    return share_x * BEFORE[1], share_y * BEFORE[0]


@pytest.mark.parametrize("corners", CROPS)
@pytest.mark.parametrize("flips", FLIPS)
def test_cropped_intrinsics_project_to_where_the_crop_moves_pixels(
    corners: tuple[float, ...], flips: tuple[bool, bool]
) -> None:
    crop = Crop(*corners, *flips)
    points = np.random.default_rng(0).uniform([-2, -2, 0.5], [2, 2, 5], (50, 3))
    before = points @ INTRINSICS.T
    after = points @ crop.intrinsics(INTRINSICS, BEFORE, *AFTER).T
    x, y = moved(crop, before[:, 0] / before[:, 2], before[:, 1] / before[:, 2])
    np.testing.assert_allclose(after[:, 0] / after[:, 2], x, atol=1e-9)
    np.testing.assert_allclose(after[:, 1] / after[:, 2], y, atol=1e-9)
    np.testing.assert_allclose(after[:, 2], points[:, 2])


@pytest.mark.parametrize("corners", CROPS)
@pytest.mark.parametrize("flips", FLIPS)
def test_pixels_and_depth_come_from_where_the_intrinsics_say(corners: tuple[float, ...], flips: tuple[bool, bool]) -> None:
    crop = Crop(*corners, *flips)
    ramp_x, ramp_y = (np.arange(BEFORE[1]) + 0.5) / BEFORE[1], (np.arange(BEFORE[0]) + 0.5) / BEFORE[0]
    pixels = np.zeros((*BEFORE, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.rint(250 * ramp_x), np.rint(250 * ramp_y)[:, None]
    image = crop.image(Image.fromarray(pixels), *AFTER)
    assert image.shape == (3, *AFTER) and image.dtype == np.uint8 and image.flags["C_CONTIGUOUS"]
    x, y = source_of(crop)
    off_x = image[0] - 250 * x / BEFORE[1]
    off_y = image[1] - (250 * y / BEFORE[0])[:, None]
    inner = np.s_[2:-2, 2:-2]
    for off in (off_x[inner], off_y[inner]):
        # A shift of half a pixel would be 0.6 and more on average.
        assert np.abs(off).max() < 1.6 and abs(off.mean()) < 0.2
    for axis, (values, want) in enumerate([(np.arange(BEFORE[1]) + 0.5, x), (np.arange(BEFORE[0]) + 0.5, y)]):
        depth = np.broadcast_to(values if axis == 0 else values[:, None], BEFORE).astype(np.float32)
        cropped = crop.depth(depth, *AFTER)
        assert cropped.shape == AFTER and cropped.dtype == np.float32
        expected = np.broadcast_to(want if axis == 0 else want[:, None], AFTER)
        assert np.abs(cropped - expected).max() <= 0.5 + 1e-3  # the nearest of the source's pixels
        assert set(np.unique(cropped)) <= set(values.astype(np.float32).tolist())  # never mixed


def test_enlarging_is_aligned_too() -> None:
    pixels = np.zeros((8, 10, 3), dtype=np.uint8)
    pixels[:, 5:] = 200
    image = Crop(0.2, 0, 0.8, 1).image(Image.fromarray(pixels), 32, 60)
    assert (image[:, :, :24] < 20).all() and (image[:, :, 36:] > 180).all()  # the edge is in the middle


def test_a_frame_is_cropped_as_a_whole() -> None:
    depth = np.random.default_rng(0).random(BEFORE).astype(np.float32)
    picture = Image.fromarray(np.random.default_rng(1).integers(256, size=(*BEFORE, 3), dtype=np.uint8))
    pose = np.eye(4)
    crop = Crop(0.1, 0.2, 0.8, 0.7, flip_x=True)
    image, cropped, camera = crop.frame(Frame(picture, depth, Camera(INTRINSICS, pose)), *AFTER)
    np.testing.assert_array_equal(image, crop.image(picture, *AFTER))
    assert cropped is not None and camera is not None
    np.testing.assert_array_equal(cropped, crop.depth(depth, *AFTER))
    np.testing.assert_array_equal(camera.intrinsics, crop.intrinsics(INTRINSICS, BEFORE, *AFTER))
    assert camera.cam2world is pose  # mirroring is in the intrinsics: nobody mirrors poses
    assert camera.intrinsics[0, 0] < 0 < camera.intrinsics[1, 1]
    image, cropped, camera = crop.frame(Frame(picture), *AFTER)
    assert image.shape == (3, *AFTER) and cropped is None and camera is None


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((640, 480), 1.0, (0.125, 0, 0.875, 1)),
        ((480, 640), 1.0, (0, 0.125, 1, 0.875)),
        ((640, 480), 4 / 3, (0, 0, 1, 1)),
        ((640, 480), 16 / 9, (0, 0.125, 1, 0.875)),
        ((100, 100), 0.5, (0.25, 0, 0.75, 1)),
    ],
)
def test_the_centre_crop_is_the_largest_of_its_aspect(
    size: tuple[int, int], aspect: float, expected: tuple[float, ...]
) -> None:
    crop = Crop.centre(*size, aspect)
    assert (crop.left, crop.top, crop.right, crop.bottom) == pytest.approx(expected)
    assert not crop.flip_x and not crop.flip_y


def measures(crop: Crop, image_aspect: float) -> tuple[float, float]:
    """Share of the area and aspect ratio in pixels."""
    width, height = crop.right - crop.left, crop.bottom - crop.top
    return width * height, width / height * image_aspect


@pytest.mark.parametrize("image_aspect", [1.0, 4 / 3, 3 / 4, 16 / 9, 3.0])
@pytest.mark.parametrize("target", [1.0, 4 / 3, 9 / 16])
@pytest.mark.parametrize("min_area", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("distortion", [1.0, 4 / 3])
def test_crops_stay_within_image_area_and_aspect(
    image_aspect: float, target: float, min_area: float, distortion: float
) -> None:
    augmentation = Augmentation(min_area=min_area, distortion=distortion)
    rng = np.random.default_rng(0)
    # The largest share of the image that a crop of an allowed aspect ratio can have.
    possible = min(1.0, target * distortion / image_aspect, image_aspect / (target / distortion))
    for _ in range(60):
        crop = augmentation.draw(rng, image_aspect, target)
        assert 0 <= crop.left < crop.right <= 1 and 0 <= crop.top < crop.bottom <= 1
        area, aspect = measures(crop, image_aspect)
        assert target / distortion - 1e-9 <= aspect <= target * distortion + 1e-9
        assert min(min_area, possible) - 1e-9 <= area <= 1 + 1e-9


def test_crops_are_spread_evenly() -> None:
    augmentation = Augmentation(min_area=0.2, distortion=1.2, flip_x=0.3, flip_y=0.1)
    rng = np.random.default_rng(1)
    crops = [augmentation.draw(rng, 1.0, 1.0) for _ in range(4000)]
    area, aspect = np.array([measures(crop, 1.0) for crop in crops]).T
    left, top, right, bottom = np.array([[crop.left, crop.top, crop.right, crop.bottom] for crop in crops]).T
    uniform = {
        "area": (area - 0.2) / 0.8,
        "log aspect": np.log(aspect[area < 0.8]) / np.log(1.2) / 2 + 0.5,
        "left": left / (1 - right + left),
        "top": top / (1 - bottom + top),
    }
    for name, values in uniform.items():
        distance = np.abs(np.sort(values) - (np.arange(len(values)) + 0.5) / len(values)).max()
        assert distance < 1.6 / len(values) ** 0.5, name  # Kolmogorov-Smirnov, far below 1 %
    assert abs(np.mean([crop.flip_x for crop in crops]) - 0.3) < 0.03
    assert abs(np.mean([crop.flip_y for crop in crops]) - 0.1) < 0.02


def test_no_augmentation_is_the_centre_crop() -> None:
    plain = Augmentation(min_area=1.0, distortion=1.0, flip_x=0.0)
    for image_aspect, target in [(1.0, 1.0), (4 / 3, 4 / 3)]:
        crop = plain.draw(np.random.default_rng(0), image_aspect, target)
        assert (crop.left, crop.top, crop.right, crop.bottom) == pytest.approx((0, 0, 1, 1))
        assert not crop.flip_x and not crop.flip_y
    # Of another aspect ratio: as large as the centre crop, at a random place.
    crop = plain.draw(np.random.default_rng(0), 4 / 3, 1.0)
    assert crop.right - crop.left == pytest.approx(0.75) and (crop.top, crop.bottom) == pytest.approx((0, 1))
