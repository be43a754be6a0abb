"""Samples frozen in a file: which frames of which scene make one sample, in their order, whoever measures and wherever the
data lies.

    {
     "format": "muskie views", "version": 1,
     "rule": {"rule": "random", "views": 10, "seed": 0, ...},
     "generated": {},
     "samples": [
      ["co3d", "apple/110_13051_23361", ["frame000012.jpg", "frame000003.jpg", ...]],
      ...
     ]
    }

A sample is the name of its source, that of the scene, and its frames. `rule` says how they were drawn; a list that was
written by hand may have null there. `generated` holds the arguments of sources without files, which rendered other pictures
under the same names if they differed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muskie.config import schema
from muskie.data.index import SceneIndex
from muskie.data.scene import Scene, SceneSource
from muskie.errors import ConfigError, DataError
from muskie.evaluation.views.view_set import ViewSet
from muskie.paths import typed_path

FORMAT, VERSION = "muskie views", 1
SHOWN = 5
"""Names that a message tells."""

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
    """

    file: Path
    key: str
    samples: Sequence[Sample]
    rule: Mapping[str, Any]
    generated: Mapping[str, Any]
    sha256: str

    def __str__(self) -> str:
        drawn = ", ".join(f"{name} {value}" for name, value in self.rule.items() if value is not None)
        how = f", drawn by {drawn}" if drawn else ""
        return f"as listed in {self.file.name} (sha256 {self.sha256[:12]}{how})"

    def view_sets(self, index: SceneIndex) -> list[ViewSet]:
        """The samples, found in the data.

        Raises:
            DataError: scenes or frames that the data does not have, or that do not belong to this part of it; all counted,
                the first named.
        """
        sources = self._sources(index)
        self._check_generated(sources)
        scenes = {name: _scenes(source, self._frames(name)) for name, source in sources.items()}
        missing = [f"{source}/{scene}" for source, scene in self._places() if scene not in scenes[source]]
        lost: list[str] = []
        for source, scene in self._places():
            if scene in scenes[source]:
                there = set(scenes[source][scene].frames)
                lost += [f"{source}/{scene}: {frame}" for frame in self._frames(source)[scene] if frame not in there]
        total = sum(len(frames) for source in sources for frames in self._frames(source).values())
        problems = [
            f"{len(names)} of {count} {what} are not in the data: {_shown(names)}"
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

    def _sources(self, index: SceneIndex) -> dict[str, SceneSource]:
        named = dict.fromkeys(source for source, _, _ in self.samples)
        there = [source.name for source in index.sources]
        if absent := [name for name in named if name not in there]:
            raise DataError(
                f"{self._name} is of {', '.join(map(repr, named))}, and the data has no {', '.join(map(repr, absent))} "
                f"(it is {', '.join(map(repr, there))}); give the data of the list"
            )
        _one_of_each_name(index.sources)
        return {source.name: source for source in index.sources if source.name in named}

    def _check_generated(self, sources: Mapping[str, SceneSource]) -> None:
        for name, source in sources.items():
            now, then = _arguments(source), self.generated.get(name)
            if then is not None and now is not None and then != now:
                differ = [key for key in now if now[key] != then.get(key)]
                told = ", ".join(f"{source.config_key}.{key}={now[key]} (the list: {then.get(key)})" for key in differ)
                raise DataError(f"{self._name} was drawn from other {name!r} scenes: {told}; give the settings of the list")

    def _check_part(self, index: SceneIndex, sets: Sequence[ViewSet]) -> None:
        if index.part == "all":
            return
        wanted = {identity for views in sets for identity in views.identities}
        outside = wanted - index.among(wanted)
        if outside:
            part = {"heldout": "held-out", "train": "training"}[index.part]
            raise DataError(
                f"{self._name}: {len(outside)} of {len(wanted)} frames are not among the {part} frames of the data: "
                f"{_shown(sorted(outside))}; part=all measures them all the same, and the table says who was trained on them"
            )


def read_list(file: str, key: str) -> ViewList:
    """Reads a list; the data is not looked at.

    Args:
        file: the path.
        key: what named it, for messages.

    Raises:
        ConfigError: there is no such file, or it is no list of this version.
    """
    path = typed_path(file, key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}={file!r} cannot be read ({error.strerror}); freeze=FILE writes one") from error
    try:
        told = json.loads(content)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f'expected {{"format": "{FORMAT}", ...}}')
        if told.get("version") != VERSION:
            raise ValueError(f"version {told.get('version')!r}: this code reads version {VERSION}")
        rule, generated = told.get("rule") or {}, told.get("generated") or {}
        if not isinstance(rule, dict) or not isinstance(generated, dict):
            raise ValueError("rule and generated are no mappings")
        samples = [_sample(number, sample) for number, sample in enumerate(told.get("samples") or ())]
        if not samples:
            raise ValueError("samples is empty")
    except ValueError as error:  # JSON's own and those above
        raise ConfigError(f"{key}={file!r} is no list of views: {error}; freeze=FILE writes one") from error
    return ViewList(path, key, samples, rule, generated, hashlib.sha256(content).hexdigest())


def write_list(file: Path, sets: Sequence[ViewSet], rule: Mapping[str, Any]) -> None:
    """Writes samples to a new file, a line each.

    Args:
        file: its folder is made.
        sets: the samples.
        rule: the settings that drew them, as JSON can say them.

    Raises:
        ConfigError: the file is there already, or cannot be written.
        DataError: two sources have one name, by which a list knows them.
    """
    if file.exists():
        raise ConfigError(f"freeze={str(file)!r} is there already, and a frozen list is not written anew; give another name")
    sources = list({id(views.source): views.source for views in sets}.values())
    _one_of_each_name(sources)
    generated = {source.name: told for source in sources if (told := _arguments(source)) is not None}
    lines = [json.dumps([one.source.name, one.scene.name, list(one.frames)], ensure_ascii=False) for one in sets]
    text = (
        f'{{\n "format": "{FORMAT}", "version": {VERSION},\n "rule": {json.dumps(rule)},\n'
        f' "generated": {json.dumps(generated)},\n "samples": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f"{file.name}.part")
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise ConfigError(f"freeze={str(file)!r} cannot be written ({error.strerror}); give another one") from error


def _sample(number: int, sample: Any) -> Sample:
    if isinstance(sample, list) and len(sample) == 3 and isinstance(sample[2], list):
        source, scene, frames = sample
        if len(frames) > 1 and all(isinstance(word, str) for word in (source, scene, *frames)):
            return source, scene, tuple(frames)
    raise ValueError(f"sample {number} is {json.dumps(sample)[:200]}; expected [source, scene, [frame, frame, ...]]")


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


def _arguments(source: SceneSource) -> dict[str, Any] | None:
    """What a source without files was made with; None of one with files."""
    if hasattr(source, "root"):
        return None
    return {name: getattr(source, name) for name in schema(type(source)) if _plain(getattr(source, name, ()))}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _one_of_each_name(sources: Iterable[SceneSource]) -> None:
    names = [source.name for source in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"two sources are called {twice[0]!r}, by which a list of views tells them apart; take one of them at a time"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
