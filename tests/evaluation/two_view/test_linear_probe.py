"""The grid of linear probes: what it starts from, how it trains, and that probes do not see each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.evaluation.two_view.dense_readout import correlation
from muskie.evaluation.two_view.linear_probe import DECAYS, RATES, ProbeConfig, ProbeGrid

SIGNAL, NUISANCE, PATCHES = 8, 8, 16
CONFIG = ProbeConfig(rates=[1e-3, 1e-2], decays=[1e-2, 0.3], steps=20)


def mixed(batch: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features of both views, M [x; n]: x tells what the patch shows, in view 1 in another order; n is louder and each
    view's own. And the order."""
    mixing = torch.randn(SIGNAL + NUISANCE, SIGNAL + NUISANCE, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1 + seed)
    shown = torch.randn(batch, SIGNAL, PATCHES, generator=generator)
    order = torch.rand(batch, PATCHES, generator=generator).argsort(1)
    there = torch.zeros_like(shown).scatter_(
        2, order[:, None].expand_as(shown), shown
    )  # patch i is patch order[i] of view 1
    noise = 4 * torch.randn(2, batch, NUISANCE, PATCHES, generator=generator)
    return mixing @ torch.cat([shown, noise[0]], 1), mixing @ torch.cat([there, noise[1]], 1), order


def trained(config: ProbeConfig, steps: int | None = None, batch: int = 4) -> ProbeGrid:
    grid = ProbeGrid(SIGNAL + NUISANCE, config)
    for step in range(steps or config.steps):
        grid.step(*mixed(batch, step))
    return grid


def right(grid: ProbeGrid, number: int, seed: int = 10_000) -> float:
    """The share of patches that a probe matches rightly."""
    source, target, order = mixed(64, seed)
    with torch.no_grad():
        both = grid.project(slice(number, number + 1), source, target)
    return (correlation(both[0][0], both[1][0], 1.0).argmax(-1) == order).double().mean().item()


def test_the_published_grid() -> None:
    assert len(RATES) == 10 and RATES[0] == 1e-5 and RATES[-1] == 1e-2
    ratios = torch.tensor(RATES[1:]) / torch.tensor(RATES[:-1])
    assert torch.allclose(ratios, torch.full_like(ratios, 10 ** (1 / 3)), rtol=1e-2)
    assert set(DECAYS) == {1e-2, 1e-3, 5e-2}
    assert len(ProbeGrid(2, ProbeConfig())) == 30


def test_an_untrained_probe_is_the_nearest_neighbour() -> None:
    source, target, _ = mixed(3, 0)
    grid = ProbeGrid(SIGNAL + NUISANCE, CONFIG)
    found = correlation(*grid.project(slice(0, 4), source, target), CONFIG.temperature)
    assert torch.allclose(found, correlation(source, target, CONFIG.temperature).expand(4, -1, -1, -1), atol=1e-5)


def test_a_probe_unmixes_what_the_nearest_neighbour_cannot() -> None:
    grid = trained(ProbeConfig(rates=[1e-2], decays=[1e-3], steps=300), batch=8)
    assert right(ProbeGrid(SIGNAL + NUISANCE, CONFIG), 0) < 0.25
    assert right(grid, 0) > 0.85


def reference(rate: float, decay: float, config: ProbeConfig) -> nn.Conv2d:
    """One probe trained by the book: a convolution, torch's optimiser, clipping and cross-entropy."""
    conv = nn.Conv2d(SIGNAL + NUISANCE, SIGNAL + NUISANCE, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.eye(SIGNAL + NUISANCE)[:, :, None, None])
        conv.bias.zero_()  # type: ignore[union-attr]
    optimizer = torch.optim.AdamW(conv.parameters(), lr=rate, weight_decay=decay)
    for step in range(config.steps):
        if step == int(0.9 * config.steps):
            optimizer.param_groups[0]["lr"] = rate / 10
        source, target, order = mixed(4, step)
        one, other = (F.normalize(conv(x[..., None]).squeeze(-1), dim=1) for x in (source, target))
        logits = torch.einsum("bcl,bcm->bml", one, other) / config.temperature  # classes second
        optimizer.zero_grad()
        F.cross_entropy(logits, order).backward()
        torch.nn.utils.clip_grad_norm_(conv.parameters(), config.clip)
        optimizer.step()
    return conv


