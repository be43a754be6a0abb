"""The colours of values against their own map, colour science, and arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muskie.visualization.colours import VIRIDIS, ColourBar, to_bytes, viridis

MAGENTA = [1.0, 0.0, 1.0]


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* in 0..100 of sRGB colours [..., 3] in [0, 1]."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 216 / 24389, 116 * np.cbrt(luminance) - 16, luminance * 24389 / 27)


def test_lightness_grows_evenly() -> None:
    values = torch.linspace(0, 1, 101)[None]
    steps = np.diff(lightness(viridis(values)[:, 0].T.double().numpy()))
    assert (steps > 0.5).all() and (steps < 1.1).all(), "a hundred steps from L* 15 to 91"


def test_it_is_viridis() -> None:
    colormaps = pytest.importorskip("matplotlib").colormaps
    values = torch.linspace(0, 1, 256)[None]
    expected = colormaps["viridis"](np.arange(256))[:, :3]
    assert np.abs(viridis(values)[:, 0].T.numpy() - expected).max() <= 6 / 255


def test_shapes_ends_and_numbers_that_are_none() -> None:
    values = torch.tensor([[[-3.0, 0.0, 1 / 16], [1.0, torch.inf, torch.nan]]])  # [1, 2, 3]
    colours = viridis(values)
    assert colours.shape == (1, 3, 2, 3)
    first, second, last = (torch.tensor(VIRIDIS[number]) / 255 for number in (0, 1, -1))
    assert torch.equal(colours[0, :, 0, 0], first) and torch.equal(colours[0, :, 0, 1], first)
    assert torch.allclose(colours[0, :, 0, 2], second, atol=1e-6)
    assert torch.equal(colours[0, :, 1, 0], last) and torch.equal(colours[0, :, 1, 1], last)
    assert colours[0, :, 1, 2].tolist() == MAGENTA


def test_a_bar_stretches_between_its_ends() -> None:
    values = torch.tensor([[2.0, 3.0, 4.0, 9.0]])
    assert torch.allclose(ColourBar(2, 4).colours(values), viridis(torch.tensor([[0.0, 0.5, 1.0, 1.0]])))
    assert torch.allclose(ColourBar(2, 2).colours(values), viridis(torch.full((1, 4), 0.5))), "no extent: the middle"


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        (ColourBar(0.21512, 0.99993), ("0.215", "1.000")),
        (ColourBar(0.9731, 0.9745), ("0.97310", "0.97450")),
        (ColourBar(0, 9.9291, " %"), ("0", "9.93 %")),
        (ColourBar(0, 0.05994, " %"), ("0", "0.0599 %")),
        (ColourBar(0.5, 0.5), ("0.500", "0.500")),
        (ColourBar(-120, 4000), ("-120", "4000")),
    ],
    ids=str,
)
def test_numbers_at_a_bar(bar: ColourBar, expected: tuple[str, str]) -> None:
    assert bar.ends() == expected


def test_bytes() -> None:
    colours = torch.tensor([0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.7, -1.0]).expand(3, 1, 6).clone()
    assert to_bytes(colours)[0, 0].tolist() == [0, 0, 1, 255, 255, 0]
    colours[1, 0, 3] = torch.nan
    assert to_bytes(colours)[:, 0, 3].tolist() == [255, 0, 255], "magenta, if one channel is no number"
