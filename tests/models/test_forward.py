"""What the model must do, whatever its weights: orders, batches, masks, and images of any kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import muskie
from muskie.models.masked_view import MaskedViewModel

KINDS: list[dict[str, Any]] = [
    {},
    {"decoder": {"depth": 1, "width": 32, "heads": 2}},
    {"qk_norm": True, "rotate_values": True, "init": "mimetic"},
]
SWEEP = pytest.mark.parametrize("kind", KINDS, ids=["plain", "decoder", "options"])


def tiny(**overrides: Any) -> MaskedViewModel:
    settings = {"depth": 2, "width": 48, "heads": 2, "patch_size": 4, **overrides}
    model = muskie.create_model("muskie_tiny", **settings).eval()
    with torch.no_grad():
        model.encoder.placeholder.normal_()  # it starts at zero; a trained one does not stay there
    return model


def scenes(b: int = 2, v: int = 3, h: int = 2, w: int = 5, p: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(b, v, 3, h * p, w * p), torch.rand(b, v, h, w) < 0.5


@SWEEP
@torch.no_grad()
def test_views_have_no_order(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    images, mask = scenes(v=4)
    order = torch.tensor([2, 0, 3, 1])
    a, b = model(images, mask), model(images[:, order], mask[:, order])
    torch.testing.assert_close(a.pixels[:, order], b.pixels, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(a.confidence[:, order], b.confidence, atol=1e-5, rtol=1e-5)
    c, d = model.forward_features(images, mask), model.forward_features(images[:, order], mask[:, order])
    torch.testing.assert_close(c.patches[:, order], d.patches, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(c.registers[:, order], d.registers, atol=1e-5, rtol=1e-5)


@SWEEP
@torch.no_grad()
def test_views_know_of_each_other_and_scenes_do_not(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    images, mask = scenes(b=3)
    whole = model(images, mask).pixels
    for i in range(3):
        torch.testing.assert_close(model(images[i : i + 1], mask[i : i + 1]).pixels[0], whole[i], atol=1e-5, rtol=1e-5)
    other = images.clone()
    other[0, 1] = torch.rand_like(other[0, 1])
    changed = (model(other, mask).pixels - whole).abs().amax((2, 3))  # [B, V]
    assert (changed[0] > 1e-5).all() and (changed[1:] == 0).all()


@SWEEP
@torch.no_grad()
def test_hidden_pixels_are_hidden(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    images, mask = scenes()
    mask[0, 0], mask[0, 1] = True, False
    covered = mask.repeat_interleave(4, 2).repeat_interleave(4, 3).unsqueeze(2)
    a = model(images, mask)
    b = model(torch.where(covered, torch.rand_like(images), images), mask)
    assert torch.equal(a.pixels, b.pixels) and torch.equal(a.confidence, b.confidence)
    c = model(torch.where(covered, images, torch.rand_like(images)), mask)
    assert (a.pixels - c.pixels).abs().max() > 1e-5
    assert not torch.equal(model.forward_features(images, mask).patches, model.forward_features(images).patches)


@SWEEP
@torch.no_grad()
def test_hidden_only_is_the_dense_prediction_at_the_hidden_places(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    images, mask = scenes()
    dense, sparse = model(images, mask), model(images, mask, hidden_only=True)
    assert dense.hidden is None and sparse.hidden is not None
    assert sparse.hidden.dtype == torch.int64 and torch.equal(sparse.hidden, mask.flatten().nonzero()[:, 0])
    torch.testing.assert_close(sparse.pixels, dense.pixels[mask.flatten(2)])
    torch.testing.assert_close(sparse.confidence, dense.confidence[mask.flatten(2)])
    assert torch.equal(model.targets(images, sparse.hidden), model.targets(images)[mask.flatten(2)])


@pytest.mark.parametrize("v", [1, 2, 5])
@pytest.mark.parametrize("grid", [(2, 3), (3, 1), (1, 1)], ids=str)
@torch.no_grad()
def test_shapes(v: int, grid: tuple[int, int]) -> None:
    model = tiny()
    images, mask = scenes(2, v, *grid)
    prediction, features = model(images, mask), model.forward_features(images)
    assert prediction.pixels.shape == prediction.confidence.shape == (2, v, grid[0] * grid[1], 48)
    assert features.patches.shape == (2, v, grid[0] * grid[1], 48) and features.registers.shape == (2, v, 4, 48)
    assert prediction.pixels.dtype == torch.float32 and 0 < prediction.confidence.min() <= prediction.confidence.max() < 1
    pixels, confidence = model.reconstruct(images, mask)
    assert pixels.shape == confidence.shape == images.shape and 0 <= pixels.min() <= pixels.max() <= 1


@torch.no_grad()
def test_bytes_and_floats_are_the_same_image() -> None:
    model = tiny(image_mean=(0.1, 0.2, 0.3), image_std=(0.4, 0.5, 0.6))
    images = torch.randint(0, 256, (1, 2, 3, 8, 8), dtype=torch.uint8)
    a = model.forward_features(images).patches
    torch.testing.assert_close(model.forward_features(images / 255).patches, a)
    torch.testing.assert_close(model.forward_features((images / 255).double()).patches, a)
    torch.testing.assert_close(model.forward_features((images / 255).half()).patches, a, atol=0.05, rtol=0)
    expected = (images[0, 0, 2, 4, 1] / 255 - 0.3) / 0.6
    torch.testing.assert_close(model.targets(images)[0, 0, 2, 2 * 16 + 1], expected)


@SWEEP
@torch.no_grad()
def test_bfloat16(kind: dict[str, Any]) -> None:
    model = tiny(**kind)
    images, mask = scenes()
    exact = model(images, mask).pixels
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(images, mask)
    assert rounded.pixels.dtype == rounded.confidence.dtype == torch.float32
    torch.testing.assert_close(rounded.pixels, exact, atol=0.05, rtol=0.05)
    cast = model.bfloat16()(images, mask)
    torch.testing.assert_close(cast.pixels, exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((2, 3, 8, 8), torch.uint8, r"\(2, 3, 8, 8\); expected \[B, V, 3, H, W\].*V = 1"),
        ((1, 1, 8, 8, 3), torch.uint8, r"expected \[B, V, 3, H, W\]"),
        ((0, 1, 3, 8, 8), torch.uint8, r"\(0, 1, 3, 8, 8\); expected \[B, V, 3, H, W\]"),
        ((1, 0, 3, 8, 8), torch.uint8, r"\(1, 0, 3, 8, 8\); expected \[B, V, 3, H, W\]"),
        ((1, 1, 3, 8, 8), torch.int64, r"int64; expected uint8"),
        ((1, 1, 3, 10, 13), torch.uint8, r"10x13 pixels.*4x4 patches; crop to 8x12 or resize to 12x16"),
        ((1, 1, 3, 3, 8), torch.uint8, r"3x8 pixels.*4x8"),
        ((1, 1, 3, 0, 8), torch.uint8, r"0x8 pixels.*resize to 4x8"),
    ],
)
def test_bad_images_are_refused_in_words(shape: tuple[int, ...], dtype: torch.dtype, words: str) -> None:
    model = tiny(depth=1)
    images = torch.zeros(shape, dtype=dtype)
    for call in (model.forward_features, model.get_intermediate_layers, lambda x: model(x, torch.zeros(1, 1, 2, 2) > 0)):
        with pytest.raises(ValueError, match=words):
            call(images)


@pytest.mark.parametrize(
    "mask", [torch.zeros(2, 3, 2, 5), torch.zeros(2, 3, 10) > 0, torch.zeros(2, 3, 5, 2) > 0, torch.zeros(1, 3, 2, 5) > 0]
)
def test_bad_masks_are_refused_in_words(mask: torch.Tensor) -> None:
    model = tiny(depth=1)
    for call in (model, model.forward_features):
        with pytest.raises(ValueError, match=r"expected torch.bool \(2, 3, 2, 5\), True = hidden"):
            call(scenes()[0], mask)


def test_features_can_be_exported() -> None:
    """The checks of the input ask nothing of its values."""
    model = tiny(depth=1).eval()
    images, _ = scenes()

    class Patches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model.forward_features(x).patches

    exported = torch.export.export(Patches(), (images,)).module()
    torch.testing.assert_close(exported(images), model.forward_features(images).patches)


def test_arrays_are_refused_in_words() -> None:
    images, mask = scenes()
    with pytest.raises(TypeError, match=r"images are ndarray; expected a tensor, e\.g\. torch\.as_tensor\(images\)"):
        tiny(depth=1).forward_features(images.numpy())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"mask is ndarray; expected a tensor"):
        tiny(depth=1)(images, mask.numpy())
