"""Pre-training from a configuration: the one place where data, masks, model, objective and trainer meet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from muskie.data.dataset import LoadSampler, ViewDataset
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import SceneLoader, build_sources
from muskie.data.plan import StepPlan
from muskie.errors import CheckpointError, ConfigError
from muskie.evaluation.cross_view_gain import VIEWS, Gain
from muskie.history import Entry, extended, history, of_weights
from muskie.history import write as write_history
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import create_model
from muskie.paths import check_writable, typed_path
from muskie.training import checkpoint
from muskie.training.distributed import Ranks, start
from muskie.training.heldout import HeldOut
from muskie.training.initial import check_same_model, take_weights
from muskie.training.memory import keep_freed_memory
from muskie.training.optim import OptimConfig, check_same_optimizer
from muskie.training.report import already_finished, introduction, result, stopped, summary, tables_at_end
from muskie.training.run_folder import Start, choose_start, make_folder
from muskie.training.settings import in_full, read_settings
from muskie.training.tasks import MaskedViewTask
from muskie.training.telemetry import Telemetry
from muskie.training.trainer import Measure, RunPlan, Trainer
from muskie.training.trainer_config import TrainerConfig


class Pretraining:
    """A pre-training run, built and checked before anything is trained or written.

    Args:
        config: composed by Hydra from `configs/pretrain.yaml`.
        ranks: this process.

    Raises:
        ConfigError, DataError, CheckpointError: whatever in the configuration cannot be used.
    """

    def __init__(self, config: DictConfig, ranks: Ranks) -> None:
        self.ranks, self.settings = ranks, read_settings(config)
        self.trainer_config: TrainerConfig = self.settings["trainer"]
        self.trainer_config.autocast_dtype(ranks.device)
        self.model = self._build_model(dict(self.settings["model"]))
        self.settings_text = in_full(config)
        plan = self.settings["plan"]
        self.steps = self.trainer_config.total_steps(ranks.world, plan.get("reuse", 1))
        self.plan = StepPlan(patch_size=self.model.patch_size, steps=self.steps, seed=self.settings["seed"], **plan)
        objective = self.settings["objective"]
        if self.trainer_config.compile and hasattr(objective, "compile"):  # one of the user's own need not know how
            objective.compile()
        self.task = MaskedViewTask(self.model, self.settings["masks"], objective, self.plan)
        self.sources = build_sources(self.settings["data"])
        holdout: HoldOut = self.settings["holdout"]
        needs = {"train": self.plan.views, "heldout": VIEWS}
        self.train_index = SceneIndex(self.sources, "train", holdout, needs["train"], needs)
        self.heldout = HeldOut(self.settings["evaluation"], self.sources, holdout, self.plan, self.model)
        self.log_dir = typed_path(self.settings["log_dir"], "log_dir") if self.settings["log_dir"] else None
        where = {key: self.settings[key] for key in ("output_dir", "resume", "init_from")}
        self.start: Start = ranks.first(lambda: choose_start(**where))
        self.state = checkpoint.load(self.start.checkpoint) if self.start.checkpoint else None
        if self.state is not None:
            self._take(self.state, str(self.start.checkpoint))
        elif where["init_from"]:
            take_weights(self.model, where["init_from"])
        self.done: int = self.state["step"] if self.state else 0
        self.folder = self.start.folder
        self.past = self._past()
        self.heldout.past = extended(self.past, self.settings_text)

    def _past(self) -> list[Entry]:
        """What the weights that the run starts from were trained on."""
        own = history(self.start.folder) if self.start.folder and self.start.in_own_folder else None
        if own is not None:
            return own
        if self.start.checkpoint:
            return of_weights(str(self.start.checkpoint), "resume")
        return of_weights(self.settings["init_from"], "init_from") if self.settings["init_from"] else []

    def _take(self, state: dict[str, Any], origin: str) -> None:
        """Loads the weights of a checkpoint, if it is one of this model and optimiser."""
        try:
            check_same_model(self.model, state["settings"], origin)
            checkpoint.load_weights(self.model, state["model"], origin)
            check_same_optimizer(self.settings["optim"], state["optimizer"], origin)
        except CheckpointError as error:
            if self.start.in_own_folder:
                raise CheckpointError(f"{error}. Or choose another output_dir: this one holds that run") from error
            raise

    def _build_model(self, arguments: dict[str, Any]) -> MaskedViewModel:
        try:
            model = create_model(arguments.pop("name"), seed=self.settings["seed"], **arguments)
        except (ValueError, ZeroDivisionError) as error:
            raise error if isinstance(error, ConfigError) else ConfigError(f"model: {error}") from error
        if self.trainer_config.checkpointing:
            model.set_checkpointing(True)
        if self.trainer_config.compile:
            model.compile_blocks()
        return model

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.done >= self.steps

    def run(self) -> bool:
        """Trains; returns whether the run came to its end. A run that is at its end already is left as it is."""
        if self.finished:
            if self._model_is_older():
                self._save_model()
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
            run = RunPlan(self.steps, self.warmup_steps(), self.plan.reuse, len(self.plan.sizes))
            trainer = Trainer(
                self.task, config, optim, run, ranks, folder, telemetry, self._measures(folder), self._pictures
            )
            if self.state:
                trainer.restore(self.state, str(self.start.checkpoint))
            self.state = None  # its memory is as large as the model's and the optimiser's
            dataset = ViewDataset(self.train_index, self.plan, self.settings["augment"], config.cache_mb)
            first = trainer.step // self.plan.reuse
            sampler = LoadSampler(self.plan, config.batch_size, config.accumulate, ranks.rank, ranks.world, first)
            with SceneLoader(dataset, sampler, config.workers, ranks.device.type == "cuda") as loader:
                ended = trainer.fit(loader, self.settings_text)
        finally:
            telemetry.close()
        if ended:
            self._save_model()
        return ended

    def _make_folders(self) -> Path:
        name = f"{self.settings['model']['name']}-{'+'.join(source.name for source in self.sources)}"
        folder = make_folder(self.start.folder, name)
        if self.log_dir:
            try:
                check_writable(self.log_dir)
            except OSError as error:
                raise ConfigError(
                    f"log_dir={str(self.log_dir)!r} cannot be written ({error.strerror}); give another one"
                ) from error
        (folder / "config.yaml").write_text(self.settings_text)
        write_history(folder, self.heldout.past)
        return folder

    def _save_model(self) -> None:
        """Writes `model/` for `from_pretrained`."""
        if self.ranks.main and self.folder is not None:
            folder = self.folder / "model"
            card = folder / "README.md"
            # The hub's library leaves a card that is there. Of a run that was finished already it may hold the measure.
            if card.is_file() and not (self.finished and f", {self.done} steps" in card.read_text()):
                card.unlink()
            self.model.save_pretrained(folder, model_card_kwargs={"title": self.folder.name, "result": result(self)})
            write_history(folder, history(self.folder) or [])

    def _model_is_older(self) -> bool:
        """Whether a run that is at its end was killed before it had written `model/`; `config.json` comes last in it."""
        path, folder = self.start.checkpoint, self.folder
        if path is None or folder is None or not self.start.in_own_folder:
            return False
        written = folder / "model" / "config.json"
        return not written.exists() or written.stat().st_mtime < path.stat().st_mtime

    def warmup_steps(self) -> int:
        """Optimiser steps in which the learning rate rises."""
        optim: OptimConfig = self.settings["optim"]
        if optim.warmup_epochs is None:
            return round(optim.warmup * self.steps)
        return round(optim.warmup_epochs * self.trainer_config.steps_per_epoch(self.ranks.world, self.plan.reuse))

    @property
    def gain(self) -> Gain | None:
        """The last cross-view gain measured."""
        return self.heldout.gain

    @property
    def unreadable(self) -> list[str]:
        """Messages of held-out images that were left out."""
        return self.heldout.unreadable

    def _measures(self, folder: Path) -> list[Measure]:
        """The cross-view gain, and suites if they are asked for; nothing without held-out data."""
        config, device, heldout = self.heldout.config, self.ranks.device, self.heldout
        out = tables_at_end(folder, self.steps)
        dtype = self.trainer_config.autocast_dtype(device)

        def gain(at_end: bool) -> tuple[Mapping[str, float], str]:
            return heldout.measure_gain(device)

        def suites(at_end: bool) -> tuple[Mapping[str, float], str]:
            if at_end:
                self._save_model()  # what comes now may take long, and be stopped
            return heldout.run_suites(device, dtype, out if at_end and config.at_end else None)

        if heldout.index is None:
            return []
        main = self.ranks.main
        measures = [Measure(self.trainer_config.eval_every, gain if main else None)]
        if config.runs_suites:
            measures.append(Measure(config.every, suites if main else None, lengthy=True))
        return measures

    def _pictures(self) -> Mapping[str, Tensor]:
        device = self.ranks.device
        return self.heldout.pictures(device, self.trainer_config.autocast_dtype(device))


def pretrain(config: DictConfig) -> None:
    """Builds and runs pre-training, and tells what came of it."""
    with start(read_settings(config)["trainer"].device) as ranks:
        run = Pretraining(config, ranks)
        nothing_to_do = already_finished(run) if run.finished else None
        ended = run.run()
        last_lines = nothing_to_do or (summary(run) if ended else stopped(run))
        if ranks.main:
            print(last_lines)
