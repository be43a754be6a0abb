"""Fine-tuning runs: what they are made of, that they learn, measure, and refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tiny import ONE, same_bits, train
from tiny_recon import CONFIGS, SMALL, finetuning, finished

from muskie.errors import CheckpointError, ConfigError, DataError
from muskie.history import history
from muskie.models.recon_load import load_reconstruction_model
from muskie.models.variants import create_model
from muskie.overrides import compose_config, read_overrides
from muskie.training.default_backbone import choose_backbone
from muskie.training.finetune import FINETUNING, REAL, Finetuning
from muskie.training.report import introduction, summary


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    run = finished([f"output_dir={tmp_path}", "trainer.picture_every=2", "trainer.eval_every=2"])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "heldout/AUC@30" in line] == [2, 4]
    assert all(math.isfinite(line["train/loss"]) for line in lines if "train/loss" in line)
    assert {"train/points", "train/normals", "train/rotation", "train/translation", "train/confidence"} <= set(lines[0])
    assert {path.name.rsplit("-", 1)[0] for path in (tmp_path / "pictures").iterdir()} == {
        "before_training_0-depth", "train-depth", "held_out-depth",
    }  # fmt: skip
    model = load_reconstruction_model(tmp_path)
    assert same_bits(model.state_dict(), run.model.state_dict())
    assert "held out, 2 samples of 4 views: AUC@15" in summary(run)
    assert "muskie.load_reconstruction_model" in summary(run)
    (rooms,) = (line for line in introduction(run) if line.startswith("note: trains on rendered rooms"))
    assert "data=folder" not in rooms and REAL in rooms, "photographs alone cannot be trained on"
    assert [entry["data"]["scenes"] for entry in history(tmp_path / "model") or []] == [6]


def test_a_saved_model_knows_the_sizes_and_views_it_was_trained_at(tmp_path: Path) -> None:
    """Also one that is written later, when other sizes are asked for; and none of it changes what it computes."""
    words = ["plan.sizes=[24,16]", "holdout.share=0", "trainer.steps=1", f"output_dir={tmp_path / 'run'}"]
    config = tmp_path / "run" / "model" / "config.json"
    network = finished(words).model.network()
    for _ in range(2):
        model = load_reconstruction_model(tmp_path / "run")
        assert (model.trained_sizes, model.trained_views) == ([16, 24], [2, 4])
        assert model.network() == network and model.untrained().trained_sizes == []
        config.unlink()  # as if the run had been killed before
        assert finetuning([*words, "plan.sizes=[32]", "plan.views_per_scene=[1]"]).run()
    assert finished([f"init_from={tmp_path / 'run'}", f"output_dir={tmp_path / 'next'}"]).model.trained_sizes == [16]
    old = {key: value for key, value in json.loads(config.read_text()).items() if not key.startswith("trained_")}
    config.write_text(json.dumps(old))
    assert load_reconstruction_model(tmp_path / "run").trained_sizes == []


def test_narrow_heads_on_a_wide_backbone_are_told() -> None:
    assert len(finetuning([]).notes) == 1
    told = finetuning(["model.features=2"]).notes[1]
    assert told == "note: model.features=2 is little for a backbone of 24 channels; null: half of them"


def test_half_precision_does_not_reach_what_is_measured(tmp_path: Path) -> None:
    """Of a run in bf16: the point maps are measured, and written, in float32."""
    run = finished(["trainer.precision=bf16", f"output_dir={tmp_path}"])
    content = (tmp_path / "reconstruction" / "points.ply").read_bytes()
    header, _, rows = content.partition(b"end_header\n")
    count = int(header.split(b"element vertex ")[1].split()[0])
    x = torch.frombuffer(bytearray(rows), dtype=torch.uint8).view(count, -1)[:, :4].contiguous().view(torch.float32)
    assert count > 20 and not torch.equal(x, x.bfloat16().float()), "numbers of more than 8 bits"
    means = dict(run.heldout.means)
    assert run.heldout.measure(ONE.device, torch.bfloat16) and run.heldout.means == means


def test_it_learns_one_scene_by_heart(tmp_path: Path) -> None:
    """The loss of one room seen again and again falls, that of poses too."""
    one = ["data.scenes=1", "holdout.share=0", "data.frames=4", "plan.views_per_scene=[4]", "augment.min_area=1"]
    finished([*one, "augment.flip_x=0", "trainer.steps=60", "optim.lr=3e-3", f"output_dir={tmp_path}"])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name, factor in (("points", 0.6), ("loss", 0.8)):
        first, last = (sum(line[f"train/{name}"] for line in part) / 10 for part in (lines[:10], lines[-10:]))
        assert last < factor * first, name


def test_the_weights_of_a_backbone_are_taken(tiny: list[str], tmp_path: Path) -> None:
    pretrained = train([*tiny, "trainer.steps=1", f"output_dir={tmp_path / 'run'}"])
    own = pretrained.model.encoder.state_dict()
    run = finetuning([f"backbone={tmp_path / 'run'}", "plan.sizes=[16]"])
    found = run.model.backbone.state_dict()
    assert all(torch.equal(own[key.removeprefix("encoder.")], value) for key, value in found.items())
    assert len(found) > 20 and run.name == "ffrecon-run"
    assert [str(entry["data"]["_target_"]).rsplit(".", 1)[1] for entry in run.heldout.past] == [
        "ImageFolders",
        "SyntheticRooms",
    ]


def test_the_newest_pretraining_run_is_the_default(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given, told = choose_backbone("auto")
    assert given == "muskie_tiny" and "with fresh weights; no pre-training run has ended in" in told
    train([*tiny, "trainer.steps=1", "output_dir=outputs/first"])
    finished(["output_dir=outputs/second"])
    given, told = choose_backbone("auto")
    assert given == "outputs/first" and "the newest pre-training run here" in told, "a fine-tuned model is none"
    run = finetuning(["backbone=auto"])
    run.folder = tmp_path
    assert told in list(introduction(run))


def test_learning_rates_by_part_and_layer() -> None:
    run = finetuning(["optim.backbone_rate=0.1", "optim.layer_decay=0.5", "optim.frozen_layers=1"])
    optim = run.settings["optim"]
    scales = optim.scales(run.model)
    by_layer = {(run.model.layer_of(name)): scales.get(p, 1.0) for name, p in run.model.named_parameters()}
    assert by_layer[("backbone", 2)] == pytest.approx(0.1) and by_layer[("backbone", 1)] == pytest.approx(0.05)
    assert by_layer[("backbone", 0)] == pytest.approx(0.025)
    assert {scale for (part, _), scale in by_layer.items() if part != "backbone"} == {1.0}
    frozen = {run.model.layer_of(name) for name, p in run.model.named_parameters() if not p.requires_grad}
    assert frozen == {("backbone", 0), ("backbone", 1)}


def test_what_is_frozen_stays_and_the_rest_moves(tmp_path: Path) -> None:
    run = finetuning([f"output_dir={tmp_path}", "optim.backbone_rate=0"])
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    assert run.run()
    moved = {name for name, p in run.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved and not any(name.startswith("backbone") for name in moved)
    assert {name for name in before if not name.startswith("backbone")} == moved


def test_rates_reach_the_optimiser(tmp_path: Path) -> None:
    """Without decay, AdamW's first step is the learning rate: slow weights move by their share of it."""
    words = ["optim.backbone_rate=0.1", "optim.weight_decay=0", "optim.warmup=0", "trainer.steps=1", "optim.clip=0"]
    run = finetuning([f"output_dir={tmp_path}", *words])
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    assert run.run()
    steps = {name: (p - before[name]).abs().max().item() for name, p in run.model.named_parameters()}
    lr = run.settings["optim"].lr
    shares = {name: step / lr / (0.1 if name.startswith("backbone") else 1) for name, step in steps.items()}
    assert all(share < 1.01 for share in shares.values())  # less where the gradient is next to nothing
    assert sum(share > 0.95 for share in shares.values()) > 0.8 * len(shares)


