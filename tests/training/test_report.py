"""What a run tells people is true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny import pretraining, train

from muskie.training.pretrain import Pretraining
from muskie.training.report import already_finished, introduction


def first_lines(overrides: list[str]) -> str:
    return "\n".join(introduction(pretraining(overrides)))


def test_rendered_rooms_are_mentioned_and_no_other_data(tiny: list[str], tmp_path: Path) -> None:
    own = [word for word in tiny if not word.startswith(("data", "holdout"))]
    note = "note: trains on rendered rooms; for your own images append data=folder data.root=PATH"
    assert f"{note} and another output_dir" in first_lines([*own, "data.scenes=4", f"output_dir={tmp_path}"])
    assert first_lines([*own, "data.scenes=4"]).splitlines()[1] == note
    assert "rendered rooms" not in first_lines([*tiny, f"output_dir={tmp_path}"])


def test_scenes_that_are_left_out_are_counted(tiny: list[str], image_root: Path, tmp_path: Path) -> None:
    shutil.copytree(image_root, tmp_path / "images")
    for number in range(3, 16):
        (tmp_path / "images" / "scene1" / f"{number:02d}.png").unlink()
    words = [*tiny, f"data.root={tmp_path / 'images'}", f"output_dir={tmp_path / 'out'}"]
    assert "data: folder (3 scenes, 48 images, 1 with fewer than 4 images left out);" in first_lines(
        [*words, "data.min_images=4"]
    )
    assert "data: folder (4 scenes, 64 images); steps 0 to 4" in first_lines([*tiny, f"output_dir={tmp_path / 'out'}"])


def test_the_card_beside_the_weights_is_that_of_the_last_end(tiny: list[str], tmp_path: Path) -> None:
    measured = [*tiny, "holdout.share=0.5", "evaluation.samples=2", f"output_dir={tmp_path / 'my-run'}"]
    run = train(measured)
    card = (tmp_path / "my-run" / "model" / "README.md").read_text()
    assert "# my-run" in card and "`muskie_tiny`, 4 steps on folder." in card
    assert run.gain is not None and f"Held out: {run.gain}." in card
    again = train([*measured, "trainer.steps=6"])
    card = (tmp_path / "my-run" / "model" / "README.md").read_text()
    assert "6 steps" in card and "4 steps" not in card and str(again.gain) in card


def test_a_finished_run_does_not_silently_stand_for_another(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, f"output_dir={tmp_path / 'one'}"]
    train(words)
    same = already_finished(pretraining(words))
    assert same.startswith("already finished at step 4 of 4") and same.endswith("choose another output_dir")
    other = already_finished(pretraining([*words, "seed=7", "optim.lr=0.5"]))
    assert "warning: its settings were others, and these were not used: seed 0 -> 7, optim.lr 0.001 -> 0.5" in other
    fewer = already_finished(pretraining([*words, "trainer.steps=3"]))
    assert fewer.startswith("nothing to train: 4 steps are done, 3 are asked for (")
    elsewhere = already_finished(pretraining([*tiny, f"output_dir={tmp_path / 'two'}", f"resume={tmp_path / 'one'}"]))
    assert "choose another output_dir" not in elsewhere and "leave resume= out, with init_from=" in elsewhere


def test_the_card_tells_what_was_trained_and_keeps_its_measure(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, "holdout.share=0.5", "evaluation.samples=2", f"output_dir={tmp_path}"]
    train(words)
    card = tmp_path / "model" / "README.md"
    before = card.read_text()
    for file in (tmp_path / "model").iterdir():
        os.utime(file, (1, 1))  # older than the checkpoint, as after a copy
    assert pretraining(words).run()
    assert card.read_text() == before and "Held out" in before
    shutil.rmtree(tmp_path / "model")
    assert pretraining(words).run()
    assert "`muskie_tiny`, 4 steps on folder." in card.read_text()
    shutil.rmtree(tmp_path / "model")
    assert pretraining([*words, "trainer.steps=2", "data.name=others"]).run()
    assert "`muskie_tiny`, 4 steps.\n" in card.read_text(), "what was trained, and not what is asked for"


def test_a_card_of_fewer_steps_is_renewed_when_a_killed_run_is_completed(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*tiny, "holdout.share=0.5", "evaluation.samples=2", f"output_dir={tmp_path}"]
    train(words)
    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "save_model", lambda run: None)
        train([*words, "trainer.steps=6"])
    card = tmp_path / "model" / "README.md"
    assert "4 steps" in card.read_text()
    assert pretraining([*words, "trainer.steps=6"]).run()
    assert "`muskie_tiny`, 6 steps on folder.\n" in card.read_text() and "Held out" not in card.read_text()


def test_going_on_with_another_hold_out_is_a_warning(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, "evaluation.samples=2", f"output_dir={tmp_path}"]
    train([*words, "holdout.share=0.25"])
    assert "warning: holds out other data" in first_lines([*words, "trainer.steps=6", "holdout.share=0.5"])
    assert "warning" not in first_lines([*words, "trainer.steps=6", "holdout.share=0.25"])


def test_going_on_with_other_data_is_a_warning(tiny: list[str], image_root: Path, tmp_path: Path) -> None:
    train([*tiny, f"output_dir={tmp_path / 'run'}"])
    shutil.copytree(image_root, tmp_path / "others")
    words = [*tiny, "trainer.steps=6", f"output_dir={tmp_path / 'run'}"]
    assert "warning: goes on with other data" not in first_lines(words)
    assert "warning: goes on with other data" in first_lines([*words, f"data.root={tmp_path / 'others'}"])


@pytest.mark.parametrize(("steps", "warned"), [(4, True), (40, False)])
def test_a_warm_up_longer_than_the_run(steps: int, warned: bool, tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, f"trainer.steps={steps}", "optim.warmup_epochs=1", "trainer.epoch_size=16", f"output_dir={tmp_path}"]
    assert ("the peak rate is not reached" in first_lines(words)) == warned
