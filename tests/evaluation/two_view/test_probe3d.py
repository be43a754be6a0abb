"""Probe3D's protocol against brute force, closed forms and chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paired import DEPTH, FOCAL, by_place, plane_pairs, remembered, room_pairs, turn
from torch import Tensor

from muskie.errors import ConfigError
from muskie.evaluation.results import Row
from muskie.evaluation.settings import EvaluationSettings
from muskie.evaluation.two_view.dense_matching import ALL
from muskie.evaluation.two_view.probe3d import Locations, Probe3DConfig, columns, evaluate_probe3d
from muskie.evaluation.two_view.ratio_matches import Matches, ratio_matches
from muskie.evaluation.views.posed_views import PosedViews
from muskie.overrides import compose_config
from muskie.streams import stream

CONFIGS = Path(__file__).parents[3] / "configs"
CONFIG = Probe3DConfig(scale=None, bins=())
SIZE = (48, 64)


def noise(views: PosedViews, patch: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(views.numbers[0])
    return torch.randn(len(views.images), 2, 6, *(side // patch for side in views.size), generator=generator)


def run(
    views: PosedViews, features: Callable[[PosedViews], Tensor], patch: int, config: Probe3DConfig = CONFIG
) -> dict[tuple[str, str, str], Row]:
    """(model, pooling, metric) -> row."""
    backbone = remembered([views], features, patch, "model")
    rows = evaluate_probe3d([backbone], [views], ["room"] * 100, config).rows("probe3d", "test")
    return {(row.model, row.pooling, row.metric): row for row in rows}


def flags(count: int, *, without: tuple[int, ...] = ()) -> Tensor:
    return torch.tensor([[number not in without for number in range(count)]])


def test_weights_are_one_minus_the_ratio_of_distances() -> None:
    """Unit vectors in the plane at 0, 60 and 90 degrees; queries at 0, 30, 75 and 90."""

    def unit(*degrees: float) -> Tensor:
        angles = torch.deg2rad(torch.tensor(degrees))
        return torch.stack([angles.cos(), angles.sin()])[None]

    source, target = unit(0, 30, 76, 89), unit(0, 60, 90)
    found = ratio_matches(3 * source, target / 7, flags(4), flags(3), keep=4)
    # Distances 1 - cosine, so weights: 1 - 0/.5; 30 degrees to both: 0; 14 and 16 degrees: .23; 1 and 29: .999.
    assert found.sources.tolist() == [[0, 3, 2, 1]]
    assert found.targets[0, :3].tolist() == [0, 2, 2]
    assert found.counted.all()
    assert ratio_matches(source, target, flags(4), flags(3), keep=2).sources.tolist() == [[0, 3]]
    assert ratio_matches(source, target, flags(4, without=(0,)), flags(3), keep=2).sources.tolist() == [[3, 2]]
    some = ratio_matches(source, target, flags(4, without=(0, 3)), flags(3), keep=3)
    assert some.sources[0, :2].tolist() == [2, 1] and some.counted.tolist() == [[True, True, False]]
    without = ratio_matches(source, target, flags(4), flags(3, without=(2,)), keep=4)
    assert 2 not in without.targets and without.sources[0, 0] == 0
    assert not ratio_matches(source, target, flags(4), flags(3, without=(0, 1)), keep=4).counted.any()


def test_equal_matches_weigh_nothing_and_keep_their_order() -> None:
    features = torch.ones(1, 3, 5)
    found = ratio_matches(features, features, flags(5), flags(5), keep=3)
    assert found.sources.tolist() == [[0, 1, 2]] and found.counted.all()


def test_matches_are_those_of_brute_force_however_they_are_cut() -> None:
    rng = stream(0, "ratio")
    source, target = rng.standard_normal((2, 4, 30)), rng.standard_normal((2, 4, 20))
    known, allowed = rng.random((2, 30)) < 0.7, rng.random((2, 20)) < 0.7
    arguments = [torch.from_numpy(x) for x in (source, target, known, allowed)]
    whole = ratio_matches(*arguments, keep=9)
    parts = ratio_matches(*arguments, keep=9, memory=1e-9)
    for pair in range(2):
        weights = {}
        for i in np.flatnonzero(known[pair]):
            places = np.flatnonzero(allowed[pair])
            one, others = source[pair, :, i], target[pair][:, places]
            distances = 1 - one @ others / np.linalg.norm(one) / np.linalg.norm(others, axis=0)
            order = np.argsort(distances)
            weights[i] = (1 - distances[order[0]] / distances[order[1]], places[order[0]])
        best = sorted(weights, key=lambda i: -weights[i][0])[:9]
        assert whole.sources[pair].tolist() == best
        assert whole.targets[pair].tolist() == [weights[i][1] for i in best]
    assert all(torch.equal(getattr(whole, part), getattr(parts, part)) for part in ("sources", "targets", "counted"))


def test_the_ratio_needs_two_targets() -> None:
    with pytest.raises(ConfigError, match="needs two locations"):
        ratio_matches(torch.ones(1, 2, 3), torch.ones(1, 2, 1), flags(3), flags(1), keep=1)


def test_the_same_location_is_off_by_the_shift_and_its_length() -> None:
    """A shift of 5 pixels is 5 · 2 m / 50 px = 20 cm on the plane."""
    views = plane_pairs([(3.0, -4.0)], SIZE)
    model = "same location, patch 8"
    for pixels, centimetres in ((4.9, 19.9), (5.1, 20.1)):
        rows = run(views, noise, 8, replace(CONFIG, pixels=[pixels], centimetres=[centimetres]))
        for metric in (f"recall@{pixels:g}px", f"recall@{centimetres:g}cm"):
            assert rows[model, ALL, metric].value == (pixels > 5)
            assert rows[model, ALL, metric].count == 6 * 8
    scaled = run(views, noise, 8, replace(CONFIG, pixels=[9, 11], scale=96))
    assert [scaled[model, ALL, f"recall@{t}px"].value for t in (9, 11)] == [0, 1]


def test_an_oracle_is_right_where_there_is_an_answer() -> None:
    """All moves by two patches: those of two columns leave the picture, and their matches are misses."""
    views = plane_pairs([(-16.0, 0.0)], SIZE)
    config = replace(CONFIG, pixels=[0.01], centimetres=[0.1])
    rows = run(views, lambda v: by_place(v, 8, 0.05), 8, config)
    assert rows["model", ALL, "seen"].value == pytest.approx(6 / 8)
    for metric in ("recall@0.01px", "recall@0.1cm"):
        assert rows["model", ALL, metric].value == pytest.approx(6 / 8)
        assert rows["perfect matcher, patch 8", ALL, metric].value == pytest.approx(6 / 8), "misses that nobody can help"
    assert rows["model", ALL, "seen"].count == rows["perfect matcher, patch 8", ALL, "seen"].count == 48


def test_the_surest_matches_are_those_that_have_an_answer() -> None:
    """An exact answer has d1 = 0 and the weight 1, so that of as many as are seen none is a miss."""
    views = plane_pairs([(-16.0, 0.0)], SIZE)
    rows = run(views, lambda v: by_place(v, 8, 0.05), 8, replace(CONFIG, pixels=[0.01], keep=36))
    for model in ("model", "perfect matcher, patch 8"):
        assert rows[model, ALL, "recall@0.01px"].value == 1 == rows[model, ALL, "seen"].value
        assert rows[model, ALL, "seen"].count == 36


def as_good_as_can_be(views: PosedViews, grid: tuple[int, int], known: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Of each location of view 0, the least error in pixels and in metres over all locations of view 1 that may be
    matched to, [S] each."""
    locations = Locations(views, grid)
    allowed = locations.centres[locations.known[0, 1]] if known else locations.centres
    pixels = torch.cdist(locations.positions[0].nan_to_num(1e9, 1e9), allowed).amin(1)
    metres = torch.cdist(locations.points[0, 0], locations.points[0, 1][locations.known[0, 1]]).amin(1)
    return pixels.numpy(), metres.numpy()


