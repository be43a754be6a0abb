"""Colours without brightness and contrast of their patch, and those that a hidden patch is lent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frame_reference import equal_masks, small

import muskie
from muskie.models.patch_statistics import visible_statistics, without_patch_statistics
from muskie.objectives.pixels import MaskedPixels


def test_predicting_zero_costs_767_of_768() -> None:
    """The variance that is taken out is unbiased, so that 0.9987 is left of patches of 16 x 16 pixels."""
    model = muskie.create_model("mum_vitb16", depth=1, width=48, heads=3, decoder={"width": 32, "depth": 1, "heads": 2})
    images, mask = torch.rand(2, 3, 3, 64, 64), equal_masks(2, [12, 12, 12], (4, 4))
    hidden = mask.flatten().nonzero().squeeze(1)
    target = model.targets(images, hidden)
    objective = MaskedPixels(floor=0.0, regulariser=0.0, confidence=False)
    loss = objective(torch.zeros_like(target), torch.ones_like(target), target, hidden, mask).loss
    assert loss.item() == pytest.approx(0.9987, abs=1e-3) and loss.item() == pytest.approx(767 / 768, abs=1e-4)
    dark = model.targets((images * 40).to(torch.uint8), hidden)
    loss = objective(torch.zeros_like(dark), torch.ones_like(dark), dark, hidden, mask).loss
    assert loss.item() == pytest.approx(0.9987, abs=1e-3), "whatever the contrast"


def test_targets_against_numpy() -> None:
    patches = torch.randn(3, 5, 48) * torch.rand(3, 5, 1) + torch.randn(3, 5, 1)
    x = patches.double().numpy()
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True, ddof=1) + 1e-6)
    np.testing.assert_allclose(without_patch_statistics(patches).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_patches_of_one_colour_are_finite(value: int) -> None:
    model = small("mum_vitb16")
    images = torch.full((1, 2, 3, 12, 16), value, dtype=torch.uint8)
    mask = equal_masks(1, [9, 9], (3, 4))
    images[..., :4] = torch.arange(4, dtype=torch.uint8)  # and others beside them
    target = model.targets(images)
    assert target.isfinite().all() and target.abs().max() < 50
    grey = model.targets(torch.full_like(images[:, :, :1], value).expand(-1, -1, 3, -1, -1)[..., 4:])
    assert grey.isfinite().all(), "the three channels of grey are normalised unalike"
    prediction = model(images, mask, hidden_only=True)
    loss = (prediction.pixels - target.flatten(0, 2)[prediction.hidden]).square().mean()
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    pixels, _ = model.reconstruct(images, mask)
    assert pixels.isfinite().all() and pixels.min() >= 0 and pixels.max() <= 1


def test_what_is_hidden_is_never_looked_at() -> None:
    mask = equal_masks(2, [12, 3, 12], (3, 4))
    patches, other = torch.rand(2, 3, 12, 48), 1000 * torch.rand(2, 3, 12, 48)
    changed = torch.where(mask.flatten(2)[..., None], other, patches)
    for before, after in zip(visible_statistics(patches, mask), visible_statistics(changed, mask), strict=True):
        assert torch.equal(before, after)
    seen = torch.where(mask.flatten(2)[..., None], patches, other)
    assert not torch.equal(visible_statistics(seen, mask)[0], visible_statistics(patches, mask)[0])


@pytest.mark.parametrize("name", ["mum_vitb16", "croco_v2_vitb", "mae_vitb"])
@torch.no_grad()
def test_pictures_do_not_give_hidden_pixels_away(name: str) -> None:
    """Neither a picture nor what the cross-view gain measures depends on a pixel that the model is not shown."""
    model = small(name)
    images, mask = torch.rand(2, 3, 3, 12, 16), equal_masks(2, [0, 9, 9], (3, 4))
    pixels = mask.repeat_interleave(4, -2).repeat_interleave(4, -1)[:, :, None]
    changed = torch.where(pixels, torch.rand_like(images), images)
    for given in (model.reconstruct(images, mask), model.reconstruct(changed, mask)):
        assert given[0].shape == images.shape
    assert torch.equal(model.reconstruct(images, mask)[0], model.reconstruct(changed, mask)[0])
    said = [model.colours(model(x, mask, hidden_only=True), x, mask) for x in (images, changed)]
    assert torch.equal(*said) and said[0].shape == (int(mask.sum()), 48)
    every = model.colours(model(images, mask), images, mask)
    torch.testing.assert_close(every[mask.flatten(2)], said[0], atol=1e-5, rtol=1e-5)


def test_visible_patches_have_their_own_and_hidden_ones_those_around_them() -> None:
    patches = torch.zeros(1, 1, 5, 4)
    patches[0, 0, :, 0] = torch.tensor([10.0, 7.0, 99.0, 3.0, 20.0])  # one row of five patches
    mask = torch.tensor([[[[False, True, True, True, False]]]])
    mean, deviation = visible_statistics(patches, mask)
    left, right = 10 / 4, 20 / 4
    weights = [(1, 3**-4), (2**-4, 2**-4), (3**-4, 1)]
    expected = [left, *((a * left + b * right) / (a + b) for a, b in weights), right]
    torch.testing.assert_close(mean.flatten(), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    ratio = (deviation / mean).flatten()  # the deviation of (x, 0, 0, 0) is twice its mean
    torch.testing.assert_close(ratio, torch.full((5,), 2.0), atol=1e-3, rtol=0)


def test_a_view_without_visible_patches_gets_the_mean_of_its_scene() -> None:
    patches = torch.randn(2, 3, 4, 12)
    mask = torch.zeros(2, 3, 2, 2, dtype=torch.bool)
    mask[0, 1], mask[0, 2, 0], mask[1] = True, True, True
    mean, deviation = visible_statistics(patches, mask)
    seen = patches[0][~mask[0].flatten(1)]
    assert len(seen) == 6
    torch.testing.assert_close(mean[0, 1].flatten(), seen.mean(-1).mean().expand(4))
    torch.testing.assert_close(deviation[0, 1].flatten(), seen.std(-1).mean().expand(4), atol=1e-4, rtol=1e-4)
    assert (mean[1] == 0).all() and (deviation[1] == 1).all(), "nothing is seen of this scene"


@torch.no_grad()
def test_a_perfect_prediction_is_the_picture_where_patches_are_alike() -> None:
    """Every patch is the same, so that what is lent is what was taken out."""
    model = small("mum_vitb16")
    images = torch.rand(1, 1, 3, 4, 4).repeat(1, 2, 1, 3, 4)
    mask = equal_masks(1, [9, 9], (3, 4))
    prediction = model(images, mask)
    prediction.pixels = model.targets(images)
    colours = model.colours(prediction, images, mask).unflatten(-1, (3, 4, 4))
    torch.testing.assert_close(colours, images[:, :, None, :, :4, :4].expand_as(colours), atol=1e-4, rtol=1e-4)
