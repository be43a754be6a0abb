"""Muon and AdamW as one optimiser: each does its part, and neither does anything where a step must be left out."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import torch
from tiny import same_bits, state, train
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.models.variants import create_model
from muskie.training.muon import MuonAdamW
from muskie.training.optim import OptimConfig, build_optimizer


def parameters(seed: int = 0) -> list[nn.Parameter]:
    """Two matrices and a vector."""
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((4, 6), (6, 4), (5,))]


def optimizer(of: list[nn.Parameter]) -> MuonAdamW:
    return MuonAdamW(
        [{"params": of[:2]}], [{"params": of[2:], "weight_decay": 0.1}], lr=0.1, weight_decay=0.2, betas=(0.9, 0.95)
    )


def give(of: list[nn.Parameter], seed: int, factor: float = 1.0) -> None:
    for parameter, gradient in zip(of, parameters(seed), strict=True):
        parameter.grad = gradient.detach() * factor


def bits(of: list[nn.Parameter], ours: MuonAdamW) -> dict[str, Tensor]:
    moments = {f"{i}.{k}": v for i, p in enumerate(of) for k, v in ours.state[p].items()}
    return {k: v.detach().clone() for k, v in {**{str(i): p for i, p in enumerate(of)}, **moments}.items()}


def test_is_the_two_of_them() -> None:
    ours, theirs = parameters(), parameters()
    both = optimizer(ours)
    muon = torch.optim.Muon(theirs[:2], lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(theirs[2:], lr=0.1, weight_decay=0.1, betas=(0.9, 0.95))
    for step in range(1, 5):
        give(ours, step)
        give(theirs, step)
        for group in [*both.param_groups, *muon.param_groups, *adamw.param_groups]:
            group["lr"] = 0.1 / step
        both.step()
        muon.step()
        adamw.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_moves_all_directions_alike() -> None:
    """The singular values of an update are alike (0.7 to 1.2 after five iterations), whatever those of the gradient are."""
    matrix = nn.Parameter(torch.zeros(4, 6))
    both = MuonAdamW([{"params": [matrix]}], [{"params": parameters()[2:]}], lr=1.0, weight_decay=0.0, betas=(0.9, 0.95))
    u, _, v = torch.linalg.svd(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    matrix.grad = u @ torch.diag(torch.tensor([10.0, 5.0, 2.0, 1.0])) @ v
    both.step()
    values = torch.linalg.svdvals(matrix.detach()) / (0.2 * 6**0.5)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    torch.testing.assert_close(
        u.T @ -matrix.detach() @ v.T, torch.diag(torch.diag(u.T @ -matrix.detach() @ v.T)), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("factor", [1.0, torch.nan, torch.inf])
@pytest.mark.parametrize("before", [0, 2])
def test_leaves_everything_as_it_is_where_told(factor: float, before: int) -> None:
    ours = parameters()
    both = optimizer(ours)
    for step in range(before):
        give(ours, step + 1)
        both.step()
    untouched = bits(ours, both)
    give(ours, 9, factor)
    both.found_inf = torch.ones(())
    both.step()
    now = bits(ours, both)
    assert all(torch.equal(now[key], value) for key, value in untouched.items())
    both.found_inf = torch.zeros(())
    give(ours, 9)
    both.step()
    assert not any(torch.equal(p, untouched[str(i)]) for i, p in enumerate(ours))


def test_divides_gradients() -> None:
    one, other = parameters(), parameters()
    scaled, plain = optimizer(one), optimizer(other)
    for step in range(1, 4):
        give(one, step, factor=step * 2.0)
        give(other, step)
        scaled.grad_scale = torch.tensor(step * 2.0)
        scaled.step()
        plain.step()
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_saved_state_goes_on() -> None:
    ours = parameters()
    both = optimizer(ours)
    give(ours, 1)
    both.step()
    copied = [nn.Parameter(p.detach().clone()) for p in ours]
    again = optimizer(copied)
    again.load_state_dict(copy.deepcopy(both.state_dict()))
    for of, it in ((ours, both), (copied, again)):
        give(of, 2)
        it.step()
    assert same_bits(bits(ours, both), bits(copied, again))


def test_who_takes_what() -> None:
    model = create_model("muskie_tiny", depth=1, decoder={"depth": 1, "width": 32, "heads": 2})
    both = build_optimizer(model, OptimConfig(name="muon", weight_decay=0.3))
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [[names[p] for p in group["params"]] for group in both.param_groups]
    assert sorted(name for group in groups for name in group) == sorted(names.values())
    ends = ("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight")
    assert len(groups[0]) == 16 and all(".blocks." in name and name.endswith(ends) for name in groups[0])
    assert set(groups[1]) == {"encoder.patch_embed.weight", "decoder.embed.weight", "head.weight"}
    assert [group["weight_decay"] for group in both.param_groups] == [0.3, 0.3, 0.0]


def test_a_model_without_blocks() -> None:
    with pytest.raises(ConfigError, match=r"optim\.name=muon: this model has no transformer blocks"):
        build_optimizer(nn.Linear(2, 2), OptimConfig(name="muon"))


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"optim\.name='muno' is unknown; did you mean 'muon'"):
        OptimConfig(name="muno")


def test_a_run_stopped_and_continued(tiny: list[str], tmp_path: Path) -> None:
    command = [
        *(word for word in tiny if "optim.name" not in word),
        "optim.name=muon",
        "trainer.steps=5",
        "trainer.save_every=2",
        "trainer.keep_every=2",
    ]
    train([*command, f"output_dir={tmp_path / 'whole'}"])
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(tmp_path / "whole" / "checkpoints" / "step-00000002.pt", tmp_path / "run" / "checkpoints")
    train([*command, f"output_dir={tmp_path / 'run'}"])
    assert same_bits(state(tmp_path / "run")["model"], state(tmp_path / "whole")["model"])
