"""Pre-training from a configuration: the one place where data, masks, model, objective and trainer meet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from muskie.data.dataset import ViewDataset
from muskie.errors import ConfigError
from muskie.evaluation.cross_view_gain import VIEWS, Gain
from muskie.models.masked_view import NO_DECODER, MaskedViewModel
from muskie.models.variants import create_model
from muskie.training.distributed import start
from muskie.training.heldout import HeldOut
from muskie.training.initial import check_same_model, take_weights
from muskie.training.report import already_finished, stopped, summary, tables_at_end
from muskie.training.run import Run, prepared
from muskie.training.run_plan import Measure
from muskie.training.settings import PRETRAINING, read_settings
from muskie.training.tasks import MaskedViewTask


class Pretraining(Run):
    """A pre-training run, `configs/pretrain.yaml`; see `Run`."""

    kind = PRETRAINING
    heldout_views = VIEWS
    loader = "muskie.from_pretrained"
    heldout: HeldOut
    model: MaskedViewModel

    def build_model(self) -> MaskedViewModel:
        arguments = dict(self.settings["model"])
        try:
            model = create_model(arguments.pop("name"), seed=self.settings["seed"], **arguments)
        except (ValueError, ZeroDivisionError) as error:
            raise error if isinstance(error, ConfigError) else ConfigError(f"model: {error}") from error
        if model.head is None:
            raise ConfigError(f"model={self.settings['model']['name']}: {NO_DECODER}")
        return prepared(model, self.trainer_config)

    def build_task(self) -> MaskedViewTask:
        objective = self.settings["objective"]
        if self.trainer_config.compile and hasattr(objective, "compile"):  # one of the user's own need not know how
            objective.compile()
        return MaskedViewTask(self.model, self.settings["masks"], objective, self.plan)

    def build_heldout(self) -> HeldOut:
        s = self.settings
        return HeldOut(s["evaluation"], self.sources, s["holdout"], self.plan, self.model, s["max_unusable"])

    def build_dataset(self) -> ViewDataset:
        return ViewDataset(self.train_index, self.plan, self.settings["augment"], self.trainer_config.cache_mb, self.layout)

    def check_state(self, state: Mapping[str, Any], settings: Mapping[str, Any], origin: str) -> None:
        check_same_model(self.model, settings, origin)

    def take_weights(self, init_from: str) -> None:
        take_weights(self.model, init_from)

    @property
    def name(self) -> str:
        return str(self.settings["model"]["name"])

    @property
    def gain(self) -> Gain | None:
        """The last cross-view gain measured."""
        return self.heldout.gain

    @property
    def measured(self) -> str | None:
        seen = (
            f"; {self.heldout.seen_before} of what it is measured on were trained on before"
            if self.heldout.seen_before
            else ""
        )
        return f"{self.gain}{seen}" if self.gain else None

    def measures(self, folder: Path) -> list[Measure]:
        """The cross-view gain, and suites if they are asked for; nothing without held-out data."""
        config, device, heldout = self.heldout.config, self.ranks.device, self.heldout
        out = tables_at_end(folder, self.steps)
        dtype = self.trainer_config.autocast_dtype(device)

        def gain(at_end: bool) -> tuple[Mapping[str, float], str]:
            return heldout.measure_gain(device)

        def suites(at_end: bool) -> tuple[Mapping[str, float], str]:
            if at_end:
                self.save_model()  # what comes now may take long, and be stopped
            return heldout.run_suites(device, dtype, out if at_end and config.at_end else None)

        if heldout.index is None:
            return []
        main = self.ranks.main
        measures = [Measure(self.trainer_config.eval_every, gain if main else None)]
        if config.runs_suites:
            measures.append(Measure(config.every, suites if main else None, lengthy=True))
        return measures


def pretrain(config: DictConfig) -> None:
    """Builds and runs pre-training, and tells what came of it."""
    with start(read_settings(config)["trainer"].device) as ranks:
        run = Pretraining(config, ranks)
        nothing_to_do = already_finished(run) if run.finished else None
        ended = run.run()
        last_lines = nothing_to_do or (summary(run) if ended else stopped(run))
        if ranks.main:
            print(last_lines)
