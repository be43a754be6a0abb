"""Frozen samples, found in the data: the same frames, whoever measures and wherever the data lies.

How they are written is `muskie.evaluation.views.list_files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muskie.data.index import SceneIndex
from muskie.data.scene import Scene, SceneSource
from muskie.errors import DataError
from muskie.evaluation.views.generated import differences
from muskie.evaluation.views.view_set import ViewSet, named_scenes, shown

Sample = tuple[str, str, tuple[str, ...]]
"""Source, scene, frames."""


@dataclass(frozen=True)
class ViewList:
    """What a file says.

    Attributes:
        file: where it lies.
        key: what named it, e.g. `"views.list"`, for messages.
        samples: in their order.
        rule: the settings that drew them; empty where nobody says.
        generated: the arguments of sources without files, by name.
        sha256: of the file, as `sha256sum` tells it.
        note: a text of whoever wrote it.
    """

    file: Path
    key: str
    samples: Sequence[Sample]
    rule: Mapping[str, Any]
    generated: Mapping[str, Mapping[str, Any]]
    sha256: str
    note: str = ""

    def __str__(self) -> str:
        drawn = ", ".join(_said(name, value) for name, value in self.rule.items() if value is not None)
        how = f", drawn by {drawn}" if drawn else ""
        note = f', its note: "{self.note}"' if self.note else ""
        return f"as listed in {self.file.name} (sha256 {self.sha256[:12]}{how}{note})"

    def at_odds(self, given: Mapping[str, Any], rules: Mapping[str, Sequence[str]]) -> list[str]:
        """What settings that are given beside the list say else than it does: a message each.

        A list is used as it is, so that such a setting would be without effect. Where it says no rule, nothing is known.

        Args:
            given: setting -> value, as JSON can say it.
            rules: the settings that each known rule goes by.
        """
        section, drawn = self.key.removesuffix(".list"), self.rule.get("rule")
        problems = []
        for name, value in given.items() if self.rule else ():
            if name in self.rule:
                how = f"{name}={self.rule[name]}" if self.rule[name] != value else ""
            else:  # a list that says little, or by a rule from elsewhere, may mean anything
                how = f"rule={drawn}, which does not go by {name}" if drawn in rules else ""
            if how:
                problems.append(
                    f"{section}.{name}={value}: {str(self.file)!r} was drawn with {how}, and a list is used as it is; leave "
                    f"{section}.{name} out"
                )
        return problems

    def view_sets(self, index: SceneIndex) -> list[ViewSet]:
        """The samples, found in the data.

        Raises:
            DataError: scenes or frames that the data does not have, or that do not belong to this part of it; all counted,
                the first named, with the number of its sample.
        """
        sources = self._sources(index)
        self._check_generated(sources)
        listed = {name: self._frames(name) for name in sources}
        scenes = {name: _scenes(source, listed[name]) for name, source in sources.items()}
        missing = [f"{source}/{scene}" for source, scene in self._places() if scene not in scenes[source]]
        lost: list[str] = []
        for source, scene in self._places():
            if scene in scenes[source]:
                there = set(scenes[source][scene].frames)
                lost += [f"{source}/{scene}: {frame}" for frame in listed[source][scene] if frame not in there]
        total = sum(len(frames) for scenes_of in listed.values() for frames in scenes_of.values())
        problems = [
            f"{len(names)} of {count} {what} are not in the data: {shown(names)} (the first in {self._sample_of(names[0])})"
            for names, count, what in ((missing, len(self._places()), "scenes"), (lost, total, "frames"))
            if names
        ]
        if problems:
            rule = f" The list was drawn by {dict(self.rule)}." if self.rule else ""
            raise DataError(f"{self._name}: {'; '.join(problems)}. Are data.root and its settings those of the list?{rule}")
        sets = [ViewSet(sources[source], scenes[source][scene], frames) for source, scene, frames in self.samples]
        self._check_part(index, sets)
        return sets

    @property
    def _name(self) -> str:
        return f"{self.key}={str(self.file)!r}"

    def _places(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((source, scene) for source, scene, _ in self.samples))

    def _frames(self, wanted: str) -> dict[str, dict[str, None]]:
        """Scene -> frames of a source, in order."""
        found: dict[str, dict[str, None]] = {}
        for source, scene, frames in self.samples:
            if source == wanted:
                found.setdefault(scene, {}).update(dict.fromkeys(frames))
        return found

    def _sample_of(self, name: str) -> str:
        """The first sample of a source, a scene (`source/scene`) or a frame (`source/scene: frame`), in words."""
        number = next(
            number
            for number, (source, scene, frames) in enumerate(self.samples)
            if name in (source, f"{source}/{scene}", *(f"{source}/{scene}: {frame}" for frame in frames))
        )
        return f"sample {number}, counted from 0"

    def _sources(self, index: SceneIndex) -> dict[str, SceneSource]:
        named = dict.fromkeys(source for source, _, _ in self.samples)
        there = [source.name for source in index.sources]
        if absent := [name for name in named if name not in there]:
            raise DataError(
                f"{self._name} is of {', '.join(map(repr, named))}, and the data has no {', '.join(map(repr, absent))} "
                f"(it is {', '.join(map(repr, there))}), as {self._sample_of(absent[0])}, has; give the data of the list"
            )
        one_of_each_name(index.sources)
        return {source.name: source for source in index.sources if source.name in named}

    def _check_generated(self, sources: Mapping[str, SceneSource]) -> None:
        for name, source in sources.items():
            then = self.generated.get(name)
            if then is not None and (told := differences(source, then)):
                raise DataError(
                    f"{self._name} was drawn from other {name!r} scenes: {', '.join(told)}; give the settings of the list"
                )

    def _check_part(self, index: SceneIndex, sets: Sequence[ViewSet]) -> None:
        if index.part == "all":
            return
        wanted = {identity for views in sets for identity in views.identities}
        outside = wanted - index.among(wanted)
        if outside:
            part = {"heldout": "held-out", "train": "training"}[index.part]
            first = next(number for number, views in enumerate(sets) if outside & {*views.identities})
            beside = (
                "a list of what a run held out is drawn beside this run, which tells its hold-out: outputs/RUN freeze=FILE. "
                if index.part == "heldout"
                else ""
            )
            raise DataError(
                f"{self._name}: {len(outside)} of {len(wanted)} frames are not among the {part} frames of the data: "
                f"{shown(sorted(outside))} (the first in sample {first}, counted from 0); {beside}part=all measures these "
                f"all the same, trained on or not, and the table says how many of them each model has seen"
            )


def one_of_each_name(sources: Sequence[SceneSource]) -> None:
    """Raises `DataError` where two sources have one name, by which a list tells them apart."""
    names = [source.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"two sources are called {twice[0]!r}, by which a list of views tells them apart; take one of them at a time"
        )


def _said(name: str, value: Any) -> str:
    listed = name == "scenes" and isinstance(value, list) and all(isinstance(scene, str) for scene in value)
    return named_scenes(value) if listed else f"{name} {value}"


def _scenes(source: SceneSource, wanted: Mapping[str, Any]) -> dict[str, Scene]:
    """The wanted scenes of a source by name, so far as it has them."""
    found: dict[str, Scene] = {}
    for number in range(len(source)):
        scene = source.scene(number)
        if scene.name in wanted:
            found[scene.name] = scene
            if len(found) == len(wanted):
                break
    return found
