"""The command line of fine-tuning as a user meets it."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from entry_points import REPOSITORY, Command, entry_point, made
from omegaconf import OmegaConf

from muskie.models.reconstruction import ReconstructionModel
from muskie.overrides import compose_config, read_overrides
from muskie.training.finetune import FINETUNING, MODEL
from muskie.training.finetune_optim import FinetuneOptim
from muskie.training.optim import OptimConfig
from muskie.training.recon_heldout import ReconstructionEvaluation
from muskie.training.settings import read_settings
from muskie.training.trainer_config import TrainerConfig

CONFIGS = REPOSITORY / "configs"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `train_ffrecon.py` with these words, in an empty folder."""
    return entry_point("train_ffrecon", tmp_path, monkeypatch)


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "configs" / "recipe").glob("*.yaml")))
def test_every_recipe_is_valid(name: str) -> None:
    root = "data.sources.sevenscenes.root=." if name == "kitchen" else "data.root=."
    data = [root] if name == "kitchen" else ["data=sevenscenes", root]
    words = read_overrides([f"recipe={name}", *data], CONFIGS, "ffrecon", FINETUNING.sections.names())
    settings = read_settings(compose_config(CONFIGS, "ffrecon", words), FINETUNING)
    assert settings["trainer"].total_steps(8, 2) > 0


def test_all_settings_are_listed_with_their_documentation(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--settings", "optim.layer_decay=0.5", "model.depth_head=true", "backbone={name: muskie_tiny, width: 24}")
    text = capsys.readouterr().out
    settings = OmegaConf.create(text)
    assert settings.optim.layer_decay == 0.5 and settings.model.depth_head is True  # type: ignore[union-attr]
    assert settings.backbone == {"name": "muskie_tiny", "width": 24}  # type: ignore[union-attr]
    sections = {"optim": FinetuneOptim, "trainer": TrainerConfig, "evaluation": ReconstructionEvaluation}
    for name, cls in sections.items():
        assert set(settings[name]) == {field.name for field in fields(cls)}  # type: ignore[index,arg-type]
    assert set(settings.model) == set(MODEL)  # type: ignore[union-attr,arg-type]
    for cls in (*sections.values(), OptimConfig, ReconstructionModel):
        for line in (inspect.getdoc(cls) or "").splitlines():
            assert f"# {line}".rstrip() in text
    assert "# muskie.data.sources.synthetic.SyntheticRooms" in text
    for key in ("backbone", "pretrained_dir", "output_dir", "log_dir", "seed", "resume", "init_from"):
        before = text.split(f"\n{key}:", 1)[0] if not text.startswith(f"{key}:") else ""
        assert before.rsplit("\n", 1)[-1].startswith("# "), f"{key} is explained"
    assert not made(tmp_path)


def test_settings_of_the_published_keys_and_of_data_without_a_root(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--settings", "model_name=muskie_large", "train.batch_size=2", "data=sevenscenes")
    settings = OmegaConf.create(capsys.readouterr().out)
    assert settings.backbone == "muskie_large" and settings.trainer.batch_size == 2  # type: ignore[union-attr]
    assert settings.model.features is None, "half of the width of whatever backbone"  # type: ignore[union-attr]
    assert OmegaConf.missing_keys(settings) == {"data.root"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("model.featurs=8", "model.featurs is unknown; did you mean 'model.features'"),
        ("optim.layer_decay=x", "optim.layer_decay='x': should be a valid number"),
        ("masks.ratios=[0.5]", "masks.ratios is unknown"),
    ],
)
def test_mistakes_in_settings(command: Command, tmp_path: Path, word: str, problem: str) -> None:
    with pytest.raises(SystemExit) as left:
        command("--settings", word)
    assert problem in str(left.value.code)
    assert not made(tmp_path)


def test_help_names_it(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        command("--help")
    text = capsys.readouterr().out
    for part in ("--settings", "--hydra-help", "model_name=muskie_large", "trainer:"):
        assert part in text
