"""The settings of `scripts/evaluate.py`: the composed configuration, checked; what is left open is taken from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from muskie.config import Sections
from muskie.data.index import HoldOut, SceneIndex
from muskie.data.loading import build_sources
from muskie.errors import ConfigError, DataError
from muskie.evaluation.correspondence import CorrespondenceConfig
from muskie.evaluation.material import Material
from muskie.evaluation.suites import find_suite
from muskie.evaluation.two_view.probe3d import Probe3DConfig
from muskie.evaluation.two_view.relative_pose import RelativePoseConfig
from muskie.evaluation.two_view_suites import DenseMatchingSuite
from muskie.evaluation.views.pair_choice import PairChoice
from muskie.evaluation.views.view_sets import ViewChoice
from muskie.paths import typed_path

ROOT = {
    "backbone": Any,
    "suite": list[str] | str,
    "untrained": bool,
    "floors": bool,
    "part": str | None,
    "size": list[int] | int | None,
    "crop": str,
    "batch": int,
    "workers": int,
    "device": str,
    "precision": str,
    "seed": int,
    "out": str | None,
}
"""Keys outside of sections."""

SECTIONS = Sections(
    fixed={
        "holdout": HoldOut,
        "views": ViewChoice,
        "pairs": PairChoice,
        "correspondence": CorrespondenceConfig,
        "dense_matching": DenseMatchingSuite,
        "probe3d": Probe3DConfig,
        "relative_pose": RelativePoseConfig,
    },
    arguments={},
    open=("data",),
)

SIDE = 224
"""Side of the pictures in pixels where neither the settings nor a run says."""


@dataclass(frozen=True)
class RunData:
    """What a run was trained on.

    Attributes:
        folder: of the run.
        data, holdout: sections of its configuration.
        side: of its largest pictures in pixels.
    """

    folder: Path
    data: Mapping[str, Any]
    holdout: Mapping[str, Any]
    side: int


def run_data(names: Sequence[str]) -> RunData | None:
    """What the first run among these backbones was trained on; None if none is the folder of a run."""
    for name in names:
        for folder in (Path(name).expanduser(), Path(name).expanduser().parent):
            if (folder / "config.yaml").is_file() and (folder / "model").is_dir():
                config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"), resolve=True)
                if not isinstance(config, dict) or not {"data", "holdout", "plan"} <= set(config):
                    raise ConfigError(f"{folder}/config.yaml is not the configuration of a run")
                return RunData(folder, config["data"], config["holdout"], max(config["plan"]["sizes"]))
    return None


class EvaluationSettings:
    """What is asked for, checked before anything is loaded.

    Args:
        config: composed by Hydra from `configs/evaluate.yaml`.

    Raises:
        ConfigError: all settings that are unknown, mistyped or out of range; or no backbone is named.
    """

    def __init__(self, config: DictConfig) -> None:
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        self.plain = {str(key): value for key, value in plain.items()}
        self.values = SECTIONS.build({k: v for k, v in self.plain.items() if k not in ("protocol",)}, ROOT)
        given = self.values["backbone"]
        self.backbones = list(given) if isinstance(given, list | tuple) else [given] if given else []
        if not self.backbones:
            raise ConfigError("no backbone is named; give a run, the name of a model, or timm/NAME")
        names = [spec["name"] if isinstance(spec, Mapping) else spec for spec in self.backbones if spec]
        self.run = run_data([str(name) for name in names])
        suites = self.values["suite"]
        self.suites = [find_suite(name) for name in ([suites] if isinstance(suites, str) else suites)]
        self._check()

    def _check(self) -> None:
        problems = [f"{n}={self.values[n]}: expected at least {k}" for n, k in (("batch", 1), ("workers", 0), ("seed", 0))
                    if self.values[n] < k]  # fmt: skip
        if not self.suites:
            problems.append("suite=[] names none; give one or more, e.g. suite=[correspondence]")
        size = self.size
        if len(size) != 2 or min(size) < 8:
            problems.append(f"size={self.values['size']}: expected a side in pixels or [height, width], at least 8")
        if self.values["part"] not in (None, "heldout", "train", "all"):
            problems.append(f"part={self.values['part']!r}: expected heldout, train, all, or null")
        if problems:
            raise ConfigError("\n".join(problems))

    @property
    def size(self) -> tuple[int, ...]:
        """H and W of the pictures."""
        size = self.values["size"]
        if size is None:
            size = self.run.side if self.run else SIDE
        return (size, size) if isinstance(size, int) else tuple(size)

    @property
    def out(self) -> Path | None:
        """The folder of the results; None: a new one is made."""
        if self.values["out"]:
            return typed_path(self.values["out"], "out")
        return self.run.folder / "evaluation" if self.run else None

    def suite_config(self, name: str) -> Any:
        """The settings of a suite: its section, or the defaults of one from outside."""
        return self.values.get(name) or find_suite(name).config()

    def material(self, progress: bool = False) -> Material:
        """The data.

        Raises:
            ConfigError, DataError: it cannot be used.
        """
        given = self.values["data"]
        data = given or (self.run.data if self.run else {"_target_": "muskie.data.sources.synthetic.SyntheticRooms"})
        sources = build_sources(dict(data))
        as_given = given or self.plain.get("holdout") or self.run is None
        holdout = self.values["holdout"] if as_given else HoldOut(**self.run.holdout)  # type: ignore[union-attr]
        part = self.values["part"] or ("heldout" if self.run else "all")
        if part == "heldout" and not holdout.share:
            raise DataError(f"{self.run.folder if self.run else 'holdout.share=0'} held nothing out; take part=all")
        height, width = self.size
        return Material(
            index=SceneIndex(sources, part, holdout),
            train=SceneIndex(sources, "train", holdout) if part == "heldout" else None,
            size=(height, width),
            views=self.values["views"],
            pairs=self.values["pairs"],
            crop=self.values["crop"],
            batch=self.values["batch"],
            workers=self.values["workers"],
            floors=self.values["floors"],
            seed=self.values["seed"],
            progress=progress,
        )
