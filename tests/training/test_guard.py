"""A loss or gradient that is not finite stops the run before the weights are harmed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import ONE, VARIED, losses, pretraining, same_bits, spoil, state, train
from torch import nn

from muskie.training.guard import FiniteGuard, NonFiniteLoss, check_scale
from muskie.training.optim import gradient_norm
from muskie.training.pretrain import Pretraining


@pytest.fixture(scope="module")
def good(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a fault, with the checkpoint of every step."""
    folder = tmp_path_factory.mktemp("good")
    train([*tiny, *VARIED, "trainer.save_every=1", "trainer.keep_every=1", f"output_dir={folder}"])
    return folder


def overflow(run: Pretraining, step: int) -> None:
    """One gradient of a step becomes infinite, while its loss is finite."""
    prepare, now = run.task.prepare, [0]
    weight = run.model.head.weight

    def noting(views, at, group):  # type: ignore[no-untyped-def]
        now[0] = at + 1
        return prepare(views, at, group)

    run.task.prepare = noting  # type: ignore[method-assign]
    weight.register_hook(lambda gradient: gradient * (torch.inf if now[0] == step else 1))


@pytest.mark.parametrize("log_every", [1, 3, 8])
@pytest.mark.parametrize(("break_", "what"), [(spoil, "loss"), (overflow, "gradient")])
def test_stops_with_the_weights_of_before(
    break_, what: str, log_every: int, good: Path, tiny: list[str], tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    run = pretraining([*tiny, *VARIED, f"trainer.log_every={log_every}", f"output_dir={tmp_path}"])
    break_(run, 5)
    with pytest.raises(NonFiniteLoss, match=rf"^step 5: the {what} is not finite; scenes: .*folder/scene\d") as raised:
        run.run()
    assert "The weights are left as they were after step 4" in str(raised.value)
    assert "optim.lr" in str(raised.value)
    assert same_bits(dict(run.model.state_dict()), state(good / "checkpoints" / "step-00000004.pt")["model"])
    assert not (tmp_path / "checkpoints").exists()


def test_names_the_one_scene(tiny: list[str], tmp_path: Path) -> None:
    run = pretraining([*tiny, f"output_dir={tmp_path}", "trainer.batch_size=8"])
    places: list[str] = []
    prepare = run.task.prepare
    run.task.prepare = lambda *a: [batch := prepare(*a), places.append(batch.places[0])][0]  # type: ignore
    spoil(run, 2)
    with pytest.raises(NonFiniteLoss) as raised:
        run.run()
    assert f"scenes: {places[1]}. The weights" in str(raised.value)


def test_nothing_is_saved_after_it(good: Path, tiny: list[str], tmp_path: Path) -> None:
    """A checkpoint that is due looks first."""
    run = pretraining([*tiny, *VARIED, "trainer.log_every=100", "trainer.save_every=2", f"output_dir={tmp_path}"])
    spoil(run, 3)
    with pytest.raises(NonFiniteLoss):
        run.run()
    saved = state(tmp_path)
    assert saved["step"] == 2
    assert same_bits(saved["model"], state(good / "checkpoints" / "step-00000002.pt")["model"])
    assert losses(tmp_path) == pytest.approx([sum(losses(good)[:2]) / 2])


class Halves:
    """A layer trained as fp16 trains, with a scaler and a guard."""

    def __init__(self) -> None:
        self.layer = nn.Linear(2, 1, bias=False)
        nn.init.ones_(self.layer.weight)
        self.optimizer = torch.optim.AdamW(self.layer.parameters(), lr=0.1, fused=True)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        self.guard, self.steps = FiniteGuard(ONE, 10), 0

    def step(self, factor: float = 1.0, gradient: float = 1.0) -> torch.Tensor:
        loss = (self.layer(torch.ones(1, 2)) * factor).sum()
        handle = self.layer.weight.register_hook(lambda g: g * gradient)
        self.scaler.scale(loss).backward()
        handle.remove()
        self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.layer)
        self.guard.note(loss, loss[None], ["somewhere"])
        self.steps += 1
        self.guard.step(self.optimizer, norm, self.steps, 1.0, overflow_allowed=True)
        self.scaler.update()
        self.optimizer.zero_grad()
        return self.layer.weight.detach().clone()


def test_a_scaled_gradient_may_overflow() -> None:
    """The step is left out and the scale halved, as torch's own scaler does; the run goes on."""
    halves = Halves()
    first = halves.step()
    assert torch.equal(halves.step(gradient=torch.inf), first)
    assert halves.scaler.get_scale() == 2.0
    halves.guard.check()
    assert not torch.equal(halves.step(), first)


def test_overflow_at_every_scale_stops_the_run() -> None:
    halves = Halves()
    halves.step()
    for _ in range(2):
        halves.step(gradient=torch.inf)
        check_scale(halves.scaler, halves.steps)
    weight = halves.step(gradient=torch.inf)
    with pytest.raises(NonFiniteLoss, match=r"^step 4: gradients overflow fp16 .*now 0\.5.* use trainer.precision=bf16"):
        check_scale(halves.scaler, halves.steps)
    assert torch.equal(halves.layer.weight, weight)


def test_a_bad_loss_stops_a_scaled_run_for_good() -> None:
    halves = Halves()
    first = halves.step()
    assert torch.equal(halves.step(factor=torch.nan), first)
    assert torch.equal(halves.step(), first)
    with pytest.raises(NonFiniteLoss, match="step 2: the loss is not finite; scenes: somewhere"):
        halves.guard.check()
