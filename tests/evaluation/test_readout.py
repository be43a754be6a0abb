"""Matches read out of features, against loops that do it one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.evaluation.readout import METRICS, nearest_centres, nearest_patches, patch_centres, sample, similarity
from muskie.streams import stream

GRIDS = [((4, 6), (32, 48)), ((37, 37), (512, 512)), ((3, 7), (50, 95)), ((1, 5), (9, 60)), ((5, 1), (64, 64))]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def centres(grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(x, y) of all patch centres row by row, float64 [h·w, 2]."""
    found = [((x + 0.5) * size[1] / grid[1], (y + 0.5) * size[0] / grid[0]) for y in range(grid[0]) for x in range(grid[1])]
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_at_the_centre_of_a_patch_its_feature_is_read(grid: tuple[int, int], size: tuple[int, int]) -> None:
    features = random(2, 3, *grid)
    found = sample(features, centres(grid, size).expand(2, -1, 2), size)
    torch.testing.assert_close(found, features.flatten(-2).transpose(1, 2), rtol=0, atol=1e-4)


def bilinear(features: np.ndarray, x: float, y: float, size: tuple[int, int]) -> np.ndarray:
    """[C, h, w] at a position: the weights of four patches by hand."""
    h, w = features.shape[-2:]
    u = min(max(x * w / size[1] - 0.5, 0), w - 1)
    v = min(max(y * h / size[0] - 0.5, 0), h - 1)
    total = np.zeros(len(features))
    for row in range(h):
        for column in range(w):
            total += max(0, 1 - abs(u - column)) * max(0, 1 - abs(v - row)) * features[:, row, column]
    return total


@pytest.mark.parametrize(("grid", "size"), [GRIDS[0], GRIDS[2], GRIDS[3]])
def test_between_centres_features_are_bilinear(grid: tuple[int, int], size: tuple[int, int]) -> None:
    """Up to the borders, where the outermost feature goes on."""
    features = random(2, 3, *grid)
    positions = torch.from_numpy(stream(0, "positions").uniform(0, 1, size=(2, 30, 2))) * torch.tensor([size[1], size[0]])
    positions[:, 0], positions[:, 1] = 0, torch.tensor([size[1], size[0]])
    found = sample(features, positions, size)
    assert found.shape == (2, 30, 3)
    for b in range(2):
        expected = [bilinear(features[b].double().numpy(), x, y, size) for x, y in positions[b].tolist()]
        np.testing.assert_allclose(found[b].numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_the_nearest_patch_of_each_view(metric: str) -> None:
    """One query and one patch at a time, by the definition of the metric."""
    queries, features = random(2, 9, 5), random(2, 3, 5, 4, 6)
    found = nearest_patches(queries, features, metric)
    assert found.shape == (2, 3, 9) and found.dtype == torch.int64
    for b in range(2):
        for v in range(3):
            for q in range(9):
                one = queries[b, q].double().numpy()
                best, at = -math.inf, -1
                for number in range(24):
                    other = features[b, v, :, number // 6, number % 6].double().numpy()
                    if metric == "cosine":
                        near = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                    else:
                        near = -np.linalg.norm(one - other)
                    best, at = (near, number) if near > best else (best, at)
                assert int(found[b, v, q]) == at


def test_similarity_is_cosine_or_distance_but_for_a_constant() -> None:
    queries, keys = random(2, 9, 5), random(2, 5, 20)
    cosine = similarity(queries, keys)
    pairs = torch.nn.functional.cosine_similarity(queries[:, :, None], keys.transpose(1, 2)[:, None], dim=-1)
    torch.testing.assert_close(cosine, pairs, rtol=0, atol=1e-6)
    squared = torch.cdist(queries.double(), keys.transpose(1, 2).double()).square()
    constant = similarity(queries, keys, "l2") + squared.float()
    torch.testing.assert_close(constant, constant[..., :1].expand_as(constant), rtol=0, atol=1e-4)


def test_what_all_features_have_in_common_does_not_change_the_nearest() -> None:
    """As one large channel does, which features of some networks have: squares of it would swallow the differences."""
    queries, features = random(1, 50, 8), random(1, 2, 8, 10, 10)
    plain = nearest_patches(queries, features, "l2")
    assert torch.equal(nearest_patches(queries + 2000.0, features + 2000.0, "l2"), plain)


def test_a_feature_finds_itself() -> None:
    features = random(2, 3, 16, 4, 6)
    for metric in METRICS:
        own = nearest_patches(features[:, 1].flatten(2).transpose(1, 2), features, metric)[:, 1]
        assert torch.equal(own, torch.arange(24).expand(2, 24))


@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_centres_of_patches_by_number(grid: tuple[int, int], size: tuple[int, int]) -> None:
    numbers = torch.arange(grid[0] * grid[1])
    found = patch_centres(numbers, grid, size)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, centres(grid, size), rtol=0, atol=1e-12)
    shaped = patch_centres(numbers[: len(numbers) // 2 * 2].view(2, -1), grid, size)
    assert shaped.shape == (2, len(numbers) // 2, 2)


def test_a_centre_is_the_nearest_to_itself_on_any_grid() -> None:
    rng = stream(0, "grids")
    for _ in range(50):
        grid = (int(rng.integers(1, 50)), int(rng.integers(1, 50)))
        size = (int(rng.integers(grid[0], 700)), int(rng.integers(grid[1], 700)))
        all_centres = patch_centres(torch.arange(grid[0] * grid[1]), grid, size)
        assert torch.equal(nearest_centres(all_centres, grid, size), all_centres)


@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_a_perfect_matcher_answers_the_nearest_of_all_centres(grid: tuple[int, int], size: tuple[int, int]) -> None:
    positions = torch.from_numpy(stream(0, "positions").uniform(0, 1, size=(3, 50, 2))) * torch.tensor([size[1], size[0]])
    positions[0, :2] = torch.tensor([[0.0, 0.0], [size[1], size[0]]]).double()
    found = nearest_centres(positions, grid, size)
    step = torch.tensor([size[1] / grid[1], size[0] / grid[0]], dtype=torch.float64)
    every = centres(grid, size)
    nearest = every[((positions[..., None, :] - every) / step).norm(dim=-1).argmin(-1)]
    torch.testing.assert_close(found, nearest, rtol=0, atol=1e-9)
    assert bool(((found - positions).abs() <= step / 2 + 1e-9).all())
