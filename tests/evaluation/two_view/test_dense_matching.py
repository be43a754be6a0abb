"""Dense matching as a whole: floors in closed form, oracles, chance, bins of viewpoint angle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from paired import by_place, plane_pairs, remembered, room_pairs, turn
from torch import Tensor

from muskie.backbones.frozen import FrozenBackbone
from muskie.errors import ConfigError
from muskie.evaluation.results import Row
from muskie.evaluation.two_view.dense_matching import ALL, DenseMatchingConfig, ProbeKey, columns, evaluate_dense_matching
from muskie.evaluation.two_view.dense_truth import pixel_warp
from muskie.evaluation.two_view.linear_probe import Probe, ProbeGrid
from muskie.evaluation.views.posed_views import PosedViews

CONFIG = DenseMatchingConfig(scale=None, bins=())
SIZE = (48, 64)


def run(
    backbones: FrozenBackbone | Sequence[FrozenBackbone],
    batches: Sequence[PosedViews],
    config: DenseMatchingConfig = CONFIG,
    probes: dict[ProbeKey, Probe] | None = None,
    floors: bool = True,
) -> dict[tuple[str, str, str, str], Row]:
    """(model, read-out, pooling, metric) -> row."""
    backbones = [backbones] if isinstance(backbones, FrozenBackbone) else backbones
    groups = [f"room {number % 3}" for number in range(1 + max(n for views in batches for n in views.numbers))]
    rows = evaluate_dense_matching(backbones, batches, groups, config, floors, probes).rows("dense_matching", "test")
    return {(row.model, row.readout, row.pooling, row.metric): row for row in rows}


def noise(views: PosedViews, patch: int = 8, width: int = 6) -> Tensor:
    """Features that say nothing."""
    generator = torch.Generator().manual_seed(views.numbers[0])
    return torch.randn(len(views.images), 2, width, *(side // patch for side in views.size), generator=generator)


def epe(rows: dict[tuple[str, str, str, str], Row], model: str, readout: str = "", pooling: str = ALL) -> float:
    return rows[model, readout, pooling, "EPE (px)"].value


def test_the_same_pixel_is_off_by_the_shift() -> None:
    views = plane_pairs([(3.0, -4.0), (6.0, 8.0)], SIZE)
    seen = [(64 - 3) * (48 - 4), (64 - 6) * (48 - 8)]
    config = replace(CONFIG, pixels=[4, 6, 12])
    rows = run(remembered([views], noise, 8, "noise"), [views], config)
    row = rows["same pixel", "", ALL, "EPE (px)"]
    assert row.count == sum(seen)
    assert row.value == pytest.approx((5 * seen[0] + 10 * seen[1]) / sum(seen))
    shares = [rows["same pixel", "", ALL, metric].value for metric in columns(config)[1:]]
    assert shares == pytest.approx([0, seen[0] / sum(seen), 1])


def test_pixels_are_those_of_a_picture_of_the_stated_size() -> None:
    views = plane_pairs([(3.0, -4.0)], SIZE)
    rows = run(remembered([views], noise, 8, "noise"), [views], replace(CONFIG, scale=448))
    assert epe(rows, "same pixel") == pytest.approx(5 * 448 / 48)
    assert rows["same pixel", "", ALL, "PCK@32px"].value == 0


@pytest.mark.parametrize("flow", ["argmax", "neighbours"])
def test_who_knows_the_place_of_every_patch_finds_every_pixel(flow: str) -> None:
    views = plane_pairs([(0.0, 0.0), (0.0, 0.0)], SIZE)
    oracle = remembered([views], lambda v: by_place(v, 8, 0.02), 8, "oracle")
    config = replace(CONFIG, flow=flow, temperature=1e-3)
    rows = run(oracle, [views], config)
    assert epe(rows, "oracle", "knn") == pytest.approx(0, abs=1e-6)
    assert epe(rows, "perfect matcher, patch 8") == pytest.approx(0, abs=1e-9)
    assert ("perfect matcher between patches, patch 8", "", ALL, "EPE (px)") in rows or flow == "argmax"


def test_the_perfect_matcher_is_off_by_rounding_alone() -> None:
    """A shift of 3 of 8 pixels is rounded to none, for all patches alike; the exact one loses nothing."""
    views = plane_pairs([(3.0, 0.0), (5.0, 0.0)], SIZE)
    rows = run(remembered([views], noise, 8, "noise"), [views])
    assert epe(rows, "perfect matcher, patch 8") == pytest.approx(3)
    assert epe(rows, "perfect matcher between patches, patch 8") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("flow", ["argmax", "neighbours"])
def test_an_oracle_of_world_points_stays_below_the_quantisation_bound(flow: str) -> None:
    """The centre of the right patch is at most half its diagonal away; a fine grid is better than a coarse one."""
    views, found = plane_pairs([(2.9, 1.7), (-5.1, 2.7)], SIZE), {}
    for patch in (2, 8):
        oracle = remembered([views], lambda v, p=patch: by_place(v, p, 0.04 * p), patch, "oracle")  # type: ignore[misc]
        found[patch] = epe(run(oracle, [views], replace(CONFIG, flow=flow)), "oracle", "knn")
        assert found[patch] < patch * 2**0.5 / 2
    assert found[2] < found[8] / 2


def test_an_oracle_finds_its_way_in_rendered_rooms() -> None:
    pairs = room_pairs(6, distance=6)
    oracle = remembered(pairs, lambda v: by_place(v, 4, 0.4), 4, "oracle")
    blind = remembered(pairs, lambda v: noise(v, 4), 4, "noise")
    bound = 4 * 2**0.5 / 2
    for flow in ("argmax", "neighbours"):
        rows = run([oracle, blind], pairs, replace(CONFIG, flow=flow, temperature=0.02))
        assert epe(rows, "perfect matcher, patch 4") < bound
        assert epe(rows, "oracle", "knn") < bound < epe(rows, "same pixel") / 1.5
        assert epe(rows, "noise", "knn") > 4 * bound
    exact = epe(rows, "perfect matcher between patches, patch 4")
    assert exact < epe(rows, "oracle", "knn") < epe(rows, "perfect matcher, patch 4")


def test_random_features_are_at_chance() -> None:
    """With patches of a pixel every pixel's match is a pixel of its own, drawn uniformly."""
    size = (12, 16)
    views = plane_pairs([(2.0, 1.0)] * 24, size)
    rows = run(remembered([views], lambda v: noise(v, 1), 1, "noise"), [views], replace(CONFIG, flow="argmax"))
    truth = pixel_warp(views)
    true = truth.positions[truth.valid]
    everywhere = pixel_warp(plane_pairs([(0.0, 0.0)], size)).positions.flatten(0, 2)
    distances = torch.cdist(true, everywhere)
    for model, readout in (("random features, patch 1", ""), ("noise", "knn")):
        row = rows[model, readout, ALL, "EPE (px)"]
        spread = float(distances.var() / row.count) ** 0.5
        assert row.count == len(true) and row.value == pytest.approx(float(distances.mean()), abs=4 * spread)
        for threshold in (3, 5, 8):
            chance = float((distances < threshold).double().mean())
            spread = (chance * (1 - chance) / row.count) ** 0.5
            assert rows[model, readout, ALL, f"PCK@{threshold}px"].value == pytest.approx(chance, abs=4 * spread)


