"""Where one patch looks: its attention over the patches of all views."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.visualization.colours import ColourBar, to_bytes
from muskie.visualization.lettering import Colour
from muskie.visualization.overlay import Pen, drawn_over
from muskie.visualization.page import Page
from muskie.visualization.sizes import enlarge, resized, shown_size

OUTLINE: Colour = (255, 70, 70)
LIGHT: Colour = (255, 255, 255)
EDGES, PALE = 0.1, 0.3
"""Share of a picture's pixels, those with the steepest edges, that are drawn into its heat map, and how much white they
take. All others have the colour of the bar."""
NOTE = (
    "Red square: the query's patch. Colours: weight of a patch, the same scale for all views of a row; the pale lines are "
    "edges of the picture. Below each view: its share of the whole weight."
)


def attention_page(
    images: Tensor, weights: Tensor | Mapping[str, Tensor], query: tuple[int, int], title: str | None = None
) -> Tensor:
    """The images, and below them a row of heat maps for each layer or model.

    All views of a row share one colour scale, linear from 0 to the greatest weight, which its bar tells in per cent. Every
    patch is one even square, as it is, but for pale lines where the picture has its edges. The sum of each view is below it;
    what registers and other tokens took is beside.

    Args:
        images: uint8 [V, 3, H, W].
        weights: attention of the query over the patches, [V, h, w], at least 0, with a sum of 1 over all views, or less
            where other tokens took the rest; by name for several rows.
        query: (row, column) of its patch in view 0.
        title: above the page.

    Returns:
        uint8 [3, height, width].
    """
    named = {"attention": weights} if isinstance(weights, Tensor) else dict(weights)
    views, _, high, wide = images.shape
    size = shown_size(high, wide, views)
    grids = {name: _checked(name, row, images, query) for name, row in named.items()}
    edges = PALE * steepest(images.cpu())[:, None]  # [V, 1, H, W]
    rows, labels = [_outlined(images, query, next(iter(grids.values())), size)], ["original"]
    captions: list[list[str] | None] = [None]
    bars: list[ColourBar | None] = [None]
    for name, row in named.items():
        row = row.detach().cpu().double()
        bar = ColourBar(0, 100 * float(row.max()), " %")
        colours = bar.colours(100 * enlarge(row, (high, wide)))  # [V, 3, H, W]
        mixed = to_bytes((1 - edges) * colours + edges)
        rows.append(_outlined(mixed, query, grids[name], size))
        shares = row.flatten(1).sum(1)
        rest = 1 - float(shares.sum())
        labels.append(f"{name}\n{100 * rest:.1f} % on registers" if rest > 5e-4 else name)
        captions.append([f"{100 * share:.1f} %" for share in shares.tolist()])
        bars.append(bar)
    columns = [f"view {view}" for view in range(views)]
    return Page(rows, labels, columns, title, captions=captions, bars=bars, note=NOTE, size=size).draw()


def steepest(images: Tensor, share: float = EDGES) -> Tensor:
    """Where pictures uint8 [V, 3, H, W] have their steepest edges, bool [V, H, W]: a share of all pixels, fewer where more
    are even."""
    grey = F.pad(images.float().mean(1), (2, 2, 2, 2), mode="replicate")
    smooth = F.avg_pool2d(grey, 3, stride=1)  # [V, H + 2, W + 2]
    down, across = (smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1]), (smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2])
    slope = down.square() + across.square()
    least = slope.flatten(1).kthvalue(max(round((1 - share) * slope[0].numel()), 1)).values[:, None, None]
    return (slope > 1.001 * least) & (slope > 1)  # clearly: equal slopes are rounded differently


def _checked(name: str, weights: Tensor, images: Tensor, query: tuple[int, int]) -> tuple[int, int]:
    """The patch grid (h, w)."""
    high, wide = images.shape[-2:]
    if weights.ndim != 3 or len(weights) != len(images) or high % weights.shape[1] or wide % weights.shape[2]:
        raise ValueError(
            f"weights of {name!r} have shape {tuple(weights.shape)}; expected [{len(images)}, h, w] with h and w that "
            f"divide images of {high}x{wide} pixels into patches"
        )
    if not (weights.isfinite().all() and weights.min() >= 0 and weights.sum() <= 1.01):
        raise ValueError(
            f"weights of {name!r} range from {float(weights.min()):.3g} to {float(weights.max()):.3g} with a sum of "
            f"{float(weights.sum()):.3g}; expected one query's attention: at least 0, with a sum of at most 1"
        )
    h, w = weights.shape[1:]
    if not (0 <= query[0] < h and 0 <= query[1] < w):
        raise ValueError(f"query={query}: expected (row, column) of a patch, row 0 to {h - 1}, column 0 to {w - 1}")
    return h, w


def _outlined(pictures: Tensor, query: tuple[int, int], grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The pictures at their size on the page, with the query's patch outlined in view 0."""
    row, column = query

    def ink(pen: Pen) -> None:
        pen.frame((column, row), (column + 1, row + 1), LIGHT, 3)
        pen.frame((column, row), (column + 1, row + 1), OUTLINE, 2)

    shown = resized(pictures.cpu(), size)
    return torch.cat([drawn_over(shown[0], grid, ink)[None], shown[1:]])
