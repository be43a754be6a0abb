"""Packing: what goes where, the same shards by any number of processes and calls, and what is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from numbered import Numbered
from shelf import members, numbered, packed, pinned

from muskie.data.scene import Scene
from muskie.data.shards import packing
from muskie.data.shards.contents import INDEX, Contents, Packed, Shard
from muskie.data.shards.pack import What
from muskie.data.shards.packing import Job, ShardPlan, divided, pieces, write_index, write_shard, write_shards
from muskie.data.sources.shards import Shards
from muskie.errors import ConfigError, DataError


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def all_parts(source: Any, plan: ShardPlan, holdout: float = 0.25) -> dict[str, Any]:
    return {part: pieces(places, plan, part) for part, places in divided([source], holdout).items()}


class Roomy(Numbered):
    """Three scenes show each room, but for the last, which has one."""

    def scene(self, index: int) -> Scene:
        found = super().scene(index)
        return Scene(found.name, found.frames, f"room{index // 3}")


@pytest.mark.parametrize("count", [1, 3, 7, 31, 33, 47, 49, 100])
def test_chunks_are_neighbours_of_nearly_one_length(count: int) -> None:
    places = divided([Numbered([count])], 0)["train"]
    chunks = sorted(pieces(places, ShardPlan(frames=32), "train"), key=lambda piece: piece.start)
    assert [name for piece in chunks for name in piece.frames] == [str(frame) for frame in range(count)]
    lengths = [len(piece.frames) for piece in chunks]
    assert max(lengths) - min(lengths) <= 1 and max(lengths) <= 48
    assert count < 32 or min(lengths) >= 32 * 2 / 3


def test_chunks_of_all_scenes_are_shuffled_by_the_seed() -> None:
    places = divided([Numbered([12] * 20)], 0)["train"]
    orders = [
        [(piece.place.scene.name, piece.start) for piece in pieces(places, ShardPlan(frames=4, seed=seed), "train")]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2])
    assert sum(one[0] == two[0] for one, two in zip(orders[0], orders[0][1:], strict=False)) < 10


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_whole_rooms_are_held_out(share: float) -> None:
    parts = divided([Roomy([5] * 10)], share)
    rooms = {part: {place.scene.room for place in places} for part, places in parts.items()}
    assert rooms["train"] and rooms["heldout"] and not rooms["train"] & rooms["heldout"]
    assert sum(map(len, parts.values())) == 10
    assert len(parts["heldout"]) == {0.05: 1, 0.3: 4, 0.6: 7}[share]


def test_one_room_is_divided_between_scenes_and_one_scene_between_frames() -> None:
    parts = divided([Roomy([5] * 3), Numbered([20])], 0.1)
    names = {part: [(place.scene.name, len(place.frames)) for place in places] for part, places in parts.items()}
    assert names == {"train": [("scene0", 5), ("scene1", 5), ("scene0", 18)], "heldout": [("scene2", 5), ("scene0", 2)]}
    assert [len(place.frames) for place in divided([Numbered([4])], 0.05)["train"]] == [4], "too short to be divided"
    assert list(divided([Numbered([4])], 0)) == ["train"]


def test_shards_are_about_as_large_as_asked_for(tmp_path: Path) -> None:
    source = numbered(tmp_path / "files", [8] * 30, size=(96, 96))
    packed(tmp_path / "shards", [source], shard_mb=0.05)
    sizes = sorted(file.stat().st_size for file in (tmp_path / "shards").glob("*.tar"))
    assert len(sizes) > 2 and all(20_000 < size < 100_000 for size in sizes[1:])


def test_processes_and_calls_change_nothing(tmp_path: Path) -> None:
    source, plan = numbered(tmp_path / "files", [9, 8, 7, 12, 6]), ShardPlan(frames=4, settings="mine")
    parts = all_parts(source, plan)
    for name, workers in (("serial", 1), ("parallel", 3)):
        (tmp_path / name).mkdir()
        done: list[int] = []
        with pinned(3):
            outcomes, _ = write_shards(tmp_path / name, parts, plan, workers, done.append)
        write_index(tmp_path / name, outcomes, parts)
        assert sum(done) == sum(map(len, parts.values())) and len(done) == len(outcomes)
    whole = files_of(tmp_path / "serial")
    assert files_of(tmp_path / "parallel") == whole
    assert sorted(whole) == ["heldout-000000.tar", INDEX, "train-000000.tar", "train-000001.tar", "train-000002.tar"]


class Ended(BaseException):
    """As if the process were killed."""


def packed_until(folder: Path, parts: Any, plan: ShardPlan, patch: pytest.MonkeyPatch, chunks: int | None) -> int:
    """Packs, ends after so many chunks; how many were packed."""
    real, count = packing.pack, [0]

    def counted(*arguments: Any) -> Any:
        if chunks is not None and count[0] == chunks:
            raise Ended
        count[0] += 1
        return real(*arguments)

    folder.mkdir(exist_ok=True)
    with patch.context() as inside, pinned(3):
        inside.setattr(packing, "pack", counted)
        try:
            outcomes, _ = write_shards(folder, parts, plan, 1)
            write_index(folder, outcomes, parts)
        except Ended:
            pass
    return count[0]


@pytest.mark.parametrize("chunks", [0, 2, 3, 5, 7])
def test_a_call_that_was_stopped_goes_on(chunks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, plan = numbered(tmp_path / "files", [9, 8, 7, 12, 6]), ShardPlan(frames=4)
    parts = all_parts(source, plan)
    total = packed_until(tmp_path / "whole", parts, plan, monkeypatch, None)
    packed_until(tmp_path / "out", parts, plan, monkeypatch, chunks)
    packing.check_output(tmp_path / "out")
    again = packed_until(tmp_path / "out", parts, plan, monkeypatch, None)
    assert again == total - chunks // 3 * 3, "finished shards are kept"
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    with pytest.raises(ConfigError, match="holds finished shards"):
        packing.check_output(tmp_path / "out")


@pytest.mark.parametrize(
    "other", [{"settings": "of another"}, {"what": What(max_side=16)}, {"seed": 1}, {"frames": 3}], ids=str
)
def test_what_another_call_has_left_is_not_taken(other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it stay, where there are fewer shards now."""
    source = numbered(tmp_path / "files", [9, 8, 7, 12, 6])
    plan, before = ShardPlan(frames=4), ShardPlan(**{"frames": 4, **other})
    parts = all_parts(source, plan)
    packed_until(tmp_path / "whole", parts, plan, monkeypatch, None)
    packed_until(tmp_path / "out", all_parts(source, before), before, monkeypatch, 7)
    (tmp_path / "out" / "train-000099.tar").write_bytes(b"of more shards")
    (tmp_path / "out" / "train-000001.tar.json").write_text('{"made_of')
    packed_until(tmp_path / "out", parts, plan, monkeypatch, None)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_what_could_not_be_read_is_told_and_tried_again(tmp_path: Path) -> None:
    source, plan = numbered(tmp_path / "files", [8, 8]), ShardPlan(frames=4)
    whole = (tmp_path / "files" / "scene001" / "003.png").read_bytes()
    (tmp_path / "files" / "scene001" / "003.png").write_bytes(whole[:30])
    out = tmp_path / "out"
    out.mkdir()
    parts = all_parts(source, plan, 0)
    _, ledger = write_shards(out, parts, plan, 1)
    assert ledger.asked == {"folder": 16} and ledger.skipped == {"folder": 1}
    assert "scene001/003.png" in next(iter(ledger.messages["folder"]))
    with pytest.raises(DataError, match=r"train-000000\.tar cannot be written"):
        (out / "train-000000.tar.json").unlink()
        (out / "train-000000.tar.part").mkdir()
        write_shards(out, parts, plan, 1)
    (out / "train-000000.tar.part").rmdir()
    (tmp_path / "files" / "scene001" / "003.png").write_bytes(whole)
    outcomes, ledger = write_shards(out, parts, plan, 1)
    assert not ledger.skipped and write_index(out, outcomes, parts).counts.sum() == 16


