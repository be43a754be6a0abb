"""Packing by the script: what it tells, what it refuses, and a call that is killed and goes on."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.sources.folder import ImageFolders
from muskie.data.sources.shards import Shards
from muskie.data.sources.synthetic import SyntheticRooms

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("pack_shards")


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def refused(pack: ModuleType, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        pack.main([*words])
    return str(ended.value)


def test_rooms_are_packed_and_come_back(pack: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    rooms = ["data=synthetic", "data.scenes=5", "data.frames=8", "data.image_size=32"]
    pack.main([*rooms, "--out", str(out), "--frames", "4", "--shard-mb", "0.02", "--workers", "2", "--holdout", "0.2"])
    told = capsys.readouterr().out.splitlines()
    assert told[-2].startswith("40 frames in 10 chunks and ") and told[-2].endswith("; 2 chunks held out")
    assert told[-1] == f"train on them by data=shards data.root={out}"
    shards, source = Shards(str(out)), SyntheticRooms(scenes=5, frames=8, image_size=32)
    assert len(shards.contents.shards) > 2 and shards.window == 4 and shards.heldout_from == 8
    for index in (0, 9):
        chunk = shards.scene(index)
        scene = next(s for s in map(source.scene, range(5)) if chunk.name.endswith(f"synthetic/{s.name}"))
        frames = [source.read(scene, name, geometry=True) for name in scene.frames]
        for name in chunk.frames:
            read = shards.read(chunk, name, geometry=True)
            assert read.camera is not None and read.depth is not None
            poses = [frame.camera.cam2world for frame in frames if frame.camera is not None]
            (truth,) = [frames[k] for k, pose in enumerate(poses) if np.allclose(pose, read.camera.cam2world, atol=1e-9)]
            assert truth.depth is not None and np.abs(read.depth - truth.depth).max() <= truth.depth.max() / 65535
    held = SceneIndex([shards], "heldout", HoldOut(0.2))
    assert {held.place(shards, k).scene.room for k in range(held.places(shards))} == {"synthetic/room-000004"}


def test_several_sources_pictures_alone_and_unreadable_ones(
    pack: ModuleType, image_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "configs" / "data").mkdir(parents=True)
    (tmp_path / "broken" / "a").mkdir(parents=True)
    for number in range(20):
        Image.new("RGB", (24, 16)).save(tmp_path / "broken" / "a" / f"{number}.png")
    (tmp_path / "broken" / "a" / "3.png").write_bytes(b"no picture")
    folder = f"{ImageFolders.__module__}.ImageFolders"
    (tmp_path / "configs" / "data" / "both.yaml").write_text(
        f"sources:\n  one: {{_target_: {folder}, root: {image_root}}}\n"
        f"  two: {{_target_: {folder}, root: {tmp_path / 'broken'}, weight: 2}}\n"
    )
    words = ["--config-dir", str(tmp_path / "configs"), "data=both", "--workers", "1", "--no-geometry", "--frames", "8"]
    pack.main([*words, "--out", str(tmp_path / "out"), "--max-side", "20"])
    told = capsys.readouterr().out
    assert "skipped as unusable: 1 of 20 frames of two (5.0%)" in told and "83 frames in " in told
    shards = Shards(str(tmp_path / "out"))
    assert {shards.scene(k).name[8:11] for k in range(len(shards))} == {"one", "two"}
    assert {shards.read(shards.scene(k), "000").size for k in range(len(shards))} == {(20, 20), (20, 13)}
    for number in (5, 6, 7):
        (tmp_path / "broken" / "a" / f"{number}.png").write_bytes(b"no picture")
    pack.main([*words, "--out", str(tmp_path / "few")])  # fewer than ten are no reason for an error
    for number in range(8, 16):
        (tmp_path / "broken" / "a" / f"{number}.png").write_bytes(b"no picture")
    message = refused(pack, *words, "--out", str(tmp_path / "many"))
    assert "source 'two'" in message and "12 of 20 frames" in message and "The first 10" in message
    assert not (tmp_path / "many" / "index.safetensors").exists()
    pack.main([*words, "max_unusable=0.7", "--out", str(tmp_path / "many")])
    assert int(Shards(str(tmp_path / "many")).contents.counts.sum()) == 64 + 8


KILLED = """
import os, signal, sys
import pack_shards
from muskie.data.shards import packing

write, done = packing.write_shard, []

def killed_after_two(job):
    result = write(job)
    done.append(job)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

packing.write_shard = killed_after_two
pack_shards.main(sys.argv[1:])
"""


def test_a_call_that_is_killed_goes_on_with_the_same_command(pack: ModuleType, image_root: Path, tmp_path: Path) -> None:
    words = ["data=folder", f"data.root={image_root}", "--frames", "4", "--shard-mb", "0.02", "--workers", "1"]
    pack.main([*words, "--out", str(tmp_path / "whole")])
    out = tmp_path / "out"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(SCRIPTS), str(SCRIPTS.parent)))}
    killed = subprocess.run([sys.executable, "-c", KILLED, *words, "--out", str(out)], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(files_of(out)) == [f"train-00000{k}.tar{end}" for k in (0, 1) for end in ("", ".json")]
    kept = (out / "train-000000.tar").stat().st_mtime_ns
    pack.main([*words, "--out", str(out)])
    assert (out / "train-000000.tar").stat().st_mtime_ns == kept and len(list(out.glob("*.tar"))) > 3
    assert files_of(out) == files_of(tmp_path / "whole")
    assert "holds finished shards" in refused(pack, *words, "--out", str(out))


def test_what_cannot_be_done_is_told(pack: ModuleType, image_root: Path, tmp_path: Path) -> None:
    data = ["data=folder", f"data.root={image_root}"]
    out = ["--out", str(tmp_path / "out")]
    assert "--holdout 1.0: expected a share in [0, 1)" in refused(pack, *data, *out, "--holdout", "1")
    assert "--frames 0" in refused(pack, *data, *out, "--frames", "0")
    assert "--workers -1" in refused(pack, *data, *out, "--workers", "-1")
    assert "--max-side 3" in refused(pack, *data, *out, "--max-side", "3")
    assert "say how many, data.scenes=100" in refused(pack, "data=synthetic", *out)
    assert "does not exist" in refused(pack, "data=folder", f"data.root={tmp_path / 'nowhere'}", *out)
    assert "data.rot is unknown" in refused(pack, *data, "data.rot=1", *out)
    assert not (tmp_path / "out").exists(), "nothing is made for a call that cannot do it"
    (tmp_path / "file").touch()
    assert "is no folder" in refused(pack, *data, "--out", str(tmp_path / "file"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    assert "holds other things (thesis.tex)" in refused(pack, *data, "--out", str(tmp_path / "full"))
