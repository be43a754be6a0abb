"""Training on shards: resumed as if never stopped, ranks apart, mixtures, broken shards, and what a run notes of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from shelf import numbered, packed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import ONE, REPOSITORY, metrics, pretraining, same_bits, state, train

from muskie.data.dataset import LoadSampler
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import SceneLoader
from muskie.data.shards import reader
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.shards import Shards
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import DataError
from muskie.evaluation.trained_on import TrainedFrames
from muskie.history import history
from muskie.overrides import compose_config, read_overrides, split_flags
from muskie.training.distributed import Ranks
from muskie.training.pretrain import Pretraining
from muskie.training.settings import SECTIONS


@pytest.fixture(scope="module")
def folder(image_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 chunks of 4 frames in 4 shards, one of which is held out."""
    out = tmp_path_factory.mktemp("shards")
    packed(out, [ImageFolders(image_root)], 3, holdout=0.25)
    return out


def command(tiny: list[str], folder: Path, *more: str) -> list[str]:
    kept = [word for word in tiny if not word.startswith(("data", "holdout"))]
    views = ["plan.views=4", "plan.views_per_scene=[2,4]", "masks.references=1"]
    return [*kept, "data=shards", f"data.root={folder}", "holdout.share=0.2", "trainer.steps=8", *views, *more]


@pytest.mark.parametrize(
    "more", [[], ["plan.sizes=[16,24]", "plan.reuse=2", "trainer.accumulate=2"]], ids=["plain", "varied"]
)
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    more: list[str], tiny: list[str], folder: Path, tmp_path: Path
) -> None:
    words = command(tiny, folder, "trainer.workers=2", *more)
    train([*words, f"output_dir={tmp_path / 'whole'}", "trainer.save_every=1", "trainer.keep_every=1"])
    for step in (3, 6):
        run = tmp_path / f"from {step}"
        (run / "checkpoints").mkdir(parents=True)
        shutil.copy(tmp_path / "whole" / "checkpoints" / f"step-{step:08d}.pt", run / "checkpoints")
        shutil.copy(tmp_path / "whole" / "metrics.jsonl", run)
        train([*words, f"output_dir={run}"])
        assert same_bits(state(run)["model"], state(tmp_path / "whole")["model"])
        assert metrics(run) == metrics(tmp_path / "whole")


def mixture(tmp_path: Path, folder: Path) -> str:
    """A folder of configurations that mixes shards and rooms by weights."""
    sources = {
        "packed": {"_target_": "muskie.data.sources.shards.Shards", "root": str(folder), "weight": 2},
        "rooms": {"_target_": f"{SyntheticRooms.__module__}.SyntheticRooms", "scenes": 4, "frames": 16, "image_size": 16},
    }
    (tmp_path / "configs" / "data").mkdir(parents=True)
    OmegaConf.save({"sources": sources}, tmp_path / "configs" / "data" / "both.yaml")
    return str(tmp_path / "configs")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mixture_that_was_stopped_ends_with_the_same_bits(
    workers: int, tiny: list[str], folder: Path, tmp_path: Path
) -> None:
    configs = mixture(tmp_path, folder)
    words = [word for word in command(tiny, folder) if not word.startswith("data")]
    words += [f"--config-dir={configs}", "data=both", "holdout.share=0.25", f"trainer.workers={workers}"]
    train_mixture([*words, f"output_dir={tmp_path / 'whole'}", "trainer.save_every=1", "trainer.keep_every=1"])
    for step in (1, 5):
        run = tmp_path / f"from {step}"
        (run / "checkpoints").mkdir(parents=True)
        shutil.copy(tmp_path / "whole" / "checkpoints" / f"step-{step:08d}.pt", run / "checkpoints")
        train_mixture([*words, f"output_dir={run}"])
        assert same_bits(state(run)["model"], state(tmp_path / "whole")["model"])


def train_mixture(words: list[str]) -> None:

    configs = REPOSITORY / "configs"
    spelled = split_flags(read_overrides(words, configs, "pretrain", SECTIONS.names()))[1]
    own = next(word for word in words if word.startswith("--config-dir=")).partition("=")[2]
    run = Pretraining(compose_config(configs, "pretrain", [*spelled, f"hydra.searchpath=[file://{own}]"]), ONE)
    assert run.run()


class OneOfTwo(Ranks):
    """One of two ranks that look at one folder, without the other."""

    def first(self, action: Any) -> Any:
        return action()


