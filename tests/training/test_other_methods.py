"""Every recipe trains, and MuM, CroCo and MAE go through the same training, fine-tuning and evaluation as Muskie."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import REPOSITORY, losses, metrics, pretraining, same_bits, state, torchrun, train
from tiny_recon import finished

import muskie
from muskie.errors import CheckpointError, ConfigError
from muskie.models.recon_load import create_reconstruction_model, load_reconstruction_model
from muskie.training.optim import build_optimizer

RECIPES = sorted(path.stem for path in (REPOSITORY / "configs" / "experiment").glob("*.yaml"))
METHODS = {"mum_vitb_ablation": "mum_vitb16", "croco_v2": "croco_v2_vitl", "mae": "mae_vitl"}
"""Recipes of other methods, and their models."""
EACH = pytest.mark.parametrize("recipe", METHODS)
SMALL = [
    "data=synthetic",
    "data.scenes=6",
    "data.frames=12",
    "model.width=32",
    "model.depth=1",
    "model.heads=2",
    "model.patch_size=8",
    "plan.sizes=[16]",
    "trainer.device=cpu",
    "trainer.precision=fp32",
    "trainer.workers=0",
    "trainer.log_every=1",
    "trainer.save_every=0",
    "trainer.keep_every=0",
    "trainer.eval_every=0",
    "trainer.picture_every=0",
    "evaluation.samples=2",
    "evaluation.at_end=false",
    "evaluation.every=0",
    "trainer.batch_size=2",
    "trainer.compile=false",
]
DECODER = ["model.decoder.width=16", "model.decoder.depth=1", "model.decoder.heads=2"]
FRAMES = ["plan.frames=6", "plan.view_range=[2,4]", "trainer.batch_size=null"]


def words(recipe: str, *more: str) -> list[str]:
    config = OmegaConf.load(REPOSITORY / "configs" / "experiment" / f"{recipe}.yaml")
    counted = recipe.startswith("mum") or "frames" in (config.get("plan") or {})
    decoder = DECODER if recipe in METHODS or recipe.startswith(("mum", "muskie_mum")) else []
    return [f"experiment={recipe}", *SMALL, *decoder, *(FRAMES if counted else []), *more]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_a_step(recipe: str, tmp_path: Path) -> None:
    run = train([*words(recipe, "holdout.share=0", "trainer.steps=1", f"output_dir={tmp_path}")])
    assert len(losses(tmp_path)) == 1 and 0 < losses(tmp_path)[0] < 10
    fresh = run.model.untrained().state_dict()
    assert not same_bits(fresh, run.model.state_dict())
    again = muskie.from_pretrained(tmp_path)
    assert same_bits(again.state_dict(), run.model.state_dict())


def test_the_schedule_of_mum_is_that_of_its_paper(tmp_path: Path) -> None:
    """2.4e-3 at 6,144 images on 64 GPUs, 25,000 of 500,000 steps of warm-up; the base model 100,000."""
    run = pretraining(["experiment=mum_vitl", *(w for w in SMALL if "batch" not in w), *DECODER, "data.frames=30"])
    settings, plan = run.settings, run.plan
    assert run.steps == 500_000 and run.warmup_steps() == 25_000 and plan.counts == [1, *range(2, 25)]
    assert plan.frames == 96 and run.batch * 64 == 6144 and plan.single == 0.1
    assert settings["optim"].base_lr * 6144 / 256 == pytest.approx(2.4e-3) and settings["optim"].lr is None
    assert run.task.masks.references == 0 and run.task.masks.ratios == (0.75,)
    assert not run.model.confidence and run.model.patch_norm
    small = [word for word in SMALL if "batch" not in word]
    short = pretraining(["experiment=mum_vitb_ablation", *small, *DECODER, "data.frames=30", f"output_dir={tmp_path}"])
    assert short.steps == 100_000 and short.plan == type(short.plan)(**{**vars(plan), "steps": 100_000})


def test_learning_rates_count_images_where_the_plan_does(tmp_path: Path) -> None:
    run = train([*words("mum_vitb_ablation", "holdout.share=0", "trainer.steps=1", f"output_dir={tmp_path / 'a'}",
                        "optim.warmup=0", "trainer.accumulate=2")])  # fmt: skip
    assert run.plan.frames == 6
    (line,) = [line for line in metrics(tmp_path / "a") if "train/loss" in line]
    assert line["train/lr"] == pytest.approx(1e-4 * 12 / 256, rel=1e-3)


@EACH
def test_a_run_goes_on_bit_for_bit(recipe: str, tmp_path: Path) -> None:
    more = ["holdout.share=0", "trainer.steps=6", "trainer.save_every=1", "trainer.keep_every=3", "plan.reuse=2"]
    train([*words(recipe, *more, f"output_dir={tmp_path / 'whole'}")])
    start = tmp_path / "whole" / "checkpoints" / "step-00000003.pt"
    train([*words(recipe, *more, f"output_dir={tmp_path / 'parts'}", f"resume={start}", "trainer.workers=2")])
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["step"] == parts["step"] == 6 and same_bits(whole["model"], parts["model"])


@pytest.mark.parametrize("recipe", ["mum_vitb_ablation", "croco_v2"])
def test_two_ranks_train_as_one_with_the_same_batch(recipe: str, tmp_path: Path) -> None:
    """Every parameter has a gradient, shapes agree, and no sample is seen twice."""
    more = ["holdout.share=0", "trainer.steps=2", "trainer.save_every=1", "optim.lr=1e-3"]
    done = torchrun(REPOSITORY / "main.py", [*words(recipe, *more), f"output_dir={tmp_path / 'two'}"], tmp_path)
    assert done.returncode == 0, done.stderr
    train([*words(recipe, *more), "trainer.accumulate=2", f"output_dir={tmp_path / 'one'}"])
    one, two = (state(tmp_path / name)["model"] for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short run of each method, measured and drawn as Muskie's."""
    folder = tmp_path_factory.mktemp("methods")
    more = ["holdout.share=0.4", "holdout.by=scenes", "trainer.steps=2", "trainer.eval_every=2", "trainer.picture_every=1"]
    for recipe in METHODS:
        train([*words(recipe, *more, "evaluation.window=8", f"output_dir={folder / recipe}")])
    return {recipe: folder / recipe for recipe in METHODS}


