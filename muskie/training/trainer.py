"""The training loop. It knows tasks; it knows no model, no data set and no loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from muskie.data.dataset import Views
from muskie.errors import DataError, MuskieError
from muskie.training import checkpoint
from muskie.training.data_watch import DataWatch
from muskie.training.distributed import Ranks
from muskie.training.guard import FiniteGuard, check_scale
from muskie.training.optim import OptimConfig, build_optimizer, gradient_norm, restore_optimizer
from muskie.training.run_plan import Measure, RunPlan
from muskie.training.signals import StopSignal
from muskie.training.tasks import Task
from muskie.training.telemetry import Telemetry
from muskie.training.trainer_config import TrainerConfig
from muskie.training.window import Window


class Trainer:
    """Trains a task.

    Args:
        task: see `Task`; its model is moved to the device.
        config, optim: settings.
        run: the run's length.
        ranks: this process.
        folder: of the run; checkpoints go to `folder/checkpoints`.
        telemetry: records and shows.
        measures: see `Measure`; the same on all ranks but for `run`.
        kept: what checkpoints hold besides, fit for `torch.load` without code.
        watch: counts what of the data cannot be used; None: of sources that nobody names.
        held_out_pictures: pictures by name, drawn with the model in evaluation mode; needed on the first rank alone.
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
        measures: Sequence[Measure] = (),
        held_out_pictures: Callable[[], Mapping[str, Tensor]] | None = None,
        kept: Mapping[str, Any] | None = None,
        watch: DataWatch | None = None,
    ) -> None:
        self.task, self.config, self.optim, self.run, self.ranks = task, config, optim, run, ranks
        self.folder, self.telemetry = folder, telemetry
        self.measures, self.held_out_pictures, self.kept = measures, held_out_pictures, dict(kept or {})
        self.dtype = config.autocast_dtype(ranks.device)
        self.model = task.model.to(ranks.device).train()
        self.optimizer = build_optimizer(self.model, optim)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.dtype == torch.float16)
        self.wrapped: nn.Module = self.model
        if ranks.world > 1:
            ids = [ranks.device.index] if ranks.device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(self.model, device_ids=ids, gradient_as_bucket_view=True)
        self.step = 0
        self.global_batch = (run.batch or config.batch()) * config.accumulate * ranks.world
        self.guard = FiniteGuard(ranks, config.log_every)
        self.watch = watch or DataWatch([], 1.0, ranks)
        self.window = Window(ranks.device, self.watch.labels)
        self._sample: Any = None

    # State

    def state(self, settings: str) -> dict[str, Any]:
        """Everything that a continued run needs; `settings` is the run's configuration, kept for reading."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "settings": settings,
            **self.kept,
        }

    def restore(self, state: dict[str, Any], origin: str) -> None:
        """Continues from a checkpoint of `state`."""
        checkpoint.load_weights(self.model, state["model"], origin)
        restore_optimizer(self.optimizer, state["optimizer"])
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
        batches = iter(loads)
        self.window.reset()
        with StopSignal() as stop:
            while self.step < self.run.steps:
                loaded = self._load(batches, settings)
                self.watch.add(loaded)
                # A run that stopped between two uses of a load goes on with the second one.
                for _ in range(self.step % self.run.reuse, self.run.reuse):
                    if self.step == self.run.steps:
                        break
                    self._step(loaded)
                    self._after_step(settings)
                    if self.step < self.run.steps and self.ranks.any(stop.received is not None):
                        self._log_or_save(settings)
                        self.save(settings)
                        self.telemetry.say(f"{stop.received or 'a signal'}: saved after step {self.step}")
                        return False
        return True

    def _load(self, batches: Iterator[Views], settings: str) -> list[Views]:
        """The next load. If a rank cannot load it, all of them save and raise: none waits for another, nothing is lost."""
        error: MuskieError | None = None
        loaded: list[Views] = []
        with self.window.waiting():
            try:
                loaded = [next(batches) for _ in range(self.run.sizes * self.config.accumulate)]
            except MuskieError as failed:
                error = failed
        if self.ranks.any(error is not None):
            if self.step:
                self.save(settings)
            raise error or DataError("another rank could not load its data, and said why")
        return loaded

    def _log_or_save(self, settings: str) -> None:
        """A log line; if too much of a source cannot be used, what was trained is saved and the run ends, but for its last
        step, after which there is nothing left to bias."""
        self._log()
        try:
            self.watch.check()
        except DataError as error:
            if self.step == self.run.steps:
                self.telemetry.say(f"warning: {error}")
                return
            self.save(settings)
            raise DataError(f"{error}\nWhat was trained is saved: with that the same command goes on") from error

    def _step(self, loaded: list[Views]) -> None:
        """One optimiser step over all sizes of all micro-batches. Nothing in it waits for the device."""
        rate = self.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        for number, views in enumerate(loaded):
            self._forward_backward(views, number, len(loaded))
        self.scaler.unscale_(self.optimizer)
        norm = gradient_norm(self.model)
        self.window.add({"grad_norm": norm}, steps=1)
        self.step += 1
        self.guard.step(self.optimizer, norm, self.step, self.optim.clip, overflow_allowed=self.scaler.is_enabled())
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _forward_backward(self, views: Views, number: int, count: int) -> None:
        """Micro-batch `number` of `count`, of one size. Each goes backward on its own, so that memory peaks at the largest
        of them and not at the sum."""
        batch = self.task.prepare(views, self.step, number % self.run.sizes)
        if self.step == 0 and number < self.run.sizes:
            with self.window.aside():
                self._pictures(batch, f"before_training_{number}", held_out=number == 0)
        if number == 0:
            self._sample = batch
        with self._sync_only(number == count - 1):
            with self._autocast():
                result = self.task.loss(self.wrapped, batch, self.ranks.device)
            self.scaler.scale(result.loss / count).backward()
        self.guard.note(result.loss, result.scenes, batch.places)
        self.window.add({"loss": result.loss, **result.scalars}, self.task.images(batch))
        self.window.add_scenes(result.scenes, batch.sources)

    def _after_step(self, settings: str) -> None:
        config, at_end = self.config, self.step == self.run.steps
        due = [m for m in self.measures if (m.at_end if at_end else self._due(m.every))]
        save = self._due(config.save_every) or any(measure.lengthy for measure in due)
        # A checkpoint closes the window of means, so that a continued run logs what the run never stopped would have.
        if self._due(config.log_every) or save:
            self._log_or_save(settings)
        with self.window.aside():
            if self._due(config.picture_every):
                self._pictures(self._sample, "train")
            for measure in due:
                if not measure.lengthy:
                    self._measure(measure, at_end)
            if save:
                self.save(settings)
            for measure in due:
                if measure.lengthy:
                    self._measure(measure, at_end)
        self.telemetry.progress(self.step)

    def _due(self, every: int) -> bool:
        return self.step == self.run.steps or bool(every and self.step % every == 0)

    # Parts of the loop

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        return self.optim.rate(step, self.run.steps, self.run.warmup_steps, self.global_batch)

    def _autocast(self) -> AbstractContextManager:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.ranks.device.type, self.dtype)

    def _sync_only(self, sync: bool) -> AbstractContextManager:
        """Gradients of ranks are averaged in the last backward pass of a step."""
        if sync or not isinstance(self.wrapped, DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()

    def _log(self) -> None:
        self.guard.check()
        check_scale(self.scaler, self.step)
        values = self.window.read(self.ranks, self.rate(self.step - 1))
        skipped = self.watch.read()
        for message in self.watch.news:
            self.telemetry.say(f"skipped: {message}")
        self.window.reset()
        if values:
            values |= skipped
            self.telemetry.scalars(self.step, {f"train/{k}": v for k, v in values.items()}, show=True)
            shown = {"loss": values["loss"], "img/s": values["images_per_s"], "data wait %": 100 * values["data_wait"]}
            self.telemetry.progress(self.step, shown)

    def _measure(self, measure: Measure, at_end: bool) -> None:
        if measure.run is not None:
            self.model.eval()
            try:
                with self._autocast():
                    values, line = measure.run(at_end)
                self.telemetry.scalars(self.step, values)
                self.telemetry.say(f"step {self.step}: {line}")
            except Exception as error:
                if not measure.lengthy:
                    raise
                self.telemetry.say(f"step {self.step}: not measured ({type(error).__name__}: {error}); training goes on")
            self.model.train()
        self.ranks.barrier()

    def _pictures(self, batch: Any, prefix: str, held_out: bool = True) -> None:
        """Pictures of a batch, and of the held-out samples, which are always the same."""
        if not self.ranks.main:
            return
        with self._autocast():
            pictures = {f"{prefix}-{name}": pixels for name, pixels in self.task.pictures(batch, self.ranks.device).items()}
            if held_out and self.held_out_pictures is not None:
                self.model.eval()
                pictures |= {f"held_out-{name}": pixels for name, pixels in self.held_out_pictures().items()}
                self.model.train()
        for name, pixels in pictures.items():
            self.telemetry.picture(self.step, name, pixels)

    def save(self, settings: str) -> None:
        """Writes a checkpoint of now."""
        if self.ranks.main:
            checkpoint.save(self.folder / "checkpoints", self.step, self.state(settings), self.config.keep_every)
        self.ranks.barrier()
