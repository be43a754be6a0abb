"""Packing a data set into tar shards: which chunk goes where, and the writing, by several processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from muskie.data.index import Place, SceneIndex
from muskie.data.scene import SceneSource
from muskie.data.shards.chunk import What, pack
from muskie.data.shards.contents import INDEX, Contents, Packed
from muskie.data.shards.reader import WAY_OUT
from muskie.data.short_scenes import kept_frames
from muskie.data.unusable import Ledger, Unusable
from muskie.errors import ConfigError, DataError
from muskie.streams import stream

SAMPLED = 24
"""Chunks that are packed first, to know how many make a shard of the size that is asked for."""


@dataclass(frozen=True)
class Piece:
    """A chunk to pack: frames `start` to `stop` of a place."""

    place: Place
    start: int
    stop: int


@dataclass(frozen=True)
class ShardPlan:
    """How a data set is packed.

    Attributes:
        frames: of a chunk, neighbours; the last chunk of a scene has up to half as many more or fewer.
        shard_mb: megabytes of a shard, about.
        seed: of the order of the chunks, so that neighbours in a shard are of different scenes.
        what: of each frame.
    """

    frames: int = 32
    shard_mb: int = 256
    seed: int = 0
    what: What = field(default_factory=What)

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames > 999:
            raise ConfigError(f"--frames {self.frames}: expected 1 to 999 frames a chunk")
        if self.shard_mb < 1:
            raise ConfigError(f"--shard-mb {self.shard_mb}: expected 1 or more")
        if self.what.max_side is not None and self.what.max_side < 16:
            raise ConfigError(f"--max-side {self.what.max_side}: expected 16 pixels or more")


def pieces(places: Sequence[Place], plan: ShardPlan, part: str) -> list[Piece]:
    """The chunks of some places, shuffled."""
    found = []
    for place in places:
        count = len(place.frames)
        number = max(round(count / plan.frames), 1)
        edges = np.linspace(0, count, number + 1).round().astype(int).tolist()
        found += [Piece(place, start, stop) for start, stop in pairwise(edges)]
    order = stream(plan.seed, "pack", part).permutation(len(found))
    return [found[number] for number in order]


def write_shards(
    folder: Path,
    parts: dict[str, list[Piece]],
    plan: ShardPlan,
    workers: int,
    progress: Callable[[int], object] = lambda chunks: None,
) -> tuple[Contents, Ledger]:
    """Packs the chunks of `"train"` and `"heldout"` into shards of their own, and writes their index last.

    A shard that was finished by an earlier, stopped call with the same pieces is kept.

    Raises:
        ConfigError: the `webdataset` library is not installed.
        DataError: no frame could be read.
    """
    ledger = Ledger()
    written: dict[str, list[tuple[str, list[Packed]]]] = {"train": [], "heldout": []}
    jobs = []
    for part, all_pieces in parts.items():
        each = _pieces_of_a_shard(all_pieces, plan)
        for number, start in enumerate(range(0, len(all_pieces), each)):
            jobs.append((part, folder / f"{part}-{number:06d}.tar", all_pieces[start : start + each], plan.what))
    for part, file, packed, asked, problems in _all(jobs, workers):
        written[part].append((file.name, packed))
        ledger.add(asked, problems)
        progress(len(packed))
    shards = [shard for part in ("train", "heldout") for shard in sorted(written[part]) if shard[1]]
    if not any(packed for _, packed in shards):
        raise DataError(f"no frame could be packed; the first: {next(iter(*ledger.messages.values()), 'there is none')}")
    sources = {piece.place.source.label for part in parts.values() for piece in part}
    contents = Contents.of(shards, sum(bool(packed) for _, packed in written["heldout"]), "+".join(sorted(sources)))
    contents.write(folder)
    for file in folder.glob("*.tar.json"):
        file.unlink()
    return contents, ledger


Outcome = tuple[str, Path, list[Packed], dict[str, int], list[Unusable]]


def _all(jobs: Sequence[tuple[str, Path, list[Piece], What]], workers: int) -> Iterator[Outcome]:
    if workers < 2:
        yield from (write_shard(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        yield from pool.map(write_shard, *zip(*jobs, strict=True))


def write_shard(part: str, file: Path, chunks: Sequence[Piece], what: What) -> Outcome:
    """One shard, written beside and then renamed; what it holds, how many frames of each source were asked for, and those
    that could not be read."""
    noted = file.with_suffix(".tar.json")
    made_of = [f"{piece.place.name} {piece.start} {piece.stop}" for piece in chunks] + [str(what)]
    if file.is_file() and noted.is_file():
        known: dict[str, Any] = json.loads(noted.read_text())
        if known["made_of"] == made_of:
            packed = [Packed(**chunk) for chunk in known["packed"]]
            return part, file, packed, known["asked"], [Unusable(*one) for one in known["problems"]]
    try:
        import webdataset
    except ImportError as error:
        raise ConfigError(f"shards are written by the webdataset library, which is not installed; {WAY_OUT}") from error
    packed, problems = [], []
    asked: dict[str, int] = {}
    beside = file.with_suffix(".tar.part")
    with webdataset.TarWriter(str(beside), encoder=False) as writer:
        for piece in chunks:
            place, label = piece.place, piece.place.source.label
            names = list(place.frames[piece.start : piece.stop])
            files, kept, failed = pack(place.source, place.scene, names, what)
            asked[label] = asked.get(label, 0) + len(names)
            problems += [Unusable(label, message) for message in failed]
            if kept:
                room = f"{label}/{place.scene.room or place.scene.name}"
                packed.append(Packed(f"{label}/{place.scene.name}", room, len(kept), int(writer.tarstream.offset)))
                writer.write({"__key__": f"{len(packed) - 1:06d}", **files})
    beside.replace(file)
    told = {"made_of": made_of, "packed": [asdict(chunk) for chunk in packed], "asked": asked, "problems": problems}
    noted.write_text(json.dumps(told))
    return part, file, packed, asked, problems


def _pieces_of_a_shard(chunks: Sequence[Piece], plan: ShardPlan) -> int:
    """How many chunks make a shard of the size that is asked for, by packing a few."""
    spread = np.linspace(0, len(chunks) - 1, min(SAMPLED, len(chunks))).round().astype(int) if chunks else []
    sizes = []
    for number in spread:
        piece = chunks[number]
        names = list(piece.place.frames[piece.start : piece.stop])[:4]
        files, kept, _ = pack(piece.place.source, piece.place.scene, names, plan.what)
        if kept:
            sizes.append(sum(map(len, files.values())) / len(kept) * (piece.stop - piece.start))
    return max(round(plan.shard_mb * 1e6 / np.mean(sizes)), 1) if sizes else max(len(chunks), 1)


def divided(index: SceneIndex, source: SceneSource, share: float) -> tuple[list[Place], list[Place]]:
    """What is trained on, and what is held out: the last scenes, whole rooms, and of a source with one scene its last
    frames. At least one scene of several, if `share` is above 0."""
    places = [index.place(source, number) for number in range(index.places(source))]
    if not share:
        return places, []
    if len(places) == 1:
        (only,) = places
        kept = int(kept_frames(len(only.frames), share))
        parts = [replace(only, frames=only.frames[:kept]), replace(only, frames=only.frames[kept:])]
        return parts[:1], [part for part in parts[1:] if part.frames]
    kept = len(places) - max(round(share * len(places)), 1)
    while kept > 0 and places[kept - 1].scene.shows_the_same_as(places[kept].scene):
        kept -= 1
    return places[:kept], places[kept:]


def check_output(folder: Path) -> None:
    """
    Raises:
        ConfigError: the folder holds something that is no unfinished packing.
    """
    if (folder / INDEX).exists():
        raise ConfigError(f"--out {str(folder)!r} holds finished shards; give another folder, or remove them")
    others = [path.name for path in folder.iterdir() if ".tar" not in path.name] if folder.is_dir() else []
    if others:
        raise ConfigError(f"--out {str(folder)!r} holds other things ({others[0]}); give a new or empty folder")
