"""The masked-pixel objective against literal evaluations, and what its forms promise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import muskie
from muskie.errors import ConfigError
from muskie.objectives.loss import Loss
from muskie.objectives.pixels import MaskedPixels

Array = NDArray[np.float64]
B, V, H, W, D = 3, 2, 2, 3, 12  # scenes, views, patch rows and columns, values of a patch (p = 2)
FORMS = pytest.mark.parametrize("published", [False, True], ids=["corrected", "published"])
ALL_FORMS = [
    MaskedPixels(),
    MaskedPixels(published=True),
    MaskedPixels(colour=0.2),
    MaskedPixels(confidence=False),
    MaskedPixels(confidence=False, published=True),
]


def dense(b: int = B) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, confidence and target of every patch, [B, V, L, D]."""
    torch.manual_seed(0)
    prediction, confidence, target = torch.randn(3, b, V, H * W, D)
    return prediction, confidence.sigmoid(), target


def masks(*hidden: int) -> Tensor:
    """One scene for each number, with so many hidden patches at random places."""
    torch.manual_seed(1)
    order = torch.rand(len(hidden), V * H * W).argsort(1).argsort(1)
    return (order < torch.tensor(hidden)[:, None]).reshape(-1, V, H, W)


def evaluate(objective: MaskedPixels, mask: Tensor, values: tuple[Tensor, Tensor, Tensor]) -> Loss:
    hidden = mask.flatten().nonzero().squeeze(1)
    prediction, confidence, target = (x.flatten(0, 2)[hidden] for x in values)
    return objective(prediction, confidence, target, hidden, mask)


def literal(values: tuple[Tensor, Tensor, Tensor], mask: Tensor) -> tuple[Array, Array, Array]:
    """Cost l, price r and mask m of every patch [B, V, L], by the published formulas."""
    prediction, confidence, target = (x.double().numpy() for x in values)
    error = (prediction - target) ** 2
    return ((confidence + 0.1) * error).mean(-1), (-np.log(confidence + 1e-6)).mean(-1), mask.flatten(2).double().numpy()


def test_published_form() -> None:
    """Main = Σ l·m / Σ m over everything; the price is averaged over all patches, hidden or not."""
    values, mask = dense(), masks(3, 7, 12)
    cost, price, m = literal(values, mask)
    expected = (cost * m).sum() / m.sum() + 0.1 * (price * m).mean()
    result = evaluate(MaskedPixels(published=True), mask, values)
    assert result.loss.item() == pytest.approx(expected, rel=1e-6)
    assert result.scalars["confidence_price"].item() == pytest.approx((price * m).mean(), rel=1e-6)


def test_corrected_form() -> None:
    """A scene costs the mean over its hidden patches, price included; a batch costs the mean over scenes."""
    values, mask = dense(), masks(3, 7, 12)
    cost, price, m = literal(values, mask)
    scenes = [(cost[b] * m[b]).sum() / m[b].sum() for b in range(B)]
    prices = [(price[b] * m[b]).sum() / m[b].sum() for b in range(B)]
    result = evaluate(MaskedPixels(), mask, values)
    assert result.loss.item() == pytest.approx(np.mean(scenes) + 0.1 * np.mean(prices), rel=1e-6)
    np.testing.assert_allclose(result.scenes.numpy(), scenes, rtol=1e-6)
    assert result.scenes.dtype == torch.float32 and not result.scenes.requires_grad
    prediction, confidence, target = (x[mask.flatten(2)] for x in values)
    assert result.scalars["mse"].item() == pytest.approx((prediction - target).square().mean().item(), rel=1e-6)
    assert result.scalars["confidence"].item() == pytest.approx(confidence.mean().item(), rel=1e-6)


@FORMS
def test_settings_are_what_they_say(published: bool) -> None:
    values, mask = dense(), masks(4, 4, 4)
    prediction, confidence, target = (x[mask.flatten(2)] for x in values)
    error = (prediction - target).square()
    plain = evaluate(MaskedPixels(confidence=False, published=published), mask, values)
    assert plain.loss.item() == pytest.approx(error.mean().item(), rel=1e-5) and plain.scalars.keys() == {"mse"}
    free = evaluate(MaskedPixels(floor=0.5, regulariser=0, published=published), mask, values)
    assert free.loss.item() == pytest.approx(((confidence + 0.5) * error).mean().item(), rel=1e-5)


def test_the_price_of_confidence_follows_the_mask_only_in_the_published_form() -> None:
    prediction, _, target = dense()
    values = (prediction, torch.full_like(prediction, 0.5), target)
    for hidden in [(1, 1, 1), (2, 6, 12), (12, 12, 12)]:
        price = evaluate(MaskedPixels(), masks(*hidden), values).scalars["confidence_price"].item()
        assert price == pytest.approx(math.log(2), rel=1e-5)
        price = evaluate(MaskedPixels(published=True), masks(*hidden), values).scalars["confidence_price"].item()
        assert price == pytest.approx(math.log(2) * sum(hidden) / (B * V * H * W), rel=1e-5)


