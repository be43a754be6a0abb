"""Pre-training from a configuration: the one place where data, masks, model, objective and trainer meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from muskie.config import Sections, schema
from muskie.data.dataset import LoadSampler, ViewDataset
from muskie.data.images import Augmentation
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import build_sources, make_loader
from muskie.data.plan import StepPlan
from muskie.errors import ConfigError
from muskie.evaluation.cross_view_gain import VIEWS, Gain, GainConfig, cross_view_gain, gain_samples
from muskie.masking import MaskPolicy
from muskie.models.encoder import EncoderConfig
from muskie.models.masked_view import MaskedViewModel
from muskie.models.variants import create_model, from_pretrained
from muskie.objectives.pixels import MaskedPixels
from muskie.training import checkpoint
from muskie.training.distributed import Ranks, start
from muskie.training.optim import OptimConfig
from muskie.training.run_folder import Start, choose_start, make_folder
from muskie.training.tasks import MaskedViewTask, gain_predictor
from muskie.training.telemetry import Telemetry
from muskie.training.trainer import RunPlan, Trainer
from muskie.training.trainer_config import TrainerConfig

ROOT = {"output_dir": str | None, "log_dir": str | None, "seed": int, "resume": str | None, "init_from": str | None}
"""Keys outside of sections. `log_dir`: where TensorBoard's files go; null: into the run's folder."""

MODEL = {**schema(EncoderConfig), "name": str, "init": str, "decoder": dict[str, Any]}

SECTIONS = Sections(
    fixed={
        "holdout": HoldOut,
        "augment": Augmentation,
        "masks": MaskPolicy,
        "objective": MaskedPixels,
        "optim": OptimConfig,
        "trainer": TrainerConfig,
        "evaluation": GainConfig,
    },
    arguments={"plan": schema(StepPlan, without=("patch_size", "steps", "seed")), "model": MODEL},
    open=("data",),
)


class Pretraining:
    """A pre-training run, built and checked before anything is trained.

    Args:
        config: composed by Hydra from `configs/pretrain.yaml`.
        ranks: this process.

    Raises:
        ConfigError, DataError, CheckpointError: whatever in the configuration cannot be used.
    """

    def __init__(self, config: DictConfig, ranks: Ranks) -> None:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(f"{', '.join(missing)} must be given, e.g. {missing[0]}=PATH")
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        built = SECTIONS.build({str(k): v for k, v in plain.items()}, ROOT)
        self.config, self.ranks, self.settings = config, ranks, built
        self.trainer_config: TrainerConfig = built["trainer"]
        self.trainer_config.autocast_dtype(ranks.device)
        self.seed: int = built["seed"]
        self.model = self._build_model(dict(built["model"]))
        reuse = built["plan"].get("reuse", 1)
        self.steps = self.trainer_config.total_steps(ranks.world, reuse)
        self.plan = StepPlan(patch_size=self.model.patch_size, steps=self.steps, seed=self.seed, **built["plan"])
        self.task = MaskedViewTask(self.model, built["masks"], built["objective"], self.plan)
        self.sources = build_sources(built["data"])
        holdout: HoldOut = built["holdout"]
        self.train_index = SceneIndex(self.sources, "train", holdout, self.plan.views)
        self.gain_config: GainConfig = built["evaluation"]
        self.heldout = SceneIndex(self.sources, "heldout", holdout, VIEWS) if holdout.share else None
        name = f"{built['model']['name']}-{'+'.join(source.name for source in self.sources)}"
        chosen = choose_start(built["output_dir"], built["resume"], built["init_from"], name)
        self.start: Start = ranks.share(chosen)
        self.state = checkpoint.load(self.start.checkpoint) if self.start.checkpoint else None
        if self.state is None and built["init_from"]:
            weights = from_pretrained(built["init_from"]).state_dict()
            checkpoint.load_weights(self.model, weights, f"init_from={built['init_from']}")
        self.gain: Gain | None = None

    def _build_model(self, arguments: dict[str, Any]) -> MaskedViewModel:
        model = create_model(arguments.pop("name"), seed=self.seed, **arguments)
        if self.trainer_config.checkpointing:
            model.set_checkpointing(True)
        if self.trainer_config.compile:
            model.compile_blocks()
        return model

    def run(self) -> bool:
        """Trains; returns whether the run came to its end."""
        folder, config = self.start.folder, self.trainer_config
        if self.ranks.main:
            make_folder(folder)
        self.ranks.barrier()
        done = self.state["step"] if self.state else 0
        log_dir = self.settings["log_dir"]
        telemetry = Telemetry(
            folder if self.ranks.main else None, self.steps, done, Path(log_dir).expanduser() if log_dir else None
        )
        telemetry.say(self.start.reason)
        settings = OmegaConf.to_yaml(self.config, resolve=True)
        if self.ranks.main:
            (folder / "config.yaml").write_text(settings)
        warmup = self._warmup_steps(telemetry.say)
        run = RunPlan(self.steps, warmup, self.plan.reuse, len(self.plan.sizes))
        trainer = Trainer(self.task, config, self.settings["optim"], run, self.ranks, folder, telemetry, self._evaluation())
        if self.state:
            trainer.restore(self.state, str(self.start.checkpoint))
        self._describe(telemetry.say, done)
        dataset = ViewDataset(self.train_index, self.plan, self.settings["augment"], config.cache_mb)
        first = trainer.step // self.plan.reuse
        sampler = LoadSampler(self.plan, config.batch_size, config.accumulate, self.ranks.rank, self.ranks.world, first)
        loader = make_loader(dataset, sampler, config.workers, self.ranks.device.type == "cuda")
        try:
            finished = trainer.fit(loader, settings)
        finally:
            telemetry.close()
        if finished and self.ranks.main:
            self.model.save_pretrained(folder / "model")
        return finished

    def _warmup_steps(self, say: Callable[[str], None]) -> int:
        optim: OptimConfig = self.settings["optim"]
        if optim.warmup_epochs is None:
            return round(optim.warmup * self.steps)
        steps = round(optim.warmup_epochs * self.trainer_config.steps_per_epoch(self.ranks.world, self.plan.reuse))
        if steps >= self.steps:
            say(f"warning: optim.warmup_epochs={optim.warmup_epochs:g} is {steps} steps, and the run has {self.steps}")
        return steps

    def _evaluation(self) -> Callable[[], tuple[Mapping[str, float], str]] | None:
        """Measures the cross-view gain of the model as it is; None without held-out data."""
        if self.heldout is None or not self.ranks.main:
            return None
        size = self.gain_config.size or min(self.plan.sizes)
        if size % self.plan.patch_size:
            raise ConfigError(f"evaluation.size={size} is no multiple of the patch size {self.plan.patch_size}")
        everything = SceneIndex(self.sources, "all")
        samples = gain_samples(self.heldout, everything, self.gain_config, size, self.plan.patch_size)

        def evaluate() -> tuple[Mapping[str, float], str]:
            predict = gain_predictor(self.model, self.ranks.device)
            self.gain = cross_view_gain(predict, samples, self.gain_config.batch, self.gain_config.seed)
            return self.gain.scalars(), str(self.gain)

        return evaluate

    def _describe(self, say: Callable[[str], None], done: int) -> None:
        million = sum(p.numel() for p in self.model.parameters()) / 1e6
        sources = ", ".join(f"{s.name} ({self.train_index.places(s)} scenes)" for s in self.sources)
        config = self.trainer_config
        say(
            f"{self.settings['model']['name']}: {million:.1f} M parameters on {self.ranks.world} x {self.ranks.device}; "
            f"data: {sources}; steps {done} to {self.steps} of {config.batch_size * config.accumulate * self.ranks.world} "
            f"scenes x {self.plan.views} views at {'+'.join(map(str, self.plan.sizes))} px"
        )


def pretrain(config: DictConfig) -> None:
    """Builds and runs pre-training, and tells what came of it."""
    device = OmegaConf.select(config, "trainer.device", default="auto")
    with start(str(device)) as ranks:
        run = Pretraining(config, ranks)
        finished = run.run()
        if ranks.main:
            print(summary(run, finished))


def summary(run: Pretraining, finished: bool) -> str:
    """The last lines of a run."""
    folder = run.start.folder
    if not finished:
        return f"stopped early; continue with the same command and output_dir={folder}"
    tensorboard = run.settings["log_dir"] or folder / "tensorboard"
    return "\n".join(
        [
            "",
            f"  {run.gain or 'no held-out data, so no cross-view gain'}",
            f"  run folder   {folder}",
            f"  pictures     {folder / 'pictures'}",
            f"  weights      muskie.from_pretrained({str(folder / 'model')!r})",
            f"  TensorBoard  tensorboard --logdir {tensorboard}",
        ]
    )
