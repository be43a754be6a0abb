"""Converted checkpoints of other methods are what their runs start from, and what reconstruction is fine-tuned from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from entry_points import entry_point
from published_frames import HEADS, INNER, INNER_HEADS, PATCH, WIDTH, fabricated

import muskie
from muskie.errors import CheckpointError
from muskie.history import of_backbone
from muskie.models.convert import write
from muskie.models.convert_frames import convert
from muskie.models.frame_layouts import Untold
from muskie.models.named import named_model
from muskie.models.published_file import CROCO, MAE, MUM
from muskie.training.initial import take_weights

METHODS = {"mum_vitl16_decoderb": MUM, "croco_v2_vitl": CROCO, "mae_vitl": MAE}
SHAPE = [f"model.width={WIDTH}", "model.depth=2", f"model.heads={HEADS}", f"model.patch_size={PATCH}"]
INSIDE = [f"model.decoder.width={INNER}", "model.decoder.depth=2", f"model.decoder.heads={INNER_HEADS}"]
STEP = [
    *("trainer.steps=1", "trainer.device=cpu", "trainer.workers=0", "trainer.picture_every=0", "trainer.eval_every=0"),
    *("trainer.save_every=0", "trainer.precision=fp32", "trainer.log_every=1", "plan.sizes=[16]", "holdout.share=0"),
]


def converted(folder: Path, kind: str, decoder: int = 2) -> Path:
    model, report = convert(kind, fabricated(kind, decoder=decoder), Untold(HEADS, INNER_HEADS))
    report.check(kind)
    write(model, folder / "converted", "published.pth")
    return folder / "converted"


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_a_run_of_the_method(tmp_path: Path, name: str) -> None:
    folder = converted(tmp_path, METHODS[name])
    theirs = muskie.from_pretrained(folder)
    decoder = {"width": INNER, "depth": 2, "heads": INNER_HEADS}
    given = {"width": WIDTH, "depth": 2, "heads": HEADS, "patch_size": PATCH}
    numerics = {"norm_eps": 1e-6} if name.startswith("mum") else {}
    muted = {"mute_prefix": True} if name.startswith("mum") else {}
    model = muskie.create_model(name, **given, **numerics, decoder={**decoder, **numerics, **muted})
    take_weights(model, str(folder))
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in model.state_dict().items())
    if name.startswith("mum"):
        plain = muskie.create_model(name, **given, decoder=decoder)
        with pytest.raises(CheckpointError, match=r"norm_eps=1e-06.*model\.decoder\.mute_prefix=true, this run"):
            take_weights(plain, str(folder))
    assert of_backbone(str(folder)) == [{"unknown": "published.pth"}], "nothing is known of what they were trained on"


def test_one_step_of_pre_training_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = entry_point("main", tmp_path, monkeypatch)
    mum = ["model=mum_vitl16_decoderb", *SHAPE, *INSIDE, "model.norm_eps=1e-6", "model.decoder.norm_eps=1e-6"]
    words = [*mum, "model.decoder.mute_prefix=true", *STEP, "trainer.batch_size=2", "optim.lr=1e-9", "optim.warmup=0"]
    data = ["data=folder", f"data.root={image_root}", "output_dir=run", "masks.modes=[random]", "masks.ratios=[0.75]"]
    main(*words, *data, "masks.references=0", f"init_from={converted(tmp_path, MUM)}")
    begun, ended = (muskie.from_pretrained(tmp_path / name).state_dict() for name in ("converted", "run"))
    for key, value in ended.items():
        torch.testing.assert_close(value, begun[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("kind", "decoder"), [(MUM, 2), (MUM, 0), (CROCO, 2), (MAE, 0)])
def test_one_step_of_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, decoder: int) -> None:
    folder = converted(tmp_path, kind, decoder)
    train = entry_point("train_ffrecon", tmp_path, monkeypatch)
    rooms = ["data.scenes=2", "data.frames=6", "plan.views=2", "plan.views_per_scene=[2]", "plan.window=4"]
    train(f"backbone={folder}", "model.features=8", "model.decoder_depth=1", *STEP, *rooms, "trainer.batch_size=1",
          "output_dir=run", "optim.lr=1e-9", "optim.warmup=0")  # fmt: skip
    model, theirs = muskie.load_reconstruction_model(tmp_path / "run"), muskie.from_pretrained(folder)
    weights = {key.removeprefix("backbone."): value for key, value in model.state_dict().items()}
    for key, value in theirs.state_dict().items():
        if key.startswith("encoder."):
            torch.testing.assert_close(weights[key], value, atol=1e-6, rtol=0)
    network = named_model(str(folder)).model
    assert network.encoder.config == theirs.encoder.config  # type: ignore[union-attr]
    assert model.backbone.config()["positions"] == theirs.encoder.config.positions
