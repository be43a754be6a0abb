"""Tracks of query points over views: where each one is, and where it was predicted."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from muskie.visualization.lettering import Colour
from muskie.visualization.overlay import Pen, drawn_over
from muskie.visualization.page import PAPER, Page
from muskie.visualization.sizes import WIDEST, resized, shown_size

PREDICTED: Colour = (255, 45, 45)
TRUE: Colour = (40, 220, 90)
DARK: Colour = (15, 15, 15)
LIGHT: Colour = (255, 255, 255)
AT_LEAST = 256
"""Pixels of a picture's shorter side that points and numbers need; pages of many views have several rows for it."""
MARKS = 96
"""Queries that are drawn times views, about: of many views each shows fewer."""
NOTE = "Green rings: true. Red crosses: predicted. Numbers follow the queries of view 0. Errors in pixels of {} x {} images."


def track_page(
    images: Tensor,
    predicted: Tensor,
    true: Tensor,
    visible: Tensor,
    draw: int | None = None,
    title: str | None = None,
    source: str | None = None,
) -> Tensor:
    """View 0 with numbered queries; in the other views, where they are visible, the true positions (green rings), the
    predicted ones (red crosses) and a line between them. Below, the median error of all visible queries, drawn or not.

    Args:
        images: uint8 [V, 3, H, W].
        predicted: [V, Q, 2], (x, y) in pixels of the images, pixel centres at integer + 0.5. View 0's are not used. One that
            is not finite is infinitely wrong, and only its true position is drawn.
        true: [V, Q, 2], the same; those of view 0 are the queries.
        visible: bool [V, Q], where the true position is known and seen.
        draw: how many queries to draw at most, spread over view 0; None: 16 in four views, fewer in more, but 6.
        title: above the page.
        source: scene and frames, told in the note.

    Returns:
        uint8 [3, height, width].

    Raises:
        ValueError: shapes that do not fit each other.
    """
    _check(images, predicted, true, visible)
    predicted, true, visible = predicted.detach().cpu().double(), true.detach().cpu().double(), visible.cpu()
    views, queries = visible.shape
    candidates = visible[0] & visible[1:].any(0) if views > 1 else visible[0]
    chosen = spread(true[0], candidates, min(16, max(6, MARKS // views)) if draw is None else draw)
    across = per_row(images.shape[2], images.shape[3], views)
    drawn = _drawn_points(images, predicted[:, chosen], true[:, chosen], visible[:, chosen], across)
    captions = [f"{queries} queries\n{len(chosen)} drawn", *_errors(predicted, true, visible)[1:]]
    names, note = [f"view {view}" for view in range(views)], NOTE.format(images.shape[3], images.shape[2])
    note = f"{note} {source}" if source else note
    size = (drawn.shape[-2], drawn.shape[-1])
    if across == views:
        return Page([drawn], [""], names, title, captions=[captions], note=note, size=size).draw()
    captions = [f"{name}: {caption}" for name, caption in zip(names, captions, strict=True)]
    empty = -views % across  # the rest of the last row is paper
    paper = torch.tensor(PAPER, dtype=torch.uint8)[:, None, None].expand(empty, 3, *size)
    rows = torch.cat([drawn, paper]).split(across)
    told = [[*captions, *[""] * empty][n : n + across] for n in range(0, views, across)]
    return Page(rows, [""] * len(rows), None, title, captions=told, note=note, size=size).draw()


def per_row(height: int, width: int, views: int) -> int:
    """How many of these pictures stand side by side: as many as a page holds at the size that points need, at most 8, and
    about as many in each row."""
    most = min(max(WIDEST * min(height, width) // (AT_LEAST * width), 1), 8)
    return -(-views // -(-views // most))


def median_errors(predicted: Tensor, true: Tensor, visible: Tensor) -> Tensor:
    """The median distance in pixels, [V], between positions [V, Q, 2] over the visible queries, bool [V, Q], of each view.

    A prediction that is not finite is infinitely wrong. NaN where no query is visible.
    """
    distance = (predicted - true).norm(dim=-1).nan_to_num(torch.inf)
    ordered = distance.masked_fill(~visible, torch.inf).sort(dim=-1).values  # the visible ones first
    count = visible.sum(-1, keepdim=True)
    middle = [ordered.gather(-1, place.clamp(min=0)) for place in ((count - 1) // 2, count // 2)]
    return torch.where(count > 0, (middle[0] + middle[1]) / 2, torch.nan).squeeze(-1)


def spread(points: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Numbers int64 [<= count] of points [Q, 2] that lie far from each other, of those `allowed` by bool [Q].

    Farthest-point sampling (Gonzalez, 1985): each next one is the farthest from all before; the first lies nearest to the
    mean. The numbers come in the order of reading, from the top down.
    """
    candidates = allowed.nonzero().squeeze(1)
    if count < 1 or not len(candidates):
        return candidates[:0]
    places = points[candidates]
    picked = [(places - places.mean(0)).norm(dim=-1).argmin()]
    distance = (places - places[picked[0]]).norm(dim=-1)
    for _ in range(min(count, len(candidates)) - 1):
        picked.append(distance.argmax())
        distance = torch.minimum(distance, (places - places[picked[-1]]).norm(dim=-1))
    numbers = candidates[torch.stack(picked).unique()]
    return numbers[points[numbers, 1].argsort(stable=True)]


def _check(images: Tensor, predicted: Tensor, true: Tensor, visible: Tensor) -> None:
    if visible.ndim != 2 or visible.dtype != torch.bool or len(visible) != len(images) or not visible.shape[1]:
        raise ValueError(f"visible is {visible.dtype} {tuple(visible.shape)}; expected torch.bool [{len(images)}, Q], Q > 0")
    for name, points in (("predicted", predicted), ("true", true)):
        if tuple(points.shape) != (*visible.shape, 2):
            raise ValueError(f"{name} has shape {tuple(points.shape)}; expected {(*visible.shape, 2)}, (x, y) of [V, Q]")
    if not true[visible].isfinite().all():
        raise ValueError("true positions of visible queries are infinite or no number; set visible to False there")


def _drawn_points(images: Tensor, predicted: Tensor, true: Tensor, visible: Tensor, across: int) -> Tensor:
    """The images at their size on a page with so many across, uint8 [V, 3, height, width], with points [V, n, 2] drawn over
    them."""
    high, wide = images.shape[-2:]
    size = shown_size(high, wide, across, AT_LEAST)
    letter = min(max(13, min(size) // 16), 20)
    known = visible & predicted.isfinite().all(-1)
    # Far outside, a line is only as long as it takes to leave the picture: Pillow counts no further than 32 bits.
    away = predicted - true
    away = away * (4 * (high + wide) / away.norm(dim=-1, keepdim=True)).clamp(max=1)
    starts, ends = true.tolist(), (true + away).tolist()

    def ink(pen: Pen, view: int) -> None:
        seen = visible[view].nonzero().flatten().tolist()
        guessed = known[view].nonzero().flatten().tolist() if view else []
        for n in guessed:
            pen.line(starts[view][n], ends[view][n], DARK, 3)
            pen.line(starts[view][n], ends[view][n], LIGHT, 1.5)
        for n in seen:
            pen.ring(starts[view][n], 0.45 * letter + 1, DARK, 4)
            pen.ring(starts[view][n], 0.45 * letter, TRUE, 2)
        for n in guessed:
            pen.cross(ends[view][n], 0.38 * letter + 1, LIGHT, 3.5)
            pen.cross(ends[view][n], 0.38 * letter, PREDICTED, 2)
        for n in seen:
            pen.text_beside(starts[view][n], str(n + 1), letter, LIGHT, DARK)

    pictures = enumerate(resized(images.cpu(), size))
    return torch.stack([drawn_over(picture, (high, wide), partial(ink, view=view)) for view, picture in pictures])


def _errors(predicted: Tensor, true: Tensor, visible: Tensor) -> list[str]:
    """What is written below each view: its median error, and how many queries are visible."""
    told = []
    for error, seen in zip(median_errors(predicted, true, visible).tolist(), visible.sum(1).tolist(), strict=True):
        told.append(f"median error {error:.1f} px" if seen else "no query seen")
        told[-1] += f"\n{seen} of {visible.shape[1]} visible"
    return told
