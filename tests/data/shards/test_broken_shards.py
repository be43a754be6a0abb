"""Shards that are cut short, missing or damaged: left out, or skipped and counted, and an error where they are many."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from shelf import colour, members, numbered, packed

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import LoadSampler, ViewDataset
from muskie.data.index import SceneIndex
from muskie.data.loading import SceneLoader
from muskie.data.plan import StepPlan
from muskie.data.posed_dataset import GeometryCrops, PosedDataset
from muskie.data.shards import reader
from muskie.data.shards.contents import ARRAYS, INDEX
from muskie.data.shards.order import Turn
from muskie.data.shards.stream import ShardStream, chunk_at
from muskie.data.sources.shards import Shards
from muskie.data.sources.synthetic import SyntheticRooms
from muskie.data.turns import BatchLayout
from muskie.errors import DataError

CHUNKS, FRAMES = 5, 4


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 shards of 5 chunks of 4 frames."""
    root = tmp_path_factory.mktemp("sound")
    packed(root / "shards", [numbered(root / "files", [FRAMES] * 30)], CHUNKS)
    return root / "shards"


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "shards"))


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def readable(shards: Shards, streamed: bool) -> set[int]:
    """Numbers of the chunks of which every frame can be read; of the others, none can."""
    found = set()
    for index in range(len(shards)):
        scene, read = shards.scene(index), 0
        if streamed:
            shards._reader.stream_to(int(shards._chunks[index]), 1)
        for frame in scene.frames:
            try:
                assert colour(shards.read(scene, frame).image) == (int(scene.name[-3:]), int(frame))
                read += 1
            except OSError as error:
                assert scene.name in str(error) and frame in str(error) and "train-00000" in str(error)
        assert read in (0, len(scene.frames))
        found |= {int(scene.name[:7])} if read else set()
    return found


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.35, 0.5, 0.8, 0.97, 0.999])
def test_a_shard_cut_short_loses_what_lies_behind(folder: Path, share: float) -> None:
    shards = Shards(str(folder))
    size = int(shards.contents.sizes[1])
    offsets = [*shards.contents.offsets[CHUNKS + 1 : 2 * CHUNKS].tolist(), size]
    file = folder / "train-000001.tar"
    cut(file, int(size * share))
    whole = set(range(30)) - {CHUNKS + k for k in range(CHUNKS) if offsets[k] > size * share}
    assert readable(shards, False) == readable(shards, True) == whole, "found while reading"
    left = Shards(str(folder), max_lost=1)
    assert len(left) == len(whole) and readable(left, True) == whole and len(left.problems) == 1
    lost = 30 - len(whole)
    assert left.problems == [f"{file}: cut short, {lost} of its 5 chunks are lost"]
    with pytest.raises(DataError) as told:
        Shards(str(folder), max_lost=(lost - 0.5) / 30)
    for text in (f"source 'shards' ({folder})", f"{4 * lost} of 120 frames are lost", "data.max_lost=", str(file)):
        assert text in str(told.value)
    allowed = float(str(told.value).rpartition("data.max_lost=")[2])
    assert len(Shards(str(folder), max_lost=allowed)) == len(whole), "what is advised helps"


def test_what_pads_the_end_of_a_shard_is_not_missed(folder: Path) -> None:
    size = int(Shards(str(folder)).contents.sizes[2])
    for end in (size, size + 100, size + 512):
        shutil.copy(folder / "train-000002.tar", folder / "copy")
        cut(folder / "train-000002.tar", end)
        shards = Shards(str(folder), max_lost=0)
        assert not shards.problems and readable(shards, True) == readable(shards, False) == set(range(30))
        (folder / "copy").rename(folder / "train-000002.tar")


def test_a_missing_shard(folder: Path) -> None:
    shards = Shards(str(folder))
    (folder / "train-000003.tar").unlink()
    whole = set(range(30)) - set(range(15, 20))
    assert readable(shards, False) == readable(shards, True) == whole
    with pytest.raises(DataError, match=r"20 of 120 frames.*first 1 of 1 files:\n  .*train-000003.tar: No such file"):
        Shards(str(folder))
    for number in range(6):
        (folder / f"train-{number:06d}.tar").unlink(missing_ok=True)
    with pytest.raises(DataError, match="first 6 of 6 files"):
        Shards(str(folder))
    with pytest.raises(DataError, match="holds nothing to train on"):
        Shards(str(folder), max_lost=1)


