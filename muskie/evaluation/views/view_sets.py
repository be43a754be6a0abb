"""Which frames are looked at together: several views of a scene, chosen by a rule that a table can state, or listed in a
file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from muskie.data.index import SceneIndex
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.frame_rules import first_windows, nearest_rotations, rotation_angles, spaced
from muskie.evaluation.views.list_files import read_list
from muskie.evaluation.views.protocol_rules import nearby, random_frames, strided
from muskie.evaluation.views.view_lists import ViewList
from muskie.evaluation.views.view_set import ENDLESS, SomeScenes, ViewSet, evenly, named_scenes, of_each_source

__all__ = [
    "ENDLESS",
    "ViewChoice",
    "ViewSet",
    "evenly",
    "first_windows",
    "nearest_rotations",
    "rotation_angles",
    "spaced",
]

ViewSets = list[ViewSet]

USES: Mapping[str, Sequence[str]] = {
    "spaced": ("views", "distance", "samples", "seed"),
    "first_windows": ("views", "max_gap", "samples"),
    "nearest_rotations": ("views", "every", "samples"),
    "strided": ("views", "distance", "samples"),
    "random": ("views", "samples", "seed"),
    "nearby": ("views", "reach", "samples", "seed"),
}
"""The settings that each rule goes by."""


@dataclass(frozen=True)
class ViewChoice:
    """How views are chosen.

    Attributes:
        rule: `"spaced"`, `"first_windows"`, `"nearest_rotations"`, `"strided"`, `"random"` (`random_frames`) or `"nearby"`:
            the functions of this name here and in `muskie.evaluation.views.protocol_rules`.
        views: frames of a set, the one with the queries included; None, for `strided` alone: as many as the scene has.
        distance: frames between neighbours, for `spaced` and `strided`.
        max_gap: between frame numbers, for `first_windows`.
        every: which sets are kept, for `nearest_rotations`.
        reach: frames from the first to any other, for `nearby`.
        samples: sets at most, of all sources together, spread evenly: each has the same share, which one with too few scenes
            leaves unused; None: all (of `spaced`, `nearby`, and of scenes without end, 64).
        seed: of what is drawn.
        scenes: the names of the scenes that are looked at; None: all.
        list: a file of frozen samples (`muskie.evaluation.views.list_files`), which are then used as they are listed; a
            setting beside it that it was not drawn by is an error (`check_given`).
    """

    section: ClassVar[str] = "views"
    rules: ClassVar[Mapping[str, Sequence[str]]] = USES

    rule: str = "spaced"
    views: int | None = 8
    distance: int = 4
    max_gap: int = 35
    every: int = 20
    reach: int = 64
    samples: int | None = 64
    seed: int = 0
    scenes: Sequence[str] | None = None
    list: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in self.rules:
            raise ConfigError(f"{self.section}.rule={self.rule!r}: expected one of {', '.join(map(repr, self.rules))}")
        least = {"views": 2, "distance": 1, "max_gap": 1, "every": 1, "reach": 1, "samples": 1, "seed": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ConfigError(f"{self.section}.{name}={value}: expected at least {lowest}")
        if self.views is None and self.rule != "strided":
            raise ConfigError(f"{self.section}.views=null: only rule=strided takes all views of a scene; give a number")
        if self.scenes is not None and not self.scenes:
            raise ConfigError(f"{self.section}.scenes=[] leaves nothing; give the names of scenes, or null for all")

    def choose(self, index: SceneIndex) -> ViewSets:
        """The sets, in a fixed order.

        Raises:
            ConfigError: the list cannot be read, or settings are at odds with it.
            DataError: the scenes have none, or not those of the list.
        """
        if self.list is not None:
            # Whether somebody gave a default, nobody can tell here.
            self.check_given(field.name for field in fields(self) if getattr(self, field.name) != field.default)
            return self.listed.view_sets(index)
        index = self.among(index)
        try:
            return self._chosen(index)
        except DataError as error:
            keys = {"spaced": ("views", "distance"), "first_windows": ("views", "max_gap"), "nearby": ("views", "reach")}
            told = keys.get(self.rule, ("distance",) if self.rule == "strided" else ("views",))
            now = ", ".join(f"{self.section}.{key}={getattr(self, key)}" for key in told)
            raise DataError(f"{error} (now {now})") from error

    def among(self, index: SceneIndex) -> SceneIndex:
        """The places of the scenes that are looked at."""
        return index if self.scenes is None else SomeScenes(index, self.scenes, f"{self.section}.scenes")

    @cached_property
    def listed(self) -> ViewList:
        """The list that is used; read once, so that what is measured is what its hash is of.

        Raises:
            ConfigError, DataError: it cannot be read.
        """
        assert self.list is not None
        return read_list(self.list, f"{self.section}.list")

    def check_given(self, names: Iterable[str]) -> None:
        """Checks the settings that somebody gave beside a list, at their defaults or not.

        Args:
            names: of the settings that were given.

        Raises:
            ConfigError: the list was drawn by others, all of which are named; or it cannot be read.
            DataError: it is broken.
        """
        if self.list is None:
            return
        given = {name: _plain(getattr(self, name)) for name in names if name != "list"}
        if odd := self.listed.at_odds(given, self.rules):
            raise ConfigError("\n".join(odd))

    def _keys(self) -> Sequence[str]:
        """The settings that mean something."""
        return ("rule", *self.rules[self.rule], "scenes")

    def plain(self) -> dict[str, Any]:
        """What a list keeps: the rule and the settings that it goes by, as JSON can say them."""
        return {name: _plain(value) for name, value in asdict(self).items() if name in self._keys()}

    def _chosen(self, index: SceneIndex) -> ViewSets:
        most = self.samples or ENDLESS
        if self.rule == "strided":
            return strided(index, self.views, self.distance, self.samples)
        assert self.views is not None
        if self.rule == "spaced":
            return spaced(index, self.views, self.distance, most, self.seed)
        if self.rule == "random":
            return random_frames(index, self.views, self.samples, self.seed)
        if self.rule == "nearby":
            return nearby(index, self.views, self.reach, most, self.seed)
        views = self.views

        def scenes_in_turn(one: SceneIndex, share: int | None) -> ViewSets:
            if self.rule == "first_windows":
                found = first_windows(one, views, self.max_gap, share or ENDLESS)
            else:
                found = nearest_rotations(one, views, self.every, share or ENDLESS)
            return [found[n] for n in evenly(len(found), share or len(found))]

        return of_each_source(index, self.samples, scenes_in_turn)

    def told(self, sets: Sequence[ViewSet]) -> str:
        """The samples that were chosen, for the notes of a table."""
        if self.list is None and self.rule != "strided":
            return str(self)
        lengths = sorted({len(views.frames) for views in sets})
        views = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else str(*lengths)
        return f"{views} views{self._how()}"

    def __str__(self) -> str:
        return f"{'all' if self.views is None else self.views} views{self._how()}"

    def _how(self) -> str:
        if self.list is not None:
            return f" {self.listed}"
        how = {
            "spaced": f"{self.distance} frames apart",
            "first_windows": f"the first of each scene with gaps of at most {self.max_gap} frames",
            "nearest_rotations": f"nearest rotations, every {self.every}th set",
            "strided": f"{self.distance} frames apart, from the first frame of each scene",
            "random": f"drawn from each scene (seed {self.seed})",
            "nearby": f"drawn within {self.reach} frames of the first (seed {self.seed})",
        }
        return f", {how[self.rule]}{self._named()}"

    def _named(self) -> str:
        return "" if self.scenes is None else f", of {named_scenes(self.scenes)}"


def _plain(value: Any) -> Any:
    return [*value] if isinstance(value, list | tuple) else value
