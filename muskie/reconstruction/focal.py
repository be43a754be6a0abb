"""Intrinsics of a view, from the points that a model sees at its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from muskie.geometry import pixel_centres

STEPS = 10
_FLOOR = 1e-10
"""Distances below it, in slopes, weigh as this one."""
_PLAUSIBLE = (0.1, 20.0)
"""Focal lengths in long sides of the picture: beyond are a field of view of 157 degrees and one of 2.9."""


def estimate_focal(
    local_points: Tensor,
    weights: Tensor | None = None,
    *,
    square: bool = True,
    shared: bool = False,
    steps: int = STEPS,
    stride: int = 1,
) -> Tensor:
    """The focal lengths (fx, fy) with which points fall nearest to their pixels, the principal point being the centre.

    The least sum of distances |(x / z, y / z) - pixel / f|, by Weiszfeld's reweighted least squares (Weiszfeld, 1937).
    DUSt3R (Wang et al., CVPR 2024, section 3.3) sums |pixel - f · (x / z, y / z)|; there, a point that is far off pulls the
    harder the farther it is, and a fifth of such points can take the focal length to nothing. Pixels are known exactly,
    so that errors belong to the points: seen so, a sum of distances hardly feels those that are far off.

    Args:
        local_points: [..., H, W, 3] in the camera of each view (OpenCV).
        weights: [..., H, W], such as confidence; those that are not above 0 count for nothing. None: all 1.
        square: pixels are square, and fx = fy.
        shared: all of `...` have one camera.
        steps: of reweighting; 0: least squares.
        stride: take every n-th pixel along both axes.

    Returns:
        float64 [..., 2], in pixels; NaN where no point is finite and in front of the camera. It may be negative where points
        are nowhere near their pixels, see `plausible`.
    """
    height, width = local_points.shape[-3:-1]
    points = local_points[..., ::stride, ::stride, :].double()
    pixels = pixel_centres(height, width, points)[::stride, ::stride] - points.new_tensor([width / 2, height / 2])
    usable = points.isfinite().all(-1) & (points[..., 2] > 0)
    given = torch.ones_like(points[..., 2]) if weights is None else weights[..., ::stride, ::stride].double()
    usable &= given.isfinite() & (given > 0)
    given = torch.where(usable, given, 0)[..., None]
    slopes = torch.where(usable[..., None], points[..., :2] / points[..., 2:], 0)  # x / z, y / z
    usable &= slopes.isfinite().all(-1)
    slopes = torch.where(usable[..., None], slopes, 0)
    over = tuple(range(slopes.ndim - 1)) if shared else (-3, -2)

    inverse = _fit(pixels, slopes, given, over, square)
    for _ in range(steps):
        distance = (slopes - inverse * pixels).norm(dim=-1, keepdim=True)
        inverse = _fit(pixels, slopes, given / distance.clamp(min=_FLOOR), over, square)
    return (1 / inverse).expand(*slopes.shape[:-3], 1, 1, 2)[..., 0, 0, :]


def _fit(pixels: Tensor, slopes: Tensor, weights: Tensor, over: tuple[int, ...], square: bool) -> Tensor:
    """1 / f by weighted least squares, [..., 1, 1, 2]."""
    above = (weights * pixels * slopes).sum(over, keepdim=True)
    below = (weights * pixels * pixels).sum(over, keepdim=True)
    if square:
        above, below = (part.sum(-1, keepdim=True).expand_as(part) for part in (above, below))
    return above / below


def plausible(focal: Tensor, height: int, width: int) -> Tensor:
    """bool [...], whether focal lengths [..., 2] could be those of a camera: .1 to 20 times the long side of the picture."""
    relative = focal / max(height, width)
    return ((relative >= _PLAUSIBLE[0]) & (relative <= _PLAUSIBLE[1])).all(-1)


def intrinsics_of(focal: Tensor, height: int, width: int) -> Tensor:
    """Intrinsics [..., 3, 3] of focal lengths [..., 2]; the principal point is the centre, (W / 2, H / 2)."""
    matrix = torch.zeros(*focal.shape[:-1], 3, 3, dtype=focal.dtype, device=focal.device)
    matrix[..., 0, 0], matrix[..., 1, 1] = focal.unbind(-1)
    matrix[..., 0, 2], matrix[..., 1, 2], matrix[..., 2, 2] = width / 2, height / 2, 1
    return matrix
