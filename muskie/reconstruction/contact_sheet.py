"""A reconstruction on one page: pictures, depth, confidence, and the cloud with its cameras."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.reconstruction.cloud import Cloud, cloud
from muskie.reconstruction.coinciding import coinciding, counted, told
from muskie.reconstruction.coloured import SPAN, colour_bar, coloured
from muskie.reconstruction.confidence import EDGE, PERCENTILE
from muskie.reconstruction.frusta import EDGES, UP_MARK, frustum_corners, frustum_depth, upright, view_colours
from muskie.reconstruction.headings import headings, legible
from muskie.reconstruction.result import Reconstruction
from muskie.visualization.page import PAPER, Page
from muskie.visualization.point_cloud import Viewpoint, render
from muskie.visualization.sizes import shown_size
from muskie.visualization.viewpoints import from_above, from_behind

VIEWS = 8
"""Views that are shown, at most; of more, evenly chosen ones."""
POINTS = 300_000
"""Points of the cloud that are drawn, at most."""
WIDEST_CLOUD = 1300
"""Pixels of a picture of the cloud, across, at most."""


def contact_sheet(
    reconstruction: Reconstruction,
    views: int = VIEWS,
    title: str | None = None,
    percentile: float = PERCENTILE,
    edge: float = EDGE,
) -> Tensor:
    """Draws the page: up to `views` views with picture, depth and confidence, a column each; below, the cloud of all views
    from behind the cameras and from above.

    Over each picture is a bar in the colour of its camera. Depth and confidence have one range of colours for all views,
    between percentiles (`muskie.reconstruction.coloured`), so that a few values far off change no colour; points that the
    filters leave out are missing in the cloud alone.

    Args:
        reconstruction: of any number of views.
        views: columns, at most.
        title: above the page.
        percentile, edge: filters of the cloud, see `kept_pixels`.

    Returns:
        uint8 [3, height, width].
    """
    reconstruction = reconstruction.to("cpu")
    chosen = torch.linspace(0, len(reconstruction) - 1, min(max(views, 1), len(reconstruction))).round().long()
    valid = reconstruction.valid
    colours = view_colours(len(reconstruction))
    depth_bar, sure_bar = (colour_bar(v, valid) for v in (reconstruction.depth, reconstruction.confidence))
    rows = [
        reconstruction.images[chosen],
        coloured(reconstruction.depth[chosen], valid[chosen], depth_bar),
        coloured(reconstruction.confidence[chosen], valid[chosen], sure_bar),
    ]
    total = len(reconstruction)
    width = shown_size(*reconstruction.size, len(chosen))[1]
    above = Page(
        rows,
        ["picture", f"depth\nmodel's unit\n{SPAN}", f"confidence\nhigher is surer\n{SPAN}"],
        headings([reconstruction.names[view] for view in chosen.tolist()], width),
        legible(title or "") or f"{total} view{'s' if total > 1 else ''}",
        bars=[None, depth_bar, sure_bar],
        note="" if len(chosen) == total else f"{len(chosen)} of {total} views are shown, evenly chosen.",
    )
    top = _with_swatches(above, colours[chosen])
    lefts = above.layout.lefts
    below = _clouds(reconstruction, colours, lefts[-1] + above.shown[1] - lefts[0], percentile, edge)
    return _stacked((top, lefts[0]), (below.draw(), below.layout.lefts[0]))


def cloud_pictures(
    reconstruction: Reconstruction, points: Cloud, size: tuple[int, int], colours: Tensor | None = None
) -> Tensor:
    """The cloud with its cameras from behind them and from above, uint8 [2, 3, height, width]; where cameras hide each
    other, their number stands beside.

    Args:
        reconstruction: gives the cameras.
        points: see `cloud`.
        size: (height, width) of each picture.
        colours: of the cameras, uint8 [V, 3]; None: `view_colours`.
    """
    return torch.stack([picture for picture, _ in _drawn(reconstruction, points, size, colours)])


def _drawn(
    reconstruction: Reconstruction, points: Cloud, size: tuple[int, int], colours: Tensor | None
) -> list[tuple[Tensor, str]]:
    """The two pictures of `cloud_pictures`, and what is to be said of cameras that hide each other in them."""
    poses = reconstruction.cam2world.cpu().double()
    turn = upright(poses)
    depth = reconstruction.depth[reconstruction.valid]
    reach = frustum_depth(poses, float(depth.median()) if len(depth) else 1.0)
    corners = frustum_corners(reconstruction.intrinsics.cpu().double(), *reconstruction.size, reach)
    corners = corners @ poses[:, :3, :3].transpose(1, 2) + poses[:, None, :3, 3]  # [V, 6, 3]
    pairs = torch.tensor(EDGES + UP_MARK)
    lines = corners[:, pairs].flatten(0, 1)
    inks = (view_colours(len(poses)) if colours is None else colours).repeat_interleave(len(pairs), 0)

    def draw(viewpoint: Viewpoint) -> tuple[Tensor, str]:
        picture = render(points.points, points.colours, viewpoint, points.radii, points.normals, lines, inks)
        places = viewpoint.project(corners.flatten(0, 1))[0].unflatten(0, corners.shape[:2])
        groups = coinciding(places)
        return counted(picture, places, groups), told(groups)

    return [draw(make(points.points, poses, turn, size)) for make in (from_behind, from_above)]


def _clouds(reconstruction: Reconstruction, colours: Tensor, width: int, percentile: float, edge: float) -> Page:
    """The page of the cloud, whose pictures take about `width` together."""
    points = cloud(reconstruction, percentile, edge, POINTS)
    across = min(max((width - 6) // 2, 320), WIDEST_CLOUD)
    size = (round(0.72 * across), across)
    drawn = _drawn(reconstruction, points, size, colours)
    pictures = torch.stack([picture for picture, _ in drawn])

    def headed(*names: str) -> list[str]:
        return [f"{name}\n{more}" if more else name for name, (_, more) in zip(names, drawn, strict=True)]

    count = int(reconstruction.valid.sum())
    if not len(points):
        note = f"None of {count:,} points passes the filters." if count else "There is no point to draw."
        return Page([pictures], [""], headed("cameras from behind", "cameras from above"), note=note, size=size)
    left = f"{percentile:g} % of {count:,} points, the least sure ones, are left out" if percentile else f"{count:,} points"
    note = f"Surfaces that face away are not drawn: one looks through the near walls and the ceiling. {left}"
    note += f"; so are those on edges of depth (seen at less than {edge:g}°)." if edge else "."
    return Page([pictures], [""], headed("cloud from behind the cameras", "cloud from above"), note=note, size=size)


def _with_swatches(page: Page, colours: Tensor) -> Tensor:
    """The page with a bar in the colour of its camera along the upper edge of each view's picture."""
    drawn, layout = page.draw(), page.layout
    thick = max(4, page.shown[0] // 32)
    for left, colour in zip(layout.lefts, colours, strict=True):
        drawn[:, layout.tops[0] : layout.tops[0] + thick, left : left + page.shown[1]] = colour[:, None, None]
    return drawn


def _stacked(*pages: tuple[Tensor, int]) -> Tensor:
    """Pages below each other on one paper, each with the column at which its pictures begin: these stand in one line."""
    start = max(left for _, left in pages)
    width = max(start - left + page.shape[-1] for page, left in pages)
    paper = torch.tensor(PAPER, dtype=torch.uint8)[:, None, None]
    wide = [paper.expand(3, page.shape[1], width).clone() for page, _ in pages]
    for sheet, (page, left) in zip(wide, pages, strict=True):
        sheet[:, :, start - left : start - left + page.shape[-1]] = page
    return torch.cat(wide, 1)
