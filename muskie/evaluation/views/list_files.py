"""Frozen samples as files: which frames of which scene make one sample, in their order.

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
written by hand may have null there, and a `"note"`, a text that tables tell. `generated` holds the arguments of sources
without files, which rendered other pictures under the same names if they differed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muskie.errors import ConfigError, DataError
from muskie.evaluation.output import unwritable
from muskie.evaluation.views.generated import arguments
from muskie.evaluation.views.view_lists import Sample, ViewList, one_of_each_name
from muskie.evaluation.views.view_set import ViewSet
from muskie.paths import typed_path

FORMAT, VERSION = "muskie views", 1

_WAY_OUT = "mend it by hand, or have freeze=FILE write one"


def read_list(file: str, key: str) -> ViewList:
    """Reads a list; the data is not looked at.

    Args:
        file: the path.
        key: what named it, for messages.

    Raises:
        ConfigError: there is no such file.
        DataError: it is no list of this version, or a sample of it is none.
    """
    path = typed_path(file, key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}={file!r} cannot be read ({error.strerror}); freeze=FILE writes one") from error
    try:
        told = json.loads(content.decode("utf-8"))
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(f'expected {{"format": "{FORMAT}", ...}}')
        if told.get("version") != VERSION:
            raise ValueError(f"version {told.get('version')!r}: this code reads version {VERSION}")
        rule, generated = _mapping(told, "rule"), _mapping(told, "generated")
        for name in generated:
            _mapping(generated, name, "generated.")
        if not isinstance(rule.get("rule", ""), str):
            raise ValueError(f"rule.rule is {_cut(rule['rule'])}; expected a text")
        note = told.get("note") or ""
        if not isinstance(note, str):
            raise ValueError(f"note is {_cut(note)}; expected a text")
        samples = _samples(told.get("samples"))
    except UnicodeDecodeError as error:
        raise DataError(f"{key}={file!r} is no list of views: byte {error.start} is no UTF-8; {_WAY_OUT}") from error
    except (ValueError, RecursionError) as error:  # JSON's own and those above
        raise DataError(f"{key}={file!r} is no list of views: {error}; {_WAY_OUT}") from error
    return ViewList(path, key, samples, rule, generated, hashlib.sha256(content).hexdigest(), note)


def check_new(file: Path) -> None:
    """Whether a list may be written to a file, before its samples are drawn.

    Raises:
        ConfigError: it is there already, or could not be made.
    """
    if file.exists():
        raise ConfigError(f"freeze={str(file)!r} is there already, and a frozen list is not written anew; give another name")
    if problem := unwritable(file.parent):
        raise ConfigError(f"freeze={str(file)!r} cannot be written ({problem}); give another one")


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
    check_new(file)
    sources = list({id(views.source): views.source for views in sets}.values())
    one_of_each_name(sources)
    generated = {source.name: told for source in sources if (told := arguments(source)) is not None}
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


def _mapping(told: Mapping[str, Any], name: str, above: str = "") -> dict[str, Any]:
    value = told.get(name)
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{above}{name} is {_cut(value)}; expected a mapping, {{name: value, ...}}")
    return value or {}


def _samples(told: Any) -> list[Sample]:
    if not isinstance(told, list) or not told:
        raise ValueError(f"samples is {_cut(told)}; expected a list of [source, scene, [frame, frame, ...]], one at least")
    return [_sample(number, sample) for number, sample in enumerate(told)]


def _sample(number: int, sample: Any) -> Sample:
    if isinstance(sample, list) and len(sample) == 3 and isinstance(sample[2], list):
        source, scene, frames = sample
        if len(frames) > 1 and all(isinstance(word, str) for word in (source, scene, *frames)):
            if len(set(frames)) < len(frames):
                twice = next(frame for frame in frames if frames.count(frame) > 1)
                raise ValueError(f"sample {number} (counted from 0), {source}/{scene}, has frame {twice!r} more than once")
            return source, scene, tuple(frames)
    raise ValueError(
        f"sample {number} (counted from 0) is {_cut(sample)}; expected [source, scene, [frame, frame, ...]], all of them "
        "texts, and two frames at least"
    )


def _cut(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:200]
