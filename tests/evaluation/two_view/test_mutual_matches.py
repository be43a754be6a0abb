"""Mutual nearest neighbours: permutations are found, chance is what it must be, ties are no matches; and true matches."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.evaluation.two_view.mutual_matches import Matches, mutual_nearest, true_matches
from muskie.evaluation.views.posed_views import PosedViews

METRICS = ["cosine", "l2"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pairs_of(matches: Matches) -> list[set[tuple[int, int]]]:
    return [
        {(number, int(found)) for number, found in enumerate(nearest) if mutual[number]}
        for nearest, mutual in zip(matches.nearest, matches.mutual, strict=True)
    ]


@pytest.mark.parametrize("metric", METRICS)
def test_a_permutation_is_found(metric: str) -> None:
    features = noise(2, 16, 4, 6)
    orders = torch.stack([torch.from_numpy(np.random.default_rng(n).permutation(24)) for n in range(2)])
    moved = torch.stack([x.flatten(1)[:, order] for x, order in zip(features, orders, strict=True)]).unflatten(2, (4, 6))
    found = mutual_nearest(features, moved, metric)
    assert found.mutual.all()
    assert torch.equal(found.nearest, orders.argsort(1))


@pytest.mark.parametrize("metric", METRICS)
def test_as_one_patch_at_a_time(metric: str) -> None:
    """Against loops, on grids of different sizes."""
    first, second = noise(2, 5, 3, 4), noise(2, 5, 2, 5, seed=1)
    for one, other, found in zip(first, second, pairs_of(mutual_nearest(first, second, metric)), strict=True):
        a, b = one.flatten(1).T.double().numpy(), other.flatten(1).T.double().numpy()
        far = np.zeros((12, 10))
        for i, j in product(range(12), range(10)):
            cosine = a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j])
            far[i, j] = 1 - cosine if metric == "cosine" else np.linalg.norm(a[i] - b[j])
        assert found == {(i, j) for i, j in product(range(12), range(10)) if far[i, j] == far[i].min() == far[:, j].min()}
        assert found


@pytest.mark.parametrize("metric", METRICS)
def test_both_directions_give_the_same_pairs(metric: str) -> None:
    first, second = noise(3, 8, 7, 5), noise(3, 8, 6, 6, seed=1)
    forth, back = pairs_of(mutual_nearest(first, second, metric)), pairs_of(mutual_nearest(second, first, metric))
    assert [{(j, i) for i, j in found} for found in back] == forth
    assert all(len({j for _, j in found}) == len(found) > 3 for found in forth), "no patch is matched twice"


def test_what_each_metric_does_not_see() -> None:
    first, second = noise(2, 8, 6, 6), noise(2, 8, 6, 6, seed=1)
    longer = first * torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(2)).add(0.5)
    assert pairs_of(mutual_nearest(longer, second)) == pairs_of(mutual_nearest(first, second))
    moved = pairs_of(mutual_nearest(first + 3, second + 3, "l2"))
    assert moved == pairs_of(mutual_nearest(first + 1000, second + 1000, "l2"))
    assert moved == pairs_of(mutual_nearest(first, second, "l2")) != pairs_of(mutual_nearest(longer, second, "l2"))


def test_chance_is_one_half() -> None:
    """Of L x L independent numbers one is the highest of its row and column with probability 1 / (2 L - 1)."""
    length, pairs = 64, 60
    found = mutual_nearest(noise(pairs, 256, 8, 8), noise(pairs, 256, 8, 8, seed=1))
    assert found.mutual.float().mean().item() == pytest.approx(length / (2 * length - 1), abs=0.03)


@pytest.mark.parametrize("metric", METRICS)
def test_a_tie_is_no_match(metric: str) -> None:
    assert not mutual_nearest(torch.ones(1, 4, 3, 3), torch.ones(1, 4, 3, 3), metric).mutual.any(), "all are alike"
    features = 10 * noise(1, 8, 4, 4) + 5
    twice = features.clone()
    twice[..., 3, 3] = twice[..., 0, 0]
    found = mutual_nearest(features, twice, metric)
    assert pairs_of(found) == [{(n, n) for n in range(1, 15)}], "patch 0 has two, patch 15 is gone"
    assert pairs_of(mutual_nearest(twice, features, metric)) == [{(n, n) for n in range(1, 15)}]


def test_what_is_not_finite_or_zero_matches_nothing() -> None:
    features = noise(3, 8, 3, 3)
    broken = features.clone()
    broken[0, 2, 1, 1] = torch.nan
    broken[1] = 0
    found = mutual_nearest(features, broken)
    assert not found.mutual[0, 4] and not found.mutual[1].any() and found.mutual[2].all()


def test_a_single_patch_has_no_rival() -> None:
    assert mutual_nearest(noise(1, 4, 1, 1), noise(1, 4, 1, 1, seed=1)).mutual.all()


def test_positions_are_patch_centres() -> None:
    """7 x 10 pixels of 2 x 4 patches: a patch is 3.5 high and 2.5 wide."""
    matches = Matches(torch.tensor([[7, 0, 0, 0, 0, 0, 0, 2]]), torch.tensor([[True] + 6 * [False] + [True]]))
    ((first, second),) = matches.positions((2, 4), (7, 10))
    assert first.tolist() == [[1.25, 1.75], [8.75, 5.25]]
    assert second.tolist() == [[8.75, 5.25], [6.25, 1.75]]
    assert first.dtype == torch.float64


def wall(shift: float, side: int = 32, depth: float = 2.0, focal: float = 20.0) -> PosedViews:
    """A wall seen head on by two cameras; its picture is `shift` pixels further left in view 1."""
    cam2world = torch.eye(4, dtype=torch.float64).expand(1, 2, 4, 4).clone()
    cam2world[:, 1, 0, 3] = shift * depth / focal
    intrinsics = torch.tensor([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]]).double().expand(1, 2, 3, 3)
    images = torch.zeros(1, 2, 3, side, side, dtype=torch.uint8)
    return PosedViews(images, torch.full((1, 2, side, side), depth), intrinsics.clone(), cam2world, [0])


def on_the_wall(columns: int) -> set[tuple[int, int]]:
    """All pairs of an 8 x 8 grid that are so many columns apart."""
    return {(row * 8 + column, row * 8 + column - columns) for row in range(8) for column in range(columns, 8)}


@pytest.mark.parametrize(("shift", "columns"), [(0, 0), (4, 1), (9, 2), (11, 3)])
def test_true_matches_of_a_wall(shift: float, columns: int) -> None:
    """Patches of 4 pixels: the nearest whole number of them."""
    assert pairs_of(true_matches(wall(shift), (8, 8))) == [on_the_wall(columns)]


@pytest.mark.parametrize("swapped", [False, True])
def test_true_matches_through_lenses_of_their_own(swapped: bool) -> None:
    """View 1 has one and a half times the focal length, and a centre 4 pixels further left and 8 further down."""
    views, order = wall(0), [1, 0] if swapped else [0, 1]
    views.intrinsics[:, 1] = torch.tensor([[30.0, 0, 12], [0, 30, 24], [0, 0, 1]])
    views.intrinsics = views.intrinsics[:, order]
    centre = np.arange(8) * 4 + 2.0

    def across(shift: float) -> set[tuple[int, int]]:
        """Patches along one side, in view 0 and view 1, whose centres lie in each other."""
        forth, back = 1.5 * (centre - 16) + 16 + shift, (centre - 16 - shift) / 1.5 + 16
        there, here = np.floor(forth / 4).astype(int), np.floor(back / 4).astype(int)
        return {(i, j) for i, j in enumerate(there.tolist()) if 0 <= j < 8 and here[j] == i}

    expected = {(y * 8 + x, v * 8 + u) for (x, u), (y, v) in product(across(-4), across(8))}
    (found,) = pairs_of(true_matches(views, (8, 8)))
    assert found == ({(j, i) for i, j in expected} if swapped else expected) and len(expected) > 10


def test_true_matches_need_depth_and_sight() -> None:
    unknown = wall(4)
    unknown.depth[:, 0, :4] = 0  # of the first row of patches, in view 0
    expected = {(i, j) for i, j in on_the_wall(1) if i >= 8}
    assert pairs_of(true_matches(unknown, (8, 8))) == [expected]
    hidden = wall(4)
    hidden.depth[:, 1, :, :8] = 1.0  # something nearer before the first two columns, in view 1
    found = pairs_of(true_matches(hidden, (8, 8)))[0]
    assert found == {(i, j) for i, j in on_the_wall(1) if j % 8 >= 2}
    behind = wall(4)
    behind.cam2world[:, 1] = torch.diag(torch.tensor([-1.0, 1, -1, 1])).double()  # looks the other way
    assert pairs_of(true_matches(behind, (8, 8))) == [set()]


@pytest.mark.parametrize(("measured", "seen"), [(1.0, False), (1.9, False), (1.96, True), (3.0, True), (0.0, True)])
def test_a_true_match_is_hidden_by_what_is_nearer(measured: float, seen: bool) -> None:
    """By 5 pixels, patch centres fall beside those of view 1: what is measured there differs from what is at the centre."""
    views = wall(5)
    views.depth[:, 1, :, 13] = measured  # 4 i + 2 - 5 = 13 for the patches of column 4, which lie in column 3 of view 1
    found = pairs_of(true_matches(views, (8, 8)))[0]
    assert found == {(i, j) for i, j in on_the_wall(1) if seen or j % 8 != 3}


def test_a_patch_has_one_true_match_at_most() -> None:
    """From twice as far, four patches of view 0 lie in one of view 1."""
    views = wall(0)
    views.cam2world[:, 1, 2, 3] = -2.0
    views.depth[:, 1] = 4.0
    (found,) = pairs_of(true_matches(views, (8, 8)))
    assert len(found) == len({i for i, _ in found}) == len({j for _, j in found}) == 16
    assert {j for _, j in found} == {row * 8 + column for row in range(2, 6) for column in range(2, 6)}


def test_a_true_match_is_seen_from_both_sides() -> None:
    """View 1 measures what lies behind the wall, and so near the same line of sight that the patches agree."""
    views = wall(1)
    views.depth[:, 1] = 3.0
    assert pairs_of(true_matches(views, (8, 8))) == [set()]
    assert pairs_of(true_matches(wall(1), (8, 8))) == [on_the_wall(0)]
