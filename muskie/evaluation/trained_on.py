"""What backbones were trained on, so that no table calls frames held out that one of them has seen."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import build_sources
from muskie.errors import ConfigError
from muskie.history import Entry, history, lists_the_same
from muskie.paths import typed_path


@dataclass(frozen=True)
class RunData:
    """A run that is measured.

    Attributes:
        folder: of the run.
        data: section of its configuration.
        holdout: what it held out.
        side: of its largest pictures in pixels.
        past: all that it was trained on.
    """

    folder: Path
    data: Mapping[str, Any]
    holdout: HoldOut
    side: int
    past: Sequence[Entry]


@dataclass(frozen=True)
class TrainedFrames:
    """The frames that a model was trained on, by its history; nothing is listed before it is asked for."""

    past: Sequence[Entry]

    def among(self, wanted: Collection[str]) -> set[str]:
        """Which of some frames, given by their identity, were trained on, so far as is known."""
        found: set[str] = set()
        for part, _ in self._parts():
            if part is not None:
                found |= part.among(wanted)
        return found

    @property
    def all_known(self) -> bool:
        """Whether all that it was trained on is known, is there to compare with, and lists the same frames as then."""
        return all(part is not None and same for part, same in self._parts())

    def _parts(self) -> list[tuple[SceneIndex | None, bool]]:
        return [_part(json.dumps(entry, sort_keys=True, default=str)) for entry in self.past]


@lru_cache(maxsize=64)
def _part(entry: str) -> tuple[SceneIndex | None, bool]:
    """The frames that an entry of a history, in JSON, means, and whether they are those of then; listed once for all."""
    known = json.loads(entry)
    if "unknown" in known:
        return None, False
    try:
        part = SceneIndex(build_sources(known["data"]), "train", HoldOut(**known["holdout"]))
        return part, "listed" not in known or lists_the_same(part, known["listed"])
    except Exception:  # moved, closed to us, or of a class that is not here
        return None, False


def run_folder(name: str) -> Path | None:
    """The folder of a run that has ended and that somebody named, by it or by the `model` within, also through a link; None
    if it is none."""
    path = typed_path(name, "backbone").resolve()
    folder = path.parent if path.name == "model" else path
    ended = path.is_dir() and (folder / "config.yaml").is_file() and (folder / "model").is_dir()
    return folder if ended else None


def runs_among(names: Sequence[str]) -> list[RunData]:
    """Those of the named backbones that are runs."""
    found = []
    for folder in filter(None, map(run_folder, names)):
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
        if not isinstance(config, dict) or not {"data", "holdout", "plan"} <= set(config):
            raise ConfigError(f"{folder}/config.yaml is not the configuration of a run")
        side, past = max(config["plan"]["sizes"]), history(folder) or []
        found.append(RunData(folder, config["data"], HoldOut(**config["holdout"]), side, past))
    return found


def choose_part(
    data: Mapping[str, Any] | None, holdout: Mapping[str, Any], part: str | None, runs: Sequence[RunData]
) -> tuple[Mapping[str, Any] | None, HoldOut, str]:
    """What is measured where not all is said: the data, its hold-out, and which part of it.

    On data that a run was trained on its own hold-out counts; on other data nothing is held out unless somebody says so.
    This is a first choice: whether a frame was trained on is looked up frame by frame (`TrainedFrames`).

    Args:
        data: as given; empty: that of the first run.
        holdout: the settings of it that were given.
        part: as given; None: see above.
        runs: those among the backbones.

    Returns:
        `data` None: there is neither a run nor data.
    """
    given = data or (runs[0].data if runs else None)
    for run in runs:
        if given and any("data" in entry and _overlap(entry["data"], given) for entry in run.past):
            return given, HoldOut(**{**asdict(run.holdout), **holdout}), part or "heldout"
    return given, HoldOut(**holdout), part or "all"


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two `data` sections may read the same frames: a root of one holds one of the other, or, without roots, a
    source is of the same class."""
    return any(_may_share(a, b) for a in _nodes(one) for b in _nodes(other))


def _nodes(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(data["sources"].values()) if "sources" in data else [data]


def _may_share(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if not one.get("root") or not other.get("root"):
        return one.get("_target_") == other.get("_target_")
    a, b = (typed_path(str(node["root"]), "data.root").resolve() for node in (one, other))
    return a.is_relative_to(b) or b.is_relative_to(a)
