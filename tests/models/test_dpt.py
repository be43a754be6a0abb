"""The dense head: sizes, its parts against PyTorch's own, and what logits become."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from muskie.models.heads.activations import depth_of, points_of
from muskie.models.heads.dpt import DptHead, Enlarge, resize


def tokens(frames: int, grid: tuple[int, int], width: int = 16) -> list[Tensor]:
    return [torch.randn(frames, grid[0] * grid[1], width) for _ in range(4)]


@pytest.mark.parametrize("patch", [4, 8, 14, 16])
@pytest.mark.parametrize("grid", [(7, 5), (2, 4), (1, 1), (1, 3), (9, 2)])
@torch.no_grad()
def test_any_grid_gives_every_pixel(grid: tuple[int, int], patch: int) -> None:
    size = (grid[0] * patch, grid[1] * patch)
    out = DptHead(16, 5, 8)(tokens(2, grid), grid, size)
    assert out.shape == (2, *size, 5) and out.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (4, 6)])
def test_twice_the_size_is_the_published_resizing(height: int, width: int) -> None:
    x = torch.randn(2, 3, height, width)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    assert torch.equal(resize(x, (2 * height, 2 * width)), expected)
    assert resize(x, (height, width)) is x


@pytest.mark.parametrize("factor", [2, 4])
@torch.no_grad()
def test_enlarging_is_a_transposed_convolution(factor: int) -> None:
    part, x = Enlarge(6, factor), torch.randn(2, 6, 3, 5)
    part.conv.bias.copy_(torch.randn(6).repeat_interleave(factor**2))
    kernel = part.conv.weight.view(6, factor, factor, 6).permute(3, 0, 1, 2)
    expected = F.conv_transpose2d(x, kernel, part.conv.bias[:: factor**2], stride=factor)
    torch.testing.assert_close(part(x), expected)


@torch.no_grad()
def test_rows_of_tokens_are_rows_of_the_picture() -> None:
    """What a token says is said around its own pixels."""
    head, grid = DptHead(16, 1, 8), (12, 16)
    levels = tokens(1, grid)
    before = head(levels, grid, (96, 128))
    for x in levels:
        x[:, 3 * 16 + 12] += 5 * torch.randn(16)  # row 3, column 12: pixels 24 to 32 down, 96 to 104 across
    change = (head(levels, grid, (96, 128)) - before).abs()[0, :, :, 0]
    rows, columns = change.sum(1), change.sum(0)
    assert 20 <= rows.argmax() < 36 and 92 <= columns.argmax() < 108
    assert change[72:, :48].max() < 0.05 * change.max()


def test_every_parameter_gets_a_gradient_and_frames_are_on_their_own() -> None:
    head, levels = DptHead(16, 4, 8), tokens(3, (3, 2))
    head(levels, (3, 2), (24, 16)).square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    with torch.no_grad():
        together = head(levels, (3, 2), (24, 16))
        alone = head([x[1:2] for x in levels], (3, 2), (24, 16))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


def test_levels_of_very_different_size_all_count() -> None:
    """As layers of a transformer have them; the published head has no norm, and hears the loudest alone."""
    shares = {}
    for norm in (True, False):
        torch.manual_seed(1)
        head, levels = DptHead(16, 1, 8, norm), tokens(1, (4, 4))
        with torch.no_grad():
            loud = [x * 100**number for number, x in enumerate(levels)]
            before = head(loud, (4, 4), (32, 32))
            loud[0] = loud[0] * torch.randn_like(loud[0])
            shares[norm] = ((head(loud, (4, 4), (32, 32)) - before).std() / before.std()).item()
    assert shares[True] > 0.05 and shares[False] < 0.01


def test_points_are_slopes_times_depth() -> None:
    logits = torch.tensor([[0.5, -2.0, 1.2, -0.7], [0.0, 0.0, 0.0, 0.0]])
    points, confidence = points_of(logits)
    z = torch.tensor([1.2, 0.0]).exp()
    torch.testing.assert_close(points, torch.stack([z * torch.tensor([0.5, 0]), z * torch.tensor([-2.0, 0]), z], -1))
    torch.testing.assert_close(confidence, 1 + torch.tensor([-0.7, 0.0]).exp())
    depth, sureness = depth_of(logits[:, 2:])
    torch.testing.assert_close(depth, z)
    torch.testing.assert_close(sureness, confidence)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1e3, 1e30, torch.inf])
def test_no_logit_is_too_large(dtype: torch.dtype, size: float) -> None:
    for sign in (1, -1):
        logits = torch.full((2, 4), sign * size, dtype=dtype).requires_grad_()
        points, confidence = points_of(logits)
        depth, sureness = depth_of(logits[:, 2:])
        for x in (points, confidence, depth, sureness):
            assert x.dtype == torch.float32 and x.isfinite().all()
        assert (points[..., 2] > 0).all() and (depth > 0).all() and (confidence > 1).all() and (sureness > 1).all()
        assert points.square().sum().isfinite()
        (points.sum() + confidence.sum()).backward()
        assert logits.grad is not None and logits.grad.isfinite().all()


def test_what_is_no_number_is_not_hidden() -> None:
    points, confidence = points_of(torch.full((4,), torch.nan))
    assert points.isnan().all() and confidence.isnan()
