"""The steps of the loop: what each load serves, what a step adds up, and what it never waits for."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import VARIED, losses, metrics, pretraining, same_bits, state, train
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from muskie.models.blocks import AlternatingBlock
from muskie.training.tasks import MaskedViews
from muskie.training.trainer import Trainer


def test_each_use_of_a_load_is_a_step_with_other_views_and_masks(tiny: list[str], tmp_path: Path) -> None:
    run = pretraining(
        [*tiny, "plan.reuse=3", "trainer.steps=6", "trainer.save_every=1", "trainer.keep_every=1", f"output_dir={tmp_path}"]
    )
    batches: list[MaskedViews] = []
    loss = run.task.loss
    run.task.loss = lambda model, batch, device: (batches.append(batch), loss(model, batch, device))[1]  # type: ignore
    run.run()
    assert len(batches) == 6

    def content(batch: MaskedViews) -> list[bytes]:
        return sorted(view.numpy().tobytes() for view in batch.images.flatten(0, 1))

    loads = [content(batch) for batch in batches]
    assert loads[0] == loads[1] == loads[2] != loads[3] == loads[4] == loads[5]
    for one, other in ((0, 1), (1, 2), (0, 2), (3, 4)):
        assert not torch.equal(batches[one].images, batches[other].images)
        assert not torch.equal(batches[one].mask, batches[other].mask)
    weights = [state(tmp_path / "checkpoints" / f"step-{step:08d}.pt")["model"] for step in range(1, 7)]
    for before, after in pairwise(weights):
        assert not any(torch.equal(before[key], after[key]) for key in before)


def test_two_micro_batches_of_four_are_one_batch_of_eight(tiny: list[str], tmp_path: Path) -> None:
    command = [*tiny, *VARIED]
    train([*command, "trainer.batch_size=4", "trainer.accumulate=2", f"output_dir={tmp_path / 'two'}"])
    train([*command, "trainer.batch_size=8", "trainer.accumulate=1", f"output_dir={tmp_path / 'one'}"])
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-6)
    norms = [[line["train/grad_norm"] for line in metrics(tmp_path / name)] for name in ("two", "one")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    two, one = state(tmp_path / "two")["model"], state(tmp_path / "one")["model"]
    assert max((one[key] - two[key]).abs().max().item() for key in one) < 1e-6


def test_the_graph_of_a_size_is_gone_before_the_next_one_begins(tiny: list[str], tmp_path: Path) -> None:
    run = pretraining([*tiny, *VARIED, "trainer.steps=2", f"output_dir={tmp_path}"])
    kept: weakref.WeakSet[Any] = weakref.WeakSet()
    left: list[int] = []
    most: list[int] = []

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            kept.add(self)

    loss = run.task.loss

    def watched(*arguments: Any) -> Any:
        left.append(len(kept))
        result = loss(*arguments)
        most.append(len(kept))
        return result

    run.task.loss = watched  # type: ignore[method-assign]
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        run.run()
    assert len(left) == 2 * 2 * 2  # steps, sizes, micro-batches
    assert set(left) == {0} and min(most) > 20


class Waits(TorchDispatchMode):
    """Counts the operations whose result the host must wait for."""

    ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "bincount")

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if any(part in name for part in self.ASKING):
            self.seen[name] += 1
        if name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self.seen["index by a mask"] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What `Trainer._step` asks the device for, after the first step."""
    waits, step = Waits(), Trainer._step
    inside = [False]

    def watched(trainer: Trainer, loaded: Any) -> None:
        if trainer.step == 0:  # draws the first batch
            return step(trainer, loaded)
        with waits:
            inside[0] = True
            step(trainer, loaded)
            inside[0] = False

    # Of tensors on the CPU these read memory, without an operation that would be seen above.
    for name in ("tolist", "numpy", "item", "cpu", "__bool__", "__float__", "__int__", "__index__"):
        method = getattr(Tensor, name)

        def noted(tensor: Tensor, *arguments: Any, _name: str = name, _method: Any = method, **others: Any) -> Any:
            if inside[0]:
                waits.seen[_name] += 1
            return _method(tensor, *arguments, **others)

        monkeypatch.setattr(Tensor, name, noted)
    monkeypatch.setattr(Trainer, "_step", watched)
    yield waits.seen


@pytest.mark.parametrize("extra", [[], ["trainer.precision=bf16"], ["trainer.checkpointing=true"]])
def test_a_step_waits_for_nothing(
    extra: list[str], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(monkeypatch) as seen:
        train([*tiny, *VARIED, *extra, "trainer.steps=4", f"output_dir={tmp_path}"])
    # One a batch: the places of the hidden patches, from the mask, which is on the CPU wherever the model is.
    assert seen == {"nonzero": 3 * 2 * 2}


def test_the_watch_sees_who_waits(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretraining([*tiny, "trainer.steps=2", f"output_dir={tmp_path}"])
    loss = run.task.loss

    def waiting(*arguments: Any) -> Any:
        result = loss(*arguments)
        assert result.loss > 0 and result.loss.item() and result.scenes.tolist() and result.scenes[result.scenes > 0].numel()
        return result

    run.task.loss = waiting  # type: ignore[method-assign]
    with counted(monkeypatch) as seen:
        run.run()
    assert all(seen[name] for name in ("__bool__", "item", "tolist", "_local_scalar_dense", "index by a mask"))


def test_half_precision_on_the_cpu(tiny: list[str], tmp_path: Path) -> None:
    train([*tiny, f"output_dir={tmp_path / 'fp32'}"])
    train([*tiny, "trainer.precision=bf16", f"output_dir={tmp_path / 'bf16'}"])
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), rel=2e-2)
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")
    assert {tensor.dtype for tensor in state(tmp_path / "bf16")["model"].values()} == {torch.float32}


def test_recomputing_activations_changes_nothing(tiny: list[str], tmp_path: Path) -> None:
    train([*tiny, f"output_dir={tmp_path / 'kept'}"])
    train([*tiny, "trainer.checkpointing=true", f"output_dir={tmp_path / 'again'}"])
    assert same_bits(state(tmp_path / "kept")["model"], state(tmp_path / "again")["model"])


def test_compiled_blocks(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced, but not handed to a C++ compiler, which takes a minute."""
    compiled: list[nn.Module] = []

    def compile_lightly(block: AlternatingBlock) -> None:
        compiled.append(block)
        nn.Module.compile(block, backend="aot_eager")

    monkeypatch.setattr(AlternatingBlock, "compile", compile_lightly)
    command = [*tiny, "trainer.steps=2"]
    train([*command, "trainer.compile=true", f"output_dir={tmp_path / 'compiled'}"])
    train([*command, f"output_dir={tmp_path / 'eager'}"])
    assert len(compiled) == 1
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), abs=1e-5)
    assert state(tmp_path / "compiled")["model"].keys() == state(tmp_path / "eager")["model"].keys()
