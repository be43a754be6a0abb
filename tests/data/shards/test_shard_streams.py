"""Shards from a folder and from URLs: the same frames, each shard opened once, and no stream shared by two processes."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from shelf import colour, numbered, packed

from muskie.data.augmentation import Augmentation
from muskie.data.dataset import LoadSampler, ViewDataset
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import SceneLoader
from muskie.data.plan import StepPlan
from muskie.data.shards import reader, stream
from muskie.data.shards.order import Turn
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.shards import Shards
from muskie.data.turns import BatchLayout
from muskie.errors import ConfigError, DataError

LENGTHS = (8, 9, 12, 4, 4, 8, 7, 12)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="webdataset opens http:// by curl, which is not here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chunks of 4 frames or so, 3 in a shard; the last rooms are held out."""
    root = tmp_path_factory.mktemp("numbered")
    packed(root / "shards", [numbered(root / "files", LENGTHS)], 3, holdout=0.2)
    return root / "shards"


class Ranged(SimpleHTTPRequestHandler):
    """Gives parts of a file, as most servers do, and notes what it is asked for."""

    ranges = True
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        given = self.headers.get("Range")
        self.asked.append((self.path.rpartition("/")[2], given))
        if given is None or not self.ranges:
            super().do_GET()
            return
        path = Path(self.translate_path(self.path))
        content = path.read_bytes()[int(given.removeprefix("bytes=").rstrip("-")) :]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Rangeless(Ranged):
    ranges = False


