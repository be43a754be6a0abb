"""The mask shapes of Muskie (arXiv 2511.18115): random, rectangle, ellipse, blob, random_walk.

Each draws all N masks at once and hides as many patches as it is asked to. The published code clamps a rectangle or an
ellipse that is larger than the grid and lets the lost area go, so that .75 asked for is .54-.67 got;
`request.published` brings that back, to compare runs with the published recipe.
"""

from __future__ import annotations

import math

import numpy as np

from muskie.masking.registry import BoolArray, FloatArray, IntArray, ShapeRequest, hide_lowest, mask_shape

# Width over height, both of rectangles and ellipses, is log-uniform in this range.
ASPECT = (0.3, 3.0)
BLOB_WINDOW = 10


@mask_shape("random")
def random_patches(request: ShapeRequest) -> BoolArray:
    """Patches at random, or whole blocks of `block x block` patches at random; exactly `target` patches `[N, h, w]`.

    Blocks lie on a fixed raster from the top left corner; those at the right and bottom end with the grid. The last
    block is hidden in part, at random, where whole ones do not make up the target.
    """
    h, w = request.grid
    order = request.uniform(h, w)
    if (k := request.block) > 1:
        rows, columns = math.ceil(h / k), math.ceil(w / k)
        # The turn of each block; the noise below 1 only decides within a block.
        turn = request.uniform(rows * columns).argsort(axis=1).reshape(-1, rows, columns)
        order += turn.repeat(k, axis=1).repeat(k, axis=2)[:, :h, :w]
    return hide_lowest(order, request.target)


@mask_shape("rectangle", even=False)
def rectangle(request: ShapeRequest) -> BoolArray:
    """A filled rectangle of random proportions, anywhere in the grid `[N, h, w]`.

    The proportions are log-uniform in `ASPECT`, as far as a rectangle of the target area fits. The area is within one
    row or column of the target, and on average equal to it (unless that leaves no patch visible).
    """
    h, w = request.grid
    height, width = _published_sides(request) if request.published else _rectangle_sides(request)
    top, left = request.integers(h - height + 1), request.integers(w - width + 1)
    rows, columns = _interval(top, height, h), _interval(left, width, w)
    return rows[:, :, None] & columns[:, None, :]


