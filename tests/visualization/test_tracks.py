"""Tracks: what is drawn where, which queries are, and the errors, against numpy and exact positions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.visualization.page import PAPER, Page
from muskie.visualization.tracks import median_errors, per_row, spread, track_page

HIGH, WIDE = 40, 60


def black(views: int) -> Tensor:
    return torch.zeros((views, 3, HIGH, WIDE), dtype=torch.uint8)


def positions(*points: tuple[float, float]) -> Tensor:
    return torch.tensor(points, dtype=torch.float64)


def shown(images: Tensor, predicted: Tensor, true: Tensor, visible: Tensor, drawn: list[Page], **more: Any) -> list[Tensor]:
    """The drawn views, each [3, height, width] in [0, 255]."""
    track_page(images, predicted, true, visible, **more)
    return list(drawn[-1].rows[0].double())


def middle(view: Tensor, colour: str) -> tuple[float, float] | None:
    """The centre (x, y), in pixels of the image, of what is red or green in a view; None if nothing is."""
    others = [channel for channel in range(3) if channel != "rg".index(colour[0])]
    weight = (view["rg".index(colour[0])] - view[others].amax(0) - 90).clamp(min=0)
    if not weight.any():
        return None
    y, x = ((torch.arange(side) + 0.5).double() / side for side in weight.shape)
    return float(weight.sum(0) @ x / weight.sum() * WIDE), float(weight.sum(1) @ y / weight.sum() * HIGH)


def test_true_and_predicted_positions(drawn: list[Page]) -> None:
    true = torch.stack([positions((20.5, 20.5)), positions((30, 12)), positions((11, 30))])
    predicted = torch.stack([positions((1, 1)), positions((50, 28)), positions((45.5, 9.25))])
    views = shown(black(3), predicted, true, torch.ones(3, 1, dtype=torch.bool), drawn)
    for view in range(3):
        assert middle(views[view], "green") == pytest.approx(true[view, 0].tolist(), abs=0.2)
    assert middle(views[0], "red") is None, "view 0 has queries alone"
    for view in (1, 2):
        assert middle(views[view], "red") == pytest.approx(predicted[view, 0].tolist(), abs=0.2)
        halfway = ((true + predicted)[view, 0] / 2).tolist()
        scale = views[view].shape[-1] / WIDE
        assert views[view][:, int(halfway[1] * scale), int(halfway[0] * scale)].min() > 100, "a line joins them"


def test_only_where_it_is_visible(drawn: list[Page]) -> None:
    true = positions((20, 20)).expand(3, 1, 2)
    visible = torch.tensor([[True], [False], [True]])
    views = shown(black(3), true + 8, true, visible, drawn)
    assert not views[1].any() and views[0].any() and views[2].any()
    assert [text.split("\n")[1] for text in (drawn[0].captions or [[]])[0] or []][1:] == ["0 of 1 visible", "1 of 1 visible"]


def test_a_query_seen_in_view_0_alone_is_not_drawn(drawn: list[Page]) -> None:
    true = positions((20, 20), (40, 20)).expand(2, 2, 2)
    views = shown(black(2), true, true, torch.tensor([[True, True], [False, True]]), drawn)
    assert middle(views[0], "green") == pytest.approx((40, 20), abs=0.2)


@pytest.mark.parametrize("wrong", [(torch.nan, 3.0), (torch.inf, 3.0), (1e12, -1e12)])
def test_predictions_that_are_far_out(wrong: tuple[float, float], drawn: list[Page]) -> None:
    true = positions((20, 20)).expand(2, 1, 2)
    predicted = positions(wrong).expand(2, 1, 2)
    views = shown(black(2), predicted, true, torch.ones(2, 1, dtype=torch.bool), drawn)
    assert middle(views[1], "green") == pytest.approx((20, 20), abs=0.3) and middle(views[1], "red") is None
    corner = views[1][:, : views[1].shape[1] // 3, -views[1].shape[2] // 2 :]
    assert bool(corner.any()) == np.isfinite(wrong).all(), "the line leaves the picture at its upper right"


def test_errors_are_of_all_visible_queries_in_pixels_of_the_images(drawn: list[Page]) -> None:
    rng = np.random.default_rng(0)
    true, predicted = (torch.from_numpy(rng.uniform(0, 40, (4, 31, 2))) for _ in range(2))
    visible = torch.from_numpy(rng.random((4, 31)) < 0.6)
    visible[3], visible[2] = False, True
    track_page(black(4), predicted, true, visible, draw=3)
    captions = (drawn[0].captions or [[]])[0] or []
    assert re.fullmatch(r"31 queries\n\d drawn", captions[0])
    distance = np.linalg.norm((predicted - true).numpy(), axis=-1)
    for view in (1, 2):
        seen = visible[view].numpy()
        assert captions[view] == f"median error {np.median(distance[view][seen]):.1f} px\n{seen.sum()} of 31 visible"
    assert captions[3] == "no query seen\n0 of 31 visible"
    assert "60 x 40" in (drawn[0].note or "")


@pytest.mark.parametrize("queries", [1, 2, 7, 8])
def test_median_errors(queries: int) -> None:
    rng = np.random.default_rng(queries)
    true, predicted = (torch.from_numpy(rng.normal(size=(6, queries, 2))) for _ in range(2))
    visible = torch.from_numpy(rng.random((6, queries)) < 0.6)
    visible[0], visible[1] = True, False
    errors = median_errors(predicted, true, visible)
    for view in (0, 2, 3, 4, 5):
        seen = visible[view].numpy()
        expected = np.median(np.linalg.norm((predicted - true)[view].numpy(), axis=-1)[seen]) if seen.any() else np.nan
        assert float(errors[view]) == pytest.approx(expected, nan_ok=True)
    assert errors[1].isnan()
    predicted[0, : queries // 2 + 1] = torch.nan
    assert median_errors(predicted, true, visible)[0] == torch.inf, "more than half are lost"


def test_queries_are_spread() -> None:
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform(0, 100, (200, 2)))
    allowed = torch.from_numpy(rng.random(200) < 0.5)
    chosen = spread(points, allowed, 12)
    assert len(set(chosen.tolist())) == 12 and allowed[chosen].all()
    assert (points[chosen, 1].diff() >= 0).all(), "numbered from the top down"
    among = torch.cdist(points[chosen], points[chosen]) + torch.eye(12) * 1e9
    to_chosen = torch.cdist(points[allowed], points[chosen]).amin(1)
    # The law of farthest-point sampling: no candidate is farther from the chosen ones than these are from each other.
    assert to_chosen.max() <= among.min() + 1e-9


def test_spread_takes_all_if_there_are_few() -> None:
    points = positions((0, 5), (3, 1), (9, 3), (4, 4))
    assert spread(points, torch.tensor([True, True, False, True]), 16).tolist() == [1, 3, 0]
    assert spread(points, torch.zeros(4, dtype=torch.bool), 16).tolist() == []
    assert spread(points, torch.ones(4, dtype=torch.bool), 0).tolist() == []
    twice = positions((1, 1), (1, 1), (1, 1))
    assert spread(twice, torch.ones(3, dtype=torch.bool), 2).tolist() == [0], "one of those that lie on each other"


@pytest.mark.parametrize(
    ("size", "views", "across"),
    [
        ((64, 64), 4, 4),
        ((64, 64), 8, 4),
        ((64, 64), 24, 6),
        ((512, 512), 8, 4),
        ((480, 640), 6, 3),
        ((40, 60), 5, 3),
        ((9, 900), 3, 1),
    ],
)
def test_how_many_views_stand_side_by_side(size: tuple[int, int], views: int, across: int) -> None:
    """At 256 pixels of the shorter side a page of 1792 holds 7 squares; rows are about equally long."""
    assert per_row(*size, views) == across


def test_many_views_stand_in_rows(drawn: list[Page]) -> None:
    rng = np.random.default_rng(0)
    true = torch.from_numpy(rng.uniform(4, 36, (1, 30, 2))).expand(24, -1, -1)
    visible = torch.ones(24, 30, dtype=torch.bool)
    images = torch.zeros(23, 3, 40, 40, dtype=torch.uint8)
    images[:, 2] = 7 * torch.arange(23, dtype=torch.uint8)[:, None, None]
    page = track_page(images, true[:23] + 1, true[:23], visible[:23], title="title")
    whole = drawn[0]
    assert [len(row) for row in whole.rows] == [6] * 4 and whole.columns is None
    assert {tuple(row.shape[-2:]) for row in whole.rows} == {(280, 280)}, "seven times as large"
    pictures = torch.cat(list(whole.rows))
    assert [int(picture[2].flatten().mode().values) for picture in pictures] == [*range(0, 161, 7), PAPER[2]]
    captions = [text for row in whole.captions or [] for text in row or []]
    assert captions[0] == "view 0: 30 queries\n6 drawn" and captions[-1] == ""
    assert captions[22] == "view 22: median error 1.4 px\n30 of 30 visible"
    assert page.shape[-1] < 1800, "no wider than a page"
    track_page(images[:8], true[:8], true[:8], visible[:8])
    assert [len(row) for row in drawn[1].rows] == [4, 4] and (drawn[1].captions or [[]])[0][0].endswith("12 drawn")  # type: ignore[index]


def test_scene_and_frames_are_told(drawn: list[Page]) -> None:
    true = positions((20, 20)).expand(2, 1, 2)
    track_page(black(2), true, true, torch.ones(2, 1, dtype=torch.bool), source="rooms/kitchen (3, 7)")
    assert (drawn[0].note or "").endswith("rooms/kitchen (3, 7)")


def test_no_query_at_all_is_a_page_too(drawn: list[Page]) -> None:
    true = positions((20, 20)).expand(2, 1, 2)
    views = shown(black(2), true, true, torch.zeros(2, 1, dtype=torch.bool), drawn)
    assert not any(view.any() for view in views)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predicted": torch.zeros(2, 4, 2)}, r"predicted has shape \(2, 4, 2\); expected \(2, 3, 2\)"),
        ({"true": torch.zeros(2, 3)}, r"true has shape \(2, 3\)"),
        ({"visible": torch.zeros(2, 3)}, "visible is torch.float32"),
        ({"true": torch.full((2, 3, 2), torch.nan)}, "set visible to False"),
    ],
)
def test_what_does_not_fit_is_an_error(change: dict[str, Tensor], message: str) -> None:
    fitting = {"predicted": torch.zeros(2, 3, 2), "true": torch.zeros(2, 3, 2), "visible": torch.ones(2, 3).bool()}
    with pytest.raises(ValueError, match=message):
        track_page(black(2), **{**fitting, **change})
