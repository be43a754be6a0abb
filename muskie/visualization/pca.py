"""Features as colours: their first three principal components, one basis for all views.

The components are exact: eigenvectors of the covariance by `torch.linalg.eigh` in float64, so nothing is drawn at random. An
eigenvector has no sign of its own; ours is the one that makes the projections' third moment positive. That depends on the
features' distances alone: turning, mirroring or shifting the feature space, or permuting views, changes no colour. (Where
the third moment is 0, or two components have equal variance, features have no colours of their own, and any are taken.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from muskie.visualization.colours import to_bytes
from muskie.visualization.page import page

QUANTILES = (0.01, 0.99)
"""Shares of the patches that lie below black and below full colour in a channel; the few beyond are cut off."""
BACKGROUND = 1.0
"""What is not foreground is white."""
NOTE = "Red, green, blue: principal components 1, 2, 3 of the features of all views, one basis a row."
SMALLEST = 1e-12
"""Components with a smaller share of the variance are rounding, and show nothing."""

Foreground = Tensor | Literal["auto"] | None
"""Which patches are coloured: bool [V, h, w]; `"auto"`: those of `find_foreground`; None: all."""


@dataclass(frozen=True)
class PcaBasis:
    """A map from features to colours, fitted by `pca_basis`; use it again to compare pictures.

    Attributes:
        mean: float64 [C], of the features.
        components: float64 [3, C], orthonormal rows by falling variance; zeros where the features have no more.
        low, high: float64 [3], the projections that become 0 and 1.
    """

    mean: Tensor
    components: Tensor
    low: Tensor
    high: Tensor

    def colours(self, features: Tensor) -> Tensor:
        """Colours float32 [V, 3, h, w] in [0, 1] of features [V, C, h, w]; .5 in a channel without variance."""
        projected = self._projected(features)
        extent = self.high - self.low
        scaled = torch.where(extent > 0, (projected - self.low) / extent.where(extent > 0, 1), 0.5)
        return scaled.clamp(0, 1).movedim(-1, 1).float()

    def share(self, features: Tensor, foreground: Tensor | None = None) -> float:
        """The share in [0, 1] of the features' variance that the three components hold, within bool [V, h, w] if given."""
        chosen = slice(None) if foreground is None else foreground.cpu()
        projected = self._projected(features)[chosen].reshape(-1, 3)
        total = _tokens(features)[chosen].reshape(-1, features.shape[1]).var(0, correction=0).sum()
        return float(projected.var(0, correction=0).sum() / total) if total > 0 else 0.0

    def _projected(self, features: Tensor) -> Tensor:
        if features.ndim != 4 or features.shape[1] != len(self.mean):
            raise ValueError(f"features have shape {tuple(features.shape)}; this basis expects [V, {len(self.mean)}, h, w]")
        return (_tokens(features) - self.mean) @ self.components.T  # [V, h, w, 3]


def pca_basis(features: Tensor, foreground: Foreground = None) -> PcaBasis:
    """Fits a basis to features [V, C, h, w] of all views together, C >= 3; to the foreground's alone if one is given.

    Raises:
        ValueError: features of another shape or with values that are not finite, or a foreground that does not fit or has
            fewer than two patches.
    """
    chosen = _foreground(features, foreground)
    tokens = _tokens(features)[chosen]  # [N, C]
    if len(tokens) < 2:
        raise ValueError(f"the foreground holds {len(tokens)} patches; expected at least 2, or foreground=None for all")
    mean, components = _principal(tokens, 3)
    projected = (tokens - mean) @ components.T  # [N, 3]
    low, high = projected.quantile(projected.new_tensor(QUANTILES), dim=0)
    return PcaBasis(mean, components, low, high)


def pca_colours(features: Tensor, foreground: Foreground = None, basis: PcaBasis | None = None) -> Tensor:
    """Colours float32 [V, 3, h, w] in [0, 1] of features [V, C, h, w]: components 1, 2, 3 as red, green, blue.

    Args:
        features: of all views, on any device.
        foreground: see `Foreground`; the rest becomes white.
        basis: from `pca_basis`, to keep the colours of other features of the same model; None: fitted to these.
    """
    chosen = _foreground(features, foreground)
    basis = basis or pca_basis(features, chosen)
    return torch.where(chosen[:, None], basis.colours(features), BACKGROUND)