@pytest.mark.parametrize(("grid", "keep", "known"), [((12, 12), 40, False), ((12, 12), 1000, True), ((6, 6), 30, False)])
def test_the_ceiling_is_as_many_hits_as_the_locations_allow(grid: tuple[int, int], keep: int, known: bool) -> None:
    """And no matches surpass it: neither drawn ones, nor those of an oracle."""
    (views,) = room_pairs(1, distance=12)
    views.depth[:, 0, :9], views.depth[:, 1, :, :9] = 0, 0  # unknown in parts
    config = replace(CONFIG, keep=keep, known_targets=known, pixels=[1, 2, 6], centimetres=[3, 10, 40])
    pixels, metres = as_good_as_can_be(views, grid, known)
    able = Locations(views, grid).known[0, 0].numpy()
    kept = min(keep, int(able.sum()))
    patch = 48 // grid[0]
    for features in (lambda v: by_place(v, patch, 0.2), lambda v: noise(v, patch)):
        rows = run(views, features, patch, config)
        best = {metric: row for (model, _, metric), row in rows.items() if model.startswith("perfect")}
        for metric, hits in [(f"recall@{t:g}px", pixels < t) for t in (1, 2, 6)] + [
            (f"recall@{t:g}cm", metres < t / 100) for t in (3, 10, 40)
        ]:
            assert best[metric].value == pytest.approx(min((hits & able).sum(), kept) / kept) and best[metric].count == kept
        for (model, _, metric), row in rows.items():
            assert row.value <= best[metric].value or model.startswith("same"), (model, metric)
        assert any(row.value < 1 for row in best.values())


