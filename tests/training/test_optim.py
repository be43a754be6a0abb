"""The optimiser's groups, the learning rate in closed form, and gradient clipping."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny import ONE, metrics, pretraining, same_bits, state, train
from torch import nn

from muskie.errors import ConfigError
from muskie.training.guard import FiniteGuard
from muskie.training.optim import OptimConfig, build_optimizer, gradient_norm, restore_optimizer
from muskie.training.trainer_config import TrainerConfig


def test_decay_on_linear_and_convolution_weights_alone(tiny: list[str]) -> None:
    model = pretraining([*tiny, "model.decoder.depth=1", "model.decoder.width=16", "model.decoder.heads=2"]).model
    optimizer = build_optimizer(model, OptimConfig(weight_decay=0.05))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: decay.pop(id(p)) for name, p in model.named_parameters()}
    assert not decay
    decayed = sorted(name for name, value in named.items() if value)
    expected = [name for name in named if name.endswith("weight") and "norm" not in name]
    assert decayed == sorted(expected) and set(named.values()) == {0.0, 0.05}
    assert not {"encoder.registers", "encoder.placeholder", "head.bias"} & set(decayed)


def test_decay_pulls_matrices_alone() -> None:
    """With a gradient of zero, AdamW multiplies by 1 - lr · decay and nothing else happens."""
    layer = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.ConvTranspose2d(1, 1, 2))
    before = [p.detach().clone() for p in layer.parameters()]
    optimizer = build_optimizer(layer, OptimConfig(lr=0.5, weight_decay=0.1))
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for old, new in zip(before, layer.parameters(), strict=True):
        assert torch.allclose(new, old * (0.95 if old.ndim > 1 else 1.0))


def test_rate_in_closed_form() -> None:
    config = OptimConfig(lr=0.8, min_lr=0.2)
    rates = [config.rate(step, 13, 3, global_batch=8) for step in range(13)]
    assert rates[:3] == pytest.approx([0.2, 0.4, 0.6])
    assert rates[3] == pytest.approx(0.8)
    for step in range(3, 13):
        assert rates[step] == pytest.approx(0.2 + 0.6 * 0.5 * (1 + math.cos(math.pi * (step - 3) / 10)))


def test_the_base_rate_grows_with_the_global_batch() -> None:
    config = OptimConfig(base_lr=1e-3)
    assert config.rate(0, 10, 0, global_batch=512) == pytest.approx(2e-3)
    assert OptimConfig(lr=5e-4, base_lr=1e-3).rate(0, 10, 0, global_batch=512) == pytest.approx(5e-4)


def test_the_rate_that_is_logged_is_the_one_that_was_used(tiny: list[str], tmp_path: Path) -> None:
    run = pretraining(
        [*tiny, "optim.lr=null", "optim.base_lr=0.128", "optim.warmup=0.25", "trainer.steps=8", "trainer.accumulate=3",
         f"output_dir={tmp_path}"]
    )  # fmt: skip
    run.run()
    peak = 0.128 * 6 / 256
    expected = [peak / 3, peak * 2 / 3] + [peak * 0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert [line["train/lr"] for line in metrics(tmp_path)] == pytest.approx(expected, rel=1e-6)
    assert state(tmp_path)["optimizer"]["param_groups"][0]["lr"] == pytest.approx(expected[-1])


def test_warm_up_in_epochs(tiny: list[str], tmp_path: Path) -> None:
    """A load of 2 scenes serves 2 steps: 10 scenes are 10 steps."""
    epochs = ["trainer.steps=null", "trainer.epochs=1.2", "trainer.epoch_size=10", "optim.warmup_epochs=0.3", "plan.reuse=2"]
    train([*tiny, *epochs, "optim.lr=1e-3", f"output_dir={tmp_path}"])
    rates = [line["train/lr"] for line in metrics(tmp_path)]
    assert len(rates) == 12
    assert rates[:4] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3])


@pytest.mark.parametrize(
    ("batch", "accumulate", "world", "reuse", "epochs", "steps"),
    [(4, 1, 8, 2, 400, 400 * (100_000 // 32) * 2), (16, 1, 8, 2, 400, 400 * (100_000 // 128) * 2), (3, 2, 1, 1, 0.5, 8333)],
)
def test_steps_of_an_epoch(batch: int, accumulate: int, world: int, reuse: int, epochs: float, steps: int) -> None:
    config = TrainerConfig(epochs=epochs, epoch_size=100_000, batch_size=batch, accumulate=accumulate)
    assert config.total_steps(world, reuse) == steps
    assert config.steps_per_epoch(world, reuse) == 100_000 // (batch * accumulate * world) * reuse


def test_steps_go_before_epochs() -> None:
    assert TrainerConfig(steps=7, epochs=3).total_steps(1, 1) == 7
    assert TrainerConfig(epoch_size=10, batch_size=2).total_steps(1, 1) == 5


def test_clipping(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the optimiser's kernel makes of the gradient has the norm that is allowed; what is logged is the norm before."""
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW) -> None:
        step(optimizer)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        seen.append(torch.cat([g.flatten() for g in gradients if g is not None]).norm().item())

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train([*tiny, "optim.clip=0.25", f"output_dir={tmp_path / 'clipped'}"])
    clipped = [line["train/grad_norm"] for line in metrics(tmp_path / "clipped")]
    assert min(clipped) > 1 and seen == pytest.approx([0.25] * 4, rel=1e-3)
    seen.clear()
    train([*tiny, "optim.clip=0", f"output_dir={tmp_path / 'free'}"])
    assert seen == pytest.approx([line["train/grad_norm"] for line in metrics(tmp_path / "free")], rel=1e-5)


