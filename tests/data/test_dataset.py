"""Views of a scene: which frames, what happens to broken ones, and purity of all draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered import Numbered, dataset, numbers, requests
from PIL import Image

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import TRIES, ViewDataset, Views
from muskie.data.requests import Request
from muskie.data.sampling import draw_frames
from muskie.data.scene import Frame, Scene
from muskie.data.sources.folder import ImageFolders
from muskie.errors import DataError


def frames_of(views: Views) -> list[int]:
    return numbers(views.images)[0, :, 1].tolist()


@pytest.mark.parametrize("frames", [4, 5, 9, 40, 100])
@pytest.mark.parametrize(("window", "stride"), [(4, 1), (12, 1), (12, 3), (1000, 1), (2, 50)])
def test_views_are_distinct_and_lie_within_window_and_stride(frames: int, window: int, stride: int) -> None:
    rng, views = np.random.default_rng(0), 4
    step = max(1, min(stride, (frames - 1) // (views - 1)))  # the largest that leaves four views
    starts, spans = Counter[int](), []
    for _ in range(200):
        order = draw_frames(rng, frames, views, window, stride)
        assert sorted(order) == list(range(frames))  # every frame is tried, once
        inside = min(max(window, views), (frames - 1) // step + 1)
        drawn = order[:inside]
        assert {(number - drawn[0]) % step for number in drawn} == {0}
        assert max(drawn) - min(drawn) == (inside - 1) * step
        starts[min(drawn)] += 1
        spans.append(max(order[:views]) - min(order[:views]))
        distance = [max(min(drawn) - number, number - max(drawn), 0) for number in order[inside:]]
        assert distance == sorted(distance)
    last_start = frames - 1 - (inside - 1) * step
    assert set(starts) <= set(range(last_start + 1))
    if last_start < 20:
        assert set(starts) == set(range(last_start + 1))  # all windows come up
    assert len(set(spans)) > 1 or inside == views


def test_no_frame_of_a_window_is_preferred() -> None:
    rng = np.random.default_rng(1)
    counts = Counter(number for _ in range(3000) for number in draw_frames(rng, 10, 3, 10, 1)[:3])
    assert all(abs(counts[number] - 900) < 110 for number in range(10))
    first = Counter(draw_frames(rng, 10, 3, 10, 1)[0] for _ in range(3000))
    assert all(abs(first[number] - 300) < 70 for number in range(10))


def test_a_request_is_a_pure_function() -> None:
    def make() -> ViewDataset:
        return dataset([Numbered([30] * 5, size=(40, 30)), Numbered([12], name="b", blue=1)], window=8)

    first, second = make(), make()
    asked = requests(40)
    forwards = {request: first[request] for request in asked}
    for request in reversed(asked):
        again = second[request]
        assert torch.equal(forwards[request].images, again.images)
        assert (again.samples, again.places) == ([request.sample], forwards[request].places)
    assert len({tuple(frames_of(views)) for views in forwards.values()}) > 35
    other = dataset([Numbered([30] * 5), Numbered([12], name="b", blue=1)], window=8, seed=1)
    assert [other[r].places for r in asked] != [forwards[r].places for r in asked]


def test_views_have_the_planned_shape_and_come_from_the_named_place() -> None:
    sources = [Numbered([20] * 3, size=(64, 48)), Numbered([20], name="b", blue=1)]
    data = dataset(sources, sizes=[16, 48], aspect_ratios=["1:1", "4:3", "3:4"], window=6, stride=2)
    for load in range(10):
        for group, shape in enumerate(data.plan.load(load)):
            views = data[Request(load, group, 7)]
            assert views.images.shape == (1, 4, 3, shape.height, shape.width) and views.images.dtype == torch.uint8
            seen = numbers(views.images)[0]
            assert len({(scene, source) for scene, _, source in seen.tolist()}) == 1
            name = "b" if seen[0, 2] else "numbered"
            assert views.places == [f"{name}/scene{seen[0, 0]}"] and views.samples == [7] and views.unreadable == []
            assert len(set(seen[:, 1].tolist())) == 4
            assert np.ptp(seen[:, 1]) <= 10 and len(set((seen[:, 1] % 2).tolist())) == 1


def test_every_part_of_a_request_counts() -> None:
    data = dataset([Numbered([50] * 9)], sizes=[16, 16], window=50)
    asked = [Request(load, group, sample) for load in (0, 1) for group in (0, 1) for sample in (0, 1)]
    assert len({tuple(frames_of(data[request])) for request in asked}) == 8


def test_collate_joins_scenes() -> None:
    data = dataset([Numbered([20] * 3)])
    scenes = [data[request] for request in requests(4)]
    batch = Views.collate(scenes)
    assert batch.images.shape == (4, 4, 3, 16, 16) and batch.samples == [0, 1, 2, 3]
    assert batch.places == [scene.places[0] for scene in scenes]


def test_broken_images_are_skipped_and_told() -> None:
    broken = [(0, number) for number in (2, 3, 11, 17)]
    source, whole = Numbered([20], broken=broken), Numbered([20])
    data, intact = dataset([source], window=6), dataset([whole], window=6)
    told = 0
    for request in requests(80):
        views = data[request]
        frames = frames_of(views)
        assert views.images.shape[1] == 4 and len(set(frames)) == 4 and not set(frames) & {2, 3, 11, 17}
        assert np.ptp(frames) <= 5  # others of the same window take their place
        told += len(views.unreadable)
        assert all(str(message).endswith("broken") for message in views.unreadable)
        untouched = frames_of(intact[request])
        if not set(untouched) & {2, 3, 11, 17}:
            assert frames == untouched and not views.unreadable
    assert told == sum(source.reads[place] for place in broken) > 0


def test_neighbours_of_a_window_take_the_place_of_broken_frames() -> None:
    data = dataset([Numbered([30], broken=[(0, 10), (0, 11), (0, 12), (0, 13)])], window=4)
    spans = set()
    for request in requests(200):
        frames = frames_of(data[request])
        assert len(set(frames)) == 4 and not set(frames) & {10, 11, 12, 13}
        spans.add(int(np.ptp(frames)))
    assert max(spans) <= 8 and min(spans) == 3


def test_a_scene_with_too_few_readable_images_is_an_error_that_ends() -> None:
    source = Numbered([9], name="mine", broken=[(0, number) for number in range(6)])
    with pytest.raises(
        DataError, match=r"mine/scene0: only 3 of the 9 images looked at can be read, 4 are needed"
    ) as caught:
        dataset([source])[Request(0, 0, 0)]
    assert "scene0/" in str(caught.value) and "broken" in str(caught.value)
    assert max(source.reads.values()) == TRIES  # nothing is tried twice while a scene is looked at
    with pytest.raises(DataError, match="only 0 of the 5 images"):
        dataset([Numbered([5], broken=[(0, number) for number in range(5)])])[Request(0, 0, 0)]
    with pytest.raises(DataError, match=r"only 3 of the 3 images.*First failure: none"):
        dataset([Numbered([3])])[Request(0, 0, 0)]


def test_real_files_of_all_kinds_come_through(tmp_path: Path) -> None:
    for mode in ("L", "LA", "RGB", "RGBA", "P", "1", "I;16"):
        Image.new("RGB", (40, 30), (90, 90, 90)).convert("L" if mode == "I;16" else mode).convert(mode).save(
            tmp_path / f"{mode.replace(';', '')}.png"
        )
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "empty.png").write_bytes(b"")
    data = dataset([ImageFolders(tmp_path)], views=7, views_per_scene=[7])
    unreadable = set()
    for request in requests(20):
        views = data[request]
        assert views.images.shape == (1, 7, 3, 16, 16)
        unreadable |= {str(message).split(":")[0] for message in views.unreadable}
    assert unreadable == {str(tmp_path / "broken.jpg"), str(tmp_path / "empty.png")}


class Ramps(Numbered):
    """Pictures whose red grows to the right and green downwards; every other one is portrait."""

    def read(self, scene: Scene, frame: str, *, at_least: int | None = None, geometry: bool = False) -> Frame:
        width, height = self.size if int(frame) % 2 else self.size[::-1]
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[..., 0] = 2 * np.arange(width)
        pixels[..., 1] = (2 * np.arange(height))[:, None]
        return Frame(Image.fromarray(pixels))


def slopes(views: Views) -> np.ndarray:
    """Source pixels per pixel, to the right and downwards, of each view [V, 2]; negative: mirrored."""
    images = views.images[0].double().numpy()
    across = (images[:, 0, :, -3] - images[:, 0, :, 2]).mean(-1) / (images.shape[-1] - 5)
    down = (images[:, 1, -3, :] - images[:, 1, 2, :]).mean(-1) / (images.shape[-2] - 5)
    return np.stack([across, down], axis=-1) / 2


def test_views_of_a_scene_share_crop_and_mirroring() -> None:
    data = dataset([Ramps([9], size=(96, 96))], augment=Augmentation(flip_x=0.5, flip_y=0.5), sizes=[32])
    signs = set()
    for request in requests(60):
        views = data[request]
        assert (views.images == views.images[:, :1]).all()
        signs.add(tuple(np.sign(slopes(views)[0])))
    assert len(signs) == 4


def test_per_view_draws_differ_between_views() -> None:
    data = dataset([Ramps([9], size=(96, 96))], augment=Augmentation(flip_x=0.5, per_view=True), sizes=[32])
    found = [slopes(data[request]) for request in requests(60)]
    mixed = [len(set(np.sign(slope[:, 0]))) == 2 for slope in found]
    assert np.mean(mixed) > 0.7  # 7/8 of the scenes hold both kinds
    # Edges lie between pixels, so that a few draws fall together.
    assert np.mean([len({tuple(row) for row in np.abs(slope).round(3)}) == 4 for slope in found]) > 0.8


def test_landscape_and_portrait_of_one_scene_are_both_undistorted() -> None:
    data = dataset([Ramps([9], size=(96, 64))], augment=Augmentation(distortion=1.0, flip_y=0.5), sizes=[32])
    for request in requests(40):
        found = slopes(data[request])
        np.testing.assert_allclose(np.abs(found[:, 0]), np.abs(found[:, 1]), rtol=0.06)
        assert len({tuple(row) for row in np.sign(found)}) == 1
        assert np.ptp(np.abs(found)) < 0.15
