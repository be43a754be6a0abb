"""Cameras that are drawn over each other are counted, where somebody sees of which frustum it is said."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muskie.reconstruction.coinciding import MOST, SAME, coinciding, counted, told

FRUSTUM = torch.tensor([[0.0, 0.0], [20.0, 0.0], [20.0, 15.0], [0.0, 15.0]])


def at(*places: tuple[float, float]) -> Tensor:
    """Frusta [V, 4, 2] whose first corners lie at these places."""
    return FRUSTUM + torch.tensor(places)[:, None]


def test_all_corners_must_be_near() -> None:
    corners = at((10, 10), (50, 50), (10 + 0.9 * SAME, 10), (50, 50 + 1.1 * SAME), (10, 10))
    assert coinciding(corners) == [[0, 2, 4], [1], [3]]
    turned = corners[:2].clone()
    turned[1] = turned[0]
    turned[1, 2] += 1.1 * SAME  # at one place, and looks elsewhere
    assert coinciding(turned) == [[0], [1]]


def test_a_path_of_small_steps_is_not_one_group() -> None:
    groups = coinciding(at(*((0.4 * SAME * step, 0.0) for step in range(30))))
    assert [len(group) for group in groups] == [3] * 10 and sorted(camera for group in groups for camera in group) == list(
        range(30)
    )


def test_cameras_that_are_no_numbers_are_alone() -> None:
    corners = at((1, 1), (1, 1), (1, 1))
    corners[1] = torch.nan
    assert coinciding(corners) == [[0, 2], [1]]
    assert coinciding(corners[:0]) == []


def changed(picture: Tensor) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) of what is no longer grey."""
    rows, columns = (picture != 128).any(0).nonzero(as_tuple=True)
    return columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1


@pytest.mark.parametrize(
    ("place", "others", "side"),
    [
        ((90, 60), [(60, 60), (90, 90), (90, 30)], "right"),
        ((90, 60), [(120, 60), (90, 90), (90, 30)], "left"),
        ((90, 60), [(120, 60), (60, 60), (90, 90)], "above"),
        ((90, 60), [(120, 60), (60, 60), (90, 30)], "below"),
        ((179, 60), [(140, 20)], "below"),  # at the right edge of the picture
        ((90, 105), [(60, 90), (120, 90)], "above"),  # at the lower one
    ],
)
def test_the_number_stands_where_no_other_frustum_is(
    place: tuple[float, float], others: list[tuple[float, float]], side: str
) -> None:
    blank = torch.full((3, 120, 200), 128, dtype=torch.uint8)
    corners = at(place, *others, place, place)
    picture = counted(blank, corners, coinciding(corners))
    left, top, right, bottom = changed(picture)
    x, y = place
    beyond = {"right": left >= x + 20, "left": right <= x, "above": bottom <= y, "below": top >= y + 15}
    assert beyond[side] and left >= 0 and right <= 200 and 8 < bottom - top < 30


def test_nothing_is_written_where_all_are_seen() -> None:
    blank = torch.full((3, 120, 200), 128, dtype=torch.uint8)
    corners = at((10, 10), (60, 60))
    assert torch.equal(counted(blank, corners, coinciding(corners)), blank)
    assert told(coinciding(corners)) == ""


@pytest.mark.parametrize("several", [1, MOST, MOST + 1])
def test_along_a_dense_path_the_heading_counts(several: int) -> None:
    """Pairs and one alone; numbers all over the path would cover it."""
    blank = torch.full((3, 120, 400), 128, dtype=torch.uint8)
    corners = at(*((50.0 * pair, 60.0) for pair in range(several) for _ in range(2)), (5, 5))
    groups = coinciding(corners)
    few = several <= MOST
    assert torch.equal(counted(blank, corners, groups), blank) != few
    expected = "2x, 3x, ...: so many cameras coincide" if few else "15 cameras, 7 of them behind others"
    assert told(groups) == expected
