"""Initial weights, gradients, and recomputed activations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import muskie
from muskie.models import blocks
from muskie.models.initialise import initialise
from muskie.models.masked_view import MaskedViewModel
from muskie.objectives.pixels import MaskedPixels

INITS = pytest.mark.parametrize("init", ["torch", "mimetic"])
SIZE = {"depth": 2, "width": 48, "heads": 2, "patch_size": 4}
DECODER = {"depth": 2, "width": 32, "heads": 2}


def loss_of(model: MaskedViewModel, objective: MaskedPixels) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 3, 8, 12, generator=generator)
    mask = torch.rand(2, 3, 2, 3, generator=generator) < 0.6
    prediction = model(images, mask, hidden_only=True)
    assert prediction.hidden is not None
    target = model.targets(images, prediction.hidden)
    return objective(prediction.pixels, prediction.confidence, target, prediction.hidden, mask).loss


def gradients(model: MaskedViewModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@INITS
@pytest.mark.parametrize(
    "options", [{}, {"qk_norm": True}, {"rotate_values": True}, {"qk_norm": True, "rotate_values": True}]
)
@pytest.mark.parametrize("depth", [0, 2])
def test_every_parameter_gets_a_gradient(depth: int, options: dict[str, Any], init: str) -> None:
    """Distributed training runs with `find_unused_parameters=False`."""
    decoder = {**DECODER, **options, "depth": depth}
    model = muskie.create_model("muskie_tiny", **SIZE, **options, decoder=decoder, init=init)
    loss_of(model, MaskedPixels()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, f"the gradient of {name} is empty"


def test_without_confidence_the_head_still_gets_a_gradient() -> None:
    model = muskie.create_model("muskie_tiny", **SIZE)
    loss_of(model, MaskedPixels(confidence=False)).backward()
    assert gradients(model).keys() == dict(model.named_parameters()).keys()
    pixels, confidence = gradients(model)["head.weight"].chunk(2)
    assert pixels.abs().sum() > 0 and (confidence == 0).all()


@pytest.mark.parametrize("depth", [0, 2])
def test_recomputed_activations_change_nothing(monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    model = muskie.create_model("muskie_tiny", **SIZE, decoder={**DECODER, "depth": depth})
    loss = loss_of(model, MaskedPixels())
    loss.backward()
    expected = gradients(model)
    model.zero_grad()
    calls, checkpoint = [], blocks.checkpoint
    monkeypatch.setattr(blocks, "checkpoint", lambda *a, **k: calls.append(1) or checkpoint(*a, **k))
    model.set_checkpointing(True)
    again = loss_of(model, MaskedPixels())
    again.backward()
    assert len(calls) == 2 + depth and torch.equal(loss, again)
    torch.testing.assert_close(gradients(model), expected)
    loss_of(model.eval(), MaskedPixels())
    model.train().set_checkpointing(False)
    loss_of(model, MaskedPixels())
    assert len(calls) == 2 + depth


@INITS
def test_the_seed_alone_decides_the_weights(init: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = muskie.create_model("muskie_tiny", **SIZE, decoder=DECODER, init=init, seed=5).state_dict()
    assert torch.equal(before, torch.get_rng_state()), "the global generator belongs to the caller"
    torch.manual_seed(2)
    second = muskie.create_model("muskie_tiny", **SIZE, decoder=DECODER, init=init, seed=5).state_dict()
    other = muskie.create_model("muskie_tiny", **SIZE, decoder=DECODER, init=init, seed=6).state_dict()
    for name, weight in first.items():
        assert weight.isfinite().all() and torch.equal(weight, second[name]), name
    drawn = {name for name, weight in first.items() if not torch.equal(weight, other[name])}
    constant = {name for name in first if "norm" in name or name == "encoder.placeholder"}
    if init == "mimetic":
        constant |= {name for name in first if name.endswith("qkv.bias")}
    assert drawn == first.keys() - constant


def test_initial_distributions_are_the_published_ones() -> None:
    model = muskie.create_model("muskie_tiny", depth=1)
    state = model.state_dict()
    for name, fan_in in [("encoder.blocks.0.frame_block.attn.qkv", 192), ("encoder.patch_embed", 192), ("head", 192)]:
        for kind in ("weight", "bias"):
            values, bound = state[f"{name}.{kind}"], fan_in**-0.5  # PyTorch's default: uniform up to 1/√fan_in
            assert values.abs().max() <= bound and values.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)
    assert state["encoder.registers"].std().item() == pytest.approx(1, rel=0.1)
    assert (state["encoder.placeholder"] == 0).all()
    assert (state["encoder.norm.weight"] == 1).all() and (state["encoder.norm.bias"] == 0).all()


def test_mimetic_queries_and_keys_are_alike() -> None:
    def likeness(init: str) -> float:
        qkv = muskie.create_model("muskie_tiny", depth=1, init=init).encoder.blocks[0].global_block.attn.qkv.weight
        q, k, _ = qkv.chunk(3)
        return torch.nn.functional.cosine_similarity(q.flatten(), k.flatten(), dim=0).item()

    assert likeness("mimetic") == pytest.approx(0.7, abs=0.05) and abs(likeness("torch")) < 0.05


def test_a_forgotten_parameter_is_loud() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.PReLU())
    with pytest.raises(RuntimeError, match=r"without an initial value: 1\.weight"):
        initialise(model)
