"""Frames that a run has seen are known as such however the data is named: by part, root, class, and over several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import build_sources
from muskie.data.scene import SceneSource
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.errors import ConfigError
from muskie.evaluation.trained_on import TrainedFrames, _part, choose_part, run_folder, runs_among
from muskie.history import fingerprint

ROOMS = {"_target_": "muskie.data.sources.synthetic.SyntheticRooms", "frames": 4}
SEVEN = "muskie.data.sources.sevenscenes.SevenScenes"
FOLDERS = "muskie.data.sources.folder.ImageFolders"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Rooms a and b of two sequences each, of four pictures each."""
    for room, sequence, frame in np.ndindex(2, 2, 4):
        folder = tmp_path / "7s" / "ab"[room] / f"seq-{sequence:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / f"frame-{frame:06d}.color.png")
    return tmp_path / "7s"


def entry(data: dict[str, Any], share: float = 0.5, by: str = "frames") -> dict[str, Any]:
    return {"data": data, "holdout": {"share": share, "by": by}}


def frames(data: dict[str, Any], part: str = "all", share: float = 0.5, by: str = "frames") -> set[str]:
    index = SceneIndex(build_sources(data), part, HoldOut(share, by))
    places = [index.place(source, n) for source in index.sources for n in range(index.places(source))]
    return {place.source.identity(place.scene, frame) for place in places for frame in place.frames}


def trained(measured: set[str], *past: dict[str, Any]) -> int:
    return len(TrainedFrames(past).among(measured))


@pytest.mark.parametrize("by", ["frames", "scenes"])
def test_its_own_parts(scenes: Path, by: str) -> None:
    for data in ({"_target_": SEVEN, "root": str(scenes)}, {**ROOMS, "scenes": 6}):
        past = entry(data, by=by)
        assert trained(frames(data, "heldout", by=by), past) == 0
        train = frames(data, "train", by=by)
        assert trained(train, past) == len(train) > 0
        assert trained(frames(data, "heldout", share=0.2, by=by), past) == 0, "less than it held out"
        if by == "frames" or "scenes" in data:  # of two rooms one is held out, whatever the share
            assert trained(frames(data, "heldout", share=0.8, by=by), past) > 0


def test_rooms_by_their_number_and_seed() -> None:
    ten = frames({**ROOMS, "scenes": 10}, "heldout", share=0.4, by="scenes")
    assert trained(ten, entry({**ROOMS, "scenes": 10}, 0.4, "scenes")) == 0
    assert trained(ten, entry({**ROOMS, "scenes": 1_000_000}, 0.4, "scenes")) == len(ten), "all of these are its first rooms"
    assert trained(ten, entry({**ROOMS, "scenes": 10, "seed": 1}, 0.4, "scenes")) == 0, "other rooms"
    assert trained(ten, entry({**ROOMS, "scenes": 10, "image_size": 32}, 0.4, "scenes")) == 0, "the same parts"