def test_what_is_unknown_is_no_hit_of_the_ceiling() -> None:
    """Pixels without depth have the place of their camera, which may well be near to something."""
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.cam2world[:, 1, :3, 3] = torch.tensor([0.08, 0.08, -1])  # camera 0 is seen in the centre (28, 20) of a patch
    views.depth[:, 0, :, 16:] = 0
    pixels, _ = as_good_as_can_be(views, (6, 8))
    near = pixels.reshape(6, 8) < 0.1
    assert near[:, 2:].all() and near[:, :2].sum() == 2, "all that are unknown, and 2 of 12 that are known"
    values, counted = Locations(views, (6, 8)).best(replace(CONFIG, pixels=[0.1]))
    assert int(counted.sum()) == 12 and int((values["recall@0.1px"] & counted).sum()) == 2
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.cam2world[:, 1, 2, 3] = DEPTH  # camera 1 lies on the plane, and has measured one pixel far away
    views.depth[:, 1] = 0
    views.depth[:, 1, 4, 4] = 50.0
    values, counted = Locations(views, (6, 8)).best(replace(CONFIG, centimetres=[30]))
    assert counted.all() and not values["recall@30cm"].any()


def test_at_most_so_many_of_every_pair_are_kept() -> None:
    views = plane_pairs([(0.0, 0.0), (8.0, 0.0)], SIZE)
    views.depth[0, 0, :, 8:] = 0  # one column of 6 patches is known
    rows = run(views, noise, 8, replace(CONFIG, keep=10))
    assert rows["model", ALL, "seen"].count == 6 + 10
    assert rows["same location, patch 8", ALL, "seen"].count == 6 + 48


def matches(*numbers: tuple[int, int]) -> Matches:
    sources, targets = torch.tensor(numbers).T[:, None]
    return Matches(sources, targets, torch.ones_like(sources, dtype=torch.bool))


def test_what_is_not_known_in_view_1_is_a_miss_in_space_alone() -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.depth[:, 1, :8, :8] = 0
    values = Locations(views, (6, 8)).values(matches((0, 0), (1, 1)), replace(CONFIG, pixels=[1], centimetres=[1, 900]))
    assert values["recall@1px"].tolist() == [[True, True]]
    assert values["recall@1cm"].tolist() == values["recall@900cm"].tolist() == [[False, True]]
    assert values["seen"].tolist() == [[False, True]]


def test_what_lies_behind_view_1_is_a_miss() -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.cam2world[:, 1, :3, :3] = torch.from_numpy(turn(180.0))
    locations = Locations(views, (6, 8))
    sources, targets = torch.cartesian_prod(torch.arange(48), torch.arange(48)).T[:, None]
    everywhere = Matches(sources, targets, torch.ones_like(sources, dtype=torch.bool))
    values = locations.values(everywhere, replace(CONFIG, pixels=[1e6]))
    assert not values["recall@1e+06px"].any() and not values["seen"].any()


