"""Which frames of which scenes belong to training and which are held out, over all sources."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from muskie.config import schema
from muskie.data.mixture import SEVERAL, Mixture
from muskie.data.scene import Scene, SceneSource
from muskie.data.short_scenes import Division, fewer_views, kept_frames, ways_out
from muskie.errors import ConfigError, DataError


@dataclass(frozen=True)
class Place:
    """A run of frames of one scene.

    Attributes:
        source: where to read them.
        scene: the whole scene.
        frames: those of its frames that belong to this part, in the order of capture.
    """

    source: SceneSource
    scene: Scene
    frames: Sequence[str]

    @property
    def name(self) -> str:
        """`source/scene`, for messages."""
        return f"{self.source.name}/{self.scene.name}"


@dataclass(frozen=True)
class HoldOut:
    """What is kept from training. A source that holds scenes out itself (`SceneSource.heldout_from`) has those held out.

    Attributes:
        share: of the data, in [0, 1); 0: nothing, and there is no held-out part.
        by: `"frames"`: the last frames of every scene; `"scenes"`: the last scenes of every source (whole rooms, if it
            has several rooms), and of a source with one scene its last frames.
    """

    share: float = 0.2
    by: str = "frames"

    def __post_init__(self) -> None:
        if self.by not in ("frames", "scenes"):
            raise ConfigError(f"holdout.by={self.by!r}: expected 'frames' or 'scenes'")
        if not 0 <= self.share < 1:
            raise ConfigError(f"holdout.share={self.share}: expected a share in [0, 1), e.g. 0.2")


MAX_UNUSABLE = 0.05
"""The share of a source that may be left out, where nobody has set `max_unusable`."""


class SceneIndex:
    """All places of one part of the data.

    Places of too few frames are left out, and counted in `short`, as long as they are few; else they are an error.

    Args:
        sources: at least one.
        part: `"train"`, `"heldout"` or `"all"`.
        holdout: what is held out.
        min_frames: the fewest frames a place may have.
        elsewhere: the fewest frames that other parts need, by name, so that advice about short scenes fits them too.
        max_unusable: the largest share of a source's scenes that may be left out, in [0, 1].
        fewer: the settings by which scenes have no more than so many views, for the same advice.

    Raises:
        ConfigError: a setting out of range.
        DataError: a source with more scenes of too few frames.
    """

    def __init__(
        self,
        sources: Sequence[SceneSource],
        part: str,
        holdout: HoldOut = HoldOut(),
        min_frames: int = 1,
        elsewhere: Mapping[str, int] | None = None,
        max_unusable: float = MAX_UNUSABLE,
        fewer: Callable[[int], str] = fewer_views,
    ) -> None:
        if not sources:
            raise ConfigError("data names no source; give one, e.g. data=folder data.root=...")
        if part == "heldout" and not holdout.share:
            raise ConfigError("holdout.share=0 leaves nothing to measure on; give a share such as 0.2")
        if not 0 <= max_unusable <= 1:
            raise ConfigError(f"max_unusable={max_unusable}: expected a share in [0, 1], e.g. {MAX_UNUSABLE}")
        self.part = part if holdout.share else "all"
        self.sources = [source for source in sources if self.part != "heldout" or not source.single]
        if all(source.single for source in sources):
            raise ConfigError("data: every source is for single views alone; leave single=true out of one, or more")
        self.holdout, self.by, self.max_unusable = holdout.share, holdout.by, max_unusable
        self.needs = {**(elsewhere or {} if holdout.share else {}), self.part: min_frames}
        self._fewer = fewer
        self.short: list[int] = []
        """How many places of each source have too few frames."""
        # By position: a data worker that is started anew has copies of the sources.
        self._numbers: list[range | np.ndarray] = []
        for source in self.sources:
            self._check_listed(source)
            numbers, short = self._long_enough(source, 1 if source.single else min_frames)
            self._numbers.append(numbers)
            self.short.append(short)
        self._mixture = Mixture(self.sources)

    def _by_scenes(self, source: SceneSource) -> bool:
        return source.heldout_from is not None or source.shares_frames or (self.by == "scenes" and len(source) > 1)

    def _of_part(self, source: SceneSource) -> range:
        """Numbers of the scenes of a source that belong to this part."""
        count = len(source)
        if self.part == "all" or source.single or not self._by_scenes(source):
            return range(count)
        kept = _trained_on(source, self.holdout) if source.heldout_from is None else source.heldout_from
        if source.shares_frames and source.scene(0).shows_the_same_as(source.scene(count - 1)):
            raise DataError(
                f"source {source.label!r}{_root(source)}: its scenes share frames, and all show one room: nothing can be "
                f"held out of it that is not trained on too; set holdout.share=0, or give it several rooms"
            )
        return range(kept) if self.part == "train" else range(kept, count)

    def _scenes(self, source: SceneSource) -> range | np.ndarray:
        """Numbers of the scenes of this part that have enough frames in it."""
        return next(n for n, known in zip(self._numbers, self.sources, strict=True) if known is source)

    def _lengths(self, source: SceneSource) -> np.ndarray:
        """How many frames of each scene belong to this part, int64 [scenes of the source]."""
        lengths = source.lengths()
        if self.part == "all" or source.single or self._by_scenes(source):
            return lengths
        kept = kept_frames(lengths, self.holdout)
        return kept if self.part == "train" else lengths - kept

    def _frames(self, source: SceneSource, scene: Scene) -> Sequence[str]:
        if self.part == "all" or source.single or self._by_scenes(source):
            return scene.frames
        kept = int(kept_frames(len(scene.frames), self.holdout))
        return scene.frames[:kept] if self.part == "train" else scene.frames[kept:]

    def _check_listed(self, source: SceneSource) -> None:
        """Refuses a source much of which could not be opened."""
        count, parts = len(source.failed), source.listed_parts
        if parts and count > self.max_unusable * parts:
            listed = "\n  ".join(source.problems[:10])
            raise DataError(
                f"source {source.label!r}{_root(source)}: {count} of {parts} parts cannot be listed, more than "
                f"max_unusable={self.max_unusable:g}. The first ones:\n  {listed}\nMend or remove them, or allow more: "
                f"max_unusable={min(1.0, round(count / parts + 0.005, 2)):g}"
            )

    def _long_enough(self, source: SceneSource, min_frames: int) -> tuple[range | np.ndarray, int]:
        """The scenes of this part that have enough frames in it, and how many do not."""
        scenes = self._of_part(source)
        if not scenes:
            what = {"train": "to train on", "heldout": "held out"}.get(self.part, "in it")
            raise DataError(
                f"source {source.label!r}{_root(source)} has nothing {what}, and decides itself what that is (shards: when "
                f"they are packed, scripts/pack_shards.py --holdout); with holdout.share=0 nothing is held out or measured"
            )
        lengths = self._lengths(source)[scenes.start : scenes.stop]
        short = lengths[:1] < min_frames if source.uniform_length else lengths < min_frames
        if not short.any():
            return scenes, 0
        count = len(scenes) if source.uniform_length else int(short.sum())
        if count > self.max_unusable * len(scenes):
            first = [scenes[int(number)] for number in np.flatnonzero(short)[:5]]
            listed = ", ".join(f"{source.scene(n).name} ({lengths[n - scenes.start]})" for n in first)
            more = f" and {count - len(first)} more" if count > len(first) else ""
            part = {"train": "to train on", "heldout": "held out"}.get(self.part, "in all")
            raise DataError(
                f"source {source.label!r}{_root(source)}: {count} of {len(scenes)} scenes have fewer than {min_frames} "
                f"images {part}: {listed}{more}. {self._ways_out(source)}"
            )
        return scenes.start + np.flatnonzero(~short), count

    def _ways_out(self, source: SceneSource) -> str:
        leaves_out = "min_images" in schema(type(source))
        others = [self._division(other) for other in self.sources if other is not source and not other.single]
        leave_out = f"{source.config_key}.min_images" if leaves_out else None
        return ways_out(self._division(source), self.part, leave_out, others, self._fewer)

    def _division(self, source: SceneSource) -> Division:
        lengths = source.lengths()
        few = lengths[:2] if source.uniform_length else lengths
        return Division(few.tolist(), self.needs, self.holdout, self._by_scenes(source))

    def places(self, source: SceneSource) -> int:
        """Number of places in a source."""
        return len(self._scenes(source))

    def images(self, source: SceneSource) -> int:
        """Number of frames of a source, over all its places."""
        scenes, lengths = self._scenes(source), self._lengths(source)
        if source.uniform_length:
            return len(scenes) * int(lengths[0])
        return int(lengths[scenes].sum())

    def place(self, source: SceneSource, number: int) -> Place:
        """Place `number` of a source, 0 <= number < places(source)."""
        scene = source.scene(int(self._scenes(source)[number]))
        return Place(source, scene, self._frames(source, scene))

    def among(self, wanted: Collection[str]) -> set[str]:
        """Which of some frames, given by their `SceneSource.identity`, belong to this part."""
        found: set[str] = set()
        for source in self.sources:
            scenes = self._of_part(source)
            by_scene: dict[int, list[tuple[str, str]]] = {}
            for number, frame, identity in source.find(wanted):
                if number in scenes:
                    by_scene.setdefault(number, []).append((frame, identity))
            for number, frames in by_scene.items():
                ours = set(self._frames(source, source.scene(number)))
                found.update(identity for frame, identity in frames if frame in ours)
        return found

    def draw(self, rng: np.random.Generator, views: str = SEVERAL) -> Place:
        """A source, by the weights, then one of its places, uniformly; `views`: see `muskie.data.mixture.Mixture.draw`."""
        return self.draw_place(rng, self.draw_source(rng, views))

    def draw_source(self, rng: np.random.Generator, views: str = SEVERAL) -> SceneSource:
        """As `muskie.data.mixture.Mixture.draw`."""
        return self._mixture.draw(rng, views)

    def draw_place(self, rng: np.random.Generator, source: SceneSource) -> Place:
        """One of the places of a source, uniformly."""
        return self.place(source, int(rng.integers(self.places(source))))


def _root(source: SceneSource) -> str:
    """Where a source lies, if it says so: two of them may have one name."""
    root = getattr(source, "root", None)
    return f" ({root})" if root is not None else ""


def _trained_on(source: SceneSource, heldout: float) -> int:
    """How many scenes of a source are trained on where whole scenes are held out: of the cuts between two rooms the one
    nearest to the share asked for (of two, the earlier); where all scenes show one room, any cut will do."""
    kept = min(max(round(len(source) * (1 - heldout)), 1), len(source) - 1)
    for distance in range(len(source)):
        for number in (kept - distance, kept + distance):
            if 0 < number < len(source) and not source.scene(number - 1).shows_the_same_as(source.scene(number)):
                return number
    return kept