def test_clipping_is_a_smaller_gradient() -> None:
    """A step with a gradient above the limit is AdamW's with the gradient scaled down before; below it, AdamW's own."""
    for clip, scale in ((0.5, 0.1), (8.0, 1.0), (0.0, 1.0)):
        ours, plain = nn.Linear(3, 2), nn.Linear(3, 2)
        plain.load_state_dict(ours.state_dict())
        gradient = torch.tensor([[3.0, 0, 0], [0, 0, 4.0]])  # norm 5
        ours.weight.grad, plain.weight.grad = gradient.clone(), gradient * scale
        guard = FiniteGuard(ONE, 1)
        guard.note(torch.zeros(()), torch.zeros(1), [""])
        guard.step(torch.optim.AdamW(ours.parameters(), eps=1.0, fused=True), gradient_norm(ours), 1, clip)
        torch.optim.AdamW(plain.parameters(), eps=1.0).step()
        torch.testing.assert_close(ours.weight, plain.weight, rtol=1e-6, atol=0)


def test_a_restored_optimiser_keeps_the_settings_of_now() -> None:
    layer = nn.Linear(2, 2)
    old = build_optimizer(layer, OptimConfig(weight_decay=0.1, beta2=0.9))
    layer(torch.ones(1, 2)).sum().backward()
    old.step()
    new = build_optimizer(layer, OptimConfig(weight_decay=0.3, beta2=0.99))
    restore_optimizer(new, old.state_dict())
    assert [(g["weight_decay"], g["betas"][1]) for g in new.param_groups] == [(0.3, 0.99), (0.0, 0.99)]
    assert same_bits(dict(new.state[layer.weight]), dict(old.state[layer.weight]))


def test_settings_out_of_range_are_named_together() -> None:
    with pytest.raises(ConfigError) as raised:
        OptimConfig(lr=0.0, base_lr=-1, warmup=1.0, warmup_epochs=-1, weight_decay=math.nan, beta1=1.0, clip=-1)
    named = [line.split("=")[0] for line in str(raised.value).splitlines()]
    assert named == [f"optim.{n}" for n in ("lr", "base_lr", "warmup", "warmup_epochs", "weight_decay", "beta1", "clip")]
    with pytest.raises(ConfigError) as raised:
        TrainerConfig(steps=0, batch_size=0, workers=-1, precision="bf17")
    assert "trainer.batch_size=0: expected at least 1" in str(raised.value)
    assert "did you mean 'bf16'" in str(raised.value) and len(str(raised.value).splitlines()) == 4


def test_a_rate_that_ends_above_its_peak() -> None:
    with pytest.raises(ConfigError, match=r"optim\.min_lr=5: expected at most optim\.lr=0\.1"):
        OptimConfig(lr=0.1, min_lr=5)