def find_foreground(features: Tensor) -> Tensor:
    """The patches bool [V, h, w] of the objects in features [V, C, h, w], by the first principal component of all.

    After figure 1 of DINOv2 (arXiv 2304.07193). The threshold is the one that leaves the least variance within both sides
    (Otsu, 1979). Foreground is the side of which a smaller part lies on the pictures' borders; in pictures of a room and not
    of an object, neither side may be one.
    """
    _check(features)
    tokens = _tokens(features)
    mean, components = _principal(tokens.flatten(0, 2), 1)
    values = (tokens - mean) @ components[0]  # [V, h, w]
    ordered = values.flatten().sort().values
    count = torch.arange(1, len(ordered), dtype=ordered.dtype)
    between = ordered.cumsum(0)[:-1].square() / (count * (len(ordered) - count))  # of values with mean 0
    cut = int(between.argmax())
    above = values > (ordered[cut] + ordered[cut + 1]) / 2
    border = torch.ones_like(above)
    border[:, 1:-1, 1:-1] = False
    parts = [border[side].double().mean() for side in (above, ~above)]
    return above if parts[0] <= parts[1] else ~above


def pca_page(
    images: Tensor,
    features: Mapping[str, Tensor],
    foreground: Foreground = None,
    bases: Mapping[str, PcaBasis] | None = None,
    title: str | None = None,
) -> Tensor:
    """The images, and below them a row for each named feature map, uint8 [3, height, width].

    Each has a basis of its own, so colours compare between the views of a row and not between rows. The share of the
    variance that the three components hold is printed.

    Args:
        images: uint8 [V, 3, H, W].
        features: [V, C, h, w] by name, such as several models or layers; C, h and w may differ.
        foreground: see `Foreground`; `"auto"` is found for each map anew.
        bases: bases to use by the same names; those not named are fitted.
        title: above the page.
    """
    rows, labels = [images], ["original"]
    for name, maps in features.items():
        chosen = _foreground(maps, foreground)
        basis = (bases or {}).get(name) or pca_basis(maps, chosen)
        rows.append(to_bytes(pca_colours(maps, chosen, basis)))
        labels.append(f"{name}\n{100 * basis.share(maps, chosen):.0f} % of variance")
    return page(rows, labels, [f"view {number}" for number in range(len(images))], title, note=NOTE)


def _tokens(features: Tensor) -> Tensor:
    return features.detach().cpu().double().movedim(1, -1)  # [V, h, w, C]


def _foreground(features: Tensor, foreground: Foreground) -> Tensor:
    """The mask bool [V, h, w], on the CPU."""
    _check(features)
    expected = (features.shape[0], *features.shape[2:])
    if foreground is None:
        return torch.ones(expected, dtype=torch.bool)
    if isinstance(foreground, str):
        if foreground != "auto":
            raise ValueError(f"foreground={foreground!r}: expected a mask bool [V, h, w], 'auto', or None for all patches")
        return find_foreground(features)
    if foreground.dtype != torch.bool or tuple(foreground.shape) != expected:
        raise ValueError(f"foreground is {foreground.dtype} {tuple(foreground.shape)}; expected torch.bool {expected}")
    return foreground.cpu()


def _check(features: Tensor) -> None:
    shape = tuple(features.shape)
    if len(shape) != 4 or shape[1] < 3 or shape[0] * shape[2] * shape[3] < 2:
        raise ValueError(f"features have shape {shape}; expected [V, C, h, w] with C of at least 3, and at least 2 patches")
    if not features.isfinite().all():
        raise ValueError("features hold values that are infinite or no number")


def _principal(tokens: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean [C] and the first components [count, C] of tokens [N, C], with signs as the module says."""
    mean = tokens.mean(0)
    centred = tokens - mean
    variance, vectors = torch.linalg.eigh(centred.T @ centred)  # by growing variance, vectors in columns
    components = vectors[:, -count:].flip(1).T
    projected = centred @ components.T  # [N, count]
    third = projected.pow(3).sum(0)
    sign = torch.where(third < 0, -1.0, 1.0).double()
    real = variance[-count:].flip(0) > SMALLEST * variance.sum()
    return mean, components * (sign * real)[:, None]
