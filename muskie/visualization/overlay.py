"""Points, lines and numbers over pictures: drawn after a picture has its size on the page, sharp and antialiased."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw
from torch import Tensor

from muskie.visualization.lettering import Colour, font
from muskie.visualization.sizes import to_tensor

FINE = 4
"""How many times finer the canvas is than the picture: positions are exact to an eighth of a pixel, widths to a quarter."""

Point = Sequence[float]
"""Position (x, y)."""


@dataclass(frozen=True)
class Pen:
    """Draws over one picture. Positions (x, y) are in its own pixels before it was resized, the centre of the first at
    (0.5, 0.5); widths and radii are in pixels of the page.

    Attributes:
        draw: Pillow's, on the fine canvas.
        scale_x, scale_y: pixels of the fine canvas in one pixel of the picture.
    """

    draw: ImageDraw.ImageDraw
    scale_x: float
    scale_y: float

    def _at(self, point: Point) -> tuple[int, int]:
        """The pixel of the fine canvas that a position lies in."""
        return math.floor(point[0] * self.scale_x), math.floor(point[1] * self.scale_y)

    def _around(self, centre: Point, radius: float) -> tuple[int, int, int, int]:
        x, y = self._at(centre)
        reach = round(radius * FINE - 0.5)
        return x - reach, y - reach, x + reach, y + reach

    def _stroke(self, start: tuple[int, int], end: tuple[int, int], colour: Colour, width: float) -> None:
        odd = 2 * int(width * FINE / 2) + 1  # Pillow draws lines of even width beside their own middle
        self.draw.line([start, end], fill=colour, width=odd)

    def line(self, start: Point, end: Point, colour: Colour, width: float) -> None:
        """A straight line."""
        self._stroke(self._at(start), self._at(end), colour, width)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.draw.ellipse(self._around(centre, radius), fill=colour)

    def ring(self, centre: Point, radius: float, colour: Colour, width: float) -> None:
        """A circle whose line has its outer edge at `radius`."""
        self.draw.ellipse(self._around(centre, radius), outline=colour, width=max(1, round(width * FINE)))

    def cross(self, centre: Point, radius: float, colour: Colour, width: float) -> None:
        """Two diagonal strokes, each 2 x `radius` long."""
        x, y = self._at(centre)
        arm = round(radius * FINE / 2**0.5)
        for sign in (-1, 1):
            self._stroke((x - arm, y - sign * arm), (x + arm, y + sign * arm), colour, width)

    def frame(self, corner: Point, opposite: Point, colour: Colour, width: float) -> None:
        """A rectangle whose line lies outside these two corners (left top, right bottom)."""
        (left, top), (right, bottom) = self._at(corner), self._at(opposite)
        line = max(1, round(width * FINE))
        self.draw.rectangle((left - line, top - line, right + line - 1, bottom + line - 1), outline=colour, width=line)

    def text_beside(self, point: Point, text: str, size: int, colour: Colour, halo: Colour) -> None:
        """Text right above a point, with a halo that keeps it legible on any picture; turned inwards near an edge."""
        x, y = map(float, self._at(point))
        width = self.draw.im.size[0]
        stroke = round(0.14 * size * FINE)
        half = font(size * FINE).getlength(text) / 2 + stroke
        right, above = half + 0.3 * size * FINE, 0.75 * size * FINE
        x += right if x + right + half < width else -right
        y += -above if y - above - size * FINE / 2 > 0 else above
        self.draw.text((x, y), text, fill=colour, font=font(size * FINE), anchor="mm", stroke_width=stroke, stroke_fill=halo)


def drawn_over(picture: Tensor, size: tuple[int, int], draw: Callable[[Pen], None]) -> Tensor:
    """A picture with something drawn over it; what is not drawn on keeps its exact values.

    Args:
        picture: uint8 [3, height, width], at its size on the page.
        size: (H, W) of the image that it shows, the unit of the pen's positions.
        draw: called once with the pen. What lies outside of the picture is cut off.
    """
    height, width = picture.shape[-2:]
    fine = picture.repeat_interleave(FINE, 1).repeat_interleave(FINE, 2)
    canvas = Image.fromarray(fine.permute(1, 2, 0).contiguous().numpy())
    draw(Pen(ImageDraw.Draw(canvas), width * FINE / size[1], height * FINE / size[0]))
    return to_tensor(canvas.reduce(FINE))