def test_files_by_whatever_root_and_class(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(scenes)
    every = {"_target_": SEVEN, "root": str(scenes)}
    measured = frames(every)
    assert len(measured) == 16
    for data, seen in (
        ({"_target_": SEVEN, "root": str(tmp_path / "linked")}, 16),
        ({"_target_": SEVEN, "root": str(scenes / "b")}, 8),
        ({"_target_": SEVEN, "root": str(scenes), "rooms": ["a"]}, 8),
        ({"_target_": FOLDERS, "root": str(scenes)}, 16),
        ({"_target_": FOLDERS, "root": str(tmp_path / "linked" / "a" / "seq-01")}, 4),
        ({"sources": {"one": {"_target_": FOLDERS, "root": str(scenes / "a")}, "rooms": ROOMS}}, 8),
    ):
        assert trained(measured, entry(data, share=0)) == seen, data


def test_links_to_single_files(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chosen" / "scene"
    folder.mkdir(parents=True)
    for number, file in enumerate(sorted((scenes / "a").rglob("*.png"))):
        (folder / f"{number}.png").symlink_to(file)
    measured = frames({"_target_": SEVEN, "root": str(scenes)})
    assert trained(measured, entry({"_target_": FOLDERS, "root": str(tmp_path / "chosen")}, share=0)) == 8


def test_data_that_has_grown_is_no_longer_known(scenes: Path) -> None:
    data = {"_target_": SEVEN, "root": str(scenes)}
    then = {**entry(data), "listed": fingerprint(SceneIndex(build_sources(data), "train", HoldOut(0.5)))}
    assert TrainedFrames([then]).all_known
    for number in (8, 9):
        Image.new("RGB", (8, 8)).save(scenes / "a" / "seq-00" / f"frame-{number:06d}.color.png")
    _part.cache_clear()  # as in the next process
    assert not TrainedFrames([then]).all_known and TrainedFrames([then]).among(frames(data))


def test_long_scenes_are_looked_up_in_no_time() -> None:
    """All of 30,000 frames of a scene, which would take minutes one by one."""
    long = SyntheticRooms(scenes=1, frames=30_000)
    index = SceneIndex([long], "train", HoldOut(0.5))
    wanted = {long.identity(long.scene(0), frame) for frame in long.scene(0).frames}
    assert len(index.among(wanted)) == 15_000


def test_all_of_its_trainings_count(scenes: Path) -> None:
    data = {"_target_": SEVEN, "root": str(scenes)}
    held_out = frames(data, "heldout", share=0.5)
    assert trained(held_out, entry({**ROOMS, "scenes": 3}), entry(data, 0.25), entry(data, 0.5)) == 4
    assert TrainedFrames([entry(data)]).all_known
    assert not TrainedFrames([{"unknown": "someone/model"}, entry(data)]).all_known
    gone = TrainedFrames([entry({"_target_": SEVEN, "root": str(scenes / "gone")})])
    assert not gone.all_known and gone.among(held_out) == set()


def test_sources_that_read_no_files(tmp_path: Path) -> None:
    """Of a source from outside, frames are told apart by class, root, scene and frame."""

    class Mine(SceneSource):
        name = "mine"
        root = "here"

        def __len__(self) -> int:
            return 2

        scene = build_sources({**ROOMS, "scenes": 2})[0].scene
        read = None  # type: ignore[assignment]

    source = Mine()
    identity = source.identity(source.scene(1), "000002")
    assert "Mine" in identity and "here" in identity
    assert list(source.find({identity, "else"})) == [(1, "000002", identity)]


def test_what_is_measured_where_little_is_said(scenes: Path, tmp_path: Path) -> None:
    data = {"_target_": SEVEN, "root": str(scenes)}
    folder = a_run(tmp_path / "run", {"_target_": FOLDERS, "root": str(scenes / "a")}, 0.25)
    runs = runs_among([str(folder), "muskie_tiny"])
    assert [run.folder for run in runs] == [folder] and runs[0].side == 64
    own = runs[0].data
    assert choose_part(None, {}, None, runs) == (own, HoldOut(0.25), "heldout")
    assert choose_part(data, {}, None, runs) == (data, HoldOut(0.25), "heldout"), "it holds what the run has seen"
    assert choose_part(data, {"share": 0.5}, "all", runs) == (data, HoldOut(0.5), "all")
    other = {"_target_": FOLDERS, "root": str(scenes / "b")}
    assert choose_part(other, {}, None, runs) == (other, HoldOut(), "all")
    assert choose_part(None, {}, None, []) == (None, HoldOut(), "all")
    with pytest.raises(ConfigError, match="no such home folder"):
        choose_part({**data, "root": "~nobody-of-this-name/x"}, {}, None, runs)


def a_run(folder: Path, data: dict[str, Any], share: float) -> Path:
    (folder / "model").mkdir(parents=True)
    config = {"data": data, "holdout": {"share": share, "by": "frames"}, "plan": {"sizes": [32, 64]}}
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    return folder


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    folder = a_run(tmp_path / "run", dict(ROOMS), 0.25)
    (tmp_path / "link").symlink_to(folder / "model")
    for name in ("run", "run/model", "link"):
        assert run_folder(str(tmp_path / name)) == folder
    (tmp_path / "plain" / "model").mkdir(parents=True)
    for name in ("plain", "plain/model", "none"):
        assert run_folder(str(tmp_path / name)) is None
    (folder / "config.yaml").write_text("just: this")
    with pytest.raises(ConfigError, match="is not the configuration of a run"):
        runs_among([str(folder)])