def test_pairs_are_counted_in_their_bin_of_viewpoint_angle() -> None:
    views = plane_pairs([(0.0, 0.0)] * 5, SIZE)
    for number, degrees in enumerate((0.0, 2.0, 8.0, 12.0, 20.0)):
        views.cam2world[number, 1, :3, :3] = torch.from_numpy(turn(degrees, 2))  # about the axis that looks at the plane
    truth = pixel_warp(views).valid.flatten(1).sum(1)
    rows = run(remembered([views], noise, 8, "noise"), [views], replace(CONFIG, bins=(0, 5, 10, 15)))
    names = (ALL, "viewpoint [0, 5)", "viewpoint [5, 10)", "viewpoint [10, 15]")
    counts = [rows["same pixel", "", name, "EPE (px)"].count for name in names]
    assert counts == [truth.sum(), truth[:2].sum(), truth[2], truth[3]]
    # Turned about the axis by 12 degrees: pixels move by twice the sine of half of it, times their distance from the middle.
    y, x = torch.meshgrid(torch.arange(48) + 0.5 - 24, torch.arange(64) + 0.5 - 32, indexing="ij")
    moved = 2 * torch.sin(torch.deg2rad(torch.tensor(6.0))) * (x**2 + y**2).sqrt()
    wanted = moved[pixel_warp(views).valid[3]].mean().item()
    assert epe(rows, "same pixel", pooling=names[3]) == pytest.approx(wanted, rel=1e-5)


