"""The shape of every step: allowed settings, draws, and their purity."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from muskie.data.plan import LoadShape, StepPlan
from muskie.errors import ConfigError
from muskie.schedule import Ramp

BASE: dict[str, Any] = {"patch_size": 16, "steps": 400}


def plan(**settings: Any) -> StepPlan:
    return StepPlan(**{**BASE, **settings})


def test_one_square_size_by_default() -> None:
    assert plan().load(3) == [LoadShape(height=224, width=224, views=8, window=None, stride=1)]


@pytest.mark.parametrize(
    ("ratio", "height", "width"),
    [("1:1", 512, 512), ("4:3", 384, 512), ("3:4", 512, 384), ("16:9", 288, 512), ("9:16", 512, 288), ("1.5:1", 336, 512)],
)
def test_aspect_ratios_keep_the_longer_side(ratio: str, height: int, width: int) -> None:
    shape = plan(sizes=[512], aspect_ratios=[ratio]).load(0)[0]
    assert (shape.height, shape.width) == (height, width)


@pytest.mark.parametrize("patch", [8, 14, 16])
def test_sides_are_always_multiples_of_the_patch(patch: int) -> None:
    ratios = ["1:1", "4:3", "3:4", "16:9", "2.35:1", "5:7"]
    for size in (4 * patch, 9 * patch, 32 * patch):
        shapes = [plan(patch_size=patch, sizes=[size], aspect_ratios=[ratio]).load(0)[0] for ratio in ratios]
        for ratio, shape in zip(ratios, shapes, strict=True):
            across, down = map(float, ratio.split(":"))
            assert shape.height % patch == 0 and shape.width % patch == 0 and max(shape.height, shape.width) == size
            want = size * min(across, down) / max(across, down)
            assert abs(min(shape.height, shape.width) - want) <= patch / 2


def test_only_the_largest_size_is_not_square() -> None:
    ratios = ["1:1", "4:3", "9:16"]
    steps = plan(sizes=[224, 512, 384], aspect_ratios=ratios)
    drawn: Counter[tuple[int, int]] = Counter()
    for load in range(300):
        small, large, middle = steps.load(load)
        assert (small.height, small.width, middle.height, middle.width) == (224, 224, 384, 384)
        drawn[large.height, large.width] += 1
    assert drawn.keys() == {(512, 512), (384, 512), (512, 288)}
    assert all(70 < count < 130 for count in drawn.values())


def test_a_ratio_that_is_repeated_is_drawn_more_often() -> None:
    steps = plan(aspect_ratios=["1:1", "1:1", "1:1", "4:3"])
    square = sum(shape.height == shape.width for load in range(400) for shape in steps.load(load))
    assert 265 < square < 335


def test_draws_depend_on_seed_and_number_alone() -> None:
    settings: dict[str, Any] = {
        "sizes": [224, 512],
        "aspect_ratios": ["1:1", "4:3", "3:4"],
        "views_per_scene": [1, 2, 4, 8],
        "seed": 5,
    }
    first, second = plan(**settings), plan(**settings)
    backwards = [second.load(load) for load in reversed(range(50))]
    assert [first.load(load) for load in range(50)] == backwards[::-1]
    assert [first.views_in(s, g) for s in range(50) for g in (0, 1)] == [
        second.views_in(s, g) for s in range(50) for g in (0, 1)
    ]
    np.testing.assert_array_equal(first.permutations(7, 1, [3, 9]), second.permutations(7, 1, [3, 9]))
    np.testing.assert_array_equal(first.permutations(7, 1, [3, 9])[1], first.permutations(7, 1, [9])[0])
    other = plan(**{**settings, "seed": 6})
    assert [first.load(load) for load in range(50)] != [other.load(load) for load in range(50)]
    assert [first.views_in(s, 0) for s in range(50)] != [other.views_in(s, 0) for s in range(50)]


def test_views_per_scene_and_their_order_are_drawn_evenly() -> None:
    steps = plan(views_per_scene=[1, 2, 4, 8])
    counts = Counter(steps.views_in(step, 0) for step in range(800))
    assert counts.keys() == {1, 2, 4, 8} and all(150 < count < 250 for count in counts.values())
    orders = steps.permutations(0, 0, range(400))
    assert orders.shape == (400, 8) and orders.dtype == np.int64
    assert (np.sort(orders, axis=1) == np.arange(8)).all()
    assert abs(orders.mean(axis=0) - 3.5).max() < 0.5
    assert (steps.permutations(1, 0, range(400)) != orders).any(axis=1).mean() > 0.99


def test_reuse_divides_the_steps_into_loads() -> None:
    assert plan(steps=400).loads == 400
    assert plan(steps=400, reuse=2).loads == 200
    assert plan(steps=7, reuse=2).loads == 4


@pytest.mark.parametrize("ramp", [Ramp(8, 40, 0.5), {"start": 8, "end": 40, "over": 0.5}])
def test_window_and_stride_follow_progress(ramp: Any) -> None:
    steps = plan(steps=101, window=ramp, stride={"start": 1, "end": 5})
    shapes = [steps.load(load)[0] for load in range(steps.loads)]
    windows, strides = [s.window for s in shapes], [s.stride for s in shapes]
    assert windows[0] == 8 and windows[25] == 24 and windows[50:] == [40] * 51
    assert windows == sorted(windows)
    assert strides[0] == 1 and strides[50] == 3 and strides[-1] == 5 and strides == sorted(strides)
    # With reuse, the same share of the run has the same window.
    halved = plan(steps=202, reuse=2, window=ramp)
    assert [halved.load(load)[0].window for load in range(101)] == windows


def test_a_window_holds_at_least_the_views() -> None:
    assert plan(window=3).load(0)[0].window == 8
    assert plan(steps=1, window={"start": 3, "end": 90}).load(0)[0].window == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": []}, r"plan\.sizes is empty"),
        ({"sizes": [224, 230]}, r"plan\.sizes: 230 .* patch size 16; try 224"),
        ({"sizes": [8]}, r"plan\.sizes: 8 .*try 16"),
        ({"sizes": [0]}, r"plan\.sizes: 0 .*try 16"),
        ({"views": 0}, r"plan\.views=0"),
        ({"reuse": 0}, r"plan\.reuse=0"),
        ({"views_per_scene": [3]}, r"plan\.views_per_scene: 3 .*plan\.views=8; allowed: \[1, 2, 4, 8\]"),
        ({"views_per_scene": [0]}, r"plan\.views_per_scene: 0"),
        ({"views_per_scene": [16]}, r"plan\.views_per_scene: 16"),
        ({"views_per_scene": []}, r"plan\.views_per_scene"),
        ({"views": 6}, r"plan\.views_per_scene: 8 .*allowed: \[1, 2, 3, 6\]"),
        ({"window": 0}, r"plan\.window runs from 0 to 0"),
        ({"window": {"start": 4, "end": 0}}, r"plan\.window runs from 4 to 0"),
        ({"window": {"from": 4}}, r"plan\.window=.*start: 4"),
        ({"stride": 0}, r"plan\.stride"),
        ({"stride": {"start": 1, "end": 2, "over": 2}}, r"over=2|plan\.stride"),
        ({"aspect_ratios": []}, r"plan\.aspect_ratios"),
        ({"aspect_ratios": ["1:1", "wide"]}, r"plan\.aspect_ratios: 'wide'.*'4:3'"),
        ({"aspect_ratios": ["4:3:2"]}, r"plan\.aspect_ratios: '4:3:2'"),
        ({"aspect_ratios": ["4:0"]}, r"plan\.aspect_ratios: '4:0'"),
        ({"aspect_ratios": ["0:4"]}, r"plan\.aspect_ratios: '0:4'"),
        ({"aspect_ratios": ["-4:-3"]}, r"plan\.aspect_ratios: '-4:-3'"),
        ({"aspect_ratios": ["nan:1"]}, r"plan\.aspect_ratios: 'nan:1'"),
        ({"sizes": [32], "aspect_ratios": ["9:1"]}, r"plan\.aspect_ratios: '9:1' leaves less than one patch of 16"),
        ({"seed": -1}, r"seed=-1"),
    ],
)
def test_impossible_settings_are_told_with_the_way_out(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(**settings)