def rewritten(file: Path, change: Any) -> None:
    """A shard with other files: `change` of its names and bytes."""
    files = change(members(file))
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize(
    ("lost", "chunks"),
    [("000001.002.png", {1}), ("000002.scene.json", {2}), ("000003.", {3}), ("000004.", {4}), ("000000.", {0})],
)
def test_a_sample_that_lost_files_spares_the_others(folder: Path, lost: str, chunks: set[int]) -> None:
    """Their keys say which they are: none is taken for another one."""
    shards = Shards(str(folder))
    rewritten(folder / "train-000000.tar", lambda files: {n: d for n, d in files.items() if not n.startswith(lost)})
    assert readable(shards, True) == set(range(30)) - chunks


def test_bytes_that_were_overwritten(folder: Path) -> None:
    """A header in the middle, and the first one: what lies behind cannot be streamed, but looked up."""
    shards = Shards(str(folder))
    at = int(shards.contents.offsets[2])
    data = bytearray((folder / "train-000000.tar").read_bytes())
    data[at : at + 512] = np.random.default_rng(0).bytes(512)
    (folder / "train-000000.tar").write_bytes(data)
    assert readable(shards, True) == set(range(30)) - {2, 3, 4}
    assert readable(Shards(str(folder)), False) == set(range(30)) - {2}
    (folder / "train-000000.tar").write_bytes(np.random.default_rng(0).bytes(len(data)))
    assert readable(Shards(str(folder)), True) == readable(Shards(str(folder)), False) == set(range(5, 30))


def test_a_broken_picture_costs_one_frame(folder: Path) -> None:
    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        return {**files, "000001.002.png": files["000001.002.png"][:40] + bytes(len(files["000001.002.png"]) - 40)}

    rewritten(folder / "train-000000.tar", change)
    shards = Shards(str(folder))
    scene = shards.scene(1)
    assert [colour(shards.read(scene, frame).image)[1] for frame in ("000", "001", "003")] == [0, 1, 3]
    with pytest.raises(OSError, match=r"train-000000\.tar, chunk 1, 002\.png: "):
        shards.read(scene, "002")


def test_shards_of_another_packing_are_told(folder: Path, tmp_path: Path) -> None:
    packed(tmp_path / "other", [numbered(tmp_path / "files", [2] * 30)], CHUNKS, frames=2)
    content = (tmp_path / "other" / "train-000000.tar").read_bytes()
    (folder / "train-000000.tar").write_bytes(content + bytes(100_000))
    shards = Shards(str(folder))
    scene = shards.scene(0)
    shards._reader.stream_to(0, 1)
    with pytest.raises(OSError, match="it has 2 frames, and the index says more; is it of another packing"):
        shards.read(scene, "003")


# The index


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=rf"data\.root='{root}': there is no index\.safetensors; .*pack_shards\.py"):
            Shards(str(root))


@pytest.mark.parametrize("size", [0, 4, 100, 0.5, 0.99])
def test_an_index_cut_short(folder: Path, size: float) -> None:
    data = (folder / INDEX).read_bytes()
    cut(folder / INDEX, int(size * len(data)) if 0 < size < 1 else int(size))
    with pytest.raises(DataError, match=r"index\.safetensors: it is broken .*pack the shards anew"):
        Shards(str(folder))


def changed(file: Path, **changes: Any) -> None:
    with safe_open(file, framework="numpy") as opened:
        arrays = {name: opened.get_tensor(name) for name in ARRAYS}
        noted = opened.metadata()["muskie"]
    for name, change in changes.items():
        if name == "noted":
            noted = change(noted)
        elif change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name])
    save_file(arrays, file, metadata={"muskie": noted})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noted": lambda noted: noted.replace('"version": 2', '"version": 0')}, "it is of version 0, and this is 2"),
        ({"noted": lambda noted: noted.replace('"window"', '"door"')}, "it says nothing of 'window'"),
        ({"noted": lambda noted: noted.replace('"train-000000.tar", ', "")}, "its parts differ in length"),
        ({"counts": lambda counts: counts[:-1]}, "its parts differ in length"),
        ({"sizes": None}, "it lacks sizes"),
    ],
)
def test_an_index_that_does_not_fit(folder: Path, changes: Any, message: str) -> None:
    changed(folder / INDEX, **changes)
    with pytest.raises(DataError, match=message):
        Shards(str(folder))


# While loading