@pytest.mark.parametrize("clip", [0.01, 2.2])  # all gradients are cut, and about every second one
def test_probes_train_as_if_each_were_alone_and_by_the_book(clip: float) -> None:
    config = replace(CONFIG, clip=clip)
    grid = trained(config)
    parts = trained(replace(config, memory=1e-9))  # one after the other
    one_by_one = ProbeGrid(SIGNAL + NUISANCE, replace(config, memory=1e-9)).parts(*mixed(4, 0)[:2])
    assert list(one_by_one) == [slice(number, number + 1) for number in range(4)]
    for number, (rate, decay) in enumerate(grid.settings):
        alone = trained(replace(config, rates=[rate], decays=[decay]))
        book = reference(rate, decay, config)
        for other in (parts.weights[number], alone.weights[0], book.weight[:, :, 0, 0]):
            assert torch.allclose(grid.weights[number], other, atol=1e-4)
        for bias in (parts.biases[number], alone.biases[0], book.bias):
            assert bias is not None and torch.allclose(grid.biases[number], bias, atol=1e-4)
    moved = [(weight - torch.eye(SIGNAL + NUISANCE)).abs().max().item() for weight in grid.weights]
    assert min(moved) > 5e-3 and moved[2] > 4 * moved[0]


def test_patches_without_truth_teach_nothing() -> None:
    source, target, order = mixed(4, 0)
    classes = order.clone()
    classes[:, ::2] = -1
    changed = source.clone()
    changed[:, :, ::2] = 100.0
    one, other = ProbeGrid(SIGNAL + NUISANCE, CONFIG), ProbeGrid(SIGNAL + NUISANCE, CONFIG)
    one.step(source, target, classes)
    other.step(changed, target, classes)
    assert all(map(torch.equal, one.weights, other.weights))
    other.step(source, target, torch.full_like(order, -1))  # nothing known at all: only decay moves them
    assert all(weight.isfinite().all() for weight in other.weights)


def test_rates_fall_to_a_tenth_for_the_last_tenth_of_the_steps() -> None:
    grid, rates = ProbeGrid(SIGNAL + NUISANCE, CONFIG), []
    for step in range(CONFIG.steps):
        rates.append(grid.optimizer.param_groups[-1]["lr"])
        grid.step(*mixed(1, step))
    assert rates == pytest.approx([1e-2] * 18 + [1e-3] * 2)


def test_a_probe_is_a_copy_that_maps_feature_maps() -> None:
    grid = trained(CONFIG, 3)
    probe = grid.probe(3, step=3, error=1.5)
    weight = probe.weight.clone()
    features = torch.randn(2, SIGNAL + NUISANCE, 4, 5, generator=torch.Generator().manual_seed(0))
    conv = F.conv2d(features, probe.weight[:, :, None, None], probe.bias)
    assert torch.allclose(probe(features), conv, atol=1e-5)
    grid.step(*mixed(4, 3))
    assert torch.equal(probe.weight, weight) and not torch.equal(grid.weights[3], weight)
    assert str(probe) == "learning rate 0.01, weight decay 0.3, 3 steps; 1.50 px on the validation split"


def test_settings_out_of_range_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        ProbeConfig(rates=[0.0], decays=[], steps=0, step_pairs=0, clip=0, checks=0, validation=1, temperature=0, seed=-1)
    keys = ("rates=[0.0]", "decays=[]", "steps=0", "step_pairs=0", "clip=0", "checks=0", "validation=1", "seed=-1")
    assert all(f"linear_probe.{key}" in str(error.value) for key in keys)