@EACH
def test_the_gain_is_measured_as_ever(recipe: str, runs: dict[str, Path]) -> None:
    """And finite, though a model is lent brightness and contrast; pages are drawn of it, but for what it has not."""
    (scores,) = [line for line in metrics(runs[recipe]) if any("gain" in key for key in line)]
    numbers = [value for value in scores.values() if isinstance(value, float)]
    assert len(numbers) > 2 and torch.tensor(numbers).isfinite().all()
    drawn = EventAccumulator(str(runs[recipe] / "tensorboard"), {"images": 0}).Reload().Tags()["images"]
    assert {f"held_out-{page}" for page in ("masked_views", "pca")} < {tag.replace("/", "-") for tag in drawn}
    assert not any("attention" in tag for tag in drawn)


@EACH
def test_weights_of_another_method_are_refused(recipe: str, runs: dict[str, Path], tmp_path: Path) -> None:
    other = next(name for name in METHODS if name != recipe)
    with pytest.raises((CheckpointError, ConfigError), match="model"):
        pretraining([*words(recipe, f"init_from={runs[other]}", f"output_dir={tmp_path}")])
    run = pretraining([*words(recipe, f"init_from={runs[recipe]}", f"output_dir={tmp_path}")])
    assert same_bits(run.model.state_dict(), muskie.from_pretrained(runs[recipe]).state_dict())