def test_mistakes(tiny: list[str], tmp_path: Path) -> None:
    for words, message in {
        ("optim.layer_decay=0",): r"optim.layer_decay=0.0: expected a factor in \(0, 1\]",
        ("optim.backbone_rate=-1",): "optim.backbone_rate=-1.0: expected 0",
        ("optim.frozen_layers=9",): "optim.frozen_layers=9: the backbone has 2 layers",
        ("evaluation.parts=[poses]",): "evaluation.parts: 'poses' is unknown; did you mean 'pose'",
        ("evaluation.size=20",): "evaluation.size=20 is no multiple of the patch size 8",
        ("plan.sizes=[20]",): "20 is no multiple of the patch size 8; try",
        ("backbone=muskie_tny",): "did you mean 'muskie_tiny'",
        ("model.hooks=[1]",): r"model.hooks=\[1\]: expected 4 numbers",
        ("trainer.cache_mb=64",): "trainer.cache_mb=64: frames with depth are not kept in memory; leave it out",
    }.items():
        with pytest.raises(ConfigError, match=message):
            finished([*words, f"output_dir={tmp_path / 'x'}"])
    with pytest.raises(ConfigError, match="no transformer blocks to train"):
        finished(["optim.name=muon", "optim.backbone_rate=0", "model.decoder_depth=0", f"output_dir={tmp_path / 'y'}"])
    train([*tiny, "trainer.steps=1", f"output_dir={tmp_path / 'pre'}"])
    with pytest.raises(CheckpointError, match="is of a pre-training run; fine-tune its weights by backbone="):
        finetuning([f"resume={tmp_path / 'pre'}"])
    create_model("muskie_tiny", width=24, depth=1, heads=2).save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="is a pre-training model"):
        finetuning([f"init_from={tmp_path / 'model'}"])
    assert not (tmp_path / "x").exists()


def test_data_without_depth(image_root: Path, tmp_path: Path) -> None:
    words = [word for word in SMALL if not word.startswith("data.")]
    typed = [*words, "data=folder", f"data.root={image_root}", "holdout.share=0", f"output_dir={tmp_path / 'run'}"]
    typed = read_overrides(typed, CONFIGS, "ffrecon", FINETUNING.sections.names())
    with pytest.raises(DataError, match="Training reconstruction needs depth and cameras"):
        Finetuning(compose_config(CONFIGS, "ffrecon", typed), ONE)
    assert not (tmp_path / "run").exists(), "told before anything is made"
