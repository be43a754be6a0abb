"""Brings one set of points, or of depths, to another: the best similarity, and the best scales.

Leading dimensions `...` are batch dimensions. Results have the dtype and device of the inputs; float64 is worth it for
evaluation. Points and values of weight 0 count for nothing, and may be NaN or infinite.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Similarity(NamedTuple):
    """x -> scale · rotation · x + translation.

    Attributes:
        scale: [...], 0 or more.
        rotation: [..., 3, 3], determinant 1.
        translation: [..., 3].
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def points(self, points: Tensor) -> Tensor:
        """Points [..., N, 3], moved."""
        turned = points @ self.rotation.transpose(-1, -2)
        return self.scale[..., None, None] * turned + self.translation[..., None, :]

    def poses(self, cam2world: Tensor) -> Tensor:
        """Poses [..., N, 4, 4] in the moved world: centres move as points do, and axes turn, but keep their length."""
        moved = cam2world.clone()
        moved[..., :3, :3] = self.rotation[..., None, :, :] @ cam2world[..., :3, :3]
        moved[..., :3, 3] = self.points(cam2world[..., :3, 3])
        return moved


def umeyama(source: Tensor, target: Tensor, weights: Tensor | None = None, with_scale: bool = True) -> Similarity:
    """The similarity that brings points nearest to their partners, in the mean of squared distances.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991: a rotation
    never becomes a reflection.

    Args:
        source, target: [..., N, 3], point i of one belongs to point i of the other.
        weights: [..., N], 0 or more, or bool; None: all 1.
        with_scale: False: the scale is 1, a rigid motion (SE(3)).

    Returns:
        Where nothing determines it (no weight, or all points of one set at one place): no rotation, scale 1, and the means
        fall together. Points on one line leave the turn about it open.
    """
    share = _shares(source, weights)
    known = ~(one_place(source, weights) | one_place(target, weights))
    source, target = (torch.where(share > 0, x, 0) for x in (source, target))
    middle, goal = (share * source).sum(-2, keepdim=True), (share * target).sum(-2, keepdim=True)
    source, target = source - middle, target - goal
    covariance = (share * target).transpose(-1, -2) @ source
    left, strength, right = torch.linalg.svd(torch.where(known[..., None, None], covariance, torch.eye(3).to(covariance)))
    sign = torch.ones_like(strength)
    sign[..., 2] = torch.where(torch.linalg.det(left @ right) < 0, -1, 1)
    rotation = left @ (sign[..., None] * right)
    scale = torch.ones_like(share[..., 0, 0])
    if with_scale:
        spread = (share * source.square()).sum((-1, -2))
        scale = torch.where(known, (strength * sign).sum(-1) / torch.where(known, spread, 1), scale)
    offset = goal - scale[..., None, None] * (middle @ rotation.transpose(-1, -2))
    return Similarity(scale, rotation, offset[..., 0, :])


def one_place(points: Tensor, weights: Tensor | None = None, rounding: float | None = None) -> Tensor:
    """Whether points lie at one place, up to rounding, or none counts.

    Args:
        points: [..., N, 3].
        weights: [..., N], 0 or more, or bool; None: all 1.
        rounding: of the coordinates, as a share of the largest of them; None: 64 times that of their dtype. Say more where
            they come from a coarser one.

    Returns:
        bool [...].
    """
    share = _shares(points, weights)
    points = torch.where(share > 0, points, 0)
    apart = torch.where(share > 0, points - (share * points).sum(-2, keepdim=True), 0).abs().amax((-1, -2))
    rounding = 64 * torch.finfo(points.dtype).eps if rounding is None else rounding
    return apart <= rounding * points.abs().amax((-1, -2))


def _shares(points: Tensor, weights: Tensor | None) -> Tensor:
    weights = torch.ones_like(points[..., 0]) if weights is None else weights.to(points)
    return (weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny))[..., None]


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """The smallest of [..., N] values up to which lies at least half of the weight, [...]; NaN where there is no weight.

    Args:
        values: [..., N].
        weights: [..., N], 0 or more.
    """
    order = torch.where(weights > 0, values, torch.inf).argsort(-1)
    reached = weights.gather(-1, order).cumsum(-1)
    place = (reached < reached[..., -1:] / 2).sum(-1, keepdim=True).clamp(max=values.shape[-1] - 1)
    found = values.gather(-1, order).gather(-1, place)[..., 0]
    return torch.where(reached[..., -1] > 0, found, torch.nan)


def l1_scale(source: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """The scale s with the least sum of weights · |s · source - target|, exactly: a weighted median of ratios.

    Args:
        source, target: [..., N]; of points, all coordinates.
        weights: [..., N], 0 or more; None: all 1.

    Returns:
        [...]; below 0 where the two point in opposite directions; NaN where every source of any weight is 0.
    """
    weights = torch.ones_like(source) if weights is None else weights
    pull = torch.where(weights > 0, weights * source.abs(), 0)
    return weighted_median(torch.where(pull > 0, target / source, 0), pull)


def weiszfeld_scale(source: Tensor, target: Tensor, steps: int = 10, floor: float = 1e-3) -> Tensor:
    """The scale of `l1_scale` by a few steps of reweighted least squares, as the depth tables of the π³ line have it.

    Args:
        source, target: [N].
        steps: from the ratio of means on.
        floor: residuals below it, in the target's unit, weigh as one of this size.

    Returns:
        A number; NaN where all sources are 0.
    """
    scale = target.mean() / source.mean()
    for _ in range(steps):
        pull = source / (scale * source - target).abs().clamp(min=floor)
        scale = (pull * target).sum() / (pull * source).sum()
    return scale


def l1_scale_and_shift(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The scale s >= 0 and shift t with the least sum of |s · source + t - target| (least absolute deviations).

    The best shift of a scale is a median. What is left is convex in the scale, which is found by halving, up to rounding.
    So where a scale below 0 would be better, and near would become far, the best that is allowed is 0: a constant, the
    median of the target.

    Args:
        source, target: [N], N >= 1, finite.

    Returns:
        Two numbers. The scale is 0 also where all sources are equal.
    """
    centre = source.median()
    source = source - centre
    width = source.abs().max()
    if not width > 0:
        return torch.zeros_like(centre), target.median()

    def rises(scale: Tensor) -> bool:
        """Whether the sum grows with the scale: a subgradient, the shift being the best one."""
        left = target - scale * source
        sign = torch.sign(left.median() - left)
        even = sign == 0  # on the line; their signs are free as long as all signs add up to 0
        free = -sign.sum() / even.sum()
        return bool((torch.where(even, free, sign) * source).sum() > 0)

    low = torch.zeros_like(centre)
    if rises(low):
        return low, target.median()
    high = (target - target.median()).abs().max() / width + torch.finfo(target.dtype).tiny
    for _ in range(64):
        if rises(high):
            break
        low, high = high, 2 * high
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) else (middle, high)
    scale = low if _misses(source, target, low) < _misses(source, target, high) else high
    return scale, (target - scale * source).median() - scale * centre


def _misses(source: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    left = target - scale * source
    return (left - left.median()).abs().sum()