def test_a_point_that_view_1_does_not_see_counts_by_its_distance() -> None:
    """Occluded in view 1, yet it has a place there: the protocol tests nothing but the distance."""
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.depth[:, 1] = DEPTH / 2
    values = Locations(views, (6, 8)).values(matches((5, 5), (5, 6)), replace(CONFIG, pixels=[1], centimetres=[99, 101]))
    assert not values["seen"].any()
    assert values["recall@1px"].tolist() == [[True, False]]
    away = DEPTH / 2 * 100  # cm along the axis; the ray is a little longer
    x, y = (5.5 * 8 - 32) / FOCAL, (0.5 * 8 - 24) / FOCAL
    assert away * (1 + x * x + y * y) ** 0.5 > 101
    assert not values["recall@99cm"].any() and not values["recall@101cm"].any()


def test_only_locations_of_known_depth_are_matched_to_if_so_asked() -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.depth[:, 1, :, 32:] = 0
    config = replace(CONFIG, pixels=[0.01])
    everywhere = run(views, lambda v: by_place(plane_pairs([(0.0, 0.0)], SIZE), 8, 0.05), 8, config)
    known = run(views, lambda v: by_place(plane_pairs([(0.0, 0.0)], SIZE), 8, 0.05), 8, replace(config, known_targets=True))
    assert everywhere["model", ALL, "recall@0.01px"].value == 1
    assert known["model", ALL, "recall@0.01px"].value == 0.5


def test_random_features_are_at_chance() -> None:
    views = plane_pairs([(2.0, 1.0)] * 10, (12, 16))
    rows = run(views, lambda v: noise(v, 1), 1, replace(CONFIG, pixels=[3, 6], keep=10_000))
    y, x = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    centres = torch.stack([x, y], dim=-1).flatten(0, 1)
    distances = torch.cdist(centres + torch.tensor([2.0, 1.0]), centres)
    for model in ("model", "random features, patch 1"):
        for threshold in (3, 6):
            row = rows[model, ALL, f"recall@{threshold}px"]
            chance = (distances < threshold).double().mean().item()
            assert row.count == 1920
            assert row.value == pytest.approx(chance, abs=4 * (chance * (1 - chance) / row.count) ** 0.5)


def test_features_are_upsampled_to_the_grid() -> None:
    """On a grid as fine as the features nothing changes; a finer one gives locations, and recall, between patches."""
    views = plane_pairs([(4.0, 0.0)], SIZE)
    config = replace(CONFIG, pixels=[1])

    def places(v: PosedViews) -> Tensor:
        return by_place(v, 8, 0.4)

    plain, same = run(views, places, 8, config), run(views, places, 8, replace(config, grid=(6, 8)))
    fine = run(views, places, 8, replace(config, grid=(24, 32)))
    assert same["model", ALL, "recall@1px"] == plain["model", ALL, "recall@1px"]
    assert plain["model", ALL, "recall@1px"].value == 0  # half a patch: no location is nearer than 4 pixels
    assert fine["model", ALL, "recall@1px"].value > 0.5
    assert fine["same location, grid 24 x 32", ALL, "seen"].count == 24 * 32
    assert fine["perfect matcher, grid 24 x 32", ALL, "recall@1px"].value == 30 / 32, "two columns leave the picture"


def test_features_are_upsampled_by_cubic_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single 1 on a grid twice as fine is Keys' kernel with a = -3/4, at distances .25, .75, 1.25 and 1.75."""
    seen: list[Tensor] = []

    def watched(source: Tensor, *rest: Any) -> Matches:
        seen.append(source)
        return ratio_matches(source, *rest)

    monkeypatch.setattr("muskie.evaluation.two_view.probe3d.ratio_matches", watched)
    features = torch.zeros(1, 2, 1, 6, 8)
    features[..., 3, 4] = 1
    run(plane_pairs([(0.0, 0.0)], SIZE), lambda _: features, 8, replace(CONFIG, grid=(12, 16)))
    t, a = np.array([0.25, 0.75, 1.25, 1.75]), -0.75
    half = np.where(t <= 1, (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4))
    kernel = [*half[::-1], *half]
    expected = np.zeros((12, 16))
    expected[3:11, 5:13] = np.outer(kernel, kernel)
    (ours,) = (source for source in seen if source.shape[1] == 1)  # the others are random features
    assert np.allclose(ours[0, 0].unflatten(0, (12, 16)), expected, atol=1e-6)


