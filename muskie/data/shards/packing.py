"""Packing a data set into tar shards: which chunk goes where, and the writing, by several processes."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from muskie.data.index import HoldOut, Place, SceneIndex
from muskie.data.scene import SceneSource
from muskie.data.shards.contents import INDEX, Contents, Packed, Shard
from muskie.data.shards.pack import What, pack
from muskie.data.shards.stream import need_webdataset
from muskie.data.unusable import Ledger, Unusable
from muskie.errors import ConfigError, DataError
from muskie.streams import stream

SAMPLED = 24
"""Chunks that are packed first, to know how many make a shard of the size that is asked for."""

OURS = re.compile(r"(train|heldout)-\d{6}\.tar(\.json|\.part)?|" + re.escape(INDEX) + r"\.\d+")
"""Names of files that a call that was stopped leaves behind."""


@dataclass(frozen=True)
class Piece:
    """A chunk to pack: frames `start` to `stop` of a place."""

    place: Place
    start: int
    stop: int

    @property
    def frames(self) -> Sequence[str]:
        """Their names."""
        return self.place.frames[self.start : self.stop]


@dataclass(frozen=True)
class ShardPlan:
    """How a data set is packed.

    Attributes:
        frames: of a chunk, neighbours; those of a scene differ by one at most, and have at least two thirds and at most
            one and a half times as many, but for scenes that have fewer.
        shard_mb: megabytes of a shard, about.
        seed: of the order of the chunks, so that neighbours in a shard are of different scenes.
        what: of each frame.
        settings: of the data, in words: what a call with others has packed is not kept.
    """

    frames: int = 32
    shard_mb: float = 256
    seed: int = 0
    what: What = field(default_factory=What)
    settings: str = ""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames > 999:
            raise ConfigError(f"--frames {self.frames}: expected 1 to 999 frames a chunk")
        if not self.shard_mb > 0:
            raise ConfigError(f"--shard-mb {self.shard_mb:g}: expected megabytes, above 0")
        if self.what.max_side is not None and self.what.max_side < 16:
            raise ConfigError(f"--max-side {self.what.max_side}: expected 16 pixels or more")


def divided(sources: Sequence[SceneSource], share: float) -> dict[str, list[Place]]:
    """What is trained on and what is held out, as `holdout.by=scenes` of a run divides it."""
    found = {}
    for part in ("train", "heldout") if share else ("train",):
        index = SceneIndex(sources, part, HoldOut(share, "scenes"), max_unusable=1)
        found[part] = [index.place(source, number) for source in sources for number in range(index.places(source))]
    return found


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


class Outcome(NamedTuple):
    """A shard that was written, of which part; how many frames of each source were asked for, and those that could not be
    read."""

    part: str
    shard: Shard
    asked: dict[str, int]
    problems: list[Unusable]


class Job(NamedTuple):
    """A shard to write: of which part, where to, of what, and how."""

    part: str
    file: Path
    chunks: Sequence[Piece]
    plan: ShardPlan


def write_shards(
    folder: Path,
    parts: dict[str, list[Piece]],
    plan: ShardPlan,
    workers: int,
    progress: Callable[[int], object] = lambda chunks: None,
) -> tuple[list[Outcome], Ledger]:
    """Packs the chunks of `"train"` and `"heldout"` into shards of their own; `write_index` ends the work.

    A shard that an earlier, stopped call has finished, with the same pieces and without problems, is kept.

    Raises:
        ConfigError: the `webdataset` library is not installed.
        DataError: the folder cannot be written to.
    """
    need_webdataset("packing shards")
    ledger, outcomes, jobs = Ledger(), [], []
    for part, all_pieces in parts.items():
        each = _pieces_of_a_shard(all_pieces, plan)
        for number, start in enumerate(range(0, len(all_pieces), each)):
            jobs.append(Job(part, folder / f"{part}-{number:06d}.tar", all_pieces[start : start + each], plan))
    for job, outcome in zip(jobs, _all(jobs, workers), strict=True):
        outcomes.append(outcome)
        ledger.add(outcome.asked, outcome.problems)
        progress(len(job.chunks))
    return outcomes, ledger


def write_index(folder: Path, outcomes: Sequence[Outcome], parts: dict[str, list[Piece]]) -> Contents:
    """Writes what the shards hold, and removes what else a call that was stopped has left.

    Raises:
        DataError: no frame could be packed.
    """
    full = [outcome for part in parts for outcome in outcomes if outcome.part == part and outcome.shard.chunks]
    if not full or full[0].part != "train":
        problems = [problem for outcome in outcomes for problem in outcome.problems]
        raise DataError(f"no frame could be packed; the first: {problems[0] if problems else 'there is none'}")
    sources = {id(piece.place.source): piece.place.source for part in parts.values() for piece in part}.values()
    contents = Contents.of(
        [outcome.shard for outcome in full],
        sum(outcome.part == "heldout" for outcome in full),
        "+".join(sorted({source.label for source in sources})),
        min(source.window for source in sources),
    )
    contents.write(folder)
    for file in folder.iterdir():
        if OURS.fullmatch(file.name) and file.name not in contents.shards:
            file.unlink()
    return contents


def _all(jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    if workers < 2:
        yield from map(write_shard, jobs)
        return
    # Ctrl-C ends them without a word of their own.
    ended = (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(workers, get_context("fork"), initializer=signal.signal, initargs=ended) as pool:
        yield from pool.map(write_shard, jobs)


def write_shard(job: Job) -> Outcome:
    """One shard, written beside and then renamed, with a note of what is in it."""
    noted = job.file.with_suffix(".tar.json")
    made_of = _made_of(job)
    if (known := _known(job, noted, made_of)) is not None:
        return known
    from webdataset import TarWriter

    packed: list[Packed] = []
    problems: list[Unusable] = []
    asked: dict[str, int] = {}
    beside = job.file.with_suffix(".tar.part")
    try:
        noted.unlink(missing_ok=True)
        # Times and names would make the same shard another one.
        with beside.open("wb") as raw, TarWriter(raw, encoder=False, mtime=0) as writer:
            for piece in job.chunks:
                place, label = piece.place, piece.place.source.label
                files, kept, failed = pack(place.source, place.scene, piece.frames, job.plan.what)
                asked[label] = asked.get(label, 0) + len(piece.frames)
                problems += [Unusable(label, message) for message in failed]
                if kept:
                    room = f"{label}/{place.scene.room or place.scene.name}"
                    offset = int(writer.tarstream.offset)
                    writer.write({"__key__": f"{len(packed):06d}", **files})
                    packed.append(Packed(f"{label}/{place.scene.name}", room, len(kept), offset))
            shard = Shard(job.file.name, packed, int(writer.tarstream.offset))
        beside.replace(job.file)
        told = {"made_of": made_of, "shard": asdict(shard), "asked": asked, "problems": problems}
        beside.write_text(json.dumps(told))
        beside.replace(noted)
    except OSError as error:
        raise DataError(
            f"{job.file} cannot be written ({error.strerror or error}); mend that, and the same command goes on"
        ) from error
    return Outcome(job.part, shard, asked, problems)


def _known(job: Job, noted: Path, made_of: str) -> Outcome | None:
    """A shard that was finished by an earlier call."""
    try:
        known: dict[str, Any] = json.loads(noted.read_text())
        if known["made_of"] != made_of or known["problems"] or not job.file.is_file():
            return None
        chunks = [Packed(**chunk) for chunk in known["shard"]["chunks"]]
        return Outcome(job.part, Shard(job.file.name, chunks, known["shard"]["size"]), known["asked"], [])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made_of(job: Job) -> str:
    """Tells shards apart that would hold something else."""
    digest = hashlib.blake2b(f"{job.plan.settings}\n{job.plan.what}\n".encode(), digest_size=16)
    for piece in job.chunks:
        lines = [piece.place.source.label, piece.place.scene.name, *piece.frames, ""]
        digest.update("\n".join(lines).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _pieces_of_a_shard(chunks: Sequence[Piece], plan: ShardPlan) -> int:
    """How many chunks make a shard of the size that is asked for, by packing a few."""
    spread = np.linspace(0, len(chunks) - 1, min(SAMPLED, len(chunks))).round().astype(int) if chunks else []
    sizes = []
    for number in spread:
        piece = chunks[number]
        files, kept, _ = pack(piece.place.source, piece.place.scene, piece.frames[:4], plan.what)
        if kept:
            whole = sum(512 * (1 + -(-len(data) // 512)) for data in files.values())  # as tar lays them out
            sizes.append(whole / len(kept) * (piece.stop - piece.start))
    return max(round(plan.shard_mb * 1e6 / np.mean(sizes)), 1) if sizes else max(len(chunks), 1)


def check_output(folder: Path) -> None:
    """
    Raises:
        ConfigError: the folder holds something that is no unfinished packing.
    """
    if (folder / INDEX).exists():
        raise ConfigError(f"--out {str(folder)!r} holds finished shards; give another folder, or remove them")
    others = [path.name for path in folder.iterdir() if not OURS.fullmatch(path.name)] if folder.is_dir() else []
    if others:
        raise ConfigError(f"--out {str(folder)!r} holds other things ({others[0]}); give a new or empty folder")
