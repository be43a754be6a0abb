"""Linear probes for two-view matching: a grid of them, trained together on the same batches.

A probe is one linear map C -> C with a bias (a 1x1 convolution), the same for both views. Its features are normalised to
length 1 and correlated; the softmax over view 1's patches at a temperature is trained by cross-entropy towards the patch
that truly holds each patch centre of view 0. It starts at the identity, so that an untrained probe is the nearest
neighbour by cosine. Nothing in it is drawn at random.

The protocol is that of MuM (arXiv 2511.17309): 10 learning rates x 3 weight decays, AdamW, rates fall to a tenth after
90 % of the steps, gradients clipped at 0.01 for each probe. Its published code takes the best of the grid, and of 10
evaluations in the course of training, *on the test set*. Here both are chosen on a validation split of the training part,
see `muskie.evaluation.two_view.probe_fitting`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.evaluation.two_view.dense_readout import correlation

RATES = tuple(float(f"{rate:.3g}") for rate in np.logspace(-5, -2, 10))
DECAYS = (1e-2, 1e-3, 5e-2)
DROP = 0.9  # the share of steps after which rates fall to a tenth


@dataclass(frozen=True)
class ProbeConfig:
    """How probes are trained.

    Attributes:
        rates, decays: learning rates and weight decays; there is one probe for each two of them.
        steps: of training.
        step_pairs: pairs of a step.
        clip: the norm that a probe's gradient is cut to.
        checks: how often, evenly over training, all probes are measured on the validation split.
        validation: the share of the training rooms (of pairs, where there is one room) that is chosen on, in (0, 1).
        temperature: that cosines are divided by, of the nearest neighbour's softmax too.
        memory: GiB that the correlations of a step may take; so many probes are computed at once.
        seed: of the order of the pairs and of the split.
    """

    rates: Sequence[float] = RATES
    decays: Sequence[float] = DECAYS
    steps: int = 10_000
    step_pairs: int = 8
    clip: float = 0.01
    checks: int = 10
    validation: float = 0.1
    temperature: float = 0.1
    memory: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        problems = self.problems()
        if problems:
            raise ConfigError("\n".join(f"{self.section()}.{problem}" for problem in problems))

    @classmethod
    def section(cls) -> str:
        """What its settings are called."""
        return "linear_probe"

    def problems(self) -> list[str]:
        """What is out of range, in words."""
        found = []
        if not self.rates or any(not rate > 0 for rate in self.rates):
            found.append(f"rates={list(self.rates)}: expected one or more learning rates above 0")
        if not self.decays or any(not decay >= 0 for decay in self.decays):
            found.append(f"decays={list(self.decays)}: expected one or more weight decays, 0 or more")
        for name in ("steps", "step_pairs", "checks"):
            if getattr(self, name) < 1:
                found.append(f"{name}={getattr(self, name)}: expected at least 1")
        for name in ("clip", "temperature", "memory"):
            if not getattr(self, name) > 0:
                found.append(f"{name}={getattr(self, name)}: expected a number above 0")
        if not 0 < self.validation < 1:
            found.append(f"validation={self.validation}: expected a share in (0, 1)")
        if self.seed < 0:
            found.append(f"seed={self.seed}: expected 0 or more")
        return found


@dataclass(frozen=True)
class Probe:
    """One trained probe.

    Attributes:
        weight, bias: float32 [C, C] and [C].
        rate, decay: what it was trained with.
        step: after how many steps.
        error: its EPE on the validation split in pixels (see `DenseMatchingConfig.scale`).
    """

    weight: Tensor
    bias: Tensor
    rate: float
    decay: float
    step: int
    error: float

    def __call__(self, features: Tensor) -> Tensor:
        """Features [B, C, h, w], mapped; not normalised."""
        return torch.einsum("dc,bchw->bdhw", self.weight, features) + self.bias[:, None, None]

    def __str__(self) -> str:
        return (
            f"learning rate {self.rate:g}, weight decay {self.decay:g}, {self.step} steps; "
            f"{self.error:.2f} px on the validation split"
        )


class ProbeGrid:
    """Probes that are trained together; each as if it were alone.

    Args:
        width: C.
        config: see `ProbeConfig`.
        device: where they are.
    """

    def __init__(self, width: int, config: ProbeConfig, device: torch.device | None = None) -> None:
        self.config = config
        self.settings = [(rate, decay) for rate in config.rates for decay in config.decays]
        self.weights = [nn.Parameter(torch.eye(width, device=device)) for _ in self.settings]
        self.biases = [nn.Parameter(torch.zeros(width, device=device)) for _ in self.settings]
        groups = [
            {"params": [weight, bias], "lr": rate, "weight_decay": decay}
            for weight, bias, (rate, decay) in zip(self.weights, self.biases, self.settings, strict=True)
        ]
        self.optimizer = torch.optim.AdamW(groups)
        # At least one step at the full rate, where there are few in all.
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, [max(round(DROP * config.steps), 1)], 0.1)

    def __len__(self) -> int:
        return len(self.settings)

    def parts(self, source: Tensor, target: Tensor, size: tuple[int, int] = (0, 0)) -> Iterator[slice]:
        """The probes in parts whose correlations of source [B, C, L] and target [B, C, L'] fit into the memory, as flows
        of `size` (H, W) do."""
        batch, width, count = source.shape
        # Of each probe: features, their unit vectors and gradients; logits, their log-softmax and gradients. 4 bytes each.
        one = 4 * batch * (4 * width * (count + target.shape[-1]) + 3 * count * target.shape[-1])
        one += 100 * batch * size[0] * size[1]  # float64, a dozen times
        together = max(int(self.config.memory * 2**30 / one), 1)
        for first in range(0, len(self), together):
            yield slice(first, first + together)

    def project(self, part: slice, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both views' features [B, C, L] and [B, C, L'] by K probes, [K, B, C, L] and [K, B, C, L']; not normalised."""
        weight, bias = (torch.stack([*parameters[part]]) for parameters in (self.weights, self.biases))
        both = torch.einsum("kdc,bcl->kbdl", weight, torch.cat([source, target], dim=-1)) + bias[:, None, :, None]
        return both[..., : source.shape[-1]], both[..., source.shape[-1] :]

    def step(self, source: Tensor, target: Tensor, classes: Tensor) -> None:
        """One step of all probes.

        Args:
            source, target: [B, C, L] and [B, C, L'], features of both views.
            classes: int64 [B, L], the patch of view 1 that holds each; -1: unknown.
        """
        self.optimizer.zero_grad()
        counted = (classes >= 0).sum().clamp(min=1)
        for part in self.parts(source, target):
            logits = correlation(*self.project(part, source, target), self.config.temperature)  # [K, B, L, L']
            wanted = classes.expand(logits.shape[:-1]).flatten()
            cost = F.cross_entropy(logits.flatten(0, 2), wanted, ignore_index=-1, reduction="sum")
            (cost / counted).backward()  # a sum over probes: the gradient of each is its own
        for weight, bias in zip(self.weights, self.biases, strict=True):
            nn.utils.clip_grad_norm_([weight, bias], self.config.clip)
        self.optimizer.step()
        self.schedule.step()

    def probe(self, number: int, step: int, error: float) -> Probe:
        """Probe `number` as it is now."""
        weight, bias = self.weights[number].detach().clone(), self.biases[number].detach().clone()
        return Probe(weight, bias, *self.settings[number], step, error)