def dataset(shards: Shards, views: int = 3) -> ViewDataset:
    plan = StepPlan(patch_size=8, steps=60, sizes=[16], views=views, views_per_scene=[views])
    return ViewDataset(SceneIndex([shards], "train"), plan, Augmentation(), layout=BatchLayout(2))


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_chunks_are_skipped_counted_and_replaced(folder: Path, workers: int) -> None:
    shards = Shards(str(folder))
    cut(folder / "train-000002.tar", 8000)  # while the run is on
    data = dataset(shards)
    with SceneLoader(data, LoadSampler(data.plan, 2), workers, pin=False) as loader:
        batches = list(loader)
    assert len(batches) == 60 and all(views.images.shape == (2, 3, 3, 16, 16) for views in batches)
    asked = sum((views.asked for views in batches), Counter())
    skipped = [one for views in batches for one in views.unreadable]
    broken = {one.message.split("scene shards/")[1][:7] for one in skipped}
    assert broken and broken <= {f"{number:07d}" for number in range(10, 15)}
    assert sum(one.frames for one in skipped) == FRAMES * len(skipped)
    assert asked == {"shards": FRAMES * len(skipped) + 3 * 120}
    assert len({one.message for one in skipped}) > len(broken), "they name frames"


def test_a_broken_shard_is_opened_no_oftener_than_a_sound_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each of its chunks costs a chunk that is looked up, wherever it lies: no shard is read for it."""
    opened, passed, looked_up = [], [], []
    real_stream, real_look = ShardStream, chunk_at

    class Noted(ShardStream):
        def __init__(self, url: str) -> None:
            opened.append(url)
            super().__init__(url)

        def chunk(self, place: int) -> Any:
            passed.append(place)
            return super().chunk(place)

    shards = Shards(str(folder), samples_per_chunk=1)
    (folder / "train-000002.tar").unlink()
    cut(folder / "train-000004.tar", 3000)
    monkeypatch.setattr(reader, "ShardStream", Noted)

    def noted_look(*given: Any) -> Any:
        looked_up.append(given)
        return real_look(*given)

    monkeypatch.setattr(reader, "chunk_at", noted_look)
    data = dataset(shards)
    for batch in list(LoadSampler(data.plan, 2))[:45]:  # three epochs
        for request in batch:
            data[request]
    assert issubclass(Noted, real_stream) and set(Counter(opened).values()) == {3}
    assert len(passed) <= 90 and len(looked_up) <= 3 * 9 * 3


def test_fine_tuning_skips_broken_chunks_too(tmp_path: Path) -> None:
    packed(tmp_path, [SyntheticRooms(scenes=8, frames=4, image_size=24)], 2)
    shards = Shards(str(tmp_path))
    (tmp_path / "train-000001.tar").unlink()
    plan = StepPlan(patch_size=8, steps=16, sizes=[16], views=3, views_per_scene=[3])
    data = PosedDataset(SceneIndex([shards], "train"), plan, GeometryCrops(), BatchLayout(2))
    scenes = [data[request] for batch in LoadSampler(plan, 2) for request in batch]  # an epoch
    told = [one for views in scenes for one in views.unreadable]
    assert all(views.depth.any() and views.images.shape == (1, 3, 3, 16, 16) for views in scenes)
    assert len(told) >= 2 * 4 and all("train-000001.tar" in one.message and one.frames == 4 for one in told)
    assert sum((views.asked for views in scenes), Counter()) == {"shards": 3 * 32 + 4 * len(told)}


def test_chunks_of_too_few_frames_are_left_out(tmp_path: Path) -> None:
    lengths = [4, 2, 4, 3, 4, 4, 2, 1]
    packed(tmp_path / "shards", [numbered(tmp_path / "files", lengths)], 3, holdout=0.25)
    everything, shards = Shards(str(tmp_path / "shards")), Shards(str(tmp_path / "shards"), min_images=3)
    assert shards.left_out == 3 and sorted(shards.lengths().tolist()) == [3, 4, 4, 4, 4]
    assert shards.heldout_from == 5 and everything.heldout_from == 6
    names = {everything.scene(k).name for k in range(8) if len(everything.scene(k).frames) >= 3}
    assert {shards.scene(k).name for k in range(5)} == names, "their names stay the same"
    drawn = Counter(shards.scene(shards.streamed(Turn(0, 1, number, 1), 0)).name for number in range(5 * 4))
    assert drawn == dict.fromkeys(names, 4)
    with pytest.raises(DataError, match=r"nothing to train on of data\.min_images=5 frames or more; the largest .* 4"):
        Shards(str(tmp_path / "shards"), min_images=5)
