"""Fine-tuning into a reconstruction model, from a configuration: the one place where its parts meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from muskie.config import Sections, defaults, schema
from muskie.data.geometry_check import WITH_GEOMETRY, check_geometry
from muskie.data.index import HoldOut
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset
from muskie.errors import CheckpointError
from muskie.history import Entry, of_backbone
from muskie.models.heldout_scores import write_scores
from muskie.models.recon_load import create_reconstruction_model, load_reconstruction_model
from muskie.models.reconstruction import TRAINED, ReconstructionModel
from muskie.objectives.pointmaps import PointMaps
from muskie.paths import typed_path
from muskie.training import checkpoint
from muskie.training.default_backbone import choose_backbone, published_backbone
from muskie.training.distributed import start
from muskie.training.finetune_optim import FinetuneOptim
from muskie.training.recon_heldout import ReconstructionEvaluation, ReconstructionHeldOut
from muskie.training.recon_task import ReconstructionTask
from muskie.training.report import already_finished, stopped, summary
from muskie.training.run import Run, prepared
from muskie.training.run_plan import Measure
from muskie.training.same_network import check_same_network, network_of_state
from muskie.training.saved_model import MODEL as MODEL_FOLDER
from muskie.training.settings import OF_THE_RUN, ROOT, Settings, read_settings, saved_settings
from muskie.training.trainer_config import TrainerConfig

MODEL = schema(ReconstructionModel, without=("backbone", "seed", "kind", *TRAINED))

REAL = WITH_GEOMETRY.replace("synthetic, ", "")
"""Of these, what somebody who trains on rendered rooms may want instead."""

OF_COUNTS = ("views", "views_per_scene", "frames", "view_range", "single")
"""Settings of a plan that say how many views its scenes have."""

NARROW = 8
"""Dense heads by how much narrower than the backbone this is worth a note: the default suits small backbones."""


def _model_in_full(given: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in defaults(ReconstructionModel).items() if key in MODEL}, **given}


def _caches(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a cache of decoded frames, which is of pre-training alone."""
    trainer = config.get("trainer")
    given = trainer.get("cache_mb") if isinstance(trainer, Mapping) else None
    if not given:
        return []
    return [f"trainer.cache_mb={given}: frames with depth are not kept in memory; leave it out, and raise trainer.workers"]


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
    _caches,
    root={**ROOT, "backbone": Any, "pretrained_dir": str | None},
)
"""What a configuration of fine-tuning consists of."""


