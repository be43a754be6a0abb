"""Alignments against closed forms, brute force, and scipy's optimisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.alignment import (
    Similarity,
    l1_scale,
    l1_scale_and_shift,
    one_place,
    umeyama,
    weighted_median,
    weiszfeld_scale,
)
from muskie.geometry import invert, transform_points


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turns(*shape: int, seed: int = 0) -> Tensor:
    skew = normal(*shape, 3, 3, seed=seed)
    return torch.linalg.matrix_exp(skew - skew.transpose(-1, -2))


def misses(by: Similarity, source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    return (weights * (by.points(source) - target).square().sum(-1)).sum(-1)


def test_umeyama_finds_the_similarity_of_every_scene() -> None:
    source, move = normal(4, 5, 9, 3), normal(4, 5, 3, seed=1)
    truth = Similarity(normal(4, 5, seed=2).exp(), turns(4, 5, seed=3), move)
    found = umeyama(source, truth.points(source))
    for name, wanted in truth._asdict().items():
        torch.testing.assert_close(getattr(found, name), wanted, rtol=1e-11, atol=1e-11)


def test_umeyama_without_scale_is_a_rigid_motion() -> None:
    source = normal(3, 9, 3)
    truth = Similarity(torch.ones(3, dtype=torch.float64), turns(3, seed=1), normal(3, 3, seed=2))
    found = umeyama(source, truth.points(source), with_scale=False)
    torch.testing.assert_close(found.rotation, truth.rotation)
    torch.testing.assert_close(found.translation, truth.translation)
    grown = umeyama(source, 5 * truth.points(source), with_scale=False)
    torch.testing.assert_close(grown.scale, truth.scale)
    torch.testing.assert_close(grown.rotation, truth.rotation)


@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("mirrored", [False, True])
def test_nothing_near_umeyama_is_better(with_scale: bool, mirrored: bool) -> None:
    source, weights = normal(20, 3), torch.rand(20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    target = source * torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0]) + 0.3 * normal(20, 3, seed=1)
    best = umeyama(source, target, weights, with_scale)
    least = misses(best, source, target, weights)
    assert torch.linalg.det(best.rotation) == pytest.approx(1)
    for seed in range(30):
        little = torch.linalg.matrix_exp(1e-3 * (turns(seed=seed) - turns(seed=seed).T))
        near = (
            Similarity(best.scale, little @ best.rotation, best.translation),
            Similarity(best.scale, best.rotation, best.translation + 1e-3 * normal(3, seed=seed)),
            Similarity(best.scale * (1 + 1e-3 * (-1) ** seed), best.rotation, best.translation),
        )
        for one in near[: 3 if with_scale else 2]:
            assert misses(one, source, target, weights) > least


@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_is_that_of_scipy(mirrored: bool) -> None:
    transform = pytest.importorskip("scipy.spatial.transform")
    source, weights = normal(20, 3), torch.rand(20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    target = source * torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0]) + 0.3 * normal(20, 3, seed=1)
    one, other = (points - (weights[:, None] * points).sum(0) / weights.sum() for points in (source, target))
    expected, _ = transform.Rotation.align_vectors(other.numpy(), one.numpy(), weights.numpy())
    np.testing.assert_allclose(umeyama(source, target, weights).rotation.numpy(), expected.as_matrix(), atol=1e-9)


def test_a_weight_is_that_many_points_and_none_may_be_anything() -> None:
    source, target = normal(6, 3), normal(6, 3, seed=1)
    times = torch.tensor([1, 3, 0, 2, 0, 1])
    expected = umeyama(source.repeat_interleave(times, 0), target.repeat_interleave(times, 0))
    source[2], target[4] = torch.nan, torch.inf
    for weights in (times.double(), 0.01 * times):
        for found, wanted in zip(umeyama(source, target, weights), expected, strict=True):
            torch.testing.assert_close(found, wanted)
    kept = times > 0
    for found, wanted in zip(umeyama(source, target, kept), umeyama(source[kept], target[kept]), strict=True):
        torch.testing.assert_close(found, wanted)


def test_what_nothing_determines_stays() -> None:
    place, cloud = normal(3).expand(7, 3), normal(7, 3, seed=1)
    for source, target in ((place, cloud), (cloud, place)):
        found = umeyama(source, target)
        assert found.scale == 1 and torch.equal(found.rotation, torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(found.points(source).mean(0), target.mean(0))
    nothing = umeyama(cloud, cloud, torch.zeros(7))
    assert nothing.scale == 1 and torch.equal(nothing.translation, torch.zeros(3, dtype=torch.float64))
    assert torch.equal(nothing.rotation, torch.eye(3, dtype=torch.float64))


def test_points_on_a_line_fit() -> None:
    line = torch.linspace(-1, 2, 6, dtype=torch.float64)[:, None] * normal(3)
    truth = Similarity(torch.tensor(3.0, dtype=torch.float64), turns(seed=4), normal(3, seed=2))
    found = umeyama(line, truth.points(line))
    torch.testing.assert_close(found.points(line), truth.points(line))
    assert torch.linalg.det(found.rotation) == pytest.approx(1)


def test_one_place() -> None:
    points = torch.stack(
        [normal(1, 3).expand(1000, 3) * 1e3, normal(1000, 3), normal(1, 3) + 1e-9 * normal(1000, 3, seed=1)]
    )
    assert one_place(points).tolist() == [True, False, False]
    assert one_place(points, torch.zeros(3, 1000)).tolist() == [True] * 3
    assert one_place(points[0].float())
    assert one_place(points, rounding=1e-8).tolist() == [True, False, True]


def test_moved_cameras_see_moved_points_at_the_same_pixels() -> None:
    by = Similarity(torch.tensor(2.5, dtype=torch.float64), turns(seed=1), normal(3, seed=2))
    cameras = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    cameras[:, :3, :3], cameras[:, :3, 3] = turns(5, seed=3), normal(5, 3, seed=4)
    points = normal(8, 3, seed=5)
    before = transform_points(invert(cameras), points.expand(5, 8, 3))
    after = transform_points(invert(by.poses(cameras)), by.points(points).expand(5, 8, 3))
    torch.testing.assert_close(after, 2.5 * before)


def test_weighted_median_is_that_of_repeated_values() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values, times = rng.integers(-3, 4, 9).astype(float), rng.integers(0, 4, 9)
        times[rng.integers(9)] += 1
        repeated = np.repeat(values, times)
        expected = np.quantile(repeated, 0.5, method="inverted_cdf")
        values[times == 0] = np.nan
        assert weighted_median(torch.tensor(values), torch.tensor(times, dtype=torch.float64)) == expected
    assert weighted_median(torch.ones(2, 3), torch.zeros(2, 3)).isnan().all()


def test_l1_scale_is_the_least_of_all_ratios() -> None:
    source, target, weights = normal(6, 15), normal(6, 15, seed=1), normal(6, 15, seed=2).abs()
    weights[:, 3], source[:, 4] = 0, 0
    tried = target / source  # the sum has its corners here
    sums = (weights[:, None] * (tried[..., None] * source[:, None] - target[:, None]).abs()).sum(-1)
    expected = tried.gather(1, sums.nan_to_num(torch.inf).argmin(1, keepdim=True))[:, 0]
    source[:, 3] = torch.nan
    torch.testing.assert_close(l1_scale(source, target, weights), expected)
    torch.testing.assert_close(l1_scale(normal(9), -3 * normal(9)), torch.tensor(-3.0, dtype=torch.float64))
    assert l1_scale(torch.zeros(4), torch.ones(4)).isnan()


def test_weiszfeld_comes_to_the_l1_scale() -> None:
    source = normal(500).exp()
    assert weiszfeld_scale(source, 7 * source) == pytest.approx(7, abs=1e-12)
    target = 2 * source * (1 + 0.05 * normal(500, seed=1))
    target[:100] *= 4  # a fifth is far off
    plain = (source * target).sum() / source.square().sum()
    exact, found = l1_scale(source, target), weiszfeld_scale(source, target)
    assert abs(found - exact) < 0.05 * abs(plain - exact)
    assert abs(weiszfeld_scale(source, target, steps=300, floor=1e-9) - exact) < 1e-3


@pytest.mark.parametrize("noise", [1.0, 1e-3])  # far from the floor, and about it
def test_weiszfeld_is_its_published_form(noise: float) -> None:
    source = normal(40).exp().numpy()
    target = source * (noise * normal(40, seed=1)).exp().numpy()
    scale = target.mean() / source.mean()
    for _ in range(10):
        weights = [1 / max(abs(scale * p - g), 1e-3) for p, g in zip(source, target, strict=True)]
        scale = np.average(source * target, weights=weights) / np.average(source**2, weights=weights)
    assert weiszfeld_scale(torch.tensor(source), torch.tensor(target)) == pytest.approx(scale, rel=1e-12)


@pytest.mark.parametrize("trend", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("count", [2, 3, 10, 41])
def test_scale_and_shift_are_those_of_linear_programming(count: int, trend: float) -> None:
    """With a scale of 0 or more. Without a trend the best one of all is below 0 in about half of the cases."""
    optimize = pytest.importorskip("scipy.optimize")
    for seed in range(5):
        source, target = normal(count, seed=seed), normal(count, seed=seed + 100)
        target += trend * source
        p, one = source.numpy()[:, None], np.ones((count, 1))
        # least sum of e with -e <= s p + t - g <= e
        upper = np.block([[p, one, -np.eye(count)], [-p, -one, -np.eye(count)]])
        bound = np.concatenate([target.numpy(), -target.numpy()])
        costs = np.concatenate([[0, 0], np.ones(count)])
        best = optimize.linprog(costs, upper, bound, bounds=[(0, None), (None, None)] + [(0, None)] * count)
        scale, shift = l1_scale_and_shift(source, target)
        assert scale >= 0
        assert (scale * source + shift - target).abs().sum() == pytest.approx(best.fun, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 2.0, 300.0])
@pytest.mark.parametrize("count", [25, 26])
def test_scale_and_shift_of_a_line_with_outliers(scale: float, count: int) -> None:
    source = normal(count).exp()
    target = scale * source + 4
    target[source.argsort()[8:14]] += 5
    found = l1_scale_and_shift(source, target)
    assert found[0] == pytest.approx(scale, abs=1e-9) and found[1] == pytest.approx(4, abs=1e-9)


@pytest.mark.parametrize("scale", [-1e-6, -2.0, -300.0])
@pytest.mark.parametrize("count", [25, 26])
def test_a_scale_below_0_becomes_the_best_constant(scale: float, count: int) -> None:
    source = normal(count).exp()
    target = scale * source + 4
    found, shift = l1_scale_and_shift(source, target)
    constants = (target[:, None] - target).abs().sum(0)  # the sum has its corners here
    assert found == 0 and (shift - target).abs().sum() == pytest.approx(constants.min().item())


def test_scale_and_shift_where_sources_are_alike() -> None:
    target = normal(7)
    assert l1_scale_and_shift(torch.full((7,), 3.0, dtype=torch.float64), target) == (0, target.median())
    assert l1_scale_and_shift(target[:1], target[1:2]) == (0, target[1])
    few = torch.tensor([2.0, 2, 2, 2, 3], dtype=torch.float64)
    target = torch.cat([target[:4], target.max()[None]])
    scale, shift = l1_scale_and_shift(few, target)
    assert (scale * few + shift - target).abs().sum() == pytest.approx((target[:4] - target[:4].median()).abs().sum().item())
