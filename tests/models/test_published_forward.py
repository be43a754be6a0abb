"""The model against an independent account of the published one, from published weights to predicted pixels."""

from __future__ import annotations

import pytest
import torch
from reference import official_state, scene

from muskie.models.convert import convert
from muskie.models.patches import unpatchify

SHAPES = [(2, 1, 2, 3), (2, 2, 3, 2), (1, 4, 1, 3), (1, 2, 4, 1)]  # scenes, views, patch rows, patch columns


@pytest.mark.parametrize("flat", [False, True], ids=["blocks", "flat"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_forward_pass_is_the_published_one(shape: tuple[int, int, int, int], flat: bool) -> None:
    b, v, h, w = shape
    heads, fp16 = (3, True) if flat else (2, False)
    state = official_state(width=24, depth=2, flat=flat, seed=sum(shape))
    model, report = convert(state, heads=heads, exact_rope=not fp16)
    report.check("state")
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(b, v, 3, 16 * h, 16 * w, generator=generator)
    mask = torch.rand(b, v, h, w, generator=generator) < 0.6
    with torch.no_grad():
        prediction = model(images, mask)
        blocks = model.get_intermediate_layers(images, [0, 1], norm=False)
    for i in range(b):
        pixels, confidence, _ = scene(state, images[i], mask[i], heads, flat, fp16)
        torch.testing.assert_close(prediction.pixels[i].double(), pixels, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(prediction.confidence[i].double(), confidence, atol=1e-5, rtol=1e-5)
    _, _, outputs = scene(state, images[0], torch.zeros_like(mask[0]), heads, flat, fp16)
    for ours, theirs in zip(blocks, outputs, strict=True):
        torch.testing.assert_close(ours[0].double(), theirs, atol=1e-5, rtol=1e-5)


def test_every_number_of_the_reference_matters() -> None:
    """A reference that ignored a weight would prove nothing about it."""
    state = official_state(width=8, depth=1)
    images, mask = torch.rand(2, 3, 16, 32), torch.tensor([[[True, False]], [[False, False]]])
    pixels, confidence, _ = scene(state, images, mask, heads=2, flat=False, fp16=False)
    for name in state:
        other = dict(state)
        other[name] = state[name] + 0.1 * torch.randn(state[name].shape)
        changed = scene(other, images, mask, heads=2, flat=False, fp16=False)
        assert (changed[0] - pixels).abs().max() + (changed[1] - confidence).abs().max() > 1e-4, name


def test_rounded_angles_change_the_prediction_and_exact_ones_do_not() -> None:
    state = official_state(width=24, depth=1)
    images, mask = torch.rand(1, 1, 3, 16, 320), torch.zeros(1, 1, 1, 20, dtype=torch.bool)
    rounded, exact = convert(state, heads=2)[0], convert(state, heads=2, exact_rope=True)[0]
    with torch.no_grad():
        difference = (rounded(images, mask).pixels - exact(images, mask).pixels).abs().max()
    assert 1e-5 < difference < 0.1


def test_patch_values_are_channel_major_rows_of_pixels() -> None:
    h, w, p = 2, 3, 16
    model = convert(official_state(width=8, depth=1), heads=2)[0]
    images = torch.rand(1, 2, 3, h * p, w * p)
    targets = model.targets(images)
    back = unpatchify(targets, (h, w))
    for c, y, x, dy, dx in [(0, 0, 0, 0, 0), (1, 0, 2, 3, 5), (2, 1, 1, 15, 0), (2, 1, 2, 7, 15)]:
        value = targets[0, 1, y * w + x, c * 256 + dy * 16 + dx]
        assert value == (images[0, 1, c, y * p + dy, x * p + dx] - 0.5) / 0.5 == back[0, 1, c, y * p + dy, x * p + dx]


def test_the_head_gives_pixels_first_and_confidence_second() -> None:
    state = official_state(width=8, depth=1)
    state["decoder_pred.weight"].zero_()
    state["decoder_pred.bias"] = torch.arange(1536.0) / 100 - 8
    model = convert(state, heads=2)[0]
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    prediction = model(torch.rand(1, 1, 3, 16, 16), mask)
    torch.testing.assert_close(prediction.pixels[0, 0, 0], state["decoder_pred.bias"][:768])
    torch.testing.assert_close(prediction.confidence[0, 0, 0], state["decoder_pred.bias"][768:].sigmoid())
