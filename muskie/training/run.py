"""A run from a configuration, whatever it trains: what it starts from, its folder, the loop, and how it ends.

A subclass says what is trained, on what data, and what is measured; everything is built and checked before anything is
trained or written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import Dataset

from muskie.data.dataset import LoadSampler, Views
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import SceneLoader, build_sources
from muskie.data.plan import StepPlan
from muskie.data.turns import BatchLayout
from muskie.errors import CheckpointError
from muskie.history import Entry, extended, of_state, of_weights
from muskie.paths import typed_path
from muskie.training import checkpoint
from muskie.training.data_watch import DataWatch
from muskie.training.distributed import Ranks
from muskie.training.memory import keep_freed_memory
from muskie.training.optim import OptimConfig, check_same_groups, check_same_optimizer
from muskie.training.report import introduction, result
from muskie.training.run_folder import Start, choose_start, make_folder
from muskie.training.run_plan import Measure, RunPlan
from muskie.training.saved_model import model_is_older, write_model
from muskie.training.settings import Settings, in_full, read_settings, saved_settings
from muskie.training.tasks import Task
from muskie.training.telemetry import Telemetry
from muskie.training.trainer import Trainer
from muskie.training.trainer_config import TrainerConfig


class Run(ABC):
    """A training run.

    Args:
        config: composed by Hydra.
        ranks: this process.

    Raises:
        ConfigError, DataError, CheckpointError: whatever in the configuration cannot be used.
    """

    kind: Settings
    """What its configuration consists of."""

    heldout_views: int
    """Frames that a held-out place must have."""

    loader: str
    """What loads the trained weights, in Python."""

    other_data = "for your own images append data=folder data.root=PATH"
    """What to tell whoever trains on rendered rooms."""

    def __init__(self, config: DictConfig, ranks: Ranks) -> None:
        self.ranks, self.settings = ranks, read_settings(config, self.kind)
        self.trainer_config: TrainerConfig = self.settings["trainer"]
        self.trainer_config.autocast_dtype(ranks.device)
        where = {key: self.settings[key] for key in ("output_dir", "resume", "init_from")}
        self.start: Start = ranks.first(lambda: choose_start(**where))
        self.state = checkpoint.load(self.start.checkpoint) if self.start.checkpoint else None
        self.saved = saved_settings(self.state) if self.state else {}
        self.model = self.build_model()
        self.settings_text = in_full(
            DictConfig({str(key): value for key, value in config.items()} | self.resolved), self.kind
        )
        plan = self.settings["plan"]
        self.batch = self.trainer_config.batch(plan.get("frames"))
        self.steps = self.trainer_config.total_steps(ranks.world, plan.get("reuse", 1), plan.get("frames"))
        self.plan = StepPlan(patch_size=self.model.patch_size, steps=self.steps, seed=self.settings["seed"], **plan)
        self.task = self.build_task()
        self.sources = build_sources(self.settings["data"])
        self.plan.check_sources(self.sources)
        holdout: HoldOut = self.settings["holdout"]
        needs = {"train": self.plan.min_frames, "heldout": self.heldout_views}
        self.max_unusable: float = self.settings["max_unusable"]
        self.train_index = SceneIndex(
            self.sources, "train", holdout, needs["train"], needs, self.max_unusable, self.plan.fewer
        )
        self.heldout = self.build_heldout()
        self.log_dir = typed_path(self.settings["log_dir"], "log_dir") if self.settings["log_dir"] else None
        if self.state is not None:
            self._take(self.state, str(self.start.checkpoint))
        elif where["init_from"]:
            self.take_weights(where["init_from"])
        self.done: int = self.state["step"] if self.state else 0
        self.folder = self.start.folder
        self.past = self._past()
        self.heldout.past = extended(self.past, self.settings_text, self.train_index)

    # What a subclass says

    @abstractmethod
    def build_model(self) -> Any:
        """What is trained; it has a `patch_size`. Called when `start`, `state` and `saved` (settings in it) are there."""

    @abstractmethod
    def build_task(self) -> Task:
        """Joins batch, model and objective; called when `model` and `plan` are there."""

    @abstractmethod
    def build_heldout(self) -> Any:
        """What is measured; called when `sources` and `train_index` are there. See `muskie.training.heldout.HeldOut`."""

    @abstractmethod
    def build_dataset(self) -> Dataset[Views]:
        """Scenes by request."""

    @abstractmethod
    def check_state(self, state: Mapping[str, Any], settings: Mapping[str, Any], origin: str) -> None:
        """Refuses a checkpoint, whose `saved_settings` are these, if its model computes something else."""

    @abstractmethod
    def take_weights(self, init_from: str) -> None:
        """Loads weights alone."""

    @abstractmethod
    def measures(self, folder: Path) -> list[Measure]:
        """What is measured while training."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the model, for the folder and the first lines."""

    @property
    @abstractmethod
    def measured(self) -> str | None:
        """What was last measured on held-out data, in a line."""

    @property
    def notes(self) -> Sequence[str]:
        """Lines for people, after the first."""
        return ()

    @property
    def weights_before(self) -> Sequence[Entry]:
        """What the weights were trained on that the model was built with."""
        return ()

    @property
    def resolved(self) -> dict[str, Any]:
        """Settings that stood for something else, by root key, as they were then used; known after `build_model`."""
        return {}

    @property
    def kept(self) -> Mapping[str, Any]:
        """What checkpoints hold besides, fit for `torch.load` without code."""
        return {}

    # What all have in common

    def _take(self, state: dict[str, Any], origin: str) -> None:
        """Loads the weights of a checkpoint, if it is one of this model and optimiser."""
        try:
            self.check_state(state, self.saved, origin)
            checkpoint.load_weights(self.model, state["model"], origin)
            check_same_optimizer(self.settings["optim"], state["optimizer"], origin)
            check_same_groups(self.model, self.settings["optim"], state["optimizer"], self.saved.get("optim"), origin)
        except CheckpointError as error:
            if self.start.in_own_folder:
                raise CheckpointError(f"{error}. Or choose another output_dir: this one holds that run") from error
            raise

    def _past(self) -> list[Entry]:
        """What the weights that the run starts from were trained on."""
        if self.state is not None:
            return of_state(self.state)
        init_from = self.settings["init_from"]
        return [*self.weights_before, *(of_weights(init_from, "init_from") if init_from else [])]

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.done >= self.steps

    def run(self) -> bool:
        """Trains; returns whether the run came to its end. A run that is at its end already is left as it is."""
        if self.finished:
            if model_is_older(self.start):
                self.save_model()
            return True
        if self.ranks.device.type == "cpu":
            keep_freed_memory()
        ranks = self.ranks
        ranks.first(self.heldout.draw)
        folder = self.folder = ranks.first(self._make_folders)
        telemetry = Telemetry(folder if ranks.main else None, self.steps, self.done, self.log_dir)
        try:
            for line in introduction(self) if ranks.main else ():
                telemetry.say(line)
            optim, config = self.settings["optim"], self.trainer_config
            run = RunPlan(self.steps, self.warmup_steps(), self.plan.reuse, len(self.plan.sizes), self.batch)
            kept = {"past": [dict(entry) for entry in self.heldout.past], **self.kept}
            measures = self.measures(folder)
            watch = DataWatch(self.sources, self.max_unusable, ranks)
            trainer = Trainer(self.task, config, optim, run, ranks, folder, telemetry, measures, self._pictures, kept, watch)
            if self.state:
                trainer.restore(self.state, str(self.start.checkpoint))
            self.state = None  # its memory is as large as the model's and the optimiser's
            first = trainer.step // self.plan.reuse
            sampler = LoadSampler(self.plan, self.batch, config.accumulate, ranks.rank, ranks.world, first)
            pin = ranks.device.type == "cuda"
            with SceneLoader(self.build_dataset(), sampler, config.workers, pin) as loader:
                ended = trainer.fit(loader, self.settings_text)
            if skipped := str(watch.whole):
                telemetry.say(skipped)
        finally:
            telemetry.close()
        if ended:
            self.save_model()
        return ended

    def _make_folders(self) -> Path:
        name = f"{self.name}-{'+'.join(source.name for source in self.sources)}"
        folder = make_folder(self.start.folder, name, self.log_dir)
        (folder / "config.yaml").write_text(self.settings_text)
        return folder

    def save_model(self) -> None:
        """Writes `model/` for `from_pretrained`."""
        if self.ranks.main and self.folder is not None:
            steps = self.done if self.finished else None
            write_model(self.model, self.folder, self.heldout.past, result(self), steps)

    @property
    def layout(self) -> BatchLayout:
        """How requests are dealt to ranks and micro-batches."""
        config, ranks = self.trainer_config, self.ranks
        plan, sizes = self.plan, len(self.plan.sizes)
        if plan.frames is None:
            return BatchLayout(self.batch, sizes, config.accumulate, ranks.rank, ranks.world)
        most = plan.frames // plan.counts[0]
        return BatchLayout(most, sizes, config.accumulate, ranks.rank, ranks.world, plan.scenes)

    def warmup_steps(self) -> int:
        """Optimiser steps in which the learning rate rises."""
        optim: OptimConfig = self.settings["optim"]
        if optim.warmup_epochs is None:
            return round(optim.warmup * self.steps)
        epoch = self.trainer_config.steps_per_epoch(self.ranks.world, self.plan.reuse, self.plan.frames)
        return round(optim.warmup_epochs * epoch)

    @property
    def unreadable(self) -> list[str]:
        """Messages of held-out images that were left out."""
        return self.heldout.unreadable

    def _pictures(self) -> Mapping[str, Tensor]:
        device = self.ranks.device
        return self.heldout.pictures(device, self.trainer_config.autocast_dtype(device))


def prepared(model: nn.Module, config: TrainerConfig) -> Any:
    """A model of ours with activation checkpointing and compiled blocks, as the settings ask for."""
    known: Any = model
    if config.checkpointing:
        known.set_checkpointing(True)
    if config.compile:
        known.compile_blocks()
    return known
