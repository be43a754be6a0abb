"""Colours of features: against numpy's SVD, and the laws that they keep."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from muskie.visualization.page import Page
from muskie.visualization.pca import find_foreground, pca_basis, pca_colours, pca_page

VIEWS, CHANNELS, HIGH, WIDE = 3, 12, 6, 8


def features(seed: int = 0, views: int = VIEWS) -> Tensor:
    """Skewed and correlated, float64 [V, C, h, w]."""
    rng = np.random.default_rng(seed)
    raw = rng.exponential(size=(views, HIGH, WIDE, CHANNELS)) * np.linspace(3, 0.3, CHANNELS)
    return torch.from_numpy(raw @ rng.normal(size=(CHANNELS, CHANNELS))).movedim(-1, 1) + 5


def turned(values: Tensor, matrix: np.ndarray) -> Tensor:
    return torch.einsum("vchw,dc->vdhw", values, torch.from_numpy(matrix))


def orthogonal(seed: int, size: int = CHANNELS) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def by_svd(values: Tensor) -> np.ndarray:
    """The colours by numpy's singular value decomposition, [V, 3, h, w]."""
    tokens = values.movedim(1, -1).reshape(-1, CHANNELS).numpy()
    centred = tokens - tokens.mean(0)
    projected = centred @ np.linalg.svd(centred, full_matrices=False)[2][:3].T
    projected *= np.sign((projected**3).mean(0))
    low, high = np.quantile(projected, (0.01, 0.99), axis=0)
    colours = ((projected - low) / (high - low)).clip(0, 1)
    return np.moveaxis(colours.reshape(len(values), HIGH, WIDE, 3), -1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_colours_are_principal_components(seed: int) -> None:
    values = features(seed)
    colours = pca_colours(values)
    assert colours.dtype == torch.float32 and colours.shape == (VIEWS, 3, HIGH, WIDE)
    assert np.abs(colours.numpy() - by_svd(values)).max() < 1e-6


@pytest.mark.parametrize("foreground", [None, "auto"])
@pytest.mark.parametrize("seed", range(5))
def test_turning_mirroring_scaling_and_shifting_change_nothing(seed: int, foreground: Literal["auto"] | None) -> None:
    values = features(seed)
    colours = pca_colours(values, foreground)
    shift = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, CHANNELS, 1, 1)) * 100)
    changes = {
        "turned": turned(values, orthogonal(seed)),
        "mirrored": turned(values, orthogonal(seed) @ np.diag([-1.0] + [1.0] * (CHANNELS - 1))),
        "negated": -values,
        "shifted": values + shift,
        "scaled": values * 0.003,
        "permuted channels": values[:, torch.randperm(CHANNELS, generator=torch.Generator().manual_seed(seed))],
        "more channels": turned(values, orthogonal(seed, CHANNELS + 5)[:, :CHANNELS]),
    }
    for name, changed in changes.items():
        assert (pca_colours(changed, foreground) - colours).abs().max() < 1e-6, name


def test_permuted_views_are_permuted_colours() -> None:
    values, order = features(), torch.tensor([2, 0, 1])
    assert torch.allclose(pca_colours(values[order]), pca_colours(values)[order], atol=1e-6)
    assert torch.allclose(pca_colours(values.flip(-1, -2)), pca_colours(values).flip(-1, -2), atol=1e-6)


def test_one_basis_for_all_views() -> None:
    values = features(1)
    values[2, :, :3] = values[0, :, 3:]  # the same content, in another view
    colours = pca_colours(values)
    assert torch.allclose(colours[2, :, :3], colours[0, :, 3:], atol=1e-6)


def test_a_basis_keeps_its_colours() -> None:
    values = features(2)
    basis = pca_basis(values)
    assert torch.equal(pca_colours(values, basis=basis), pca_colours(values))
    alone = pca_colours(values[1:2], basis=basis)
    assert torch.allclose(alone, pca_colours(values)[1:2], atol=1e-6)
    assert (alone - pca_colours(values[1:2])).abs().max() > 0.05, "a basis of its own gives others"
    assert torch.allclose(basis.components @ basis.components.T, torch.eye(3, dtype=torch.float64))


def test_share_of_variance() -> None:
    values = features(3)
    spectrum = np.linalg.svd(_centred(values), compute_uv=False) ** 2
    assert pca_basis(values).share(values) == pytest.approx(spectrum[:3].sum() / spectrum.sum())
    within = torch.from_numpy(np.random.default_rng(0).random((VIEWS, HIGH, WIDE)) < 0.5)
    part = np.linalg.svd(_centred(values, within), compute_uv=False) ** 2
    assert pca_basis(values, within).share(values, within) == pytest.approx(part[:3].sum() / part.sum())
    assert pca_basis(torch.ones(2, 4, 3, 3)).share(torch.ones(2, 4, 3, 3)) == 0


