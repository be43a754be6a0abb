"""View sets as tensors: pixels, depth and cameras are still of one world after a crop, and nothing is lost in silence."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muskie.data.scene import Camera, Frame, Scene, SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.posed_views import PosedViews, posed_batches, read_posed
from muskie.evaluation.views.view_sets import ViewSet
from muskie.geometry import reproject, transform_points, unproject
from muskie.streams import stream

SIZE = (60, 40)
FOCAL = 45.0
REACH = 2.0
"""Red and green rise from 0 to 255 as x and y of the world go from -REACH to REACH."""


class Plate(SceneSource):
    """A painted wall at z = 3, of which a rectangle has depth. Cameras look straight at it from different places.

    Args:
        boxes: of each frame, the pixels with depth: left, top, right, bottom, the last two exclusive.
        broken: frames that cannot be read.
        size: width and height.
        without: `"depth"` or `"camera"`: frames have none.
        lost: frames whose camera is not finite.
    """

    name = "plate"

    def __init__(
        self,
        boxes: Sequence[tuple[int, int, int, int]],
        broken: Sequence[int] = (),
        size: tuple[int, int] = SIZE,
        without: str = "",
        lost: Sequence[int] = (),
    ) -> None:
        self.boxes, self.broken, self.size, self.without = boxes, set(broken), size, without
        self.lost = set(lost)

    def __len__(self) -> int:
        return 1

    def scene(self, index: int) -> Scene:
        return Scene("wall", [str(frame) for frame in range(len(self.boxes))])

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        assert geometry
        number, (width, height) = int(frame), self.size
        if number in self.broken:
            raise OSError(f"{frame}.png is broken")
        intrinsics = np.array([[FOCAL, 0, width / 2 + 1.5], [0, 0.9 * FOCAL, height / 2 - 2.25], [0, 0, 1]])
        pose = np.eye(4)
        pose[:3, 3] = [0.3 - 0.17 * number, 0.11 * number, -0.05 * number]
        depth = 3 - pose[2, 3]
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        world_x = (x - intrinsics[0, 2]) / intrinsics[0, 0] * depth + pose[0, 3]
        world_y = (y - intrinsics[1, 2]) / intrinsics[1, 1] * depth + pose[1, 3]
        rgb = np.zeros((height, width, 3))
        rgb[..., 0], rgb[..., 1] = colour(world_x), colour(world_y)[:, None]
        left, top, right, bottom = self.boxes[number]
        known = np.zeros((height, width), np.float32)
        known[top:bottom, left:right] = depth
        image = Image.fromarray(np.clip(rgb, 0, 255).round().astype(np.uint8))
        if number in self.lost:
            pose[0, 3] = np.nan
        return Frame(
            image, None if self.without == "depth" else known, None if self.without == "camera" else Camera(intrinsics, pose)
        )


def colour(place: Any) -> Any:
    return (place / REACH + 1) * 127.5


def view_set(source: SceneSource, *frames: int) -> ViewSet:
    scene = source.scene(0)
    return ViewSet(source, scene, tuple(scene.frames[number] for number in frames))


def batches(
    source: SceneSource, *sets: Sequence[int], size: tuple[int, int] = (20, 30), **settings: Any
) -> list[PosedViews]:
    return list(posed_batches([view_set(source, *frames) for frames in sets], size, **{"batch": 2, **settings}))


WHOLE = (0, 0, *SIZE)


@pytest.mark.parametrize("crop", ["centre", "object"])
@pytest.mark.parametrize("size", [(40, 40), (20, 50), (16, 16), (64, 48)])
def test_every_pixel_shows_the_place_that_its_depth_and_camera_say(crop: str, size: tuple[int, int]) -> None:
    """Half a pixel would be two grey values or more."""
    source = Plate([(10, 4, 31, 30), (0, 0, 25, 38), (30, 20, 60, 40), WHOLE])
    views = read_posed(view_set(source, 0, 1, 2, 3), size, crop)
    camera = unproject(views.depth.double(), views.intrinsics)
    world = transform_points(views.cam2world, camera.flatten(-3, -2)).unflatten(-2, size)[0]  # [V, H, W, 3]
    known = views.depth[0] > 0
    assert torch.allclose(world[..., 2][known], torch.tensor(3.0).double(), atol=1e-6)
    colours = views.images[0, :, :2].movedim(1, -1).double()
    sound = known & (colours > 4).all(-1) & (colours < 251).all(-1)
    sound[:, [0, 1, -2, -1]] = sound[:, :, [0, 1, -2, -1]] = False  # borders are extrapolated
    assert int(sound.sum()) > 0.2 * sound.numel()
    assert float((colours - colour(world[..., :2])).abs()[sound].max()) < 1.1


def test_the_centre_crop_is_the_largest_there_is() -> None:
    for size, x, y in (((40, 40), 21.5, 17.75), ((10, 60), 31.5, 2.75)):
        views = read_posed(view_set(Plate([WHOLE]), 0), size)
        expected = torch.tensor([[FOCAL, 0, x], [0, 0.9 * FOCAL, y], [0, 0, 1]]).double()
        assert views.size == size
        torch.testing.assert_close(views.intrinsics[0, 0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("box", "left", "top", "side"),
    [
        ((10, 12, 30, 22), 10, 7, 20),  # as wide as the object, which is in the middle
        ((10, 2, 30, 8), 10, 0, 20),  # moved, for the picture ends
        ((45, 10, 60, 40), 30, 10, 30),
        ((0, 10, 60, 20), 10, 0, 40),  # wider than any square
        ((20, 20, 21, 21), 20, 20, 1),
        ((0, 0, 0, 0), 10, 0, 40),  # nothing has depth: the middle
    ],
)
def test_the_crop_around_an_object(box: tuple[int, int, int, int], left: int, top: int, side: int) -> None:
    views = read_posed(view_set(Plate([box]), 0), (30, 30), "object")
    scale = 30 / side
    expected = [[FOCAL * scale, 0, (31.5 - left) * scale], [0, 0.9 * FOCAL * scale, (17.75 - top) * scale], [0, 0, 1]]
    torch.testing.assert_close(views.intrinsics[0, 0], torch.tensor(expected).double(), rtol=0, atol=1e-9)
    shown = max(0, min(box[2], left + side) - max(box[0], left)) * max(0, min(box[3], top + side) - max(box[1], top))
    assert int((views.depth > 0).sum()) == pytest.approx(shown * scale**2, rel=0.15)


def test_crops_of_any_size_and_object_can_be_read() -> None:
    """No rounding error takes a crop out of its picture."""
    rng = stream(0, "crops")
    for _ in range(150):
        width, height = (int(n) for n in rng.integers(8, 400, 2))
        (left, right), (top, bottom) = (np.sort(rng.integers(0, n, 2)) for n in (width, height))
        source = Plate([(left, top, right + 1, bottom + 1)], size=(width, height))
        size = (int(rng.integers(8, 40)), int(rng.integers(8, 40)))
        assert read_posed(view_set(source, 0), size, "object").size == size


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_rendered_views_still_agree_after_the_crop(size: tuple[int, int]) -> None:
    """The depth of view 0, seen from the others, is what they measured."""
    source = SyntheticRooms(scenes=1, frames=7, image_size=(72, 96))
    views = read_posed(view_set(source, 0, 3, 6), size)
    found = reproject(
        *(part[:, :1].double() for part in (views.depth, views.intrinsics, views.cam2world)),
        *(part[:, 1:].double() for part in (views.depth, views.intrinsics, views.cam2world)),
        tolerance=0.02,
    )
    off = ((found.depth - found.measured) / found.measured)[found.inside]
    assert len(off) > 4000 and float((off.abs() < 0.02).double().mean()) > 0.85
    assert abs(float(off.median())) < 0.001, "to both sides alike: depth is taken from the nearest pixel"


def test_types_and_shapes() -> None:
    (views,) = batches(Plate([WHOLE] * 3), (0, 1, 2), (2, 0, 1))
    assert views.images.dtype == torch.uint8 and views.images.shape == (2, 3, 3, 20, 30)
    assert views.depth.dtype == torch.float32 and views.depth.shape == (2, 3, 20, 30)
    assert views.intrinsics.dtype == views.cam2world.dtype == torch.float64
    assert views.intrinsics.shape == (2, 3, 3, 3) and views.cam2world.shape == (2, 3, 4, 4)
    assert torch.equal(views.images[0, [2, 0, 1]], views.images[1])
    moved = views.to(torch.device("meta"))
    assert moved.images.is_meta and moved.cam2world.is_meta and moved.numbers == [0, 1] and moved.size == (20, 30)


@pytest.mark.parametrize("workers", [0, 2])
def test_sets_come_in_order_and_those_that_cannot_be_read_are_named(workers: int) -> None:
    """Also those at the end, after the last batch that can be read."""
    source = Plate([WHOLE] * 12, broken=[1, 4, 5, 10, 11])
    read = batches(source, *((number,) for number in range(12)), workers=workers)
    assert [views.numbers for views in read] == [[0], [2, 3], [6, 7], [8, 9]]
    assert [len(views.images) for views in read] == [1, 2, 2, 2]
    named = [message for views in read for message in views.unreadable]
    assert named == [f"plate/wall ({n}): {n}.png is broken" for n in (1, 4, 5, 10, 11)]
    for views in read:
        for number, one in zip(views.numbers, views.images, strict=True):
            assert torch.equal(one, read_posed(view_set(source, number), (20, 30)).images[0])


def test_a_camera_that_is_not_finite_is_left_out() -> None:
    read = batches(Plate([WHOLE] * 4, lost=[2]), (0,), (1,), (2,), (3,))
    assert [number for views in read for number in views.numbers] == [0, 1, 3]
    told = [message for views in read for message in views.unreadable]
    assert told == ["plate/wall (2): the camera of frame '2' has numbers that are not finite"]


def test_workers_read_the_same() -> None:
    source = SyntheticRooms(scenes=1, frames=6, image_size=(24, 32))
    sets = [(0, 1), (2, 3), (4, 5)]
    for one, other in zip(batches(source, *sets), batches(source, *sets, workers=2), strict=True):
        assert one.numbers == other.numbers
        for part in ("images", "depth", "intrinsics", "cam2world"):
            assert torch.equal(getattr(one, part), getattr(other, part))


def test_nothing_that_can_be_read() -> None:
    with pytest.raises(DataError, match=r"none of 2 sets of views can be read; plate/wall \(0\): 0.png is broken"):
        batches(Plate([WHOLE], broken=[0]), (0,), (0,))
    with pytest.raises(DataError, match="none of 0 sets of views can be read; there are none"):
        batches(Plate([WHOLE]))


def test_the_message_names_all_data_sets_that_have_both() -> None:
    """A new one must be named as well; folders, videos and annotated sequences have neither, some no depth, a mixture is
    none."""
    there = {path.stem for path in (Path(__file__).parents[3] / "configs" / "data").glob("*.yaml")}
    with pytest.raises(DataError) as error:
        batches(Plate([WHOLE], without="depth"), (0,))
    named = str(error.value).split("sources with both: data=")[1].split(", ")
    neither = {"folder", "video", "annotations"}
    no_depth = {"pairs", "realestate10k", "dl3dv"}
    assert {*named} == there - neither - no_depth - {"sevenscenes_and_rooms", "sevenscenes_and_shards"} and len(named) == 20


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("what", ["depth", "camera"])
def test_frames_without_geometry_are_an_error_in_words(what: str, workers: int) -> None:
    with pytest.raises(DataError, match=f"plate/wall: frame '0' has no {what}, which the evaluation of geometry needs"):
        batches(Plate([WHOLE], without=what), (0,), workers=workers)


@pytest.mark.parametrize("what", ["depth", "camera"])
@pytest.mark.parametrize("workers", [0, 1])
def test_sets_with_a_frame_without_geometry_are_left_out(what: str, workers: int) -> None:
    bare, whole = Plate([WHOLE] * 3, without=what), Plate([WHOLE] * 3)
    sets = [view_set(whole, 0, 1), view_set(bare, 0, 1), view_set(whole, 1, 2)]
    read = list(posed_batches(sets, (20, 30), 2, workers=workers))
    assert [number for views in read for number in views.numbers] == [0, 2]
    (told,) = [message for views in read for message in views.unreadable]
    assert f"plate/wall: frame '0' has no {what}" in told


def test_depth_of_another_size_or_not_finite() -> None:
    source = Plate([WHOLE] * 2)
    sound = source.read(source.scene(0), "0", geometry=True)
    assert sound.depth is not None
    source.read = lambda *a, **k: replace(sound, depth=sound.depth[::2])  # type: ignore[method-assign, index]
    with pytest.raises(OSError, match=r"frame '0': its depth has shape \(20, 60\) and its picture \(40, 60\)"):
        read_posed(view_set(source, 0), (20, 30))
    source.read = lambda *a, **k: replace(sound, depth=np.full_like(sound.depth, np.inf))  # type: ignore[method-assign]
    assert not read_posed(view_set(source, 0), (20, 30)).depth.any()


def test_an_unknown_crop() -> None:
    with pytest.raises(ConfigError, match="crop='middle': expected one of 'centre', 'object'"):
        batches(Plate([WHOLE]), (0,), crop="middle")


def test_nothing_is_drawn_from_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    batches(Plate([WHOLE] * 2), (0,), (1,))
    assert torch.equal(torch.random.get_rng_state(), before)


class Stored(Plate):
    """The same, as files that are only opened: grey, and turned by what is noted in them."""

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        plain = super().read(scene, frame, geometry=geometry)
        exif = Image.Exif()
        exif[0x0112] = 8  # to be shown turned to the left by 90 degrees
        file = io.BytesIO()
        plain.image.transpose(Image.Transpose.ROTATE_270).save(file, "png", exif=exif)
        data = file.getvalue()
        if int(frame) == 1:
            data = data[: len(data) // 2]
        return Frame(Image.open(io.BytesIO(data)), plain.depth, plain.camera)


def test_pictures_that_are_only_opened_are_decoded_upright() -> None:
    read = partial(read_posed, size=(40, 60))
    expected, found = (read(view_set(kind([WHOLE] * 2), 0)) for kind in (Plate, Stored))
    assert torch.equal(expected.images, found.images) and torch.equal(expected.intrinsics, found.intrinsics)
    (views,) = batches(Stored([WHOLE] * 2), (0,), (1,))
    assert views.numbers == [0] and len(views.unreadable) == 1


def test_frames_without_depth_may_be_of_unknown_depth() -> None:
    source = Plate([(10, 10, 50, 30)] * 2, without="depth")
    views = ViewSet(source, source.scene(0), ("0", "1"))
    read = read_posed(views, (20, 30), depth=False)
    assert read.depth.shape == (1, 2, 20, 30) and read.depth.dtype == torch.float32 and not read.depth.any()
    known = read_posed(ViewSet(Plate([(10, 10, 50, 30)] * 2), views.scene, views.frames), (20, 30))
    torch.testing.assert_close(read.intrinsics, known.intrinsics)
    (batch,) = posed_batches([views], (20, 30), 1, depth=False)
    assert torch.equal(batch.images, known.images)
    with pytest.raises(DataError, match="has no camera"):
        read_posed(ViewSet(Plate([(0, 0, 9, 9)], without="camera"), views.scene, ("0",)), (20, 30), depth=False)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_a_batch_has_sets_of_as_many_views(batch: int) -> None:
    source = Plate([(10, 10, 50, 30)] * 6, broken=[5])
    lengths = [2, 2, 2, 3, 3, 1, 6, 2]
    sets = [ViewSet(source, source.scene(0), tuple(map(str, range(length)))) for length in lengths]
    batches = list(posed_batches(sets, (20, 30), batch))
    assert [number for views in batches for number in views.numbers] == [0, 1, 2, 3, 4, 5, 7], "in order; one is broken"
    assert sum(len(views.unreadable) for views in batches) == 1
    for views in batches:
        assert len(views.numbers) <= batch and views.images.shape[1] == lengths[views.numbers[0]]
        assert {lengths[number] for number in views.numbers} == {views.images.shape[1]}
