"""The scale of the measure: who knows the true points is perfect, who knows nothing is at chance."""

from __future__ import annotations

import math

import pytest
import torch
from oracle import Oracle, rooms, through_a_long_lens, through_lenses_of_their_own, world_points

from muskie.evaluation.correspondence import OURS, PUBLISHED, CorrespondenceConfig, evaluate_correspondence
from muskie.evaluation.results import Row
from muskie.evaluation.tracks import draw_tracks
from muskie.evaluation.views.posed_views import PosedViews

EXACT = CorrespondenceConfig(scale=None, readouts=("l2",))


def scores(backbone: Oracle, views: PosedViews, config: CorrespondenceConfig) -> list[Row]:
    tally = evaluate_correspondence([backbone], [views], [str(n) for n in views.numbers], config)
    return tally.rows("correspondence", "rooms")


def value(rows: list[Row], metric: str, model: str = "oracle", pooling: str = OURS) -> float:
    (row,) = [row for row in rows if (row.metric, row.model, row.pooling) == (metric, model, pooling)]
    assert row.count > 300
    return row.value


@pytest.mark.parametrize("size", [(96, 96), (64, 128)])
def test_true_points_are_found_to_the_pixel(size: tuple[int, int]) -> None:
    """Features three times as fine as pixels: the centre of a pixel at an edge may show what its point is not on."""
    views, fine = rooms(size, views=8, distance=4), rooms(size, views=8, distance=4, finer=3)
    rows = scores(Oracle(world_points(fine), size), views, EXACT)
    assert value(rows, "PCK@1px") == 1
    assert value(rows, "error (px)") < 0.2, "a third of a pixel: .13 is the mean distance to its centre"
    assert value(rows, "PCK@1px", "same pixel") < 0.3, "the views do differ"


def test_every_view_has_a_lens_of_its_own() -> None:
    """Crops differ from view to view, and with them focal lengths and centres."""
    arguments = {"size": (80, 96), "views": 6, "distance": 3}
    views, fine = through_lenses_of_their_own(**arguments), through_lenses_of_their_own(**arguments, finer=3)
    rows = scores(Oracle(world_points(fine), views.size), views, EXACT)
    assert value(rows, "PCK@1px") == 1
    assert value(rows, "error (px)") < 0.2


def test_true_points_are_found_to_the_millimetre() -> None:
    """In space an error is at least what half a pixel covers, so that millimetres need a long lens."""
    views = through_a_long_lens(side=192, focal=3000, views=3, seeds=range(6))
    rows = scores(Oracle(world_points(views), views.size), views, EXACT)
    assert value(rows, "error (cm)") < 0.1
    assert value(rows, "acc@1cm") == 1
    assert value(rows, "PCK@1px") == 1
    assert value(rows, "error (cm)", "same pixel") > 1


def test_patches_cost_what_they_must() -> None:
    """Of patches of 8 pixels, even the patch that holds the point is off by what a square's points are off its centre."""
    views = rooms((96, 96), views=6, distance=4, count=3)
    points = world_points(views)
    coarse = points[..., 4::8, 4::8]
    rows = scores(Oracle(coarse, (96, 96)), views, EXACT)
    best = value(rows, "error (px)", "perfect matcher, patch 8")
    assert best == pytest.approx(8 * (math.sqrt(2) + math.asinh(1)) / 6, rel=0.05), "mean distance to a square's centre"
    assert value(rows, "error (px)") >= best
    assert value(rows, "PCK@1patch") > 0.9
    assert value(rows, "PCK@1patch", "perfect matcher, patch 8") == 1


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_random_features_are_at_chance(metric: str) -> None:
    """A match of independent features is any patch of the view with the same probability."""
    size, grid = (64, 64), (8, 8)
    views = rooms(size, views=8, distance=2, count=8)
    maps = torch.randn(8, 8, 16, *grid, generator=torch.Generator().manual_seed(0))
    config = CorrespondenceConfig(queries=200, scale=None, readouts=(metric,))
    rows = scores(Oracle(maps, size), views, config)
    tracks = draw_tracks(views, 200)
    centres = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy"), -1).flatten(0, 1) * 8 + 4.0
    distance = (tracks.positions[:, 1:, :, None] - centres.double()).norm(dim=-1)[tracks.visible[:, 1:]]  # [N, 64]
    for threshold in (5, 10, 25, 50):
        hit = (distance < threshold).double().mean(1)  # of each point, by chance
        expected, spread = float(hit.mean()), float((hit * (1 - hit)).sum().sqrt() / len(hit))
        # Queries of one patch have nearly the same feature, and so the same match: at most 64 of 200 are independent.
        assert value(rows, f"PCK@{threshold}px") == pytest.approx(expected, abs=4 * spread * math.sqrt(200 / 64))
    assert value(rows, "error (px)") == pytest.approx(float(distance.mean()), rel=0.05)
    assert value(rows, "error (px)", "random features, patch 8") == pytest.approx(float(distance.mean()), rel=0.05)


def test_the_published_pooling_counts_the_query_view_as_right() -> None:
    views = rooms((64, 64), views=4, distance=4)
    maps = torch.randn(2, 4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = scores(Oracle(maps, (64, 64)), views, EXACT)
    tracks = draw_tracks(views, EXACT.queries)
    home, elsewhere = int(tracks.visible[:, 0].sum()), int(tracks.visible[:, 1:].sum())
    for metric in ("PCK@5px", "error (px)", "PCK@1patch"):
        ours, published = value(rows, metric), value(rows, metric, pooling=PUBLISHED)
        right = 0 if metric.startswith("error") else 1
        assert published == pytest.approx((ours * elsewhere + right * home) / (home + elsewhere))


def test_pixels_can_be_those_of_another_size() -> None:
    """Errors at 64 px scaled to 512 are eight times as large."""
    views = rooms((64, 64), views=4, distance=4)
    oracle = Oracle(world_points(views)[..., 4::8, 4::8], (64, 64))
    plain = scores(oracle, views, EXACT)
    scaled = scores(oracle, views, CorrespondenceConfig(scale=512, readouts=("l2",), pixels=(40,)))
    assert value(scaled, "error (px)") == pytest.approx(8 * value(plain, "error (px)"))
    assert value(scaled, "PCK@40px") == value(plain, "PCK@5px")
    assert value(scaled, "error (cm)") == value(plain, "error (cm)")
