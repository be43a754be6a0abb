"""What runs were trained on, so that nothing is measured as held out that one of them has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from muskie.data.index import HoldOut
from muskie.errors import ConfigError
from muskie.paths import typed_path


@dataclass(frozen=True)
class RunData:
    """What a run was trained on.

    Attributes:
        folder: of the run.
        data: section of its configuration.
        holdout: what it held out.
        side: of its largest pictures in pixels.
    """

    folder: Path
    data: Mapping[str, Any]
    holdout: HoldOut
    side: int


def run_folder(name: str) -> Path | None:
    """The folder of a run that has ended and that somebody named, by it or by the `model` within; None if it is none."""
    path = typed_path(name, "backbone")
    folder = path.resolve().parent if path.name == "model" else path
    ended = path.is_dir() and (folder / "config.yaml").is_file() and (folder / "model").is_dir()
    return folder if ended else None


def runs_among(names: Sequence[str]) -> list[RunData]:
    """What those of the named backbones that are runs were trained on."""
    found = []
    for folder in filter(None, map(run_folder, names)):
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
        if not isinstance(config, dict) or not {"data", "holdout", "plan"} <= set(config):
            raise ConfigError(f"{folder}/config.yaml is not the configuration of a run")
        found.append(RunData(folder, config["data"], HoldOut(**config["holdout"]), max(config["plan"]["sizes"])))
    return found


def same_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two `data` sections read the same frames: any two of their sources have the same class and root."""
    return bool(_roots(one) & _roots(other))


def _roots(data: Mapping[str, Any]) -> set[tuple[str, str]]:
    nodes = list(data["sources"].values()) if "sources" in data else [data]
    return {(str(node.get("_target_")), str(Path(str(node.get("root", ""))).expanduser().resolve())) for node in nodes}


def held_out(
    data: Mapping[str, Any] | None, holdout: Mapping[str, Any], part: str | None, runs: Sequence[RunData]
) -> tuple[Mapping[str, Any] | None, HoldOut, str]:
    """What is measured: the data, its hold-out, and which part of it.

    On the data of a run its own hold-out counts. On other data nothing is held out unless somebody says so.

    Args:
        data: as given; empty: that of the first run.
        holdout: the settings of it that were given.
        part: as given; None: see above.
        runs: those among the backbones.

    Returns:
        `data` None: there is neither a run nor data.

    Raises:
        ConfigError: a part of the data would be measured as held out that a run was trained on.
    """
    given = data or (runs[0].data if runs else None)
    trained = [run for run in runs if given and same_data(run.data, given)]
    if not trained:
        return given, HoldOut(**holdout), part or "all"
    first = trained[0]
    if part in (None, "heldout"):
        other = [run for run in trained if run.holdout != first.holdout]
        if other:
            raise ConfigError(
                f"{first.folder} and {other[0].folder} held out different parts of the same data ({_told(first.holdout)}; "
                f"{_told(other[0].holdout)}), so one was trained on what the other held out; measure each alone, or part=all"
            )
        wanted = HoldOut(**{**asdict(first.holdout), **holdout})
        if wanted != first.holdout:
            raise ConfigError(
                f"{first.folder} held out other frames of this data ({_told(first.holdout)}) than are asked for "
                f"({_told(wanted)}), and was trained on some of these; leave holdout.* and data= out, or take part=all"
            )
        if data and (changed := _changed(data, first.data)):
            raise ConfigError(
                f"{', '.join(changed)}: {first.folder} was trained on this data with other settings, and held out other "
                f"parts of it; leave data= out to measure on its own, or take part=all"
            )
    return given, first.holdout, part or "heldout"


def _changed(data: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Settings of `data` that are others in `other`; what a run's configuration does not name had its default."""
    names = [name for name in data if name not in ("sources", "root", "_target_") and name in other]
    return [f"data.{name}={data[name]}" for name in names if data[name] != other[name]]


def _told(holdout: HoldOut) -> str:
    return f"holdout.share={holdout.share:g} holdout.by={holdout.by}"