def test_batches_do_not_matter() -> None:
    views = [plane_pairs([(2.0 * number, 1.0)], SIZE, first=number) for number in range(4)]
    joined = PosedViews(
        *(torch.cat([getattr(v, part) for v in views]) for part in ("images", "depth", "intrinsics", "cam2world")),
        [0, 1, 2, 3],
    )
    backbone = remembered(views, noise, 8, "noise")
    one, other = run(backbone, views), run(backbone, [joined])
    assert one.keys() == other.keys()
    for key, row in one.items():
        assert (row.value, row.low, row.high, row.count) == pytest.approx(
            (other[key].value, other[key].low, other[key].high, other[key].count), rel=1e-5
        )


def test_probes_are_read_like_their_features() -> None:
    views = plane_pairs([(2.0, 1.0), (-5.0, 3.0)], SIZE)
    backbones = [remembered([views], noise, 8, "noise"), remembered([views], noise, 8, "other")]
    untrained = ProbeGrid(6, DenseMatchingConfig(rates=[1e-3], decays=[0.1])).probe(0, 0, 0.0)
    rows = run(backbones, [views], probes={ProbeKey("noise", 0): untrained}, floors=False)
    assert {(model, readout) for model, readout, _, _ in rows} == {("noise", "knn"), ("noise", "probe"), ("other", "knn")}
    assert epe(rows, "noise", "probe") == pytest.approx(epe(rows, "noise", "knn"))
    generator = torch.Generator().manual_seed(7)
    probe = replace(untrained, weight=torch.randn(6, 6, generator=generator), bias=torch.randn(6, generator=generator))
    mapped = remembered([views], lambda v: probe(noise(v).flatten(0, 1)).unflatten(0, (2, 2)), 8, "mapped")
    rows = run([*backbones, mapped], [views], probes={ProbeKey("noise", 0): probe}, floors=False)
    assert epe(rows, "noise", "probe") == pytest.approx(epe(rows, "mapped", "knn"), rel=1e-4)
    assert epe(rows, "noise", "probe") != pytest.approx(epe(rows, "noise", "knn"), rel=1e-2)


def test_settings_out_of_range_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        DenseMatchingConfig(flow="mean", pixels=[0], scale=0, tolerance=0, bins=[30, 0], steps=0, rates=[], decays=[-1])
    for key in ("flow='mean'", "pixels=[0]", "scale=0", "tolerance=0", "bins=[30, 0]", "steps=0", "rates=[]", "decays=[-1]"):
        assert f"dense_matching.{key}" in str(error.value)


def test_samples_of_three_views_are_refused() -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    for part in ("images", "depth", "intrinsics", "cam2world"):
        setattr(views, part, getattr(views, part)[:, [0, 1, 1]])
    with pytest.raises(ConfigError, match="samples of 2 views"):
        run(remembered([], noise, 8, "noise"), [views])