@pytest.fixture(params=[Ranged, Rangeless])
def served(folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    request.param.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(request.param, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def turns(shards: Shards, count: int, reader: int = 0, readers: int = 1, batch: int = 2, start: int = 0) -> list[str]:
    """The scenes of a reader's turns, each of which is read."""
    found = []
    for number in range(start, count):
        scene = shards.scene(shards.streamed(Turn(reader, readers, number, batch), 0))
        colours = [colour(shards.read(scene, frame).image) for frame in scene.frames]
        room = int(scene.name[-3:])
        assert colours == [(room, colours[0][1] + number) for number in range(len(colours))], "neighbours of one scene"
        found.append(scene.name)
    return found


def epoch(shards: Shards) -> int:
    """Samples of one reader's pass over all chunks."""
    assert shards.heldout_from is not None
    return shards.heldout_from * shards.samples_per_chunk


def test_all_frames_are_there_once_and_rooms_are_held_out_whole(folder: Path) -> None:
    shards = Shards(str(folder))
    frames = Counter(
        colour(shards.read(scene, f).image) for scene in map(shards.scene, range(len(shards))) for f in scene.frames
    )
    assert frames == Counter((scene, frame) for scene, count in enumerate(LENGTHS) for frame in range(count))
    train, heldout = (SceneIndex([shards], part, HoldOut(0.5)) for part in ("train", "heldout"))
    rooms = [{index.place(shards, k).scene.room for k in range(index.places(shards))} for index in (train, heldout)]
    assert rooms[1] == {"folder/scene006", "folder/scene007"} and not rooms[0] & rooms[1]


@pytest.mark.parametrize("batch", [1, 3])
def test_training_opens_each_shard_that_is_trained_on_once_an_epoch(
    batch: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = reader.ShardStream

    def noted(url: str) -> Any:
        opened.append(Path(url).name)
        return real(url)

    monkeypatch.setattr(reader, "ShardStream", noted)
    monkeypatch.setattr(reader, "chunk_at", lambda *_: pytest.fail("nothing is looked up"))
    shards = Shards(str(folder))
    assert turns(shards, 0) == []
    streamed = turns(shards, 3 * epoch(shards), batch=batch)
    assert Counter(streamed) == {scene.name: 12 for scene in map(shards.scene, range(shards.heldout_from or 0))}
    assert set(Counter(opened).values()) == {3} and all(name.startswith("train-") for name in opened)
    assert len(opened) == 3 * shards.contents.trained_shards()


@pytest.mark.parametrize("readers", [2, 5, 11])
def test_readers_share_an_epoch(folder: Path, readers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are more readers than shards: what the others have is passed, and nothing is read again."""
    opened: list[str] = []
    real = reader.ShardStream
    monkeypatch.setattr(reader, "ShardStream", lambda url: opened.append(url) or real(url))  # type: ignore[func-returns-value]
    for number in range(readers):
        shards = Shards(str(folder), samples_per_chunk=2)
        opened.clear()
        seen = turns(shards, 24, number, readers, batch=3)
        assert len(opened) <= 12, "at most once for every chunk, of which each serves two samples"
        assert all(seen[k] == seen[k + 3] for k in range(24) if k % 6 < 3)


@pytest.mark.parametrize("start", [2, 8, 30])
def test_it_goes_on_anywhere(folder: Path, start: int) -> None:
    whole = turns(Shards(str(folder)), 60, batch=2)
    assert turns(Shards(str(folder)), 60, batch=2, start=start) == whole[start:]


@needs_curl
def test_a_server_gives_the_same(folder: Path, served: str) -> None:
    local, remote = Shards(str(folder)), Shards(served + "/")
    assert [remote.scene(k) for k in range(len(remote))] == [local.scene(k) for k in range(len(local))]
    Ranged.asked.clear()
    assert turns(remote, epoch(remote), batch=1) == turns(local, epoch(local), batch=1)
    trained = [name for name, _ in Ranged.asked]
    assert sorted(trained) == [f"train-{k:06d}.tar" for k in range(remote.contents.trained_shards())]
    remote._reader.close()


@needs_curl
def test_single_chunks_are_looked_up_on_a_server(folder: Path, served: str) -> None:
    local, remote = Shards(str(folder)), Shards(served)
    for number in np.random.default_rng(0).permutation(len(remote))[:6].tolist():
        scene = remote.scene(number)
        for frame in scene.frames:
            assert colour(remote.read(scene, frame).image) == colour(local.read(local.scene(number), frame).image)


@needs_curl
def test_no_process_is_left_behind_a_stream(served: str) -> None:
    remote = Shards(served)
    remote.streamed(Turn(0, 1, 0, 2), 0)
    assert remote._reader._stream is not None
    remote._reader.close()
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if children.exists():
        names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children.read_text().split()]
        assert "curl" not in names


@pytest.mark.parametrize("form", ["file://{folder}", "file:{folder}", "pipe:cat '{folder}/{{}}'", "pipe:cat {folder}"])
def test_other_urls(folder: Path, form: str) -> None:
    local, other = Shards(str(folder)), Shards(form.format(folder=folder))
    assert turns(other, 20) == turns(local, 20)
    scene = other.scene(len(other) - 1)
    assert colour(other.read(scene, scene.frames[0]).image) == colour(local.read(scene, scene.frames[0]).image)


def test_a_folder_with_any_name(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a b{1..2}#?%20 部屋:x"
    shutil.copytree(folder, odd)
    assert turns(Shards(str(odd)), 20) == turns(Shards(str(folder)), 20)


@needs_curl
def test_what_cannot_be_opened_is_told(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"data\.root='http.*nowhere.*status 22.*scripts/pack_shards\.py"):
        Shards(f"{served}/nowhere")
    with pytest.raises(DataError, match="no gopen handler defined"):
        Shards("wherever://host/folder")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DataError, match="there is no program 'curl' here"):
        Shards(served)


def test_a_password_in_a_command_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="ended with status 3") as told:
        stream.chunk_at("pipe:true secret; exit 3", 0, 0)
    assert "exit" not in str(told.value).replace("pipe:true secret; exit 3", "")


def test_the_library_is_asked_for_before_anything_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"data=shards needs the webdataset library.*pip install webdataset"):
        Shards(str(folder))


def dataset(shards: Shards, batch: int = 2) -> ViewDataset:
    plan = StepPlan(patch_size=8, steps=24, sizes=[16], views=3, views_per_scene=[3])
    return ViewDataset(SceneIndex([shards], "train"), plan, Augmentation(), layout=BatchLayout(batch))


def loaded(shards: Shards, workers: int, start: int = 0) -> list[tuple[list[str], bytes]]:
    data = dataset(shards)
    with SceneLoader(data, LoadSampler(data.plan, 2, start=start), workers, pin=False) as loader:
        return [(views.places, views.images.numpy().tobytes()) for views in loader]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("start", [1, 10])
def test_loading_goes_on_where_it_was(folder: Path, workers: int, start: int) -> None:
    assert loaded(Shards(str(folder)), workers, start) == loaded(Shards(str(folder)), workers)[start:]


def test_forked_workers_load_what_they_would_have(folder: Path) -> None:
    """This process has shards open when they are forked from it."""
    shards = Shards(str(folder))
    whole = loaded(Shards(str(folder)), 2)
    for number in range(3):
        shards.streamed(Turn(0, 2, number, 2), 0)
    assert loaded(shards, 2) == whole


def read_on(shards: Shards, out: Path) -> None:
    """Streams all chunks of the first shard but its first, and notes their pictures."""
    found = []
    for chunk in range(1, 6):
        shards._reader.stream_to(chunk, 1)
        found.append(np.asarray(shards.read(shards.scene(chunk), "001").image).tobytes())
    out.write_bytes(b"".join(found))


@pytest.mark.parametrize("form", ["{folder}", "pipe:cat '{folder}/{{}}'"])
def test_forked_processes_share_no_position(form: str, tmp_path: Path) -> None:
    """They go on in the shard that was open, whose chunks are larger than any buffer."""
    rng = np.random.default_rng(0)
    for scene in range(6):
        (tmp_path / "files" / str(scene)).mkdir(parents=True)
        for frame in range(2):
            noise = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "files" / str(scene) / f"{frame}.png")
    packed(tmp_path / "shards", [ImageFolders(tmp_path / "files")], 6)
    shards = Shards(form.format(folder=tmp_path / "shards"))
    shards._reader.stream_to(0, 1)
    processes = [get_context("fork").Process(target=read_on, args=(shards, tmp_path / str(k))) for k in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    read_on(shards, tmp_path / "here")
    truth = [np.asarray(shards.read(shards.scene(chunk), "001").image).tobytes() for chunk in range(1, 6)]
    assert all((tmp_path / name).read_bytes() == b"".join(truth) for name in ("0", "1", "here"))
    shards._reader.close()


def spawned(data: ViewDataset, folder: str) -> None:
    batches = [[data[request].places[0] for request in batch] for batch in list(LoadSampler(data.plan, 2))[:8]]
    Path(folder, "places").write_text(repr(batches))


def test_a_spawned_process_goes_on_with_a_copy(folder: Path, tmp_path: Path) -> None:
    data = dataset(Shards(str(folder)))
    truth = [[data[request].places[0] for request in batch] for batch in list(LoadSampler(data.plan, 2))[:8]]
    copy = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 100_000, "no chunk goes with it"
    process = get_context("fork").Process(target=spawned, args=(copy, str(tmp_path)))
    process.start()
    process.join(60)
    assert process.exitcode == 0 and (tmp_path / "places").read_text() == repr(truth)