def test_a_location_on_the_edge_of_a_surface_has_the_depth_of_one_side() -> None:
    views = plane_pairs([(0.0, 0.0)], SIZE)
    views.depth[:, 0, :, :4] = 1.0  # the centres of the first column of patches lie on the edge
    locations = Locations(views, (6, 8))
    assert locations.known[:, 0].all()
    z = locations.points[0, 0, :, 2].unflatten(0, (6, 8))
    assert set(z[:, 0].tolist()) <= {1.0, DEPTH} and (z[:, 1:] == DEPTH).all()


def test_pairs_are_counted_in_their_bin_of_viewpoint_angle() -> None:
    views = plane_pairs([(0.0, 0.0)] * 4, SIZE)
    for number, degrees in enumerate((0.0, 14.0, 16.0, 61.0)):
        views.cam2world[number, 1, :3, :3] = torch.from_numpy(turn(degrees, 2))
    rows = run(views, noise, 8, Probe3DConfig(keep=7))
    names = ["viewpoint [0, 15)", "viewpoint [15, 30)", "viewpoint [30, 60)", "viewpoint [60, 180]", ALL]
    assert [rows["model", name, "seen"].count for name in names] == [14, 7, 0, 7, 28]


def test_in_rendered_rooms_an_oracle_beats_chance_by_far() -> None:
    for views in room_pairs(2, distance=6):
        rows = run(views, lambda v: by_place(v, 4, 0.4), 4, replace(CONFIG, keep=50, centimetres=[30]))
        for metric in ("recall@5px", "recall@30cm"):
            assert rows["model", ALL, metric].value > 0.9 * rows["model", ALL, "seen"].value
            assert rows["random features, patch 4", ALL, metric].value < 0.5
        assert rows["perfect matcher, patch 4", ALL, "recall@5px"].value == 1


@pytest.mark.parametrize(
    ("protocol", "settings", "size", "crop"),
    [
        ("probe3d_scannet", {"grid": [120, 160], "scale": 120, "pixels": [5, 10, 20]}, [480, 640], "centre"),
        ("probe3d_navi", {"grid": [128, 128], "scale": 512, "pixels": [5, 25, 50], "known_targets": True}, 512, "object"),
    ],
)
def test_the_published_settings(protocol: str, settings: dict[str, Any], size: list[int] | int, crop: str) -> None:
    """Of the paper and its code: the last layer, 1000 matches; bins of pairs are those that are reported."""
    config = compose_config(CONFIGS, "evaluate", [f"protocol={protocol}", "backbone=muskie_tiny", "data=synthetic"])
    read = EvaluationSettings(config)
    bins = [0, 15, 30, 60, 180] if protocol == "probe3d_scannet" else [0, 30, 60, 90, 120]
    common: dict[str, Any] = {"layers": [-1], "norm": True, "keep": 1000, "bins": bins}
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(read.values["probe3d"]).items()}
    assert found == {"known_targets": False, "centimetres": [1, 2, 5], **common, **settings}
    assert (read.values["size"], read.values["crop"], read.values["part"]) == (size, crop, "all")
    assert read.values["pairs"].rule == "by_angle" and list(read.values["pairs"].bins) == bins
    assert [suite.name for suite in read.suites] == ["probe3d"]


def test_settings() -> None:
    expected = ["recall@5px", "recall@10px", "recall@20px", "recall@1cm", "recall@2cm", "recall@5cm", "seen"]
    assert columns(Probe3DConfig()) == expected
    with pytest.raises(ConfigError) as error:
        Probe3DConfig(grid=(0, 3), keep=0, pixels=[-1], centimetres=[0], scale=0, bins=[0])
    for key in ("grid=[0, 3]", "keep=0", "pixels=[-1]", "centimetres=[0]", "scale=0", "bins=[0]"):
        assert f"probe3d.{key}" in str(error.value)