class Finetuning(Run):
    """A fine-tuning run, `configs/ffrecon.yaml`; see `Run`."""

    kind = FINETUNING
    heldout_views = 1
    loader = "muskie.load_reconstruction_model"
    other_data = f"for real scenes with depth and cameras ({REAL}) append data=NAME data.root=PATH"
    heldout: ReconstructionHeldOut
    model: ReconstructionModel

    def build_model(self) -> ReconstructionModel:
        model = self._continued() or self._as_given() or self._begun()
        self.settings["optim"].freeze(model)
        return prepared(model, self.trainer_config)

    def _continued(self) -> ReconstructionModel | None:
        """The network that the checkpoint holds, for which the backbone need not be there any more; None where the run
        begins, where another backbone is named than it was begun with, or where the checkpoint does not hold it."""
        if self.state is None or "network" not in self.state:
            return None
        begun_with = self.saved["backbone"]
        if self.settings["backbone"] not in ("auto", begun_with):
            return None
        self.backbone, self.backbone_told = begun_with, f"backbone: {_named(begun_with)}, as the run was begun"
        body = self.state["network"]["backbone"]
        return ReconstructionModel(body, seed=self.settings["seed"], **self.settings["model"])

    def _as_given(self) -> ReconstructionModel | None:
        """One with the backbone of `init_from`, where that is given and no backbone; None where it is not, or cannot be told
        of it."""
        init_from = self.settings["init_from"]
        if self.state is not None or not init_from or self.settings["backbone"] not in ("auto", init_from):
            return None
        network = self._given.get("network")
        if network is None:
            return None
        self.backbone, self.backbone_told = init_from, f"backbone: that of {init_from}"
        return ReconstructionModel(network["backbone"], seed=self.settings["seed"], **self.settings["model"])

    @cached_property
    def _given(self) -> dict[str, Any]:
        """What lies at `init_from`, a model folder, a run's folder, a checkpoint, or a model on the Hugging Face hub:
        `network` and `model`, its weights; of a checkpoint all that it holds, which may lack the network."""
        init_from = self.settings["init_from"]
        path = typed_path(init_from, "init_from")
        if path.suffix == ".pt":
            return checkpoint.load(path, key="init_from")
        given = load_reconstruction_model(init_from)
        return {"network": given.network(), "model": given.state_dict()}

    def _begun(self) -> ReconstructionModel:
        given, pretrained_dir = self.settings["backbone"], self.settings["pretrained_dir"]
        if given == "auto" and self.state is not None:
            given = self.saved.get("backbone", given)
        # On the first rank: another run may end while the ranks look for the newest.
        self.backbone, self.backbone_told = self.ranks.first(lambda: choose_backbone(given, pretrained_dir))
        spec = self.backbone
        if isinstance(spec, Mapping) and "published" in spec:
            spec = published_backbone(Path(spec["published"]), spec["name"])
        return create_reconstruction_model(spec, seed=self.settings["seed"], **self.settings["model"])

    @property
    def resolved(self) -> dict[str, Any]:
        return {"backbone": self.backbone} if self.settings["backbone"] == "auto" else {}

    @property
    def kept(self) -> Mapping[str, Any]:
        return {"network": self.model.network()}

    def build_task(self) -> ReconstructionTask:
        return ReconstructionTask(self.model, self.settings["objective"], self.plan)

    def build_heldout(self) -> ReconstructionHeldOut:
        check_geometry(self.train_index)
        s = self.settings
        return ReconstructionHeldOut(s["evaluation"], self.sources, s["holdout"], self.plan, self.model, s["max_unusable"])

    def build_dataset(self) -> PosedDataset:
        return PosedDataset(self.train_index, self.plan, self.settings["augment"], self.layout)

    def check_state(self, state: Mapping[str, Any], settings: Mapping[str, Any], origin: str) -> None:
        if "backbone" not in settings:
            raise CheckpointError(f"{origin} is of a pre-training run; fine-tune its weights by backbone=, not resume=")
        check_same_network(self.model, network_of_state(state, settings, self.model), origin)

    def take_weights(self, init_from: str) -> None:
        origin, given = f"init_from={init_from}", self._given
        del self._given  # as large as the model
        if "settings" in given:
            self.check_state(given, saved_settings(given), origin)
        else:
            check_same_network(self.model, given["network"], origin)
        checkpoint.load_weights(self.model, given["model"], origin)

    @property
    def name(self) -> str:
        path = Path(_named(self.backbone))
        if path.suffix == ".pt":
            path = path.parent.parent  # the run of a checkpoint
        elif path.name == MODEL_FOLDER:
            path = path.parent
        return f"ffrecon-{path.name.replace('/', '-')}"

    @property
    def notes(self) -> Sequence[str]:
        features, width = self.model.network()["features"], self.model.backbone.block.width
        told = f"note: model.features={features} is little for a backbone of {width} channels; null: half of them"
        return [self.backbone_told, *([told] if features < width // NARROW else [])]

    @property
    def weights_before(self) -> Sequence[Entry]:
        init_from = self.settings["init_from"]  # what that was trained on is known of it already
        return of_backbone(self.backbone) if self.backbone != init_from else ()

    @property
    def measured(self) -> str | None:
        return self.heldout.line() if self.heldout.means else None

    def save_model(self) -> None:
        """As of every run, with the sizes and views that the weights were trained on, and how good they were."""
        plan = self.saved.get("plan") or {} if self.finished else vars(self.plan)
        if plan.get("sizes"):
            counted = {key: plan[key] for key in OF_COUNTS if key in plan}
            counts = StepPlan(1, 1, **counted).counts if "views_per_scene" in counted else ()
            self.model.note_training(plan["sizes"], counts)
        if self.ranks.main and self.folder is not None:
            steps = self.done if self.finished else None
            write_scores(self.folder / MODEL_FOLDER, self.heldout.scores(self.steps), steps)
        super().save_model()

    def measures(self, folder: Path) -> list[Measure]:
        """Poses, point maps and depth of held-out scenes; nothing without held-out data."""
        device, heldout = self.ranks.device, self.heldout
        dtype = self.trainer_config.autocast_dtype(device)

        def scores(at_end: bool) -> tuple[Mapping[str, float], str]:
            if at_end:
                heldout.means = {}  # those of an earlier step are not of these weights
                self.save_model()  # what comes now takes a while, and may be stopped
            with torch.autocast(device.type, enabled=False):  # the model has its own; geometry is worth float32
                if at_end:
                    heldout.write_cloud(folder / "reconstruction", device, dtype)
                return heldout.measure(device, dtype)

        if heldout.index is None:
            return []
        return [Measure(self.trainer_config.eval_every, scores if self.ranks.main else None)]


def _named(backbone: Any) -> str:
    return str(backbone.get("label") or backbone["name"]) if isinstance(backbone, Mapping) else str(backbone)


def finetune(config: DictConfig) -> None:
    """Builds and runs fine-tuning, and tells what came of it."""
    with start(read_settings(config, FINETUNING)["trainer"].device) as ranks:
        run = Finetuning(config, ranks)
        nothing_to_do = already_finished(run) if run.finished else None
        ended = run.run()
        last_lines = nothing_to_do or (summary(run) if ended else stopped(run))
        if ranks.main:
            print(last_lines)
