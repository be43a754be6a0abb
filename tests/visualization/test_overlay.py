"""What is drawn over pictures lies where it should, and leaves the rest alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from muskie.visualization.overlay import Pen, drawn_over

WHITE, RED = (255, 255, 255), (255, 0, 0)


def ink(draw: Callable[[Pen], None], size: tuple[int, int] = (40, 60), image: tuple[int, int] | None = None) -> Tensor:
    """What is drawn on black, float [height, width] in [0, 1]; positions in pixels of an image of size `image`."""
    picture = torch.zeros((3, *size), dtype=torch.uint8)
    return drawn_over(picture, image or size, draw).amax(0).double() / 255


def centre(values: Tensor) -> tuple[float, float]:
    """The centre (x, y) of what is drawn, with pixel centres at integer + 0.5."""
    y, x = (torch.arange(side) + 0.5 for side in values.shape)
    return float((values.sum(0) @ x.double()) / values.sum()), float((values.sum(1) @ y.double()) / values.sum())


@pytest.mark.parametrize("where", [(20.0, 10.0), (20.5, 10.5), (31.25, 22.75), (8.1, 30.9)])
def test_centres(where: tuple[float, float]) -> None:
    for drawing in (
        ink(lambda pen: pen.disc(where, 4, WHITE)),
        ink(lambda pen: pen.ring(where, 5, WHITE, 2)),
        ink(lambda pen: pen.cross(where, 5, WHITE, 2)),
    ):
        assert centre(drawing) == pytest.approx(where, abs=0.13), "the canvas is four times finer"


def test_positions_are_those_of_the_image_before_it_was_resized() -> None:
    drawing = ink(lambda pen: pen.disc((3.5, 2.5), 3, WHITE), size=(40, 60), image=(10, 12))
    assert centre(drawing) == pytest.approx((3.5 * 5, 2.5 * 4), abs=0.13)


def test_sizes_are_those_of_the_page() -> None:
    disc = ink(lambda pen: pen.disc((6.0, 5.0), 8, WHITE), image=(10, 12))
    assert float(disc.sum()) == pytest.approx(torch.pi * 8**2, rel=0.03)
    ring = ink(lambda pen: pen.ring((30.0, 20.0), 10, WHITE, 2))
    assert float(ring.sum()) == pytest.approx(torch.pi * (10**2 - 8**2), rel=0.06)
    line = ink(lambda pen: pen.line((10.0, 20.0), (50.0, 20.0), WHITE, 3))
    assert 39.75 * 2.75 <= float(line.sum()) <= 40.26 * 3.26, "to a quarter of a pixel in length and width"
    assert centre(line) == pytest.approx((30, 20), abs=0.13)


def test_edges_are_antialiased_and_the_rest_keeps_its_values(noise: Callable[..., Tensor]) -> None:
    picture = noise(3, 40, 60)
    after = drawn_over(picture, (40, 60), lambda pen: pen.disc((30.0, 20.0), 8, RED))
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    distance = ((x - 30) ** 2 + (y - 20) ** 2).sqrt()
    assert torch.equal(after[:, distance > 9], picture[:, distance > 9])
    assert (after[0, distance < 7] == 255).all() and (after[1:, distance < 7] == 0).all()
    disc = ink(lambda pen: pen.disc((30.0, 20.0), 8, WHITE))
    assert ((disc > 0.2) & (disc < 0.8)).sum() > 20
    assert torch.equal(drawn_over(picture, (40, 60), lambda pen: None), picture)


def test_a_frame_lies_around_a_patch() -> None:
    drawing = ink(lambda pen: pen.frame((2, 1), (3, 2), WHITE, 2), size=(40, 60), image=(4, 6))
    assert (drawing[10:20, 20:30] == 0).all(), "the patch itself stays free"
    frame = drawing.clone()
    frame[10:20, 20:30] = 1
    assert (frame[8:22, 18:32] == 1).all() and float(frame.sum()) == 14 * 14


@pytest.mark.parametrize("where", [(2, 2), (58, 2), (2, 38), (58, 38)])
def test_a_number_is_never_cut_off(where: tuple[int, int]) -> None:
    def draw(pen: Pen, place: tuple[int, int]) -> None:
        pen.text_beside(place, "12", 12, WHITE, WHITE)

    whole = ink(lambda pen: draw(pen, (30, 20)))
    beside = ink(lambda pen: draw(pen, where))
    assert float(beside.sum()) == pytest.approx(float(whole.sum()), rel=0.02)
    x, y = centre(beside)
    assert abs(x - where[0]) < 16 and abs(y - where[1]) < 12