def test_two_ranks_with_workers_draw_each_chunk_once(tiny: list[str], folder: Path, tmp_path: Path) -> None:
    """12 chunks in 4 shards, one for each of two workers of two ranks: in the first epoch no chunk is another's."""
    words = command(tiny, folder, "data.samples_per_chunk=1", "trainer.workers=2", "trainer.batch_size=1", "trainer.steps=6")
    drawn: list[str] = []
    for rank in range(2):
        run = pretraining([*words, f"output_dir={tmp_path / 'run'}"], OneOfTwo(rank, 2, torch.device("cpu")))
        sampler = LoadSampler(run.plan, 1, 1, rank, 2)
        with SceneLoader(run.build_dataset(), sampler, 2, False) as loader:
            drawn += [views.places[0] for views in loader]
    shards = Shards(str(folder))
    assert len(drawn) == 12
    assert set(drawn) == {f"shards/{shards.scene(number).name}" for number in range(shards.heldout_from or 0)}


def test_a_shard_cut_short_before_the_run_is_told_or_an_error(
    tiny: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "shards"))
    data = (broken / "train-000001.tar").read_bytes()
    (broken / "train-000001.tar").write_bytes(data[: len(data) // 3])
    words = command(tiny, broken, f"output_dir={tmp_path / 'run'}")
    with pytest.raises(DataError, match=r"(?s)'shards'.*of 64 frames are lost.*train-000001\.tar: cut short"):
        pretraining(words)
    train([*words, "data.max_lost=0.5"])
    assert f"{broken}/train-000001.tar: cut short" in capsys.readouterr().err


def packed_many(tmp_path: Path) -> Path:
    """40 chunks of 4 frames in 10 shards, all to train on."""
    packed(tmp_path / "many", [numbered(tmp_path / "files", [4] * 40)], 4)
    return tmp_path / "many"


def cut_while_training(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From here on, these shards end after their first chunk, though they were whole when the run began."""
    real = reader.ShardStream

    class Cut(real):  # type: ignore[valid-type, misc]
        def chunk(self, place: int) -> Any:
            if place and Path(self.url).name in names:
                self.place = place + 1
                raise OSError(f"{self.url}, chunk {place}: the shard ends before it")
            return super().chunk(place)

    monkeypatch.setattr(reader, "ShardStream", Cut)


def test_what_breaks_in_a_run_is_skipped_and_counted(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = packed_many(tmp_path)
    cut_while_training(monkeypatch, "train-000003.tar")
    words = command(tiny, many, "holdout.share=0", "max_unusable=0.5", "trainer.steps=40", "data.samples_per_chunk=2")
    train([*words, f"output_dir={tmp_path / 'run'}"])
    last = [line for line in metrics(tmp_path / "run") if "train/unreadable_images" in line][-1]
    told = 4 * 2 * 3  # frames, samples and chunks
    assert last["train/unreadable_images"] == told
    assert f"skipped as unusable: {told} of {told + 4 * 80} frames of shards" in capsys.readouterr().err
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert events.Scalars("train/unreadable_images")[-1].value == told


def test_too_much_that_breaks_in_a_run_is_an_error(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = packed_many(tmp_path)
    cut_while_training(monkeypatch, *(f"train-{number:06d}.tar" for number in range(5)))
    epoch = ["trainer.steps=40", "data.samples_per_chunk=2"]
    words = command(tiny, many, "holdout.share=0", *epoch, f"output_dir={tmp_path / 'run'}")
    with pytest.raises(DataError) as told:
        train(words)
    message = str(told.value)
    assert f"source 'shards' (data, {many})" in message and "more than max_unusable=0.05" in message
    assert message.count(f"{many}/train-00000") >= 10 and "The first 10" in message


def test_a_run_remembers_its_chunks_without_reading_them(
    tiny: list[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(command(tiny, folder, f"output_dir={tmp_path / 'run'}"))
    monkeypatch.setattr(reader, "chunk_at", lambda *_: pytest.fail("a chunk was read"))
    monkeypatch.setattr(reader, "ShardStream", lambda *_: pytest.fail("a shard was opened"))
    assert run.folder is not None
    trained = TrainedFrames(history(run.folder / "model") or [])
    assert trained.all_known
    shards = Shards(str(folder))
    identities: dict[str, set[str]] = {}
    for part in ("train", "heldout"):
        index = SceneIndex([shards], part, HoldOut(0.2))
        places = [index.place(shards, number) for number in range(index.places(shards))]
        identities[part] = {shards.identity(place.scene, frame) for place in places for frame in place.frames}
    assert trained.among(identities["train"] | identities["heldout"]) == identities["train"]
    assert len(identities["train"]) == 48 and len(identities["heldout"]) == 16


def test_nothing_held_out_is_told_with_the_way_out(tiny: list[str], image_root: Path, tmp_path: Path) -> None:
    packed(tmp_path / "shards", [ImageFolders(image_root)], 3)
    words = command(tiny, tmp_path / "shards", f"output_dir={tmp_path / 'run'}")
    with pytest.raises(DataError, match=r"nothing held out.*pack_shards\.py --holdout.*holdout\.share=0"):
        pretraining(words)
    train([*words, "holdout.share=0"])
