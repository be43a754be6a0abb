"""Colours for values: a perceptually uniform map, and the bar that says which colour is which value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Control points of viridis (van der Walt and Smith, 2015, CC0) at even steps from 0 to 1; what is linear between them is
# within 6 of 255 of the map.
VIRIDIS = (
    (68, 1, 84),
    (72, 24, 106),
    (71, 45, 123),
    (66, 64, 134),
    (59, 82, 139),
    (51, 99, 141),
    (44, 114, 142),
    (38, 129, 142),
    (33, 144, 140),
    (31, 159, 136),
    (40, 174, 128),
    (62, 188, 116),
    (93, 201, 99),
    (130, 211, 76),
    (171, 220, 50),
    (213, 226, 26),
    (253, 231, 37),
)
NOT_A_NUMBER = (1.0, 0.0, 1.0)  # magenta, which viridis does not hold


def viridis(values: Tensor) -> Tensor:
    """Colours float32 [..., 3, H, W] in [0, 1] of values [..., H, W]; dark blue 0, green .5, yellow 1.

    Lightness grows evenly with the value. Between control points it is linear. Values outside [0, 1] take the
    colour of the nearer end, those that are no number magenta.
    """
    table = torch.tensor(VIRIDIS, dtype=torch.float32, device=values.device) / 255  # [17, 3]
    place = values.float().nan_to_num().clamp(0, 1) * (len(VIRIDIS) - 1)
    below = place.floor().clamp(max=len(VIRIDIS) - 2).long()
    colours = torch.lerp(table[below], table[below + 1], (place - below)[..., None])
    colours = torch.where(values.isnan()[..., None], colours.new_tensor(NOT_A_NUMBER), colours)
    return colours.movedim(-1, -3)


@dataclass(frozen=True)
class ColourBar:
    """What the two ends of `viridis` stand for in a row of pictures.

    Attributes:
        low, high: the values; values beyond them take the colour of that end.
        unit: printed behind the higher number, e.g. `" %"`.
    """

    low: float
    high: float
    unit: str = ""

    def colours(self, values: Tensor) -> Tensor:
        """Colours [..., 3, H, W] in [0, 1] of values [..., H, W]; if the bar has no extent, all take the middle one."""
        extent = self.high - self.low
        return viridis((values - self.low) / extent if extent > 0 else values * 0 + 0.5)

    def ends(self) -> tuple[str, str]:
        """Both numbers as printed, with three digits of what lies between them, so far as five decimals go."""
        extent = self.high - self.low
        decimals = min(max(2 - math.floor(math.log10(extent)), 0), 5) if extent > 0 else 3
        return f"{self.low:.{decimals}f}" if self.low else "0", f"{self.high:.{decimals}f}{self.unit}"


def to_bytes(colours: Tensor) -> Tensor:
    """Colours in [0, 1], [..., 3, H, W], as uint8; a pixel with a channel that is no number becomes magenta."""
    lost = colours.isnan().any(-3, keepdim=True)
    magenta = colours.new_tensor(NOT_A_NUMBER)[:, None, None]
    return (torch.where(lost, magenta, colours).clamp(0, 1) * 255).round().to(torch.uint8)
