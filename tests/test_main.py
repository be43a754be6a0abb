"""The command line as a user meets it."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from entry_points import REPOSITORY, Command, entry_point, made
from omegaconf import OmegaConf
from published_lines import BASE, LARGE

from muskie.training import checkpoint
from muskie.training.optim import OptimConfig
from muskie.training.trainer_config import TrainerConfig

SMALL = ["--epochs", "1", "--num_workers", "0", "model.width=32", "model.depth=1", "model.heads=2", "plan.sizes=[32,64]",
         "trainer.device=cpu", "evaluation.samples=2", "trainer.log_every=1", "trainer.picture_every=0"]  # fmt: skip


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `main.py` with these words, in an empty folder."""
    return entry_point("main", tmp_path, monkeypatch)


MISTAKES = {
    "trainer.steps=abc": "trainer.steps='abc': should be a valid integer",
    "trainer.stesp=3": "trainer.stesp is unknown; did you mean 'trainer.steps'",
    "optim.lr=[1,2]": "optim.lr=[1, 2]: should be a valid number",
    "plan.sizes=20": "plan.sizes=20: should be a list",
    "plan.sizes=[20]": "plan.sizes: 20 is no multiple of the patch size 8; try 16",
    "masks.modes=[random,blob]": "masks.modes has 2 entries and masks.ratios has 1",
    "masks.ratios=[1.2]": "masks.ratios holds 1.2; a ratio is the hidden share of a view, a number above 0 and below 1",
    "masks.references=5": "masks.references is 5: no view is left to mask in steps of 4 views",
    "data.root=/no/where": "data.root='/no/where' does not exist",
    "data.root=": "data.root is empty; give a folder with",
    "data.root=~nobody_of_this_name/x": "data.root='~nobody_of_this_name/x': there is no such home folder",
    "log_dir=~nobody_of_this_name/x": "log_dir='~nobody_of_this_name/x': there is no such home folder",
    "data.root={here}/empty": "empty': holds no image",
    "data.roots=/no/where": "data.roots is unknown; did you mean 'data.root'",
    "data=sevenscene": "data=sevenscene is unknown; did you mean 'sevenscenes'",
    "model=muskie_bas": "model=muskie_bas is unknown; did you mean 'muskie_base'",
    "experiment=muskie_bas": "experiment=muskie_bas is unknown; did you mean 'muskie_base'",
    "model.heads=5": "model.width=32, model.heads=5: width / heads must be a multiple of 4",
    "model.depth=0": "model.depth=0: expected at least 1",
    "augment.min_area=2": "augment.min_area=2.0: expected a share of the image in (0, 1]",
    "output_dir={here}/file/below": "file/below' cannot be written (Not a directory); give another one",
    "output_dir={here}/file": "file' cannot be written",
    "trainer.device=cuda:99": "trainer.device='cuda:99' is not there",
    "trainer.device=nonsense": "trainer.device='nonsense' is no device; allowed: auto, cpu",
    "trainer.precision=half": "trainer.precision='half'",
    "resume={here}/cut.pt": "cut.pt cannot be read as a checkpoint",
    "resume={here}/foreign.pt": "foreign.pt is no checkpoint of a muskie run (found: weights)",
    "resume={here}/gone": "gone: there is no such file",
    "init_from={here}/empty": "no config.json and no model.safetensors",
    "objective._target_=no.such.Thing": "objective._target_='no.such.Thing' cannot be imported",
    "--epoch=3": "--epoch is unknown; did you mean '--epochs'",
    "evaluation.size=12": "evaluation.size=12 is no multiple of the patch size 8",
    "seed=-1": "seed=-1: expected 0 or more",
    "word": "'word' cannot be read as key=value",
    "evaluation.samples=0": "evaluation.samples=0: expected at least 2; holdout.share=0 measures nothing",
    "data.min_images=17": "no scene of data.min_images=17 images or more; the largest has 16",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_before_anything_is_made(
    mistake: str, command: Command, tiny: list[str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "empty").mkdir()
    (here / "file").write_text("")
    torch.save({"weights": 1}, here / "foreign.pt")
    (here / "cut.pt").write_bytes((here / "foreign.pt").read_bytes()[:50])
    with pytest.raises(SystemExit) as left:
        command(*tiny, f"output_dir={tmp_path / 'out'}", mistake.format(here=here))
    assert isinstance(left.value.code, str)  # printed to stderr, status 1
    assert left.value.code.startswith("error: ") and MISTAKES[mistake] in left.value.code
    assert not made(tmp_path)


def test_without_a_root(command: Command, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        command("data=folder")
    assert left.value.code == "error: data.root must be given, e.g. data.root=PATH"
    assert not made(tmp_path)


def test_all_mistakes_of_all_sections_at_once(command: Command, tiny: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command(*tiny, "trainer.batch_size=0", "optim.lr=-1", "masks.ratios=[0.5,0.5]", "holdout.by=rooms")
    for part in ("trainer.batch_size=0", "optim.lr=-1", "masks.ratios has 2", "holdout.by='rooms'"):
        assert part in str(left.value.code)


def test_keys_that_no_yaml_file_mentions(command: Command, tiny: list[str], tmp_path: Path) -> None:
    keys = [
        "trainer.accumulate=2",
        "model.patch_size=4",
        "model.decoder.depth=1",
        "model.decoder.width=16",
        "model.decoder.heads=1",
    ]
    command(*tiny, *keys, f"output_dir={tmp_path / 'out'}")
    config = (tmp_path / "out" / "config.yaml").read_text()
    assert "accumulate: 2" in config and "patch_size: 4" in config
    weights = checkpoint.load(tmp_path / "out")["model"]
    assert "decoder.embed.weight" in weights and weights["encoder.patch_embed.weight"].shape == (32, 3, 4, 4)


def test_a_finished_run_says_so(
    command: Command, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*tiny, "output_dir=out")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["  no held-out data, so nothing was measured", "  run folder   out"]
    command(*tiny, "output_dir=out")
    out, err = capsys.readouterr()
    assert out.startswith(
        "already finished at step 4 of 4 (out/checkpoints/step-00000004.pt). To train on, raise trainer.steps"
    )
    assert "choose another output_dir" in out and err == ""
    command(*tiny, "output_dir=out", "init_from=out")
    assert "step-00000004.pt; init_from not used, for a run's own folder comes first)" in capsys.readouterr().out


def test_hydras_own_flags(command: Command, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("--cfg", "job", *tiny, "trainer.accumulate=3")
    out = capsys.readouterr().out
    assert "accumulate: 3" in out and "name: muskie_tiny" in out
    for flag, part in (("--help", "model: croco_v2_vitb, croco_v2_vitl"), ("--hydra-help", "--multirun")):
        with suppress(SystemExit):
            command(flag)
        assert part in capsys.readouterr().out
    assert not made(tmp_path)


def test_all_settings_are_listed_with_their_documentation(
    command: Command, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*tiny, "--settings", "optim.clip=3", "model.decoder.depth=2")
    text = capsys.readouterr().out
    settings = OmegaConf.create(text)
    assert settings.optim.clip == 3 and settings.model.decoder.depth == 2  # type: ignore[union-attr]
    for cls, section in ((OptimConfig, settings.optim), (TrainerConfig, settings.trainer)):  # type: ignore[union-attr]
        assert set(section) == {field.name for field in fields(cls)}
        for line in (inspect.getdoc(cls) or "").splitlines():
            assert f"# {line}".rstrip() in text
    assert "# muskie.data.sources.folder.ImageFolders" in text
    command("--settings", "data=folder")
    text = capsys.readouterr().out
    assert "root: ???" in text
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "ramp.yaml").write_text("_target_: muskie.schedule.Ramp\nstart: ???\nend: 3\n")
    command("--settings", "--config-dir", "conf", "data=ramp")
    assert "start: ???" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"data\.end='x': should be"):
        command("--settings", "--config-dir", "conf", "data=ramp", "data.end=x")
    shutil.rmtree(tmp_path / "conf")
    for part in ("init: ", "Shape of a decoder", "# of weights, data and masks, >= 0\nseed: 0"):
        assert part in text
    for word, problem in {
        "model.width=abc": "model.width='abc': should be a valid integer",
        "model.patch_size=null": "model.patch_size=None: should be",
        "trainer.steps=abc": "trainer.steps='abc': should be",
    }.items():
        with pytest.raises(SystemExit) as left:
            command("--settings", "data=folder", word)
        assert problem in str(left.value.code)
    assert not made(tmp_path)


def test_help_names_all_ways_in(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(SystemExit):
        command("--help")
    text = capsys.readouterr().out
    for part in ("--settings", "--hydra-help", "--epochs 400", "muskie_base", "trainer:"):
        assert part in text


def test_a_sweep_has_a_folder_for_each_job(command: Command, tiny: list[str], tmp_path: Path) -> None:
    command("-m", *tiny, "trainer.steps=1", "seed=1,2")
    runs = list((tmp_path / "outputs").iterdir())
    assert sorted("seed: 1" in (run / "config.yaml").read_text() for run in runs) == [False, True]
    command("--multirun", *tiny, "trainer.steps=1", "seed=1,2", "output_dir='sweep/${hydra:job.num}'")
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == ["0", "1"]


@pytest.mark.parametrize(("line", "epoch", "steps"), [(BASE, "8", 4), (LARGE, "16", 2)])
def test_the_published_lines_run(
    line: list[str], epoch: str, steps: int, command: Command, image_root: Path, tmp_path: Path
) -> None:
    command(*line, "--epoch_size", epoch, *SMALL, "data=folder", f"data.root={image_root}")
    (folder,) = (tmp_path / "output_dir").iterdir()
    assert checkpoint.load(folder)["step"] == steps
    assert list(folder.glob("events.out.tfevents.*")) and (folder / "model" / "model.safetensors").is_file()


def test_the_published_line_runs_in_two_processes(image_root: Path, tmp_path: Path) -> None:
    launcher = [
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--rdzv_backend",
        "c10d",
        "--rdzv_endpoint",
        "127.0.0.1:0",
    ]
    words = [*BASE, "--epoch_size", "16", "--batch_size", "2", *SMALL, "data=folder", f"data.root={image_root}"]
    done = subprocess.run(
        [sys.executable, *launcher, str(REPOSITORY / "main.py"), *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # 16 scenes, 2 of each rank a load, each load used twice; one voice for both.
    assert checkpoint.load(tmp_path / "output_dir" / "base")["step"] == 8
    assert done.stdout.count("run folder") == 1 and done.stderr.count("starts from scratch") == 1
    assert "on 2 x cpu" in done.stderr and done.stderr.count("step 8/8") == 1


SPIN = """
import os, runpy, sys

class Stop:
    def find_spec(self, name, *rest):
        if name == "torch":
            sys.exit(os.environ.get("GOMP_SPINCOUNT", "as it comes"))

sys.meta_path.insert(0, Stop())
runpy.run_path(sys.argv[1], run_name="imported")
"""
"""Leaves where `main.py` imports torch, which reads the variable then."""


@pytest.mark.parametrize(
    ("given", "spin"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "as it comes")],
)
def test_how_long_threads_spin(given: dict[str, str], spin: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    words = [sys.executable, "-c", SPIN, str(REPOSITORY / "main.py")]
    done = subprocess.run(words, env={**environ, **given}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (1, f"{spin}\n")


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    words = ["data=folder", "data.root=/no/where", "trainer.device=cpu"]
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), *words], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stdout == ""
    assert (
        done.stderr == "error: data.root='/no/where' does not exist; give a folder with one sub-folder of images a scene\n"
    )
    assert not made(tmp_path)