def _rectangle_sides(request: ShapeRequest) -> tuple[IntArray, IntArray]:
    """Height and width `[N]` of rectangles that fit the grid and have the target area."""
    (h, w), target = request.grid, request.target
    aspect = _fitting_aspect(request)
    # One side follows the aspect ratio, rounded, and the other one makes up the area. Which is which is left to chance,
    # as the second has fewer choices.
    upright = request.uniform() < 0.5
    limit, other_limit = np.where(upright, h, w), np.where(upright, w, h)
    side = np.rint(np.sqrt(target / np.where(upright, aspect, 1 / aspect))).astype(np.int64)
    side = np.clip(side, -(-target // other_limit), np.minimum(limit, target))
    # Rounded up as often as makes the mean area the target.
    other = (target + request.integers(side)) // side
    if h * w > 1:
        other -= side * other == h * w  # something stays visible
    return np.where(upright, side, other), np.where(upright, other, side)


def _published_sides(request: ShapeRequest) -> tuple[IntArray, IntArray]:
    """Height and width `[N]` by the published arithmetic: clamped to the grid, the area beyond it lost."""
    h, w = request.grid
    aspect = _aspect(request)
    height = np.maximum(1, np.rint(np.sqrt(request.target / aspect))).astype(np.int64)
    width = np.maximum(1, np.rint(aspect * height)).astype(np.int64)
    return np.minimum(height, h), np.minimum(width, w)


@mask_shape("ellipse")
def ellipse(request: ShapeRequest) -> BoolArray:
    """The `target` patches nearest to a random centre, by a distance whose circles are ellipses `[N, h, w]`.

    The count is exact for every ratio: where the ellipse meets the border of the grid it is cut, and its radii are
    larger for it. The proportions are log-uniform in `ASPECT`, as far as a rectangle of the target area fits; beyond
    that a cut ellipse is a straight band. The centre is uniform over the places at which the ellipse stays whole, and
    at least over the middle half of each side: the largest whole ellipse covers pi/4 of the grid, so that one of .75
    has a single place, which would show the same four corners of every view.
    """
    if request.published:
        return _published_ellipse(request)
    aspect, radius = np.sqrt(_fitting_aspect(request)), math.sqrt(request.target / math.pi)
    across = [
        _offsets(request, size, radii) / radii[:, None]
        for size, radii in zip(request.grid, (radius / aspect, radius * aspect), strict=True)
    ]
    return hide_lowest(across[0][:, :, None] ** 2 + across[1][:, None, :] ** 2, request.target)


def _offsets(request: ShapeRequest, size: int, radii: FloatArray) -> FloatArray:
    """Distance of the `size` patch centres of a side from a random centre, in patches, `[N, size]`."""
    margin = np.minimum(radii, size / 4)
    centre = margin + request.uniform() * (size - 2 * margin)
    return np.arange(size) + 0.5 - centre[:, None]


def _published_ellipse(request: ShapeRequest) -> BoolArray:
    """Ellipses `[N, h, w]` by the published arithmetic: radii clamped to half the grid, the area beyond it lost."""
    aspect, radius = np.sqrt(_aspect(request)), math.sqrt(request.target / math.pi)
    squares = []
    for size, radii in zip(request.grid, (radius / aspect, radius * aspect), strict=True):
        r = np.minimum(np.maximum(1, np.rint(radii)).astype(np.int64), size // 2)
        room = size - 2 * r
        centre = np.where(room > 0, r + request.integers(np.maximum(room, 1)), size // 2)
        squares.append((np.arange(size) - centre[:, None]) ** 2 / (r[:, None] ** 2 + 1e-6))
    return squares[0][:, :, None] + squares[1][:, None, :] <= 1


@mask_shape("blob")
def blob(request: ShapeRequest) -> BoolArray:
    """The `target` highest patches of smoothed noise: a few islands of irregular outline, exact in count `[N, h, w]`.

    The noise is normal and summed over a square window around each patch, zeros beyond the border, as published.
    """
    h, w = request.grid
    window = min(BLOB_WINDOW, h, w)
    window += 1 - window % 2  # odd, so that it has a middle
    return hide_lowest(-_window_sums(request.normal(h, w), window), request.target)


def _window_sums(values: FloatArray, window: int) -> FloatArray:
    """Sum over the square of odd side `window` around each patch, zeros beyond the border, `[N, h, w]`."""
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (window // 2 + 1, window // 2)
        total = np.pad(values, pad).cumsum(axis=axis)
        size = values.shape[axis]
        values = total.take(range(window, window + size), axis) - total.take(range(size), axis)
    return values


@mask_shape("random_walk")
def random_walk(request: ShapeRequest) -> BoolArray:
    """A flood from a random patch to its four neighbours, theirs and so on: connected, exact in count `[N, h, w]`.

    As published, and despite the name, no walk: breadth first, patches fill ring by ring of equal distance, only the
    last ring is cut at random. On a whole grid that is an order by city-block distance, and any part of a ring touches
    the ring before it; so no queue is needed.
    """
    h, w = request.grid
    y, x = np.divmod(request.integers(h * w), w)
    rows, columns = np.abs(np.arange(h) - y[:, None]), np.abs(np.arange(w) - x[:, None])
    return hide_lowest(rows[:, :, None] + columns[:, None, :] + request.uniform(h, w), request.target)


def _aspect(request: ShapeRequest, low: float = ASPECT[0], high: float = ASPECT[1]) -> FloatArray:
    """Width over height `[N]`, log-uniform in [low, high]."""
    return low * (high / low) ** request.uniform()


def _fitting_aspect(request: ShapeRequest) -> FloatArray:
    """Width over height `[N]`, log-uniform in the part of `ASPECT` for which a rectangle of the target area fits.

    Where none of `ASPECT` fits, as on a grid of one row, it is the nearest that does.
    """
    (h, w), target = request.grid, request.target
    low, high = np.clip(ASPECT, target / h**2, w**2 / target)  # limits: as high, as wide as the grid
    return _aspect(request, low, high)


def _interval(start: IntArray, length: IntArray, size: int) -> BoolArray:
    """True at `length` places from `start` on, `[N, size]`."""
    place = np.arange(size) - start[:, None]
    return (place >= 0) & (place < length[:, None])