def test_scenes_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    plan, source = ShardPlan(frames=4), Numbered([4, 4, 4], broken=[(1, frame) for frame in range(4)])
    parts = all_parts(source, plan, 0)
    with pinned(1):
        outcomes, _ = write_shards(tmp_path, parts, plan, 1)
    contents = write_index(tmp_path, outcomes, parts)
    assert contents.counts.tolist() == [4, 4] and len(contents.shards) == 2
    assert sorted(file.name for file in tmp_path.glob("*.tar")) == contents.shards
    nothing = Numbered([4], broken=[(0, frame) for frame in range(4)])
    parts = all_parts(nothing, plan, 0)
    outcomes, _ = write_shards(tmp_path, parts, plan, 1)
    with pytest.raises(DataError, match=r"no frame could be packed; the first: .*broken"):
        write_index(tmp_path, outcomes, parts)


def test_a_shard_says_where_its_chunks_lie(tmp_path: Path) -> None:
    source, plan = numbered(tmp_path / "files", [8, 8]), ShardPlan(frames=4)
    chunks = all_parts(source, plan, 0)["train"]
    shard = write_shard(Job("train", tmp_path / "train-000000.tar", chunks, plan)).shard
    data = (tmp_path / "train-000000.tar").read_bytes()
    for number, chunk in enumerate(shard.chunks):
        assert data[chunk.offset :].startswith(f"{number:06d}.000.png\0".encode())
    assert shard.size <= len(data) and not data[shard.size :].strip(b"\0")
    assert {name[7:] for name in members(tmp_path / "train-000000.tar")} == {
        *(f"{number:03d}.png" for number in range(4)),
        "scene.json",
    }