@EACH
def test_fine_tuning(recipe: str, runs: dict[str, Path], tmp_path: Path) -> None:
    """Of a run, and of the model by its name."""
    run = finished(
        [f"backbone={runs[recipe]}", "trainer.steps=1", f"output_dir={tmp_path / 'tuned'}", "optim.backbone_rate=1"]
    )
    begun = muskie.from_pretrained(runs[recipe])
    assert run.model.backbone.config()["kind"] == "frames"
    before, after = begun.encoder.state_dict(), run.model.backbone.encoder.state_dict()
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert set(moved) == set(before), "every parameter has a gradient"
    loaded = load_reconstruction_model(tmp_path / "tuned")
    assert same_bits(loaded.state_dict(), run.model.state_dict())
    named = f"backbone={{name: {METHODS[recipe]}, width: 24, depth: 2, heads: 2}}"
    by_name = finished([named, "plan.sizes=[32]", "trainer.steps=1", f"output_dir={tmp_path / 'new'}"])
    assert by_name.model.backbone.encoder.config.positions == begun.encoder.config.positions


@EACH
def test_layers_of_the_backbone_learn_at_their_rates(recipe: str) -> None:
    model = muskie.create_model(METHODS[recipe], width=24, depth=2, heads=2, patch_size=8, decoder={"depth": 0})
    backbone = create_reconstruction_model(model, decoder_depth=1, features=8).backbone
    found: dict[int, set[str]] = {}
    for name, _ in backbone.named_parameters():
        found.setdefault(backbone.layer_of(name), set()).add(name)
    first = {"encoder.patch_embed.weight", "encoder.patch_embed.bias"}
    assert found[0] == first | ({"encoder.class_token"} if backbone.registers else set())
    assert all(name.startswith(f"encoder.blocks.{layer - 1}.") for layer in (1,) for name in found[layer])
    assert max(found) == 2


