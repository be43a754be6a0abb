"""A training step on random images: what the trainer does, for whoever measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from muskie.errors import ConfigError
from muskie.masking import MaskPolicy
from muskie.models.flops import Call, training_calls
from muskie.models.variants import create_model
from muskie.objectives.pixels import MaskedPixels
from muskie.streams import stream
from muskie.training.distributed import Ranks, choose_device
from muskie.training.guard import FiniteGuard
from muskie.training.memory import keep_freed_memory
from muskie.training.optim import OptimConfig, build_optimizer, gradient_norm
from muskie.training.trainer_config import TrainerConfig


@dataclass(frozen=True)
class StepSetting:
    """What is measured.

    Attributes:
        model: a name of `muskie.list_models()`.
        sizes: sides of square images in pixels; one optimiser step goes through all of them, the largest first.
        views, batch: views of a scene, scenes of each size.
        device, precision, compile, checkpointing: as in `TrainerConfig`.
        mask_ratio: hidden share of a masked view.
        references: whole views of a scene; None: 2 if there are more views than that, else all but one.
        shape: fields of the model's shape that are not those of its name, as of `create_model`.

    Raises:
        ConfigError: a value out of range.
    """

    model: str = "muskie_small"
    sizes: Sequence[int] = (224,)
    views: int = 8
    batch: int = 1
    device: str = "auto"
    precision: str = "fp32"
    compile: bool = False
    checkpointing: bool = False
    mask_ratio: float = 0.9
    references: int | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("views", self.views), ("batch", self.batch), ("size", min(self.sizes, default=0))):
            if value < 1:
                raise ConfigError(f"--{name} {value}: expected at least 1")
        if not 0 < self.mask_ratio < 1:
            raise ConfigError(f"--mask-ratio {self.mask_ratio}: expected a share in (0, 1)")
        if self.references is None:
            object.__setattr__(self, "references", min(2, self.views - 1))
        elif not 0 <= self.references < self.views:
            raise ConfigError(f"--references {self.references}: expected 0 to {self.views - 1}, fewer than --views")


class TrainingStep:
    """Call it to run one optimiser step on random images.

    Attributes:
        calls: the matrix products and attention calls of a step.
        images, tokens, hidden: how many images, encoder tokens and hidden patches a step processes.
    """

    def __init__(self, setting: StepSetting) -> None:
        try:
            self.device = choose_device(setting.device)
            self.dtype = TrainerConfig(precision=setting.precision).autocast_dtype(self.device)
        except ConfigError as error:
            raise ConfigError(str(error).replace("trainer.", "--")) from error
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model = create_model(setting.model, **setting.shape).to(self.device).train()
        self.model.set_checkpointing(setting.checkpointing)
        self.objective, optim = MaskedPixels(), OptimConfig()
        if setting.compile:
            self.model.compile_blocks()
            self.objective.compile()
        self.clip = optim.clip
        self.optimizer = build_optimizer(self.model, optim)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.guard, self.done = FiniteGuard(Ranks(0, 1, self.device), steps=1), 0
        self.batches = [self._batch(setting, size) for size in sorted(setting.sizes, reverse=True)]
        self.images = setting.batch * setting.views * len(setting.sizes)
        self.hidden = sum(int(mask.sum()) for _, mask in self.batches)
        self.tokens = self.images * self.model.encoder.config.registers + sum(mask.numel() for _, mask in self.batches)
        self.calls: list[Call] = [call for _, mask in self.batches for call in training_calls(self.model, mask)]

    def _batch(self, setting: StepSetting, size: int) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, V, 3, H, W] and mask bool [B, V, h, w], on the CPU as a loader gives them."""
        p = self.model.patch_size
        if size % p:
            near = max(round(size / p), 1) * p
            raise ConfigError(f"--size {size} is no multiple of the patch size {p} of {setting.model}; try {near}")
        assert setting.references is not None
        policy = MaskPolicy(ratios=(setting.mask_ratio,), references=setting.references)
        rngs = [stream(0, "benchmark", size, scene) for scene in range(setting.batch)]
        mask = policy.draw(policy.choose(rngs[0], setting.views), rngs, setting.views, (size // p, size // p))
        generator = torch.Generator().manual_seed(size)
        shape = (setting.batch, setting.views, 3, size, size)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return (images.pin_memory() if self.device.type == "cuda" else images), mask

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext()

    def __call__(self) -> None:
        """As `muskie.training.trainer.Trainer` does it, less telemetry."""
        for cpu_images, mask in self.batches:
            with self._autocast():
                images = cpu_images.to(self.device, non_blocking=True)
                prediction = self.model(images, mask, hidden_only=True)
                target = self.model.targets(images, prediction.hidden)
                result = self.objective(prediction.pixels, prediction.confidence, target, prediction.hidden, mask)
            self.scaler.scale(result.loss / len(self.batches)).backward()
            self.guard.note(result.loss, result.scenes, ())
        self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.model)
        self.done += 1
        self.guard.step(self.optimizer, norm, self.done, self.clip, overflow_allowed=self.scaler.is_enabled())
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
