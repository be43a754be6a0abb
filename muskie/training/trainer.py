"""The training loop. It knows tasks; it knows no model, no data set and no loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from muskie.data.dataset import Views
from muskie.errors import MuskieError
from muskie.training import checkpoint
from muskie.training.distributed import Ranks
from muskie.training.optim import OptimConfig, build_optimizer
from muskie.training.signals import StopSignal
from muskie.training.tasks import Task
from muskie.training.telemetry import Telemetry
from muskie.training.trainer_config import TrainerConfig
from muskie.training.window import Window


class NonFiniteLoss(MuskieError, RuntimeError):
    """The loss or its gradient is not finite; the weights are those of before."""


@dataclass
class RunPlan:
    """What the trainer must know of the data's plan: the steps of the run, the reuse of each load, the number of sizes."""

    steps: int
    warmup_steps: int
    reuse: int = 1
    sizes: int = 1


class Trainer:
    """Trains a task.

    Args:
        task: see `Task`; its model is moved to the device.
        config, optim: settings.
        run: the run's length.
        ranks: this process.
        folder: of the run; checkpoints go to `folder/checkpoints`.
        telemetry: records and shows.
        evaluate: called with the model in evaluation mode, on the first rank; gives scalars and a line for people.
    """

    def __init__(
        self,
        task: Task,
        config: TrainerConfig,
        optim: OptimConfig,
        run: RunPlan,
        ranks: Ranks,
        folder: Path,
        telemetry: Telemetry,
        evaluate: Callable[[], tuple[Mapping[str, float], str]] | None = None,
    ) -> None:
        self.task, self.config, self.optim, self.run, self.ranks = task, config, optim, run, ranks
        self.folder, self.telemetry, self.evaluate = folder, telemetry, evaluate
        self.dtype = config.autocast_dtype(ranks.device)
        self.model = task.model.to(ranks.device).train()
        self.optimizer = build_optimizer(self.model, optim)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.dtype == torch.float16)
        self.wrapped: nn.Module = self.model
        if ranks.world > 1:
            ids = [ranks.device.index] if ranks.device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(self.model, device_ids=ids, gradient_as_bucket_view=True)
        self.step = 0
        self.global_batch = config.batch_size * config.accumulate * ranks.world
        self._failed_at = torch.zeros((), dtype=torch.int64, device=ranks.device)

    # State

    def state(self, settings: str) -> dict[str, Any]:
        """Everything that a continued run needs; `settings` is the run's configuration, kept for reading."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "settings": settings,
        }

    def restore(self, state: dict[str, Any], origin: str) -> None:
        """Continues from a checkpoint of `state`."""
        checkpoint.load_weights(self.model, state["model"], origin)
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    # The loop

    def fit(self, loads: Iterable[Views], settings: str = "") -> bool:
        """Trains to the end.

        Args:
            loads: batches from the step after the last one on: for each load, `accumulate` times one of every size.
            settings: kept in the checkpoints.

        Returns:
            False if a signal ended the run early (it was saved).
        """
        batches, window = iter(loads), Window(self.ranks.device)
        recent: deque[tuple[int, list[str], list[Tensor]]] = deque(maxlen=self.config.log_every)
        with StopSignal() as stop:
            while self.step < self.run.steps:
                count = self.run.sizes * self.config.accumulate
                with window.waiting():
                    loaded = [next(batches) for _ in range(count)]
                window.unreadable += [message for views in loaded for message in views.unreadable]
                # A run that stopped between two uses of a load goes on with the second one.
                for _ in range(self.step % self.run.reuse, self.run.reuse):
                    if self.step >= self.run.steps:
                        break
                    self._step(loaded, window, recent)
                    self._after_step(window, recent, settings)
                    if self.ranks.any(stop.received is not None):
                        self._log(window, recent)
                        self.save(settings)
                        self.telemetry.say(f"{stop.received or 'a signal'}: saved after step {self.step}")
                        return False
        return True

    def _step(self, loaded: list[Views], window: Window, recent: deque) -> None:
        """One optimiser step: every size of every micro-batch forward and backward on its own, so that memory peaks at
        the largest and not at the sum."""
        rate = self.optim.rate(self.step, self.run.steps, self.run.warmup_steps, self.global_batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        finite = torch.ones((), dtype=torch.bool, device=self.ranks.device)
        places: list[str] = []
        per_scene: list[Tensor] = []
        for number, views in enumerate(loaded):
            batch = self.task.prepare(views, self.step, number % self.run.sizes)
            if self.step == 0 and number < self.run.sizes:
                self._pictures(batch, f"first_batch_{number}")
            if number == 0:
                window.sample = batch
            with self._sync_only(number == len(loaded) - 1), self._autocast():
                result = self.task.loss(self.wrapped, batch, self.ranks.device)
                self.scaler.scale(result.loss / len(loaded)).backward()
            finite &= result.loss.detach().isfinite()
            places += batch.places
            per_scene.append(result.scenes)
            window.add(result.loss.detach(), result.scalars, self.task.images(batch))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip or float("inf"))
        window.add_norm(norm, rate)
        self._guarded_step(finite, norm)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        recent.append((self.step, places, per_scene))

    def _guarded_step(self, finite: Tensor, norm: Tensor) -> None:
        """Steps unless something was not finite, now or before: decided on the device, noticed at the next log line."""
        if self.ranks.world > 1:
            shared = finite.float()
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MIN)
            finite = shared > 0
        if self.scaler.is_enabled():
            # fp16 overflows now and then by design: the scaler skips such a step itself, only the loss counts.
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            finite = finite & norm.isfinite()
            failed = ~finite | (self._failed_at > 0)
            self.optimizer.found_inf = failed.float()  # type: ignore[attr-defined]  # the fused kernel then writes nothing
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.step()
        self._failed_at = torch.where((self._failed_at == 0) & ~finite, self.step + 1, self._failed_at)

    def _after_step(self, window: Window, recent: deque, settings: str) -> None:
        config, step = self.config, self.step
        last = step == self.run.steps
        if last or step % config.log_every == 0:
            self._log(window, recent)
        if last or (config.picture_every and step % config.picture_every == 0):
            self._pictures(window.sample, "train")
        if self.evaluate is not None and (last or (config.eval_every and step % config.eval_every == 0)):
            self._evaluate()
        if last or (config.save_every and step % config.save_every == 0):
            self._check(recent)
            self.save(settings)
        self.telemetry.progress(step)

    # Parts of the loop

    def _autocast(self) -> AbstractContextManager:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.ranks.device.type, self.dtype)

    def _sync_only(self, sync: bool) -> AbstractContextManager:
        """Gradients of ranks are averaged in the last backward pass of a step."""
        if sync or not isinstance(self.wrapped, DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()

    def _check(self, recent: deque) -> None:
        """Raises on all ranks if a step since the last check was not finite."""
        failed = int(self._failed_at)
        if not failed:
            return
        bad = [
            place
            for step, places, per_scene in recent
            if step == failed
            for place, value in zip(places, torch.cat(per_scene).tolist(), strict=True)
            if not torch.isfinite(torch.tensor(value))
        ]
        scenes = ", ".join(sorted(set(bad))[:5]) or "none on this rank alone; its gradient overflowed"
        raise NonFiniteLoss(
            f"the loss or its gradient is not finite in step {failed}; scenes: {scenes}. The weights are those of step "
            f"{failed - 1}. Lower optim.lr, lengthen optim.warmup, keep optim.clip on, or use trainer.precision=fp32"
        )

    def _log(self, window: Window, recent: deque) -> None:
        self._check(recent)
        values = window.read(self.ranks)
        for message in window.unreadable[:3]:
            self.telemetry.say(f"skipped unreadable image: {message}")
        window.reset()
        if values:
            self.telemetry.scalars(self.step, {f"train/{k}": v for k, v in values.items()}, show=True)
            shown = {"loss": values["loss"], "img/s": values["images_per_s"], "data wait %": 100 * values["data_wait"]}
            self.telemetry.progress(self.step, shown)

    def _evaluate(self) -> None:
        if self.ranks.main and self.evaluate is not None:
            self.model.eval()
            with self._autocast():
                values, line = self.evaluate()
            self.model.train()
            self.telemetry.scalars(self.step, values)
            self.telemetry.say(f"step {self.step}: {line}")
        self.ranks.barrier()

    def _pictures(self, batch: Any, prefix: str) -> None:
        if self.ranks.main:
            with self._autocast():
                pictures = self.task.pictures(batch, self.ranks.device)
            for name, pixels in pictures.items():
                self.telemetry.picture(self.step, f"{prefix}-{name}", pixels)

    def save(self, settings: str) -> None:
        """Writes a checkpoint of now."""
        if self.ranks.main:
            checkpoint.save(self.folder / "checkpoints", self.step, self.state(settings), self.config.keep_every)
        self.ranks.barrier()
