"""Fine-tuning into a reconstruction model, from a configuration: the one place where its parts meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from muskie.config import Sections, defaults, schema
from muskie.data.geometry_check import check_geometry
from muskie.data.index import HoldOut
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset
from muskie.errors import CheckpointError
from muskie.history import Entry, of_backbone
from muskie.models.recon_load import create_reconstruction_model, load_reconstruction_model
from muskie.models.reconstruction import ReconstructionModel
from muskie.objectives.pointmaps import PointMaps
from muskie.training import checkpoint
from muskie.training.default_backbone import choose_backbone, published_backbone
from muskie.training.distributed import start
from muskie.training.finetune_optim import FinetuneOptim
from muskie.training.recon_heldout import ReconstructionEvaluation, ReconstructionHeldOut
from muskie.training.recon_task import ReconstructionTask
from muskie.training.report import already_finished, stopped, summary
from muskie.training.run import Run, prepared
from muskie.training.settings import OF_THE_RUN, ROOT, Settings, read_settings
from muskie.training.trainer import Measure
from muskie.training.trainer_config import TrainerConfig

MODEL = schema(ReconstructionModel, without=("backbone", "seed", "kind"))


def _model_in_full(given: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in defaults(ReconstructionModel).items() if key in MODEL}, **given}


FINETUNING = Settings(
    Sections(
        fixed={
            "holdout": HoldOut,
            "augment": GeometryCrops,
            "objective": PointMaps,
            "optim": FinetuneOptim,
            "trainer": TrainerConfig,
            "evaluation": ReconstructionEvaluation,
        },
        arguments={"plan": schema(StepPlan, without=OF_THE_RUN), "model": MODEL},
        open=("data",),
    ),
    _model_in_full,
    root={**ROOT, "backbone": Any, "pretrained_dir": str | None},
)
"""What a configuration of fine-tuning consists of."""


class Finetuning(Run):
    """A fine-tuning run, `configs/ffrecon.yaml`; see `Run`."""

    kind = FINETUNING
    heldout_views = 1
    loader = "muskie.load_reconstruction_model"
    heldout: ReconstructionHeldOut
    model: ReconstructionModel

    def build_model(self) -> ReconstructionModel:
        self.backbone, self.backbone_told = choose_backbone(self.settings["backbone"], self.settings["pretrained_dir"])
        given = self.backbone
        if isinstance(given, Mapping) and "published" in given:
            given = published_backbone(Path(given["published"]))
        model = create_reconstruction_model(given, seed=self.settings["seed"], **self.settings["model"])
        self.settings["optim"].freeze(model)
        return prepared(model, self.trainer_config)

    def build_task(self) -> ReconstructionTask:
        return ReconstructionTask(self.model, self.settings["objective"], self.plan)

    def build_heldout(self) -> ReconstructionHeldOut:
        check_geometry(self.train_index)
        s = self.settings
        return ReconstructionHeldOut(s["evaluation"], self.sources, s["holdout"], self.plan, self.model)

    def build_dataset(self) -> PosedDataset:
        return PosedDataset(self.train_index, self.plan, self.settings["augment"])

    def check_same_model(self, settings: str, origin: str) -> None:
        saved: Any = OmegaConf.to_container(OmegaConf.create(settings)) or {}
        if "backbone" not in saved:
            raise CheckpointError(f"{origin} is of a pre-training run; fine-tune its weights by backbone=, not resume=")

    def take_weights(self, init_from: str) -> None:
        given = load_reconstruction_model(init_from)
        checkpoint.load_weights(self.model, given.state_dict(), f"init_from={init_from}")

    @property
    def name(self) -> str:
        given = self.backbone
        named = str(given.get("label") or given["name"]) if isinstance(given, Mapping) else str(given)
        return f"ffrecon-{Path(named).name.replace('/', '-')}"

    @property
    def notes(self) -> Sequence[str]:
        return [self.backbone_told]

    @property
    def weights_before(self) -> Sequence[Entry]:
        return of_backbone(self.backbone)

    @property
    def measured(self) -> str | None:
        return self.heldout.line() if self.heldout.means else None

    def measures(self, folder: Path) -> list[Measure]:
        """Poses, point maps and depth of held-out scenes; nothing without held-out data."""
        device, heldout = self.ranks.device, self.heldout
        dtype = self.trainer_config.autocast_dtype(device)

        def scores(at_end: bool) -> tuple[Mapping[str, float], str]:
            if at_end:
                self.save_model()  # what comes now takes a while, and may be stopped
            with torch.autocast(device.type, enabled=False):  # the model has its own; geometry is worth float32
                if at_end:
                    heldout.write_cloud(folder / "reconstruction", device, dtype)
                return heldout.measure(device, dtype)

        if heldout.index is None:
            return []
        return [Measure(self.trainer_config.eval_every, scores if self.ranks.main else None)]


def finetune(config: DictConfig) -> None:
    """Builds and runs fine-tuning, and tells what came of it."""
    with start(read_settings(config, FINETUNING)["trainer"].device) as ranks:
        run = Finetuning(config, ranks)
        nothing_to_do = already_finished(run) if run.finished else None
        ended = run.run()
        last_lines = nothing_to_do or (summary(run) if ended else stopped(run))
        if ranks.main:
            print(last_lines)
