"""Cameras that hide each other in a picture of the cloud: found by where their frusta are drawn, and counted beside them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from muskie.visualization.lettering import INK, font, length
from muskie.visualization.overlay import FINE, Pen, drawn_over
from muskie.visualization.page import LEAST

SAME = 3.0
"""Pixels: frusta all of whose corners lie so near to each other are drawn as one, lines and borders being as wide."""
MOST = 6
"""Numbers in a picture, at most: along a dense path, as of a video, more would cover what they count."""


def coinciding(corners: Tensor) -> list[list[int]]:
    """Cameras whose frusta are drawn as one, a list each with the first of them at its beginning; all cameras are in one.

    None is farther than `SAME` from the first of its group, so that a path of many small steps is not one group.

    Args:
        corners: [V, K, 2], where the corners of the frusta lie in the picture, in pixels.
    """
    left, groups = torch.arange(len(corners)), []
    while len(left):
        apart = (corners[left] - corners[left[0]]).norm(dim=-1).amax(-1)
        with_first = apart <= SAME
        with_first[0] = True  # one that is no number coincides with none
        groups.append(left[with_first].tolist())
        left = left[~with_first]
    return groups


def told(groups: Sequence[Sequence[int]]) -> str:
    """What a heading says of cameras that hide each other: what the numbers beside the frusta are, or, where these would be
    too many, how many cameras are not seen; "" where all are."""
    cameras, several = sum(map(len, groups)), sum(len(group) > 1 for group in groups)
    if several > MOST:
        return f"{cameras} cameras, {cameras - len(groups)} of them behind others"
    return "2x, 3x, ...: so many cameras coincide" if several else ""


def counted(picture: Tensor, corners: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """A picture uint8 [3, height, width] of the cloud with `2x`, `3x`, ... beside each frustum that so many cameras have,
    where there are no more than `MOST` of them.

    Args:
        picture: see there.
        corners, groups: see `coinciding`.
    """
    several = [group for group in groups if len(group) > 1]
    if not 0 < len(several) <= MOST:
        return picture
    height, width = picture.shape[-2:]
    letter = max(LEAST, round(width / 40))  # as large as the heading over one of two pictures
    taken = corners.double()[[group[0] for group in groups]]
    places: list[tuple[float, float, str]] = []
    for number, group in enumerate(groups):
        if len(group) > 1:
            text = f"{len(group)}x"
            others = torch.cat([taken[:number], taken[number + 1 :]]).flatten(0, 1)
            others = others[others.isfinite().all(-1)]
            place = _free_place(taken[number], others, (length(text, letter), letter), (height, width))
            places.append((*place, text))
            taken = torch.cat([taken, taken.new_tensor(place).expand(1, *taken.shape[1:])])  # no text over another

    def draw(pen: Pen) -> None:
        large = font(letter * FINE)
        for x, y, text in places:
            at = (x * FINE, y * FINE)
            pen.draw.text(at, text, INK, large, "mm", stroke_width=letter * FINE // 7, stroke_fill=(255, 255, 255))

    return drawn_over(picture, (height, width), draw)


def _free_place(own: Tensor, others: Tensor, text: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """The middle (x, y) of a text beside a frustum: of right, left, above and below the one that is farthest from all
    others, so that nobody takes it for theirs.

    Args:
        own, others: [K, 2] and [N, 2], corners in pixels.
        text: its width and height.
        size: (height, width) of the picture, in which it stays.
    """
    low, high = own.amin(0), own.amax(0)
    middle, reach = (low + high) / 2, (high - low) / 2 + own.new_tensor(text) / 2 + SAME
    sides = middle + reach * own.new_tensor([[1, 0], [-1, 0], [0, -1], [0, 1]])
    edge = own.new_tensor(text) / 2
    inside = sides.clamp(edge, own.new_tensor(size[::-1]) - edge)
    clear = torch.cdist(inside, others).amin(1) if len(others) else inside.new_zeros(4)
    best = inside[int((clear - 1e6 * (inside != sides).any(1)).argmax())]
    return float(best[0]), float(best[1])