def _centred(values: Tensor, within: Tensor | None = None) -> np.ndarray:
    tokens = values.movedim(1, -1)[slice(None) if within is None else within].reshape(-1, CHANNELS).numpy()
    return tokens - tokens.mean(0)


def test_components_that_are_not_there_show_nothing() -> None:
    rng = np.random.default_rng(0)
    plane = rng.exponential(size=(VIEWS, HIGH, WIDE, 2)) @ rng.normal(size=(2, CHANNELS))
    colours = pca_colours(torch.from_numpy(plane).movedim(-1, 1).float())
    assert (colours[:, 2] == 0.5).all() and colours[:, :2].std() > 0.1, "rounding is not stretched to a picture"
    assert (pca_colours(torch.ones(1, 3, 4, 4)) == 0.5).all()


def disc(radius: float, seed: int, sign: float) -> tuple[Tensor, Tensor]:
    """Features [2, C, 16, 16] of discs that lie inside the pictures, and their masks."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16] + 0.5
    mask = np.stack([np.hypot(y - c, x - 8) < radius for c in (7.5, 8.5)])
    values = rng.normal(size=(2, 16, 16, CHANNELS)) * 0.5 + sign * 3 * mask[..., None] * np.eye(CHANNELS)[0]
    return torch.from_numpy(values @ orthogonal(seed)).movedim(-1, 1), torch.from_numpy(mask)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("radius", [1.5, 4, 7.4], ids=["tiny", "small", "most of the picture"])
def test_foreground_is_what_lies_within(radius: float, sign: float) -> None:
    values, mask = disc(radius, 1, sign * 3)
    assert torch.equal(find_foreground(values), mask)
    colours = pca_colours(values, "auto")
    assert (colours.movedim(1, -1)[~mask] == 1).all(), "the rest is white"
    assert torch.equal(colours, pca_colours(values, mask))


def test_colours_of_the_foreground_do_not_depend_on_the_rest() -> None:
    values, mask = disc(5, 2, 1.0)
    other = torch.where(
        mask[:, None], values, torch.randn(values.shape, generator=torch.Generator().manual_seed(0)).double()
    )
    assert torch.equal(pca_colours(values, mask), pca_colours(other, mask))


def test_the_page(drawn: list[Page]) -> None:
    images = torch.zeros((VIEWS, 3, 48, 64), dtype=torch.uint8)
    one, other = features(4).float(), features(5)[..., ::2, ::2]
    basis = pca_basis(features(6))
    pca_page(images, {"block 2": one, "kept": other}, bases={"kept": basis}, title="kitchen")
    page = drawn[0]
    assert page.labels[0] == "original" and page.title == "kitchen"
    assert page.labels[1] == f"block 2\n{100 * pca_basis(one).share(one):.0f} % of variance"
    assert page.labels[2] == f"kept\n{100 * basis.share(other):.0f} % of variance"
    expected = [pca_colours(one), pca_colours(other, basis=basis)]
    for row, colours in zip(page.rows[1:], expected, strict=True):
        assert (row.double() / 255 - colours).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(
    ("values", "foreground", "message"),
    [
        (torch.zeros(3, 8, 8), None, r"shape \(3, 8, 8\); expected \[V, C, h, w\]"),
        (torch.zeros(2, 2, 8, 8), None, "C of at least 3"),
        (torch.full((2, 3, 8, 8), torch.nan), None, "infinite or no number"),
        (torch.zeros(2, 3, 8, 8), torch.ones(2, 8, 8), r"foreground is torch.float32 \(2, 8, 8\); expected torch.bool"),
        (torch.zeros(2, 3, 8, 8), torch.ones(2, 4, 4).bool(), r"expected torch.bool \(2, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8).bool(), "the foreground holds 0 patches"),
        (torch.zeros(2, 3, 8, 8), "all", "foreground='all': expected a mask"),
    ],
)
def test_what_does_not_fit_is_an_error(values: Tensor, foreground: Tensor | str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pca_colours(values, foreground)  # type: ignore[arg-type]
    basis = pca_basis(features())
    with pytest.raises(ValueError, match=r"this basis expects \[V, 12, h, w\]"):
        basis.colours(torch.zeros(1, 5, 2, 2))
