"""Which points are kept: the surer ones, and evenly many over each picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from muskie.errors import ConfigError
from muskie.reconstruction import Reconstruction
from muskie.reconstruction.confidence import evenly, kept_pixels


def test_the_least_sure_are_left_out(room: Reconstruction) -> None:
    valid = room.valid
    kept = kept_pixels(room, percentile=25, edge=0)
    share = float(kept.sum() / valid.sum())
    assert abs(share - 0.75) < 0.001
    assert room.confidence[kept].min() >= room.confidence[valid & ~kept].max()
    assert torch.equal(kept_pixels(room, percentile=0, edge=0), valid)
    flat = replace(room, confidence=torch.full_like(room.confidence, 2.0))
    assert torch.equal(kept_pixels(flat, percentile=90, edge=0), valid)  # none is less sure than another
    assert int(kept_pixels(room, percentile=0, edge=8).sum()) < int(valid.sum())


@pytest.mark.parametrize("setting", [{"percentile": 100}, {"percentile": -1}, {"edge": 90}, {"percentile": float("nan")}])
def test_filters_out_of_range(room: Reconstruction, setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected 0"):
        kept_pixels(room, **setting)


def test_an_even_choice() -> None:
    kept = torch.ones(2, 96, 128, dtype=torch.bool)
    kept[0, :48] = False
    for count in (0, 1, 300, 5000):
        chosen = evenly(kept, count)
        assert int(chosen.sum()) == count and not (chosen & ~kept).any()
    # Each block of 16 x 16 kept pixels holds its share, up to a few. Of a random choice, 25 ± 5, the farthest is 13 off.
    blocks = evenly(kept, 1800).unfold(1, 16, 16).unfold(2, 16, 16).sum((-1, -2))
    full = kept.unfold(1, 16, 16).unfold(2, 16, 16).all(-1).all(-1)
    assert (blocks[full] - 1800 / (1.5 * 48)).abs().max() <= 6
    assert evenly(kept, None) is kept and torch.equal(evenly(kept, 10**9), kept)


def test_points_hanging_between_two_surfaces_are_left_out(room: Reconstruction) -> None:
    points = room.local_points.clone()
    points[0, 20:23, 30] *= torch.tensor([0.5, 0.52, 0.54])[:, None]  # a thread that runs towards the camera
    points[0, 21, 29], points[0, 21, 31] = points[0, 21, 30] * 0.97, points[0, 21, 30] * 1.03
    kept = kept_pixels(replace(room, local_points=points), percentile=0, edge=8)
    assert not kept[0, 21, 30] and kept_pixels(room, percentile=0, edge=8)[0, 21, 30]


def test_the_choice_is_that_of_its_formula() -> None:
    """The points with the least fractional part of x / g + y / g² + v / golden ratio."""
    kept = torch.from_numpy(np.random.default_rng(0).random((3, 20, 30)) < 0.7)
    v, y, x = np.mgrid[:3, :20, :30]
    g = 1.3247179572447460
    place = ((x / g + y / g**2 + v * 0.6180339887498949) % 1).astype(np.float32)
    for count in (1, 50, 400):
        limit = np.sort(place[kept.numpy()])[count - 1]
        assert np.array_equal(evenly(kept, count).numpy(), kept.numpy() & (place <= limit))
