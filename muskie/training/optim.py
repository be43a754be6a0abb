"""The optimiser of a model and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from muskie.errors import CheckpointError, ConfigError, nearest
from muskie.models.blocks import TransformerBlock
from muskie.schedule import warmup_cosine
from muskie.training.muon import MuonAdamW

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class OptimConfig:
    """An optimiser with warm-up and cosine by step.

    Attributes:
        name: `adamw`; or `muon`: Muon for the matrices of the transformer blocks, AdamW for the rest.
        lr: peak learning rate; None: `base_lr` · global batch / 256, the global batch counted in scenes, or in images with
            `plan.frames`.
        base_lr: see `lr`.
        min_lr: learning rate that the cosine ends at.
        cosine_share: how much of the cosine the run goes through, in (0, 1]; CroCo v2 was stopped halfway, at .5.
        warmup: share of the run spent warming up, in [0, 1).
        warmup_epochs: the same in epochs, instead of `warmup`; needs `trainer.epoch_size`.
        weight_decay: on the weights of linear and convolution layers alone; not on biases, norms and tokens.
        beta1, beta2: of AdamW.
        clip: largest norm of the gradient; 0: unclipped (the norm is still logged).
    """

    name: str = "adamw"
    lr: float | None = None
    base_lr: float = 1e-3
    min_lr: float = 0.0
    cosine_share: float = 1.0
    warmup: float = 0.05
    warmup_epochs: float | None = None
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZERS:
            raise ConfigError(f"optim.name={self.name!r} is unknown{nearest(self.name, OPTIMIZERS)}")
        # Written so that NaN is refused as well.
        rules = {
            "lr": (self.lr is None or 0 < self.lr < math.inf, "more than 0, or null for base_lr · batch / 256"),
            "base_lr": (0 < self.base_lr < math.inf, "more than 0"),
            "min_lr": (0 <= self.min_lr < math.inf, "0 or more"),
            "cosine_share": (0 < self.cosine_share <= 1, "a share of the cosine in (0, 1], 1: all of it"),
            "warmup": (0 <= self.warmup < 1, "a share of the run in [0, 1)"),
            "warmup_epochs": (self.warmup_epochs is None or 0 <= self.warmup_epochs < math.inf, "0 or more, or null"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "beta1": (0 <= self.beta1 < 1, "[0, 1)"),
            "beta2": (0 <= self.beta2 < 1, "[0, 1)"),
            "clip": (0 <= self.clip < math.inf, "0 or more; 0: unclipped"),
        }
        if self.lr is not None and self.min_lr > self.lr:
            rules["min_lr"] = (False, f"at most optim.lr={self.lr}")
        problems = [f"optim.{n}={getattr(self, n)}: expected {what}" for n, (good, what) in rules.items() if not good]
        if problems:
            raise ConfigError("\n".join(problems))

    def scales(self, model: nn.Module) -> dict[nn.Parameter, float]:
        """What the learning rate of a parameter is multiplied with; 1 for those that are not named."""
        return {}

    def peak(self, global_batch: int) -> float:
        """The peak learning rate for a number of scenes per optimiser step."""
        return self.lr if self.lr is not None else self.base_lr * global_batch / 256

    def rate(self, step: int, steps: int, warmup_steps: int, global_batch: int) -> float:
        """The learning rate of step `step` of `steps`."""
        peak = self.peak(global_batch)
        whole = round(steps / self.cosine_share)
        return peak * warmup_cosine(step, whole, warmup_steps, min(self.min_lr / peak, 1.0))


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters that need a gradient, with weight decay on the weights of linear and convolution
    layers alone. Its groups hold as `scale` what the learning rate of their parameters is multiplied with."""
    matrices, groups = _groups(model, config)
    lr, betas = config.lr or config.base_lr, (config.beta1, config.beta2)
    if config.name == "muon":
        return MuonAdamW(matrices, groups, lr, config.weight_decay, betas)
    # Fused: one kernel for all tensors, and able to skip a step on the device without asking the host.
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)


def _groups(model: nn.Module, config: OptimConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Groups of parameters: those of Muon, and those of AdamW."""
    decayed, scales = _weights(model, nn.Linear | _ConvNd), config.scales(model)
    matrices = set()
    if config.name == "muon":
        blocks = [module for module in model.modules() if isinstance(module, TransformerBlock)]
        matrices = {weight for block in blocks for weight in _weights(block, nn.Linear)}
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError("no parameter is left to train; freeze less")
    by_scale: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_scale.setdefault(scales.get(parameter, 1.0), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for scale, members in by_scale.items():
        rest = [p for p in members if p not in matrices]
        for decay, chosen in ((config.weight_decay, True), (0.0, False)):
            groups.append({"params": [p for p in rest if (p in decayed) is chosen], "weight_decay": decay, "scale": scale})
    if config.name == "muon" and not matrices & set(parameters):
        raise ConfigError("optim.name=muon: this model has no transformer blocks to train; use optim.name=adamw")
    ours = [{"params": [p for p in members if p in matrices], "scale": scale} for scale, members in by_scale.items()]
    return [group for group in ours if group["params"]], groups


def _weights(model: nn.Module, kinds: Any) -> set[nn.Parameter]:
    return {module.weight for module in model.modules() if isinstance(module, kinds)}


def gradient_norm(model: nn.Module) -> torch.Tensor:
    """The norm of the gradient over all parameters, a scalar on their device."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not gradients or gradients[0].device.type != "cpu":
        return nn.utils.get_total_norm(gradients)
    # PyTorch's norm of many tensors uses one CPU thread.
    return torch.stack([torch.dot(g.flatten(), g.flatten()) for g in gradients]).sum().sqrt()


def check_same_optimizer(config: OptimConfig, state: dict[str, Any], origin: str) -> None:
    """Refuses the saved state of another optimiser.

    Raises:
        CheckpointError: the state is not that of `config.name`.
    """
    name = "muon" if any("ns_steps" in group for group in state["param_groups"]) else "adamw"
    if name != config.name:
        raise CheckpointError(
            f"{origin} was trained with optim.name={name}, this run has {config.name}; set it as it was, or start a new run "
            "from its weights alone: init_from="
        )


def check_same_groups(
    model: nn.Module, config: OptimConfig, state: dict[str, Any], saved: Mapping[str, Any] | None, origin: str
) -> None:
    """Refuses a checkpoint whose moments are grouped in another way: they are kept by their place in the groups.

    Args:
        model: as it is trained, what is frozen taken out.
        config: of now, the same optimiser as that of the checkpoint.
        state: of the optimiser, as the checkpoint has it.
        saved: section `optim` of the settings that it was trained with; None: not known.
        origin: what errors call the checkpoint.

    Raises:
        CheckpointError: names the settings that decide on groups and have changed.
    """
    matrices, groups = _groups(model, config)
    ours = [len(group["params"]) for group in [*matrices, *groups]]
    if ours == [len(group["params"]) for group in state["param_groups"]]:
        return
    saved = saved or {}
    own = {key: value for key, value in vars(config).items() if key not in vars(OptimConfig())}
    changed = [f"optim.{k}={saved[k]} and not {value}" for k, value in own.items() if k in saved and saved[k] != value]
    raise CheckpointError(
        f"{origin} has moments for other groups of parameters{': it was trained with ' if changed else ''}"
        f"{', '.join(changed)}; set the rates of layers as they were, or start a new run from its weights alone: init_from="
    )


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes the moments of a saved state; decay and betas stay those of now, so that a changed setting has its effect."""
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
