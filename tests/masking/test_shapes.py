"""Every mask shape against what it claims: exact counts, form, distribution, and the published arithmetic."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from muskie.masking import MaskChoice, MaskPolicy, ShapeRequest, find_shape
from muskie.streams import stream

MODES = ["random", "rectangle", "ellipse", "blob", "random_walk"]
GRIDS = [(14, 14), (18, 32), (32, 18), (8, 8), (4, 4), (1, 8), (28, 28), (2, 2), (5, 1)]
RATIOS = [0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.9, 0.95]
Bools = NDArray[np.bool_]


def draw(
    mode: str, ratio: float, grid: tuple[int, int], count: int = 24, *, block: int = 1, published: bool = False
) -> Bools:
    """`count` masks `[N, h, w]` from 8 scenes."""
    policy = MaskPolicy([mode], [ratio], references=0, block=block, published=published)
    rngs = [stream(0, "masks", scene) for scene in range(8)]
    masks = policy.draw(MaskChoice(mode, ratio, 0), rngs, count // 8, grid)
    return masks.numpy().reshape(-1, *grid)


def flood(mask: Bools) -> int:
    """Number of hidden patches that are connected to the first one through hidden neighbours."""
    hidden = set(map(tuple, np.argwhere(mask).tolist()))
    stack, seen = [min(hidden)], {min(hidden)}
    while stack:
        y, x = stack.pop()
        for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if near in hidden and near not in seen:
                seen.add(near)
                stack.append(near)
    return len(seen)


def sides(masks: Bools) -> tuple[NDArray[np.int64], ...]:
    """Top, left, height and width `[N]` of the box around the hidden patches of each mask."""
    rows, columns = masks.any(2), masks.any(1)
    return rows.argmax(1), columns.argmax(1), rows.sum(1), columns.sum(1)


def distance_to_uniform(values: NDArray[np.float64], low: float, high: float) -> float:
    """Largest gap between the distribution of `values` and the uniform one (Kolmogorov-Smirnov)."""
    expected = (np.sort(values) - low) / (high - low)
    return float(np.abs(expected - (np.arange(len(values)) + 0.5) / len(values)).max())


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_the_ratio_asked_for_is_the_ratio_got(mode: str, grid: tuple[int, int]) -> None:
    h, w = grid
    for ratio in RATIOS:
        target = min(max(1, round(ratio * h * w)), h * w - 1)
        area = draw(mode, ratio, grid).sum((1, 2))
        assert area.min() >= 1
        assert area.max() < h * w
        if mode == "rectangle":
            assert np.abs(area - target).max() <= max(h, w)
        else:
            assert (area == target).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_grid_of_one_patch_hides_it(mode: str) -> None:
    assert draw(mode, 0.5, (1, 1)).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_forms(grid: tuple[int, int]) -> None:
    for ratio in RATIOS:
        for mask in draw("random_walk", ratio, grid, 8):
            assert flood(mask) == mask.sum()
        rectangles = draw("rectangle", ratio, grid)
        _, _, height, width = sides(rectangles)
        rows = (np.diff(np.pad(rectangles.any(2), ((0, 0), (1, 1))).astype(int)) == 1).sum(1)
        columns = (np.diff(np.pad(rectangles.any(1), ((0, 0), (1, 1))).astype(int)) == 1).sum(1)
        assert (rows == 1).all()
        assert (columns == 1).all()
        assert (rectangles.sum((1, 2)) == height * width).all()
        for mask in draw("ellipse", ratio, grid, 8):
            assert flood(mask) == mask.sum()
            for line in (*mask, *mask.T):  # no gap in any row or column
                assert (np.diff(np.pad(line, 1).astype(int)) == 1).sum() <= 1


@pytest.mark.parametrize("mode", MODES)
def test_masks_are_drawn_anew_and_only_from_their_own_scene(mode: str) -> None:
    policy = MaskPolicy([mode], [0.75])
    choice = MaskChoice(mode, 0.75, 1)

    def masks(*scenes: int) -> Bools:
        return policy.draw(choice, [stream(3, "masks", scene) for scene in scenes], 4, (14, 14)).numpy()

    together = masks(0, 1, 2)
    assert (together == masks(0, 1, 2)).all()
    assert (together[1] == masks(1)[0]).all()
    assert (together[[2, 0]] == masks(2, 0)).all()
    assert (together[1] != together[2]).any()
    assert (together[0, 1] != together[0, 2]).any()


@pytest.mark.parametrize("grid", [(14, 14), (18, 32), (9, 7)], ids=str)
@pytest.mark.parametrize("block", [2, 3, 7])
def test_random_hides_whole_blocks_but_one_at_most(grid: tuple[int, int], block: int) -> None:
    h, w = grid
    for ratio in RATIOS:
        for mask in draw("random", ratio, grid, 8, block=block):
            tiles = [mask[y : y + block, x : x + block] for y in range(0, h, block) for x in range(0, w, block)]
            assert sum(tile.any() and not tile.all() for tile in tiles) <= 1
            assert mask.sum() == round(ratio * h * w)


@pytest.mark.parametrize("block", [1, 2])
def test_random_hides_every_patch_alike(block: int) -> None:
    count = 4000
    masks = draw("random", 0.7, (8, 8), count, block=block)
    share = round(0.7 * 64) / 64
    assert np.abs(masks.mean(0) - share).max() < 5 * math.sqrt(share * (1 - share) / count)


def test_rectangles_lie_anywhere_that_they_fit() -> None:
    top, left, height, width = sides(draw("rectangle", 0.3, (10, 12), 16000))
    for (a, b), total in Counter(zip(height.tolist(), width.tolist(), strict=True)).items():
        places = (10 - a + 1) * (12 - b + 1)
        chosen = (height == a) & (width == b)
        found = np.bincount(top[chosen] * (12 - b + 1) + left[chosen], minlength=places)
        assert len(found) == places
        assert np.abs(found / total - 1 / places).max() < 5 * math.sqrt(1 / places / total)


def test_rectangle_proportions_are_log_uniform() -> None:
    _, _, height, width = sides(draw("rectangle", 0.1, (64, 64), 4000))
    assert distance_to_uniform(np.log(width / height), math.log(0.3), math.log(3)) < 0.04
    # At .75 a rectangle fits only between 3:4 and 4:3, give or take the rounding of its sides.
    _, _, height, width = sides(draw("rectangle", 0.75, (64, 64), 4000))
    assert height.max() == width.max() == 64
    assert distance_to_uniform(np.log(width / height), math.log(0.75), math.log(4 / 3)) < 0.06


@pytest.mark.parametrize("grid", [(14, 14), (18, 32), (32, 18)], ids=str)
def test_rectangles_have_the_target_area_on_average(grid: tuple[int, int]) -> None:
    area = draw("rectangle", 0.75, grid, 4000).sum((1, 2))
    assert abs(area.mean() - round(0.75 * grid[0] * grid[1])) < 5 * area.std() / math.sqrt(len(area))


def test_small_ellipses_are_whole_ellipses() -> None:
    y, x = np.mgrid[:48, :48]
    for mask in draw("ellipse", 0.05, (48, 48), 200):
        points = np.argwhere(mask)
        (cy, cx), (ry, rx) = points.mean(0), 2 * points.std(0)  # of a filled ellipse
        fitted = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        assert (fitted ^ mask).sum() < 0.1 * mask.sum()
        assert 0.25 < rx / ry < 3.6
        opposite = np.rint(2 * points.mean(0)).astype(int) - points
        assert mask[opposite[:, 0].clip(0, 47), opposite[:, 1].clip(0, 47)].mean() > 0.88


def test_ellipse_proportions_are_log_uniform() -> None:
    spread = [np.argwhere(mask).std(0) for mask in draw("ellipse", 0.05, (48, 48), 2000)]
    assert distance_to_uniform(np.log([x / y for y, x in spread]), math.log(0.3), math.log(3)) < 0.05


def test_large_ellipses_show_different_corners() -> None:
    masks = draw("ellipse", 0.75, (14, 14), 800)
    for y, x in ((0, 0), (0, 13), (13, 0), (13, 13)):
        assert 0.1 < masks[:, y, x].mean() < 0.5
    assert len({mask.tobytes() for mask in masks}) > 600
    straight = masks.all(1).sum(1) + masks.all(2).sum(1)  # full columns and rows: a band has nearly .75 of them
    assert (straight > 8).mean() < 0.1


def test_random_walk_is_a_flood_from_any_patch() -> None:
    single = draw("random_walk", 0.01, (6, 5), 6000)
    assert (single.sum((1, 2)) == 1).all()
    assert np.abs(single.mean(0) - 1 / 30).max() < 5 * math.sqrt(1 / 30 / 6000)
    y, x = np.mgrid[:9, :7]
    for mask in draw("random_walk", 0.4, (9, 7), 40):
        steps = [abs(y - sy) + abs(x - sx) for sy in range(9) for sx in range(7)]
        assert any(far[mask].max() <= far[~mask].min() for far in steps)  # all nearer patches before any farther one


@pytest.mark.parametrize("grid", [(14, 14), (9, 20), (4, 6), (1, 8)], ids=str)
def test_blob_hides_the_highest_of_smoothed_noise(grid: tuple[int, int]) -> None:
    h, w = grid
    reach = (min(10, h, w) | 1) // 2
    target = h * w // 3
    mask = find_shape("blob")(ShapeRequest((stream(5),), 1, grid, target))[0]
    noise = stream(5).standard_normal(grid)
    smooth = np.array(
        [
            [noise[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].sum() for x in range(w)]
            for y in range(h)
        ]
    )
    assert mask.sum() == target
    assert smooth[mask].min() >= smooth[~mask].max() - 1e-9  # patches whose windows hold the same noise tie


# ---- the published arithmetic, written once more as plainly as it is described, one mask at a time


def published_rectangle(rng: np.random.Generator, target: int, h: int, w: int) -> Bools:
    aspect = math.exp(rng.uniform(math.log(0.3), math.log(3)))
    height = max(1, round(math.sqrt(target / aspect)))
    width = max(1, round(aspect * height))
    height, width = min(height, h), min(width, w)
    top, left = rng.integers(h - height + 1), rng.integers(w - width + 1)
    mask = np.zeros((h, w), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def published_ellipse(rng: np.random.Generator, target: int, h: int, w: int) -> Bools:
    aspect = math.exp(rng.uniform(math.log(0.3), math.log(3)))
    radius = math.sqrt(target / math.pi)
    ry = min(max(1, round(radius / math.sqrt(aspect))), h // 2)
    rx = min(max(1, round(radius * math.sqrt(aspect))), w // 2)
    cy = rng.integers(ry, h - ry) if h > 2 * ry else h // 2
    cx = rng.integers(rx, w - rx) if w > 2 * rx else w // 2
    y, x = np.mgrid[:h, :w]
    return (y - cy) ** 2 / (ry**2 + 1e-6) + (x - cx) ** 2 / (rx**2 + 1e-6) <= 1


@pytest.mark.parametrize("ratio", [0.2, 0.75])
@pytest.mark.parametrize("grid", [(14, 14), (18, 32), (4, 4), (1, 8)], ids=str)
@pytest.mark.parametrize(
    ("mode", "plain"),
    [("rectangle", published_rectangle), ("ellipse", published_ellipse)],
    ids=["rectangle", "ellipse"],
)
def test_published_arithmetic(mode: str, plain, grid: tuple[int, int], ratio: float) -> None:
    count, rng = 1600, stream(11, "plain")
    expected = np.stack([plain(rng, max(1, round(ratio * grid[0] * grid[1])), *grid) for _ in range(count)])
    found = draw(mode, ratio, grid, count, published=True)
    tolerance = 5 * math.sqrt(2 * 0.25 / count)  # 5 sigma of the difference of two shares
    assert np.abs(found.mean(0) - expected.mean(0)).max() < tolerance
    areas, plain_areas = found.sum((1, 2)), expected.sum((1, 2))
    assert set(areas[:800].tolist()) <= set(plain_areas.tolist()) | set(areas[800:].tolist())
    for area in set(plain_areas.tolist()):
        assert abs((areas == area).mean() - (plain_areas == area).mean()) < tolerance
        assert abs((areas <= area).mean() - (plain_areas <= area).mean()) < tolerance


@pytest.mark.parametrize("grid", [(14, 14), (24, 24), (32, 32), (18, 32)], ids=str)
def test_published_ratios_are_those_measured_on_the_published_code(grid: tuple[int, int]) -> None:
    h, w = grid
    masks = draw("rectangle", 0.75, grid, 1600, published=True)
    assert 0.58 <= masks.mean() <= 0.67
    assert 0.33 < masks.mean((1, 2)).min() < 0.52
    assert 0.77 < masks.mean((1, 2)).max() <= 0.81
    _, _, height, width = sides(masks)
    assert 0.65 < ((height == h) | (width == w)).mean() < 0.85
    masks = draw("ellipse", 0.75, grid, 1600, published=True)
    assert 0.535 <= masks.mean() <= 0.585
    assert masks.mean((1, 2)).max() <= 0.785
    for mode, ratio in (("random", 0.9), ("blob", 0.75), ("random_walk", 0.75)):
        assert (draw(mode, ratio, grid, published=True).sum((1, 2)) == round(ratio * h * w)).all()