@pytest.mark.parametrize("objective", [MaskedPixels(), MaskedPixels(colour=0.3), MaskedPixels(confidence=False)], ids=repr)
def test_halves_of_a_batch_average_to_the_whole(objective: MaskedPixels) -> None:
    """Ranks and micro-batches change neither loss nor gradient, also where scenes hide different shares, or nothing."""
    mask, images = masks(1, 12, 5, 0), torch.rand(4, V, 3, H * 4, W * 4)
    model = muskie.create_model("muskie_tiny", depth=1, width=24, heads=2, patch_size=4)

    def run(part: slice) -> tuple[float, dict[str, Tensor]]:
        model.zero_grad()
        p = model(images[part], mask[part], hidden_only=True)
        loss = objective(p.pixels, p.confidence, model.targets(images[part], p.hidden), p.hidden, mask[part]).loss
        loss.backward()
        return loss.item(), {name: q.grad.clone() for name, q in model.named_parameters() if q.grad is not None}

    whole, first, second = run(slice(None)), run(slice(0, 2)), run(slice(2, 4))
    assert whole[0] == pytest.approx((first[0] + second[0]) / 2, rel=1e-5)
    for name, gradient in whole[1].items():
        torch.testing.assert_close(gradient, (first[1][name] + second[1][name]) / 2, atol=1e-6, rtol=1e-4)


def test_the_published_form_depends_on_the_split() -> None:
    values, mask, objective = dense(2), masks(1, 12), MaskedPixels(published=True)
    parts = [evaluate(objective, mask[i : i + 1], tuple(x[i : i + 1] for x in values)).loss for i in range(2)]
    assert (evaluate(objective, mask, values).loss - sum(parts) / 2).abs() > 1e-2


def cast(values: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The same with another constant added to every channel of every patch of the prediction."""
    prediction, confidence, target = values
    constant = torch.randn(*prediction.shape[:3], 3, 1).expand(-1, -1, -1, -1, D // 3).flatten(-2)
    return prediction + constant, confidence, target


@FORMS
@pytest.mark.parametrize("confidence", [True, False])
def test_colour(confidence: bool, published: bool) -> None:
    def loss(colour: float, values: tuple[Tensor, Tensor, Tensor]) -> float:
        objective = MaskedPixels(colour=colour, confidence=confidence, published=published)
        return evaluate(objective, mask, values).loss.item()

    mask = masks(3, 7, 12)
    # Equal confidence inside a patch, as only then structure and mean colour add up to the error.
    prediction, c, target = dense()
    values = (prediction, c.mean(-1, keepdim=True).expand_as(c), target)
    assert loss(0, values) == pytest.approx(loss(0, cast(values)), rel=1e-5)
    assert loss(1, values) != pytest.approx(loss(1, cast(values)), rel=1e-2)
    assert loss(1, values) == pytest.approx(loss(1 + 1e-9, values), rel=1e-5), "1 is the plain error, by either way"
    half = (loss(0, values) + loss(1, values)) / 2
    assert loss(0.5, values) == pytest.approx(half, rel=1e-5)


@pytest.mark.parametrize("objective", ALL_FORMS, ids=repr)
@pytest.mark.parametrize("hidden", [(12, 12, 12), (1, 0, 0), (0, 5, 0), (0, 0, 1), (0, 0, 0)], ids=str)
def test_every_mask_gives_a_finite_loss_and_gradient(objective: MaskedPixels, hidden: tuple[int, ...]) -> None:
    prediction, confidence, target = dense()
    logits = torch.where(torch.rand_like(confidence) < 0.5, 200.0, -200.0).requires_grad_()  # confidence of 0 and 1
    prediction.requires_grad_()
    result = evaluate(objective, masks(*hidden), (prediction, logits.sigmoid(), target))
    result.loss.backward()
    assert all(value.isfinite().all() for value in (result.loss, result.scenes, *result.scalars.values()))
    assert prediction.grad is not None and prediction.grad.isfinite().all()
    assert logits.grad is None or logits.grad.isfinite().all()
    assert [scene > 0 for scene in result.scenes.tolist()] == [count > 0 for count in hidden]
    shown = ~masks(*hidden).flatten(2)
    assert (prediction.grad[shown] == 0).all(), "patches that are not hidden cost nothing"


@pytest.mark.parametrize("name", ["floor", "regulariser", "colour"])
def test_negative_weights_are_refused(name: str) -> None:
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ConfigError, match=rf"objective\.{name}={value}: expected 0 or more"):
            MaskedPixels(**{name: value})


@pytest.mark.parametrize("objective", ALL_FORMS, ids=str)
def test_compiled(objective: MaskedPixels) -> None:
    """The same loss and gradient, for several numbers of hidden patches, without compiling anew."""
    torch._dynamo.reset()
    compiled, graphs = dataclasses.replace(objective), CompileCounterWithBackend("aot_eager")
    compiled.compile(backend=graphs)
    compilations = []
    for hidden in ((3, 7, 12), (5, 6, 2), (1, 4, 9)):
        results = []
        for form in (objective, compiled):
            values = dense()
            values[0].requires_grad_()
            result = evaluate(form, masks(*hidden), values)
            result.loss.backward()
            results.append((result.loss.detach(), values[0].grad, result.scenes, result.scalars))
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7)
        compilations.append(graphs.frame_count)
    assert compilations[0] == compilations[-1] > 0
