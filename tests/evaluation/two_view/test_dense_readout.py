"""From correlations to positions of all pixels, against hand computation and exact fields."""

from __future__ import annotations

import math

import pytest
import torch

from muskie.evaluation.two_view.dense_readout import correlation, dense_flow, matched_positions, upsampled
from muskie.geometry import pixel_centres

GRID, SIZE = (3, 4), (12, 32)  # patches of 4 x 8 pixels
ZERO = torch.zeros((), dtype=torch.float64)


def test_correlation_is_cosine_over_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, 5, 3, generator=generator), torch.randn(2, 5, 4, generator=generator)
    found = correlation(source, target, 0.1)
    for scene in range(2):
        for i in range(3):
            for j in range(4):
                wanted = torch.cosine_similarity(source[scene, :, i], target[scene, :, j], dim=0) / 0.1
                assert found[scene, i, j].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_argmax_is_the_centre_of_the_best_patch() -> None:
    logits = torch.zeros(1, 2, 12)
    logits[0, 0, 0] = logits[0, 1, 6] = 1
    assert matched_positions(logits, GRID, SIZE, "argmax").tolist() == [[[4, 2], [20, 6]]]


def test_neighbours_are_weighted_by_softmax() -> None:
    logits = torch.zeros(1, 2, 12)
    logits[0, 0, 6] = 2.0  # row 1, column 2; beside it 2 and 10, 5 and 7
    logits[0, 0, 7] = 1.0
    logits[0, 1, 0] = 1.0  # a corner has two neighbours
    centre, right, rest = math.exp(2), math.exp(1), 3.0
    total = centre + right + rest
    x = (20 * (centre + 2) + 28 * right + 12) / total  # those above and below share its x
    corner = [4 + 8 / (math.e + 2), 2 + 4 / (math.e + 2)]
    found = matched_positions(logits, GRID, SIZE)[0]
    assert found[0].tolist() == pytest.approx([x, 6.0])
    assert found[1].tolist() == pytest.approx(corner)


def test_a_sharp_softmax_is_the_argmax() -> None:
    logits = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    sharp = matched_positions(1e4 * logits, GRID, SIZE, "neighbours")
    assert torch.allclose(sharp, matched_positions(logits, GRID, SIZE, "argmax"))


def test_translation_is_exact_up_to_the_border() -> None:
    home = pixel_centres(*GRID, ZERO).flatten(0, 1) * torch.tensor([8, 4])
    shift = torch.tensor([2.5, -1.75], dtype=torch.float64)
    found, known = upsampled((home + shift)[None], GRID, SIZE)
    assert known.all()
    assert torch.allclose(found[0], pixel_centres(*SIZE, ZERO) + shift)


def test_linear_flow_is_exact_between_the_outermost_centres() -> None:
    stretch = torch.tensor([[1.5, 0.2], [-0.3, 0.8]], dtype=torch.float64)
    home = pixel_centres(*GRID, ZERO).flatten(0, 1) * torch.tensor([8, 4])
    found, _ = upsampled((home @ stretch)[None], GRID, SIZE)
    wanted = pixel_centres(*SIZE, ZERO) @ stretch
    assert torch.allclose(found[0, 2:10, 4:28], wanted[2:10, 4:28])
    assert not torch.allclose(found[0], wanted)


def test_unknown_patches_are_left_out() -> None:
    home = pixel_centres(*GRID, ZERO).flatten(0, 1) * torch.tensor([8, 4])
    known = torch.ones(1, 12, dtype=torch.bool)
    known[0, [0, 1, 4, 5]] = False  # the upper left
    positions = torch.where(known[..., None], home + 3.0, 1e6)
    found, there = upsampled(positions, GRID, SIZE, known)
    assert torch.allclose(found[there], (pixel_centres(*SIZE, ZERO) + 3.0)[there[0]])
    assert not there[0, :6, :12].any() and there[0, 8:].all() and there[0, :, 20:].all()


def test_flows_of_several_leading_dimensions() -> None:
    """A grid of probes has one dimension more than a batch."""
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(3, 2, 6, *GRID, generator=generator) for _ in range(2))
    found = dense_flow(source, target, SIZE, 0.1, "neighbours")
    alone = torch.stack([dense_flow(a, b, SIZE, 0.1, "neighbours") for a, b in zip(source, target, strict=True)])
    assert found.shape == (3, 2, *SIZE, 2)
    assert torch.allclose(found, alone, atol=1e-5)