@pytest.mark.parametrize("recipe", ["mum_vitb_ablation", "croco_v2"])
def test_correspondence(recipe: str, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    monkeypatch.chdir(tmp_path)
    script: Any = importlib.import_module("evaluate")
    line = f"{runs[recipe]} out=here views.samples=3 views.views=3 views.distance=2 correspondence.queries=20"
    (table,) = script.evaluate(line.split())
    rows = json.loads((tmp_path / "here" / "results.json").read_text())["tables"][0]["rows"]
    assert {recipe, f"{recipe}, untrained"} < {row["model"] for row in rows} and len(table.rows) == len(rows)
    readouts = {row["readout"] for row in rows if row["model"] == recipe}
    assert readouts and not any("attention" in readout or "scores" in readout for readout in readouts)
    values = [row["value"] for row in rows if row["model"] == recipe and row["value"] is not None]
    assert values and torch.tensor(values).isfinite().all()


def test_an_encoder_alone_cannot_be_trained_and_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model=mum_vitl16: .*without a decoder.*mum_vitl16_decoderb"):
        pretraining(["model=mum_vitl16", *SMALL, f"output_dir={tmp_path}"])


def test_optimisers_take_every_parameter() -> None:
    from muskie.training.optim import OptimConfig

    for name in ("mum_vitb16", "croco_v2_vitb", "mae_vitb"):
        model = muskie.create_model(name, width=32, depth=1, heads=2, decoder={"width": 16, "depth": 1, "heads": 2})
        for optimiser in ("adamw", "muon"):
            built = build_optimizer(model, OptimConfig(name=optimiser))
            taken = [id(parameter) for group in built.param_groups for parameter in group["params"]]
            assert sorted(taken) == sorted(map(id, model.parameters()))
        of_blocks = [
            id(weight) for part in (model.encoder, model.decoder) for weight in part.blocks.parameters() if weight.ndim == 2
        ]
        by_muon = [id(weight) for group in built.muon.param_groups for weight in group["params"]]
        assert sorted(by_muon) == sorted(of_blocks) and len(of_blocks) > 7


PINNED = {
    "croco_v2": {
        "masks": ((0.9,), 1), "counts": [2], "lr": (1.5e-4, 0.096, 0.5, 0.05), "augment": (0.5, 1.0, 0.5, 0.4),
        "steps": 500_000, "peak": (512, 3e-4), "model": "croco_v2_vitl", "sizes": [224],
    },
    "mae": {
        "masks": ((0.75,), 0), "counts": [1], "lr": (1.5e-4, 0.05, 1.0, 0.05), "augment": (0.2, 1.3333, 0.5, 0.0),
        "steps": 250_000, "peak": (4096, 2.4e-3), "model": "mae_vitl", "sizes": [224],
    },
}  # fmt: skip
"""As their papers have them: 800 epochs of 1,281,167 images at 4,096 a step are 250,228 steps of MAE, and 40 epochs are
warm-up; CroCo v2 trained for 125 epochs of a cosine over 250, 12 of them warm-up."""


@pytest.mark.parametrize("recipe", PINNED)
def test_recipes_are_those_of_the_papers(recipe: str) -> None:
    small = [word for word in SMALL if not word.startswith(("plan.sizes", "model.width", "model.depth"))]
    run = pretraining([f"experiment={recipe}", *small, "model.width=32", "model.depth=1", *DECODER, "plan.sizes=[224]"])
    wanted, optim, augment = PINNED[recipe], run.settings["optim"], run.settings["augment"]
    assert (run.task.masks.ratios, run.task.masks.references) == wanted["masks"] and run.task.masks.modes == ("random",)
    assert run.plan.counts == wanted["counts"] and run.steps == wanted["steps"] and optim.clip == 0
    assert (optim.base_lr, optim.warmup, optim.cosine_share, optim.weight_decay) == wanted["lr"] and optim.lr is None
    assert (augment.min_area, augment.distortion, augment.flip_x, augment.jitter) == wanted["augment"]
    batch, peak = wanted["peak"]
    assert optim.peak(batch) == pytest.approx(peak)
    written = OmegaConf.load(REPOSITORY / "configs" / "experiment" / f"{recipe}.yaml")
    assert list(written.plan.sizes) == wanted["sizes"] and written.trainer.batch_size == 64
    assert written.defaults[0]["override /model"] == wanted["model"]
    assert run.model.patch_norm and not run.model.confidence


def test_what_does_not_go_together_is_told() -> None:
    both = words("mum_vitb_ablation", "trainer.batch_size=4")
    with pytest.raises(ConfigError, match=r"plan.frames=6 counts images, and trainer.batch_size=4 scenes"):
        pretraining(both)
    with pytest.raises(ConfigError, match=r"trainer.batch_size=null: give a number of scenes, or with plan.frames"):
        pretraining(words("mae", "trainer.batch_size=null"))
    uneven = ["masks.modes=[random,rectangle]", "masks.ratios=[.75,.75]"]
    with pytest.raises(ConfigError, match=r"masks.modes holds rectangle, .*Take of blob, ellipse, random, random_walk"):
        pretraining(words("mae", *uneven))
    pretraining(words("muskie_base", *uneven))
    with pytest.raises(ConfigError, match=r"masks.modes holds ellipse with masks.published"):
        pretraining(words("mae", "masks.modes=[ellipse]", "masks.ratios=[.5]", "masks.published=true"))
    with pytest.raises(ConfigError, match=r"mute_prefix=true and model.decoder.rotate_values=true"):
        pretraining(words("mum_vitb_ablation", "model.decoder.mute_prefix=true", "model.decoder.rotate_values=true"))


def test_epochs_count_images_under_a_frame_budget() -> None:
    run = pretraining(words("mum_vitb_ablation", "trainer.steps=null", "trainer.epochs=2", "trainer.epoch_size=600",
                            "trainer.accumulate=2", "optim.warmup_epochs=0.5"))  # fmt: skip
    assert run.steps == 2 * 600 // 12 and run.warmup_steps() == 25 and run.batch == 6


def test_half_a_cosine() -> None:
    """At the end of the run the rate is where a cosine of twice as many steps is halfway: at half of the peak."""
    from muskie.training.optim import OptimConfig

    half, whole = OptimConfig(lr=1.0, cosine_share=0.5), OptimConfig(lr=1.0)
    assert half.rate(99, 100, 0, 1) == whole.rate(99, 200, 0, 1) == pytest.approx(0.5, abs=0.01)
    assert half.rate(4, 100, 10, 1) == whole.rate(4, 100, 10, 1), "the warm-up is as long"
    with pytest.raises(ConfigError, match=r"optim.cosine_share=0: expected a share of the cosine"):
        OptimConfig(cosine_share=0)
