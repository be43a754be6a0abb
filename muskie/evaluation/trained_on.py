"""What backbones were trained on, so that no table calls frames held out that one of them has seen."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import build_sources
from muskie.errors import ConfigError, DataError
from muskie.history import Entry, history
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


@dataclass
class TrainedFrames:
    """The frames that a model was trained on, by its history; nothing is listed before it is asked for."""

    past: Sequence[Entry]
    _indices: dict[str, SceneIndex | None] = field(default_factory=dict)

    def among(self, wanted: Collection[str]) -> set[str]:
        """Which of some frames, given by their identity, were trained on, so far as is known."""
        return set().union(*(index.among(wanted) for index in self._known() if index is not None))

    @property
    def all_known(self) -> bool:
        """Whether all that it was trained on is known, and is there to compare with."""
        return None not in self._known()

    def _known(self) -> list[SceneIndex | None]:
        for entry in self.past:
            key = json.dumps(entry, sort_keys=True, default=str)
            if key not in self._indices:
                self._indices[key] = _index(entry)
        return list(self._indices.values())


def _index(entry: Entry) -> SceneIndex | None:
    if "unknown" in entry:
        return None
    try:
        return SceneIndex(build_sources(entry["data"]), "train", HoldOut(**entry["holdout"]))
    except (ConfigError, DataError):  # moved, or of a class that is not here
        return None


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
