"""What was trained on stays with the weights: through resuming, taking weights, copying, and runs of before the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.listing.table import SceneTable
from muskie.data.scene import Scene
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import CheckpointError
from muskie.history import FILE, extended, fingerprint, history, of_backbone, of_weights
from muskie.overrides import compose_config, read_overrides
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.report import introduction
from muskie.training.settings import SECTIONS

CONFIGS = Path(__file__).parents[1] / "configs"


def make(words: list[str]) -> Pretraining:
    config = compose_config(CONFIGS, "pretrain", read_overrides(words, CONFIGS, "pretrain", SECTIONS.names()))
    return Pretraining(config, Ranks(0, 1, torch.device("cpu")))


def shares(path: Path) -> list[float]:
    return [entry["holdout"]["share"] for entry in history(path) or [] if "unknown" not in entry]


def test_all_trainings_are_kept(tiny: list[str], tmp_path: Path) -> None:
    run, other, third = (tmp_path / name for name in ("run", "other", "third"))
    short = [*tiny, "trainer.steps=1", "trainer.save_every=1", "evaluation.samples=2"]
    assert make([*short, f"output_dir={run}"]).run()
    assert make([*short, f"output_dir={run}", "trainer.steps=2"]).run(), "the same data once more is no new entry"
    checkpoint = next((run / "checkpoints").glob("*.pt"))
    assert shares(run) == shares(run / "model") == shares(checkpoint) == [0]
    assert "past" in torch.load(checkpoint, weights_only=True)
    shutil.copy(checkpoint, tmp_path / "elsewhere.pt")
    resumed = make(
        [*short, f"output_dir={other}", f"resume={tmp_path / 'elsewhere.pt'}", "trainer.steps=3", "holdout.share=0.5"]
    )
    (line,) = (line for line in introduction(resumed) if "which it calls held out" in line)
    measured = resumed.heldout.index
    assert measured is not None
    total = sum(measured.images(source) for source in measured.sources)
    assert f"were trained on {total} of {total} frames" in line
    assert resumed.run()
    assert shares(other) == shares(other / "model") == [0, 0.5]
    assert make([*short, f"output_dir={other}", "trainer.steps=4", "holdout.share=0.5"]).run(), "and once more"
    assert shares(other) == shares(other / "model") == [0, 0.5]
    assert make([*short, f"output_dir={third}", f"init_from={other / 'model'}", "holdout.share=0.25"]).run()
    assert shares(third) == [0, 0.5, 0.25]
    shutil.copytree(third / "model", tmp_path / "copied")
    assert shares(tmp_path / "copied") == [0, 0.5, 0.25]
    assert of_weights(str(tmp_path / "copied"), "backbone") == history(third)


def test_the_last_training_comes_last(tiny: list[str], tmp_path: Path) -> None:
    """Also where it is one that was before: what it held out then has been trained on since."""
    short = [*tiny, "trainer.steps=1", "evaluation.samples=2"]
    for number, share in enumerate((0.5, 0.25, 0.5)):
        start = [f"init_from={tmp_path / str(number - 1)}"] if number else []
        run = make([*short, f"output_dir={tmp_path / str(number)}", f"holdout.share={share}", *start])
        told = [line for line in introduction(run) if "which it calls held out" in line]
        assert run.run()
    assert shares(tmp_path / "2") == [0.25, 0.5] and told


def test_a_run_that_was_begun_anew_and_killed_is_what_its_model_is(tiny: list[str], tmp_path: Path) -> None:
    assert make([*tiny, "trainer.steps=1", f"output_dir={tmp_path}"]).run()
    shutil.rmtree(tmp_path / "checkpoints")
    begun = make([*tiny, "trainer.steps=1", f"output_dir={tmp_path}", "holdout.share=0.5", "evaluation.samples=2"])
    begun.folder = begun._make_folders()  # and no step more
    assert "share: 0.5" in (tmp_path / "config.yaml").read_text()
    assert shares(tmp_path) == [0]


def test_nothing_is_told_of_a_run_that_held_out_what_it_measures(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, "trainer.steps=1", "holdout.share=0.5", "evaluation.samples=2", f"output_dir={tmp_path / 'run'}"]
    assert make([*words, "trainer.save_every=1"]).run()
    again = make([*words, "trainer.steps=2"])
    assert not [line for line in introduction(again) if "which it calls held out" in line]


def test_runs_of_before_the_file(tiny: list[str], tmp_path: Path) -> None:
    """Their configuration tells, and what it names."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert make([*tiny, "trainer.steps=1", f"output_dir={first}"]).run()
    words = [f"output_dir={second}", f"init_from={first}", "holdout.share=0.5", "evaluation.samples=2"]
    assert make([*tiny, "trainer.steps=1", *words]).run()
    (first / "model" / FILE).unlink()
    (second / "model" / FILE).unlink()
    for path in (second, second / "model"):
        assert shares(path) == [0, 0.5]
    checkpoint = next((second / "checkpoints").glob("*.pt"))
    state = torch.load(checkpoint, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "past"}, checkpoint)
    assert shares(checkpoint) == [0, 0.5]
    shutil.rmtree(first)
    assert [entry for entry in history(second) or [] if "unknown" in entry] == [{"unknown": str(first)}]


def test_backbones() -> None:
    for fresh in ("muskie_tiny", {"name": "muskie_tiny", "width": 24}, {"name": "timm/vit", "pretrained": False}):
        assert of_backbone(fresh) == []
    for given, name in (
        ("timm/vit", "timm/vit"),
        ("owner/model", "owner/model"),
        ({"name": "a", "published": "a.pth"}, "a.pth"),
    ):
        assert of_backbone(given) == [{"unknown": name}]


def test_what_nothing_is_known_of(tmp_path: Path) -> None:
    assert history(tmp_path) is None
    assert of_weights("someone/model", "backbone") == [{"unknown": "someone/model"}]
    assert of_weights(str(tmp_path), "backbone") == [{"unknown": str(tmp_path)}]
    (tmp_path / "config.yaml").write_text("of: another program")
    assert history(tmp_path) is None


@pytest.mark.parametrize("text", ["data: {}", "[1, 2]", "- {data: {}}", "{", "\x00"])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"trained_on\.yaml: "):
        history(tmp_path)


def test_a_list_that_has_changed_is_told_from_that_of_then(image_root: Path) -> None:
    source = ImageFolders(image_root)

    def print_of(**changed: list[str]) -> str:
        scenes = {scene.name: list(scene.frames) for scene in map(source.scene, range(len(source)))} | changed
        other = ImageFolders(image_root)
        other._table = SceneTable.of([Scene(name, frames) for name, frames in scenes.items()])
        return fingerprint(SceneIndex([other], "train", HoldOut(0.0)))

    first = source.scene(0)
    assert print_of() == fingerprint(SceneIndex([source], "train", HoldOut(0.0)))
    assert print_of(**{first.name: [*first.frames, "new.png"]}) != print_of() != print_of(another=["1.png"])
    rooms = SceneIndex([SyntheticRooms()], "train")
    assert fingerprint(rooms) == fingerprint(SceneIndex([SyntheticRooms(scenes=5)], "train")), "these are not listed"


def test_an_entry_is_added_once(image_root: Path) -> None:
    settings = f"data: {{_target_: {ImageFolders.__module__}.ImageFolders, root: {image_root}}}\nholdout: {{share: 0.5}}"
    once = extended([], settings)
    assert extended(once, settings) == once and len(once) == 1
    assert len(extended(once, settings.replace("0.5", "0.4"))) == 2
