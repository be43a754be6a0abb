"""Which frames of a scene are seen together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numbered import Numbered

from muskie.data import sampling
from muskie.data.index import Place
from muskie.data.plan import SAMPLINGS, LoadShape
from muskie.data.sampling import choose_views
from muskie.streams import stream


def place(frames: int) -> Place:
    source = Numbered([frames])
    return Place(source, source.scene(0), source.scene(0).frames)


def shape(
    views: int, sampling: str = "window", window: int | None = 8, stride: int = 1, repeat: bool = False, **more: object
) -> LoadShape:
    return LoadShape(16, 16, views, window, stride, sampling, repeat=repeat, **more)  # type: ignore[arg-type]


def share(anchor: int, frames: int) -> np.ndarray:
    """Overlaps that fall by .1 a frame."""
    distance = np.abs(np.arange(frames) - anchor)
    return (1 - 0.1 * distance).clip(0, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "neighbours", lambda place, anchor: share(anchor, len(place.frames)))


def draws(place: Place, shape: LoadShape, count: int = 200) -> list[list[int]]:
    return [choose_views(stream(number, "test"), place, shape) for number in range(count)]


@pytest.mark.parametrize("how", SAMPLINGS)
@pytest.mark.parametrize("frames", [1, 2, 7, 24, 60])
@pytest.mark.parametrize("stride", [1, 5, 100])
def test_no_view_twice_and_every_frame_in_the_end(how: str, frames: int, stride: int) -> None:
    for views in range(1, min(24, frames) + 1):
        for window in (1, 8, 500):
            for order in draws(place(frames), shape(views, how, window, stride), 3):
                assert sorted(order) == list(range(frames)) and all(isinstance(number, int) for number in order)


@pytest.mark.parametrize("how", SAMPLINGS)
def test_views_are_drawn_by_their_stream_alone(how: str) -> None:
    drawn = draws(place(60), shape(8, how), 20)
    assert drawn == draws(place(60), shape(8, how), 20)
    assert len({tuple(order[:8]) for order in drawn}) > 15


@pytest.mark.parametrize(("window", "stride"), [(8, 1), (8, 3), (16, 2), (4, 2), (1, 7)])
@pytest.mark.parametrize("views", [1, 2, 8])
def test_a_window_holds_every_so_manyth_frame(views: int, window: int, stride: int) -> None:
    starts, wide = set(), max(window, views)
    for order in draws(place(60), shape(views, "window", window, stride), 600):
        first = order[:wide]
        assert sorted(first) == list(range(min(first), min(first) + stride * wide, stride))
        centre = (min(first) + max(first) + 1) / 2
        distances = [abs(number - centre) for number in order[wide:]]
        assert distances == sorted(distances), "the others follow, nearest first"
        starts.add(min(first))
    assert starts == set(range(60 - (wide - 1) * stride)), "anywhere in the scene"


def test_views_lie_anywhere_in_their_window() -> None:
    seen = np.zeros(8)
    for order in draws(place(8), shape(2, "window", 8), 2000):
        seen[order[:2]] += 1
    assert seen.min() > 400 and seen.max() < 600


def test_a_short_scene_has_a_smaller_stride_and_window() -> None:
    for order in draws(place(10), shape(4, "window", 8, stride=9), 50):
        assert all(number % 3 == order[0] % 3 for number in order[:3])
        assert sorted(order[:4]) == [0, 3, 6, 9]


def test_a_source_may_have_a_window_of_its_own() -> None:
    narrow = place(60)
    narrow.source.window = 5
    for order in draws(narrow, shape(4, "window", None), 50):
        assert max(order[:5]) - min(order[:5]) == 4


def test_random_views_come_from_the_whole_scene() -> None:
    drawn = draws(place(40), shape(2, "random"), 4000)
    for number in (0, 1):
        counts = np.bincount([order[number] for order in drawn], minlength=40)
        assert counts.min() > 60 and counts.max() < 150
    distance = np.mean([abs(order[0] - order[1]) for order in drawn])
    assert distance == pytest.approx((40 + 1) / 3, abs=0.5), "of two different ones drawn uniformly of n: (n + 1) / 3"


@pytest.mark.parametrize("views", range(1, 25))
def test_covisible_views_overlap_as_asked(views: int) -> None:
    """Of a frame in the middle, 10 others overlap by .25 to .75; those come first, then those that overlap
    more, the least first, then those that overlap less, the most first."""
    asked, firsts = (0.25, 0.75), set()
    for order in draws(place(60), shape(views, "covisible", overlap=asked), 100):
        overlap = share(order[0], 60)
        fit = [n for n in range(60) if n != order[0] and asked[0] <= overlap[n] <= asked[1]]
        enough = min(views - 1, len(fit))
        assert set(order[1 : 1 + enough]) <= set(fit)
        assert set(order[1 : 1 + len(fit)]) == set(fit)
        rest = [overlap[n] for n in order[1 + len(fit) :]]
        more = [value for value in rest if value > asked[1]]
        assert more == sorted(more) and rest[: len(more)] == more
        assert rest[len(more) :] == sorted(rest[len(more) :], reverse=True)
        firsts.add(order[0])
    assert len(firsts) > 40


def test_covisible_views_are_not_always_the_nearest() -> None:
    counts = np.zeros(60)
    for order in draws(place(60), shape(2, "covisible", overlap=(0.05, 0.95)), 3000):
        counts[abs(order[1] - order[0])] += 1
    assert counts[0] == 0 and counts[10:].sum() == 0 and counts[1:10].min() > 0.6 * counts[1:10].max()


@pytest.mark.parametrize("how", SAMPLINGS)
@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize("views", [1, 4, 8, 24])
def test_a_short_scene_gives_frames_again_if_it_may(how: str, frames: int, views: int) -> None:
    for order in draws(place(frames), shape(views, how, repeat=True), 10):
        once = order[:frames]
        assert sorted(once) == list(range(frames)) and len(order) >= views
        assert order == once * (len(order) // frames), "each as often as the others, to one"
        for readable in range(frames):
            assert frames >= views or order.count(readable) >= views, "whichever alone can be read"


def unique(order: Sequence[int]) -> bool:
    return len(set(order)) == len(order)


def test_a_long_scene_gives_none_again() -> None:
    assert all(unique(order) for order in draws(place(30), shape(24, repeat=True), 20))
    assert all(unique(order) for order in draws(place(5), shape(8), 20)), "nor a short one that may not"
