"""How fast a training step is, and against what: the bare matrix products and attention calls that it is made of.

A step does what the trainer does: for every size forward on the hidden patches, objective and backward; then clipping and
the optimiser. *Bare* are the same products and attention calls, forward and backward, and nothing else. Both are timed
in turns, so that whatever else the machine does weighs on both; *overhead* is the ratio of their medians, 1 at best.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muskie.errors import ConfigError
from muskie.masking import MaskPolicy
from muskie.models.flops import AttentionCall, Call, Product, training_calls
from muskie.models.variants import create_model
from muskie.objectives.pixels import MaskedPixels
from muskie.streams import stream
from muskie.training.distributed import Ranks, choose_device
from muskie.training.guard import FiniteGuard
from muskie.training.memory import keep_freed_memory
from muskie.training.optim import OptimConfig, build_optimizer
from muskie.training.trainer_config import TrainerConfig


@dataclass(frozen=True)
class StepSetting:
    """What is measured.

    Attributes:
        model: a name of `muskie.list_models()`.
        sizes: sides of square images in pixels; one optimiser step goes through all of them.
        views, batch: views of a scene, scenes of each size.
        device, precision, compile, checkpointing: as in `TrainerConfig`.
        mask_ratio: hidden share of a masked view.
        references: whole views of a scene; None: 2 if there are more views than that, else all but one.

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
        self.model = create_model(setting.model).to(self.device).train()
        self.model.set_checkpointing(setting.checkpointing)
        if setting.compile:
            self.model.compile_blocks()
        self.objective, optim = MaskedPixels(), OptimConfig()
        self.clip = optim.clip
        self.optimizer = build_optimizer(self.model, optim)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.guard, self.done = FiniteGuard(Ranks(0, 1, self.device), steps=1), 0
        self.batches = [self._batch(setting, size) for size in setting.sizes]
        self.images = setting.batch * setting.views * len(setting.sizes)
        self.hidden = sum(int(mask.sum()) for _, mask in self.batches)
        encoder, decoder = self.model.encoder.config, self.model.decoder.config if self.model.decoder else None
        self.tokens = self.images * encoder.registers + sum(mask.numel() for _, mask in self.batches)
        self.calls: list[Call] = []
        for _, mask in self.batches:
            grid = (mask.shape[2], mask.shape[3])
            self.calls += training_calls(encoder, decoder, setting.batch, setting.views, grid, int(mask.sum()))

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
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.done += 1
        self.guard.step(self.optimizer, norm, self.done, overflow_allowed=self.scaler.is_enabled())
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)


class BareCalls:
    """Call it to run matrix products and attention calls on random numbers, forward and backward.

    Calls of the same shape share their inputs; every result is a new tensor.

    Args:
        calls: what to run.
        device, dtype: where, and of which type all tensors are.
    """

    def __init__(self, calls: Sequence[Call], device: torch.device, dtype: torch.dtype) -> None:
        def random(*shape: int) -> Tensor:
            return torch.randn(shape, device=device, dtype=dtype)

        self.products: list[tuple[Product, Tensor, Tensor, Tensor]] = []
        self.attention: list[tuple[AttentionCall, list[Tensor], Tensor]] = []
        for call in calls:
            if isinstance(call, Product):
                x, weight = random(call.rows, call.inner), random(call.columns, call.inner)
                self.products.append((call, x, weight, random(call.rows, call.columns)))
            else:
                shape = (call.sequences, call.heads, call.tokens, call.head_dim)
                self.attention.append((call, [random(*shape).requires_grad_() for _ in range(3)], random(*shape)))

    def __call__(self) -> None:
        for call, x, weight, gradient in self.products:
            for _ in range(call.count):
                x @ weight.T
                gradient.T @ x
                if call.input_gradient:
                    gradient @ weight
        for attention, qkv, gradient in self.attention:
            for _ in range(attention.count):
                q, k, v = qkv
                torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), qkv, gradient)


class SquareProduct:
    """Call it to multiply two large square matrices; `flop` says how many operations that is."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.side = 8192 if device.type == "cuda" else 2048
        self.flop = 2 * self.side**3
        self.a, self.b = torch.randn(2, self.side, self.side, device=device, dtype=dtype)

    def __call__(self) -> None:
        self.a @ self.b


class Seconds(NamedTuple):
    """Time of one call: by the clock, and of all processors together that worked for this process."""

    wall: float
    processors: float


def in_turns(
    parts: Mapping[str, Callable[[], None]], rounds: int, device: torch.device, least: float = 0.2
) -> dict[str, list[Seconds]]:
    """What a call of each part takes, once a round, the parts one after the other in every round.

    Args:
        parts: by name; each is called before anything is timed.
        rounds: how many.
        device: awaited before the clock is read.
        least: seconds; a part that is quicker is called several times a round, and the mean taken.
    """

    def timed(part: Callable[[], None], calls: int) -> Seconds:
        _wait(device)
        wall, processors = time.perf_counter(), time.process_time()
        for _ in range(calls):
            part()
        _wait(device)
        return Seconds((time.perf_counter() - wall) / calls, (time.process_time() - processors) / calls)

    calls = {}
    for name, part in parts.items():
        part()
        calls[name] = min(max(math.ceil(least / timed(part, 1).wall), 1), 1000)
    times: dict[str, list[Seconds]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            times[name].append(timed(part, calls[name]))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def measure_speed(step: TrainingStep, rounds: int) -> dict[str, Any]:
    """Times a step against its bare calls and a large matrix product; times in seconds, rates per second.

    `overhead_of_processors` is the ratio of processor times, on CPUs: it says nearly the same when other programs take
    turns with this one.
    """
    dtype = step.dtype or torch.float32
    square = SquareProduct(step.device, dtype)
    bare = BareCalls(step.calls, step.device, dtype)
    times = in_turns({"step": step, "bare": bare, "square": square}, rounds, step.device)
    wall = {name: [seconds.wall for seconds in values] for name, values in times.items()}
    median = {name: statistics.median(values) for name, values in wall.items()}
    processors = {name: statistics.median(seconds.processors for seconds in values) for name, values in times.items()}
    flop = sum(call.forward + call.backward for call in step.calls)
    rate = square.flop / median["square"]
    return {
        "step_s": {"median": median["step"], "fastest": min(wall["step"]), "slowest": max(wall["step"])},
        "bare_s": {"median": median["bare"], "fastest": min(wall["bare"]), "slowest": max(wall["bare"])},
        "overhead": median["step"] / median["bare"],
        "overhead_of_rounds": [a / b for a, b in zip(wall["step"], wall["bare"], strict=True)],
        "overhead_of_processors": processors["step"] / processors["bare"] if step.device.type == "cpu" else None,
        "images_per_s": step.images / median["step"],
        "tokens_per_s": step.tokens / median["step"],
        "forward_flop": sum(call.forward for call in step.calls),
        "flop": flop,
        "flop_per_s": flop / median["step"],
        "matmul_flop_per_s": rate,
        "mfu": flop / median["step"] / rate,
    }