def test_windows_are_those_of_the_source(tmp_path: Path) -> None:
    source = Numbered([12, 12])
    for window, expected in ((5, 5), (1_000_000, 12)):
        source.window = window
        packed(tmp_path / str(window), [source], frames=12)
        assert Shards(str(tmp_path / str(window))).window == expected


def test_the_index_comes_back(tmp_path: Path) -> None:
    shards = [
        Shard("a.tar", [Packed("s/ä b", "s/r", 5, 0), Packed("s/c", "s/r", 3, 512)], 1024),
        Shard("b.tar", [Packed("s/d", "s/d", 7, 0)], 2048),
    ]
    Contents.of(shards, 1, "s", 9).write(tmp_path)
    found = Contents.read(tmp_path / INDEX)
    assert [found.names[k] for k in range(3)] == ["s/ä b", "s/c", "s/d"] and found.rooms[1] == "s/r"
    assert [found.address(k) for k in range(3)] == [(0, 0), (0, 1), (1, 0)]
    assert (found.heldout_from, found.trained_shards(), found.window, found.source) == (2, 1, 9, "s")
    assert found.sizes.tolist() == [1024, 2048] and found.counts.tolist() == [5, 3, 7]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"frames": 0}, "--frames 0: expected 1 to 999"),
        ({"frames": 1000}, "--frames 1000"),
        ({"shard_mb": 0}, "--shard-mb 0: expected megabytes"),
        ({"shard_mb": float("nan")}, "--shard-mb nan"),
        ({"what": What(max_side=8)}, "--max-side 8: expected 16"),
    ],
)
def test_settings_out_of_range_are_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ShardPlan(**given)


def test_a_folder_with_other_things_is_not_written_to(tmp_path: Path) -> None:
    packing.check_output(tmp_path / "new")
    for name in ("train-000000.tar", "train-000000.tar.json", "heldout-000001.tar.part", f"{INDEX}.123"):
        (tmp_path / name).touch()
        packing.check_output(tmp_path)
    (tmp_path / "my.tar").touch()
    with pytest.raises(ConfigError, match=r"holds other things \(my.tar\)"):
        packing.check_output(tmp_path)
